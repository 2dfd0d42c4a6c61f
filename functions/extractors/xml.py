"""XML as text: elements that hold only words as names and values, mixed ones as paragraphs; a stream, never a tree."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options
from functions.extractors.fields import rows
from functions.pieces import Piece, in_records

_READ_BYTES = 64 * 1024
# What an element may hold before it is told: hostile ones have no end.
_FIELDS_HELD = 200


def extract(path: Path, options: Options) -> Iterator[Page]:
    """One page. Raises `Rejected` (FILE_DAMAGED). Entities are left out, and nothing is fetched."""
    yield from in_records(_pieces(path, options))


def _pieces(path: Path, options: Options) -> Iterator[Piece]:
    told = _Teller()
    parser = etree.XMLParser(target=told, resolve_entities=False, no_network=True, load_dtd=False)
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                parser.feed(block)
                yield from told.taken()
        parser.close()
    except etree.XMLSyntaxError as error:
        raise Rejected(
            f"{options.name} is damaged: it cannot be read as XML to its end ({error.msg}).", code="FILE_DAMAGED"
        ) from error
    yield from told.taken()


@dataclass(slots=True)
class _Element:
    name: str
    attributes: list[tuple[str, str]]
    fields: list[tuple[str, str]] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    has_children: bool = False
    is_mixed: bool = False


class _Teller:
    """What lxml calls for each tag and text."""

    def __init__(self) -> None:
        self._open: list[_Element] = []
        self._made: deque[Piece] = deque()

    def taken(self) -> Iterator[Piece]:
        while self._made:
            yield self._made.popleft()

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._open:
            self._open[-1].has_children = True
        self._open.append(_Element(_local(tag), [(_local(name), value) for name, value in attributes.items()]))

    def data(self, text: str) -> None:
        element = self._open[-1]
        element.inline.append(text)
        element.is_mixed = element.is_mixed or not text.isspace()

    def end(self, _tag: str) -> None:
        element = self._open.pop()
        if element.has_children and not element.is_mixed:
            self._tell(element)
        else:
            self._close(element)

    def close(self) -> None:
        """Nothing is returned: what was read was told."""

    def _close(self, element: _Element) -> None:
        """What holds words is a value of what it is in, and part of its text, if that turns out to have one."""
        text = " ".join("".join(element.inline).split())
        if not self._open:
            self._made += rows((), [*element.attributes, ("", text)])
            return
        outer = self._open[-1]
        outer.inline.append(text)
        outer.fields += [(f"{element.name} {name}", value) for name, value in element.attributes]
        outer.fields.append((element.name, text))
        if len(outer.fields) >= _FIELDS_HELD and not outer.is_mixed:
            self._tell(outer)

    def _tell(self, element: _Element) -> None:
        path = [one.name for one in self._open[1:] if one is not element]
        self._made += rows([*path, element.name] if self._open else (), [*element.attributes, *element.fields])
        element.attributes, element.fields, element.inline = [], [], []


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
