from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import Rejected
from functions.extractors import epub
from functions.pieces import Piece
from tests.unit import documents
from tests.unit.extractors.reading import options, pages

_RULES = "META-INF/encryption.xml"
_ENCRYPTED = '<encryption><EncryptedData><EncryptionMethod Algorithm="{}"/><CipherData/></EncryptedData></encryption>'


def test_each_chapter_is_a_page_and_title_and_authors_are_noted(tmp_path: Path) -> None:
    given = options()
    book = documents.epub("<title>The book</title><h1>One</h1><p>Text", "<ul><li>二")
    assert pages(epub, book, tmp_path, given) == {
        1: [Piece("One", "heading", 1), Piece("Text")],
        2: [Piece("- 二", "item")],
    }
    assert given.details == {"title": "The book", "author": "Ann, 李明", "encoding": "utf-8"}


def test_a_chapter_that_is_missing_is_said_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    given = options()
    assert pages(epub, documents.epub("<p>One", "", "<p>Three"), tmp_path, given)[3] == [Piece("Three")]
    assert given.details["unreadable_pages"] == [2]


@pytest.mark.parametrize(
    ("book", "code"),
    [
        (documents.epub("<p>x")[:-30], "FILE_DAMAGED"),
        (documents.archive({"META-INF/container.xml": b"<container/>"}), "FILE_DAMAGED"),
        (
            documents.epub("<p>x", members={_RULES: _ENCRYPTED.format("aes").encode()}),
            "PASSWORD_PROTECTED",
        ),
        (documents.epub("<p>x", "<p>y"), "TOO_MANY_PAGES"),
    ],
)
def test_a_book_that_cannot_be_read_is_refused(book: bytes, code: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected) as caught:
        pages(epub, book, tmp_path, options(max_pages=1))
    assert caught.value.code == code


def test_hidden_fonts_hide_no_text(tmp_path: Path) -> None:
    hidden = _ENCRYPTED.format("http://www.idpf.org/2008/embedding").encode()
    book = documents.epub("<p>x", members={_RULES: hidden})
    assert pages(epub, book, tmp_path) == {1: [Piece("x")]}
