"""Pictures by Pillow: a page for each of a TIFF's, else one. OCR reads them, each in a run of the jail of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from common.errors import Rejected
from common.records import Page
from functions.extractors import Options

# No others are tried, whatever the file says it is.
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
# Others have pictures that follow one another in time, or the same in other sizes.
_PAGED = "TIFF"
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError)
# Ours is the setting max_image_pixels, which is looked at before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


def extract(path: Path, options: Options) -> Iterator[Page]:
    """A page without text for each picture, all of them scans. Raises `Rejected`: FILE_DAMAGED, IMAGE_TOO_LARGE."""
    with _opened(path, options) as image:
        count = getattr(image, "n_frames", 1) if image.format == _PAGED else 1
        options.demand(pages=count)
        _demand_size(image, options)
    for number in range(1, count + 1):
        options.scan(number)
        yield Page(number, "")


def picture(path: Path, number: int, max_pixels: int, options: Options) -> tuple[Image.Image, float]:
    """Page `number`, upright, in RGB on white, in at most so many pixels; and how many of its own are one of these.

    Raises `Rejected` as `extract` does.
    """
    with _opened(path, options) as image:
        image.seek(number - 1)
        _demand_size(image, options)
        pixels = image.width * image.height
        if pixels > max_pixels:
            # JPEG can be decoded smaller at once.
            image.draft("RGB", _shrunk(image, pixels, max_pixels))
        image.load()
        found = _in_rgb(ImageOps.exif_transpose(image))
        if found.width * found.height > max_pixels:
            found.thumbnail(_shrunk(found, found.width * found.height, max_pixels))
        return found, (pixels / (found.width * found.height)) ** 0.5


def _shrunk(image: Image.Image, pixels: int, most: int) -> tuple[int, int]:
    scale = (most / pixels) ** 0.5
    return max(int(image.width * scale), 1), max(int(image.height * scale), 1)


@contextmanager
def _opened(path: Path, options: Options) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_FORMATS) as image:
            yield image
    except _ERRORS as error:
        raise Rejected(
            f"{options.name} is damaged or incomplete: it cannot be read as a picture. Upload it again.",
            code="FILE_DAMAGED",
        ) from error


def _demand_size(image: Image.Image, options: Options) -> None:
    width, height = image.size
    if width * height > options.max_image_pixels:
        raise Rejected(
            f"{options.name} is {width:,} by {height:,} pixels large, more than the {options.max_image_pixels:,} that "
            "one picture may have (BRIGADE_MAX_IMAGE_PIXELS).",
            code="IMAGE_TOO_LARGE",
        )


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # Grey of more than eight bits: its darkest becomes black, and its lightest white.
        grey = np.asarray(image, np.float32)
        low, high = float(grey.min()), float(grey.max())
        return Image.fromarray(((grey - low) * (255 / (high - low or 1))).astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image.convert("RGB")
