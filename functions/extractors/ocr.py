"""Text of pictures, by RapidOCR: PP-OCR's models for Chinese and English, which its wheel carries.

Nothing is ever downloaded: the models are named by their files, and RapidOCR asks the network only for those that are
not. One thread, as the jail allows: sessions are made before it closes, and used in it (common/jail_zygote.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rapidocr import RapidOCR

from common.records import Box
from functions.extractors import printed_pieces
from functions.extractors.pdf_headings import Headings
from functions.extractors.printed import Print
from functions.extractors.reading_order import Item, reading_order
from functions.pieces import Piece

Image = npt.NDArray[np.uint8]
"""Height, width, and blue, green and red from 0 to 255."""

# Pixels. Text is looked for on a copy that is no longer than this, and read from the picture as it is.
_DETECT_SIDE = 1280
_LARGEST_SIDE = 10_000
# What the model is less sure of is mostly no text.
_LEAST_SCORE = 0.5
# Boxes are a little larger than the letters: of a font of one point they are so many high.
_BOX_HEIGHT = 1.3
# Lines of a paragraph are closer to each other than this, in units of their height; so columns hold together.
_REACH = 0.45

cv2.setNumThreads(1)


class Reader:
    """Loads its models when it is made: a second, and 150 MB."""

    def __init__(self) -> None:
        models = resources.files("rapidocr") / "models"
        self._engine = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.text_score": _LEAST_SCORE,
                "Global.max_side_len": _LARGEST_SIDE,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
                "Det.limit_type": "max",
                "Det.limit_side_len": _DETECT_SIDE,
                "Cls.model_path": str(models / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"),
                # Lines of a batch are made as wide as its widest: one by one takes a fifth less time.
                "Rec.rec_batch_num": 1,
                "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
            }
        )
        self._warm_up()

    def pieces(self, image: Image, scale: float) -> list[Piece]:
        """What stands in the picture, in the order of reading. Boxes in pixels times `scale`."""
        prints = [_print(text, [edge * scale for edge in box]) for text, box in self._lines(image)]
        return list(_pieces(prints))

    def _lines(self, image: Image) -> Iterator[tuple[str, Box]]:
        found = self._engine(image)
        if found.boxes is None or found.txts is None:
            return
        for corners, text in zip(found.boxes, found.txts, strict=True):
            left, top = corners.min(axis=0)
            right, bottom = corners.max(axis=0)
            yield text, (float(left), float(top), float(right), float(bottom))

    def _warm_up(self) -> None:
        """All three models are loaded by the first picture that has text."""
        image = np.full((64, 320, 3), 255, np.uint8)
        cv2.putText(image, "warm up", (20, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
        self._engine(image)


def _print(text: str, edges: list[float]) -> Print:
    left, top, right, bottom = edges
    size = min(bottom - top, right - left) / _BOX_HEIGHT
    return Print(text, (left, top, right, bottom), size, bold=False, mono=False)


def _pieces(prints: list[Print]) -> Iterator[Piece]:
    order = reading_order([_item(one) for one in prints])
    # A picture says nothing sure of sizes, so nothing in it is a heading.
    headings = Headings(body=float("inf"))
    return printed_pieces.composed(1, ([prints[one]] for one in order), headings)


def _item(one: Print) -> Item:
    left, top, right, bottom = one.box
    reach = _REACH * (bottom - top)
    return Item((left, top - reach, right, bottom + reach), bottom - top)


