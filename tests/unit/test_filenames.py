"""What becomes of the file names that clients send."""

from __future__ import annotations

import pytest

from common.errors import RequestError
from common.filenames import clean_filename


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\报告.docx", "报告.docx"),
        ("a/b/", "b"),
        ("e\u0301.txt", "é.txt"),
        ("new\nline\x00.txt", "newline.txt"),
        (" spaces + plus.md ", "spaces + plus.md"),
    ],
)
def test_a_name_keeps_its_last_component_and_what_can_be_read(given: str, kept: str) -> None:
    assert clean_filename(given) == kept


@pytest.mark.parametrize("given", ["", ".", "..", "/", "a/..", "\x00\x01"])
def test_a_name_with_nothing_left_is_refused(given: str) -> None:
    with pytest.raises(RequestError):
        clean_filename(given)


def test_a_long_name_is_cut_between_characters_and_keeps_its_extension() -> None:
    cut = clean_filename("文" * 1000 + ".pdf")
    assert len(cut.encode()) <= 255
    assert cut.endswith("文.pdf")
