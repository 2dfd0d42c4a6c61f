from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import Rejected
from functions.extractors import rtf
from functions.pieces import Piece
from tests.unit.extractors.reading import pieces

_HEAD = rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Arial;}{\f1\fcharset134 SimSun;}}{\colortbl;\red0;}"
_HEAD += rb"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}{\s2 \'dcberschrift 2;}}{\info{\title No}}"


def read(body: bytes, tmp_path: Path) -> list[Piece]:
    return pieces(rtf, _HEAD + body + b"}\n\0", tmp_path)


def test_rtf_gives_text_in_all_the_ways_it_writes_letters(tmp_path: Path) -> None:
    body = rb"caf\'e9 {\f1\'c4\'e3\'ba\'c3\'81A} \u8364?\uc2\u-10179\'3f\'3f\uc1\u-8704? \{a\}\~b\_c\line d\emdash e"
    assert read(body, tmp_path) == [Piece("café 你好\N{CJK UNIFIED IDEOGRAPH-4E04} €😀 {a}\xa0b-c\nd—e")]


def test_rtf_knows_headings_items_and_notes_and_leaves_out_what_is_aside(tmp_path: Path) -> None:
    body = (
        rb"\pard\s1 One\par\pard\s2 Two\par\pard\outlinelevel2 Three\par\pard{\header running}{\*\unknown gone}"
        rb"{\listtext\'b7\tab}dash\par{\pntext 4.\tab}four\par\pard text{\footnote A note\par}"
        rb"{\field{\*\fldinst HYPERLINK x}{\fldrslt link}}{\pict ffff}{\*\shppict{\pict\bin4 }}}}}}\par last\par} after"
    )
    assert read(body, tmp_path) == [
        Piece("One", "heading", 1),
        Piece("Two", "heading", 2),
        Piece("Three", "heading", 3),
        Piece("- dash", "item"),
        Piece("4. four", "item"),
        Piece("textlink"),
        Piece("A note"),
        Piece("last"),
    ]


def test_rtf_tables_keep_their_headers(tmp_path: Path) -> None:
    body = rb"\trowd\trhdr\cellx1\cellx2\intbl 2023\cell Age\cell\row"
    body += rb"\trowd\cellx1\cellx2\pard\intbl Ann\par Bob\cell 4\cell\row"
    assert read(body + rb"\pard after", tmp_path) == [Piece("2023: Ann Bob; Age: 4", "row"), Piece("after")]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece",
    [
        *(b"{", rb"\par ", rb"\'c4", rb"\u12345?", rb"\cell", rb"\pict ff", b" ", b"\\", b"\n", rb"{\footnote "),
        *(
            rb'{\field{\*\fldinst{HYPERLINK "',
            rb"\fonttbl{\f0\fcharset",
            rb"{\listtext a\par ",
            rb"\bin99999 x",
            rb"\uc99\u1",
        ),
    ],
)
def test_rtf_takes_no_more_time_than_its_length_explains(piece: bytes, tmp_path: Path) -> None:
    with pytest.raises(Rejected) as caught:
        pieces(rtf, _HEAD + piece * (100_000 // len(piece)), tmp_path)
    assert caught.value.code == "FILE_DAMAGED"


def test_rtf_longer_than_a_block_is_read_as_one_that_is_not(tmp_path: Path) -> None:
    body = b"".join(rb"{\b word%d} \'e9\u8364?\bin3 }}}\par " % number for number in range(9000))
    assert [piece.text for piece in read(body, tmp_path)] == [f"word{number} é€" for number in range(9000)]


def test_rtf_holds_bytes_that_are_none_of_its_own(tmp_path: Path) -> None:
    assert read(rb"before{\pict\bin600000 " + b"}" * 600_000 + rb"} after", tmp_path) == [Piece("before after")]


def test_rtf_without_its_end_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as caught:
        pieces(rtf, _HEAD + rb"text {\b more", tmp_path)
    assert caught.value.code == "FILE_DAMAGED"
    assert "to its end" in caught.value.message
