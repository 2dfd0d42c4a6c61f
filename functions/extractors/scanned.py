"""What runs in the jail for a page whose text can only be seen: drawn, read by OCR, written like those of jailed.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pymupdf

from common.errors import Rejected
from functions.extractors import PDF, Options, images
from functions.extractors.ocr import Image, Reader
from functions.extractors.written import writable
from functions.pieces import Piece, in_records, rewritten

TARGET = "functions.extractors.scanned:read"

# Models are loaded here and now: the zygote imports this module once, and each child has them for nothing.
READER = Reader()

_POINTS_PER_INCH = 72
# A page of A3 at 200 dots per inch has 8 million pixels.
MAX_PIXELS = 16_000_000


def read(source: Path, output: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write one page. Options: media_type, page, dpi, and what `Options` has. Returns the number of `characters`.

    Raises `Rejected` with FILE_DAMAGED.
    """
    given = dict(options)
    draw: Callable[..., tuple[Image, float]] = _drawn if given.pop("media_type") == PDF.media_type else _decoded
    number, dpi = given.pop("page"), given.pop("dpi")
    image, scale = draw(source, number, dpi, Options(**given))
    characters = 0
    with output.open("wb") as lines:
        for record in in_records(_writable(READER.pieces(image, scale)), number):
            characters += len(record.text)
            lines.write(msgspec.json.encode(record) + b"\n")
    return {"characters": characters}


def _writable(pieces: list[Piece]) -> Iterator[Piece]:
    return (rewritten(piece, writable) for piece in pieces)


def _drawn(path: Path, number: int, dpi: int, options: Options) -> tuple[Image, float]:
    """A PDF's page as it is seen, and how many points a pixel is."""
    try:
        with pymupdf.open(path, filetype="pdf") as document:
            page = document[number - 1]
            inches = abs(page.rect) / _POINTS_PER_INCH**2
            zoom = min(dpi, (MAX_PIXELS / max(inches, 1e-6)) ** 0.5) / _POINTS_PER_INCH
            drawn = page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom), alpha=False, colorspace=pymupdf.csRGB)
            shape = (drawn.height, drawn.stride)
            rows = np.frombuffer(drawn.samples_mv, np.uint8).reshape(shape)[:, : drawn.width * 3]
            return _blue_first(rows.reshape(drawn.height, drawn.width, 3)), 1 / zoom
    except (RuntimeError, ValueError, pymupdf.mupdf.FzErrorBase) as error:
        raise Rejected(
            f"Page {number} of {options.name} is damaged: it cannot be drawn.", code="FILE_DAMAGED"
        ) from error


def _decoded(path: Path, number: int, _: int, options: Options) -> tuple[Image, float]:
    """A picture, a point for each of its pixels."""
    image, scale = images.picture(path, number, MAX_PIXELS, options)
    return _blue_first(np.asarray(image)), scale


def _blue_first(image: Image) -> Image:
    return np.ascontiguousarray(image[:, :, ::-1])
