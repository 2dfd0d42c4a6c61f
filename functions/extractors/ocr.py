"""Text of pictures, by RapidOCR: PP-OCR's models for Chinese and English, which its wheel carries.

Nothing is ever downloaded: the models are named by their files, and RapidOCR asks the network only for those that are
not. One thread, as the jail allows: sessions are made before it closes, and used in it (common/jail_zygote.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

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
# What the model is less sure of is mostly no text; of what it reads as it stands, it is surer than this.
_LEAST_SCORE, _SURE = 0.5, 0.8
# Boxes are a little larger than the letters: of a font of one point they are so many high.
_BOX_HEIGHT = 1.3
# Lines of a paragraph are closer to each other than this, in units of their height; so columns hold together.
_REACH = 0.45

cv2.setNumThreads(1)


@dataclass(frozen=True, slots=True)
class Found:
    """Lines with their boxes, how sure the model is of a character, and whether the lines run from top to bottom."""

    lines: list[tuple[str, Box]]
    sureness: float
    runs_down: bool


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
                # The model that finds lines upside down finds some in every page of English; pages are turned instead.
                "Global.use_cls": False,
                # Lines of a batch are made as wide as its widest: one by one takes a fifth less time.
                "Rec.rec_batch_num": 1,
                "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
            }
        )
        self._warm_up()

    def pieces(self, image: Image, scale: float) -> list[Piece]:
        """What stands in the picture, in the order of reading. Boxes in pixels times `scale`."""
        found = self._read(image)
        if 0 < found.sureness < _SURE:
            # Upside down or on its side, as it may have lain in the scanner.
            turns = (1, 3) if found.runs_down else (2,)
            found = max([found, *(self._read(image, turn) for turn in turns)], key=lambda one: one.sureness)
        return list(_pieces([_print(text, [edge * scale for edge in box]) for text, box in found.lines]))

    def _read(self, image: Image, quarters: int = 0) -> Found:
        """What the picture says when it is turned left so many times. Boxes are in the picture as it is."""
        found = self._engine(np.ascontiguousarray(np.rot90(image, quarters)))
        if found.boxes is None or found.txts is None or found.scores is None:
            return Found([], 0.0, False)
        boxes = [_turned_back(corners, image.shape, quarters) for corners in found.boxes]
        length = sum(map(len, found.txts))
        sureness = sum(score * len(text) for score, text in zip(found.scores, found.txts, strict=True)) / max(length, 1)
        tall = sum(bottom - top > right - left for left, top, right, bottom in boxes)
        return Found(list(zip(found.txts, boxes, strict=True)), sureness, 2 * tall > len(boxes))

    def _warm_up(self) -> None:
        """Both models are loaded by the first picture that has text."""
        image = np.full((64, 320, 3), 255, np.uint8)
        cv2.putText(image, "warm up", (20, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
        self._engine(image)


def _turned_back(corners: npt.NDArray[np.int32], shape: tuple[int, ...], quarters: int) -> Box:
    """The box of these corners in the picture of this shape, which was turned left so many times."""
    height, width = shape[:2]
    across, down = corners[:, 0], corners[:, 1]
    # Where a point of the turned picture was: after one turn to the left, its top was the right edge.
    back = {
        0: (across, down),
        1: (width - down, across),
        2: (width - across, height - down),
        3: (down, height - across),
    }
    x, y = back[quarters]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


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
