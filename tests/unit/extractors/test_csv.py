from __future__ import annotations

from pathlib import Path

import pytest

from functions.extractors import csv
from tests.unit.extractors.reading import options, pieces

TABLE = 'Name{0}Text\nAnn{0}"quoted\nnewline{0} ""x"""\n李明{0}plain\n'


def texts(content: bytes, tmp_path: Path) -> list[str]:
    found = pieces(csv, content, tmp_path)
    assert {piece.kind for piece in found} <= {"row"}
    return [piece.text for piece in found]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_delimiters_and_encodings_are_found(delimiter: str, encoding: str, tmp_path: Path) -> None:
    assert texts(TABLE.format(delimiter).encode(encoding), tmp_path) == [
        f'Name: Ann; Text: quoted newline{delimiter} "x"'.replace("\t", ""),
        "Name: 李明; Text: plain",
    ]


def test_excels_own_line_names_the_delimiter_and_is_no_row(tmp_path: Path) -> None:
    assert texts(b"sep=;\r\nName,A;Age\r\nAnn;1,5\r\n", tmp_path) == ["Name,A: Ann; Age: 1,5"]


def test_rows_of_any_length_and_none_are_read(tmp_path: Path) -> None:
    assert texts(b"A,B\n\n,\n1\n1,2,3\r\r\n", tmp_path) == ["A: 1", "A: 1; B: 2; 3"]
    assert texts(b"", tmp_path) == []


@pytest.mark.timeout(20)
def test_a_line_of_ten_megabytes_and_a_quote_that_never_ends_are_read_to_their_end(tmp_path: Path) -> None:
    found = texts(b"A,B\n" + b"x" * 10_000_000 + b",y\n1,2\n", tmp_path)
    assert sum(map(len, found)) > 10_000_000
    assert found[-1] == "A: 1; B: 2"
    assert "".join(texts(b'A,B\n1,"' + b"x\n" * 300_000, tmp_path)).count("x") == 300_000


def test_the_encoding_is_noted(tmp_path: Path) -> None:
    given = options()
    pieces(csv, b"A,B\n1,2", tmp_path, given)
    assert given.details == {"encoding": "utf-8"}
