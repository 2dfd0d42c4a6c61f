"""Pictures by Pillow: a page for each of a TIFF's, else one. Their text is for OCR, in a run of the jail for each page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        width, height = image.size
        shrink = (width * height / max_pixels) ** 0.5
        if shrink > 1:
            # JPEG can be decoded smaller at once.
            image.draft("RGB", (int(width / shrink), int(height / shrink)))
        found = _in_rgb(image)
        if found.width * found.height > max_pixels:
            found.thumbnail((int(width / shrink), int(height / shrink)))
        scale = width / found.width
        return ImageOps.exif_transpose(found), scale


@contextmanager
def _opened(path: Path, options: Options) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=_FORMATS) as image:
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
    image.load()
    exif = image.getexif()
    if image.mode.startswith(("I", "F")):
        # More than eight bits of grey: the darkest is black, and the lightest white.
        low, high = (float(edge) for edge in image.getextrema())
        grey = image.convert("F").point(lambda value: (value - low) * (255 / (high - low or 1)))
        found = grey.convert("L").convert("RGB")
    elif "A" in image.getbands() or "transparency" in image.info:
        seen = image.convert("RGBA")
        found = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    else:
        found = image.convert("RGB")
    found.getexif().update(exif)
    return found
