"""What a ZIP archive holds, however it was made, and what of it is not taken."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from common.errors import Rejected
from functions import framing, members
from functions.extractors import Options
from functions.extractors import zip as zips
from functions.framing import Slice, Writer
from tests.unit.documents import archive


def options(**changed: Any) -> Options:
    given: dict[str, Any] = {
        "max_document_bytes": 1000,
        "max_archive_entries": 1000,
        "member_levels": 1,
        "max_members": 10,
        "max_members_bytes": 2000,
    }
    return Options("a.zip", max_inflated_bytes=0, max_pages=1, max_characters=1 << 30, **{**given, **changed})


def taken(path: Path, content: bytes, **changed: Any) -> dict[str, bytes]:
    """The members, by way of a file as between the jail and the worker."""
    (path / "a.zip").write_bytes(content)
    given = options(**changed)
    frames = path / "frames"
    with frames.open("wb") as file:
        told = list(members.unfold(zips.members(path / "a.zip", given), given, Writer(file)))
    with frames.open("rb") as file:
        found = list(framing.read(file, given.max_members))
    assert [one.path for one in found] == [one.path for one in told if one.path]
    kept = {}
    for one in found:
        with Slice(frames, one) as part:
            kept[one.path] = part.read()
    return kept


def text(path: Path, content: bytes, **changed: Any) -> str:
    (path / "a.zip").write_bytes(content)
    return "".join(page.text for page in zips.extract(path / "a.zip", options(**changed)))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\Users\\a.txt", "Users/a.txt"),
        ("..\\..\\a.txt", "a.txt"),
        ("a/./b//c.txt", "a/b/c.txt"),
        ("a\nb\x1b[31m.txt", "ab[31m.txt"),
        ("gpj.\u202etxt.exe", "gpj.txt.exe"),
        ("folder /name. ", "folder/name"),
        ("é.txt", "é.txt"),
        ("e\u0301.txt", "é.txt"),
    ],
)
def test_no_name_leaves_its_folder(tmp_path: Path, name: str, path: str) -> None:
    assert taken(tmp_path, archive({name: b"x"})) == {path: b"x"}


@pytest.mark.parametrize("name", ["..", "../..", " ", "...", "\x01"])
def test_what_has_no_name_is_not_taken(tmp_path: Path, name: str) -> None:
    content = archive({name: b"x", "a.txt": b"y"})
    assert taken(tmp_path, content) == {"a.txt": b"y"}
    assert "it has no name that can be used" in text(tmp_path, content)


def test_a_path_that_is_too_long_for_a_key_keeps_its_name(tmp_path: Path) -> None:
    long = "/".join(["长" * 60] * 9)
    found = taken(tmp_path, archive({f"{long}/a.txt": b"1", f"{long}x/a.txt": b"2"}))
    assert sorted(found.values()) == [b"1", b"2"]
    assert all(path.endswith("/a.txt") and len(path.encode()) < 50 for path in found)


def test_names_that_meet_are_kept_apart(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file, warnings.catch_warnings(action="ignore"):
        for name, data in (("a", b"1"), ("a", b"2"), ("a/b", b"3"), ("../a", b"4")):
            file.writestr(name, data)
    found = taken(tmp_path, out.getvalue())
    assert sorted(found.values()) == [b"1", b"2", b"3", b"4"]
    assert not [one for one in found for other in found if other.startswith(f"{one}/")], "no file is another's folder"


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8", ["报告.txt", "ünïcode.txt"]),
        ("gb18030", ["年度报告和说明.txt", "会议记录.txt"]),
        ("cp437", ["Übersicht.txt", "café.txt"]),
    ],
)
def test_names_are_read_in_the_encoding_that_they_are_in(tmp_path: Path, encoding: str, names: list[str]) -> None:
    assert list(taken(tmp_path, foreign(encoding, names))) == names


def foreign(encoding: str, names: list[str]) -> bytes:
    """An archive as old programs write it: names in the encoding of their machine, which is not told."""
    places = {f"{number:02}".ljust(len(name.encode(encoding)), "-"): name for number, name in enumerate(names)}
    data = archive(dict.fromkeys(places, b"x"))
    for place, name in places.items():
        data = data.replace(place.encode(), name.encode(encoding))
    return data


def test_a_name_that_stands_beside_in_utf_8_is_believed(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("plain.txt")
    entry.extra = struct.pack("<HHBI", 0x7075, 5 + 10, 1, zlib.crc32(b"plain.txt")) + "报告.txt".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(entry, b"x")
    assert list(taken(tmp_path, out.getvalue())) == ["报告.txt"]


def test_encrypted_and_damaged_members_are_told_of_and_the_others_taken(tmp_path: Path) -> None:
    data = bytearray(archive({"locked.txt": b"locked", "broken.txt": b"broken" * 9, "good.txt": b"good"}))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1
    data[data.index(b"broken.txt") + len("broken.txt") + 3] ^= 0xFF
    assert taken(tmp_path, bytes(data)) == {"good.txt": b"good"}
    told = text(tmp_path, bytes(data))
    assert "- locked.txt, 6 bytes: not taken, as it is encrypted" in told
    assert "- broken.txt, 54 bytes: not taken, as it is damaged" in told
    assert "- good.txt, 4 bytes" in told.splitlines()


def test_folders_and_what_programs_add_are_no_documents(tmp_path: Path) -> None:
    content = archive(
        {"docs/": b"", "docs/a.txt": b"x", "__MACOSX/docs/._a.txt": b"x", "docs/.DS_Store": b"x", "empty.txt": b""}
    )
    assert list(taken(tmp_path, content)) == ["docs/a.txt"]
    told = text(tmp_path, content)
    assert "empty.txt, 0 bytes: not taken, as it is empty" in told
    assert "docs/\n" not in told


@pytest.mark.parametrize(
    ("changed", "count", "sentence"),
    [
        ({"max_members": 2}, 2, "BRIGADE_MAX_MEMBERS)"),
        ({"max_members_bytes": 250}, 2, "BRIGADE_MAX_MEMBERS_BYTES)"),
        ({"max_document_bytes": 99}, 0, "BRIGADE_MAX_DOCUMENT_BYTES)"),
        ({"member_levels": 0}, 0, "BRIGADE_MAX_MEMBER_LEVELS)"),
    ],
)
def test_every_budget_is_kept_and_named(tmp_path: Path, changed: dict[str, int], count: int, sentence: str) -> None:
    content = archive({f"{number}.txt": b"x" * 100 for number in range(4)})
    assert len(taken(tmp_path, content, **changed)) == count
    assert text(tmp_path, content, **changed).count(sentence) == 4 - count


def test_a_bomb_that_lies_about_its_size_unfolds_to_no_more_than_it_says(tmp_path: Path) -> None:
    data = bytearray(archive({"bomb.txt": bytes(1 << 20), "good.txt": b"good"}))
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(mark) + at, 500)
    assert taken(tmp_path, bytes(data)) == {"good.txt": b"good"}


def test_an_archive_of_a_million_files_is_refused_before_they_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    count = 1_000_000
    path.write_bytes(entry * count + b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 1, len(entry) * count, 0, 0))
    with pytest.raises(Rejected, match="BRIGADE_MAX_ARCHIVE_ENTRIES") as caught:
        list(zips.extract(path, options()))
    assert caught.value.code == "TOO_MANY_ENTRIES"


@pytest.mark.parametrize("cut", [10, 60])
def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    with pytest.raises(Rejected, match="damaged") as caught:
        taken(tmp_path, archive({"a.txt": b"Hello" * 20})[:-cut])
    assert caught.value.code == "FILE_DAMAGED"


def test_what_was_not_taken_of_thousands_is_counted(tmp_path: Path) -> None:
    content = archive({f"{number}.txt": b"x" for number in range(1500)})
    told = text(tmp_path, content, max_archive_entries=2000)
    assert told.rstrip().endswith("- … and 490 more that were not taken")


def frame(path: bytes, content: bytes = b"x", size: int | None = None) -> bytes:
    return struct.pack(">QI", len(content) if size is None else size, len(path)) + content + path


@pytest.mark.parametrize(
    "frames",
    [
        frame(b"../a"),
        frame(b"/a"),
        frame(b""),
        frame(b"a\x00b"),
        frame(b"\xff"),
        frame(b"a") * 2,
        frame(b"a", size=1 << 60),
        frame(b"a")[:-1],
        frame(b"a")[:7],
        b"".join(frame(b"%d" % number) for number in range(11)),
        frame(b"x" * 2000),
    ],
)
def test_a_child_that_was_taken_over_names_no_other_key(frames: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        list(framing.read(io.BytesIO(frames), 10))
    assert caught.value.code == "EXTRACT_CRASHED"


def test_a_second_reading_finds_the_same(tmp_path: Path) -> None:
    content = archive({"b.txt": b"1", "a.txt": b"2", "B.txt": b"3"})
    assert list(taken(tmp_path, content).items()) == list(taken(tmp_path, content).items())
