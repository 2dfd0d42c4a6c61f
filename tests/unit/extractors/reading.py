"""Documents through their extractors as plain calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from functions.extractors import Options
from functions.pieces import Piece, pieces_of

_MIB = 1 << 20


def options(**given: Any) -> Options:
    budgets: dict[str, Any] = {"max_inflated_bytes": 256 * _MIB, "max_pages": 1000, "max_characters": 1 << 30}
    return Options(name="document", **{**budgets, **given})


def pages(extractor: Any, content: bytes, tmp_path: Path, given: Options | None = None) -> dict[int, list[Piece]]:
    """The pieces of each page."""
    path = tmp_path / "document"
    path.write_bytes(content)
    found: dict[int, list[Piece]] = {}
    for page in extractor.extract(path, given or options()):
        found.setdefault(page.number, []).extend(pieces_of(page))
    return found


def pieces(extractor: Any, content: bytes, tmp_path: Path, given: Options | None = None) -> list[Piece]:
    """The pieces of a document that has one page."""
    found = pages(extractor, content, tmp_path, given)
    assert list(found) == [1]
    return found[1]


def read(extractor: Any, content: bytes, tmp_path: Path) -> str:
    """The text of a document that has one page."""
    path = tmp_path / "document"
    path.write_bytes(content)
    found = list(extractor.extract(path, options()))
    assert {page.number for page in found} == {1}
    return "\n".join(page.text for page in found).rstrip("\n")
