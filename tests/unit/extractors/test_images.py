"""Pictures before OCR: what is decoded, how it is turned, and what is not touched."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from common.errors import Rejected
from common.settings import Settings
from functions.extractors import BMP, GIF, JPEG, PNG, TIFF, WEBP, Format, Options, images
from functions.ingest.extract import budgets

KINDS = {"PNG": PNG, "JPEG": JPEG, "TIFF": TIFF, "WEBP": WEBP, "BMP": BMP, "GIF": GIF}


def options(**settings: Any) -> Options:
    return Options(name="picture", **budgets(Settings(**settings)))


def saved(path: Path, image: Image.Image, kind: str, **more: Any) -> Path:
    image.save(path, kind, **more)
    return path


def marked(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> Image.Image:
    """White, with its upper left quarter black."""
    image = Image.new(mode, size, "white")
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 2 - 1, size[1] // 2 - 1), fill="black")
    return image


def is_marked(image: Image.Image) -> bool:
    width, height = image.size
    quarters = [(width // 4, height // 4), (3 * width // 4, height // 4), (width // 4, 3 * height // 4)]
    dark = [image.convert("L").getpixel(one) < 128 for one in quarters]  # type: ignore[operator]
    return dark == [True, False, False]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_each_format_is_one_page_for_ocr(kind: str, tmp_path: Path) -> None:
    path, given = saved(tmp_path / "picture", marked(), kind), options()
    assert [(page.number, page.text) for page in images.extract(path, given)] == [(1, "")]
    assert given.scans == [1]
    found, scale = images.picture(path, 1, 10_000, given)
    assert (found.mode, found.size, scale) == ("RGB", (60, 40), 1.0)
    assert is_marked(found)


def test_each_picture_of_a_tiff_is_a_page_and_of_others_only_the_first(tmp_path: Path) -> None:
    pages = [marked(), Image.new("RGB", (10, 10)), marked()]
    path, given = saved(tmp_path / "picture", pages[0], "TIFF", save_all=True, append_images=pages[1:]), options()
    assert [page.number for page in images.extract(path, given)] == given.scans == [1, 2, 3]
    assert is_marked(images.picture(path, 3, 10_000, given)[0])
    with pytest.raises(Rejected) as caught:
        list(images.extract(path, options(max_pages=2)))
    assert caught.value.code == "TOO_MANY_PAGES"
    path, given = saved(tmp_path / "moving", pages[0], "GIF", save_all=True, append_images=pages[1:]), options()
    assert [page.number for page in images.extract(path, given)] == [1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_upright(orientation: int, tmp_path: Path) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = marked() if orientation == 1 else marked().transpose(turns[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "photo", image, "JPEG", exif=exif)
    found, _ = images.picture(path, 1, 10_000, options())
    assert found.size == (60, 40)
    assert is_marked(found)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_pictures_of_all_kinds_of_pixels_are_seen_as_they_are_shown(mode: str, tmp_path: Path) -> None:
    image = marked()
    if mode == "RGBA":
        # What is not there is white.
        image = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
        ImageDraw.Draw(image).rectangle((0, 0, 29, 19), fill="black")
    elif mode == "I;16":
        grey = b"".join(
            struct.pack("<H", 100 if column < 30 and row < 20 else 4000) for row in range(40) for column in range(60)
        )
        image = Image.frombytes("I;16", (60, 40), grey)
    else:
        image = image.convert(mode)
    path = saved(tmp_path / "picture", image, "TIFF" if mode in ("CMYK", "I;16") else "PNG")
    found, _ = images.picture(path, 1, 10_000, options())
    assert found.mode == "RGB"
    assert is_marked(found)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_picture_is_made_smaller_and_says_by_how_much(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "picture", marked(size=(600, 400)), kind)
    found, scale = images.picture(path, 1, 6_000, options())
    assert found.width * found.height <= 6_000
    assert scale == pytest.approx(600 / found.width, rel=0.05)
    assert is_marked(found)


def png_that_says(width: int, height: int) -> bytes:
    """A header, and pixels that would unfold to what it says."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_a_picture_that_would_unfold_to_gigabytes_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(png_that_says(60_000, 50_000))
    for read in (lambda: list(images.extract(path, options())), lambda: images.picture(path, 1, 1000, options())):
        with pytest.raises(Rejected) as caught:
            read()
        assert caught.value.code == "IMAGE_TOO_LARGE"
        assert "60,000 by 50,000 pixels" in caught.value.message
        assert "BRIGADE_MAX_IMAGE_PIXELS" in caught.value.message


def whole(path: Path) -> None:
    list(images.extract(path, options()))
    images.picture(path, 1, 100_000, options())


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_picture_is_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise = Image.effect_noise((200, 200), 100)
    noise.convert("RGB").save(buffer, kind)
    path = tmp_path / "picture"
    for length in (30, len(buffer.getvalue()) // 2):
        path.write_bytes(buffer.getvalue()[:length])
        with pytest.raises(Rejected) as caught:
            whole(path)
        assert caught.value.code == "FILE_DAMAGED"
        assert caught.value.message.startswith("picture is damaged")


def test_what_only_says_that_it_is_a_picture_is_no_other_of_the_many_that_pillow_reads(tmp_path: Path) -> None:
    path = saved(tmp_path / "picture", marked(), "PPM")
    with pytest.raises(Rejected):
        list(images.extract(path, options()))


def test_every_picture_has_its_format() -> None:
    assert all(isinstance(kind, Format) and kind.module == images.__name__ for kind in KINDS.values())
