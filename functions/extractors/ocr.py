"""Text of pictures, by RapidOCR: PP-OCR's models for Chinese and English, which its wheel carries.

Nothing is ever downloaded: the models are named by their files, and RapidOCR asks the network only for those that are
not. One thread, as the jail allows: sessions are made before it closes, and used in it (common/jail_zygote.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import resources

import cv2
import numpy as np
import numpy.typing as npt
from rapidocr import RapidOCR

from common.records import Box, Line
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
_LEAST_SCORE, _SURE, _AS_SURE = 0.5, 0.8, 0.05
# Boxes are a little larger than the letters: of a font of one point they are so many high.
_BOX_HEIGHT = 1.3
# Lines of a paragraph are closer to each other than this, in units of their height; so columns hold together.
_REACH = 0.45

cv2.setNumThreads(1)


@dataclass(frozen=True, slots=True)
class Found:
    """What the picture says when it is turned left by so many `quarters`: lines with their boxes in the turned one.

    `sureness`: of the model, of a character. `runs_down`: whether most lines do.
    """

    quarters: int
    lines: list[tuple[str, Box]]
    sureness: float = 0.0
    runs_down: bool = False


class Reader:
    """Loads its models when it is made: a second, and 150 MB."""

    def __init__(self) -> None:
        models = resources.files("rapidocr") / "models"
        self._engine = RapidOCR(
            params={
                "Global.log_level": "critical",
                # All of it is judged here: whether a page lies upside down is seen from what is not sure.
                "Global.text_score": 0.0,
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
        found = self._read(image, 0)
        if found.runs_down or 0 < found.sureness < _SURE:
            # Upside down or on its side, as it may have lain in the scanner.
            turned = [self._read(image, quarters) for quarters in ((1, 3) if found.runs_down else (2,))]
            # Lines on their side are read well too, but not in their order.
            best = max(turned, key=lambda one: one.sureness)
            found = best if best.sureness > found.sureness - _AS_SURE else found
        height, width = image.shape[:2]
        pieces = _pieces([_print(text, box) for text, box in found.lines])
        return [_placed(piece, lambda box: _turned_back(box, width, height, found.quarters), scale) for piece in pieces]

    def _read(self, image: Image, quarters: int) -> Found:
        read = self._engine(np.ascontiguousarray(np.rot90(image, quarters)))
        if read.boxes is None or read.txts is None or read.scores is None:
            return Found(quarters, [])
        edges = [(*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()) for corners in read.boxes]
        sure = sum(score * len(text) for score, text in zip(read.scores, read.txts, strict=True))
        tall = sum(bottom - top > right - left for left, top, right, bottom in edges)
        found = zip(read.txts, edges, read.scores, strict=True)
        return Found(
            quarters,
            [(text, box) for text, box, score in found if score >= _LEAST_SCORE],
            float(sure / max(sum(map(len, read.txts)), 1)),
            2 * tall > len(edges),
        )

    def _warm_up(self) -> None:
        """Both models are loaded by the first picture that has text."""
        image = np.full((64, 320, 3), 255, np.uint8)
        cv2.putText(image, "warm up", (20, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
        self._engine(image)


def _placed(piece: Piece, back: Callable[[Box], Box], scale: float) -> Piece:
    lines = (Line(start, back(box)) for start, box in piece.lines)
    scaled = (
        Line(start, (left * scale, top * scale, right * scale, bottom * scale))
        for start, (left, top, right, bottom) in lines
    )
    return replace(piece, lines=tuple(scaled))


def _turned_back(box: Box, width: int, height: int, quarters: int) -> Box:
    """Where this box is in a picture of this size, which was turned left by so many quarters."""
    left, top, right, bottom = box
    return {
        0: box,
        1: (width - bottom, left, width - top, right),
        2: (width - right, height - bottom, width - left, height - top),
        3: (top, height - right, bottom, height - left),
    }[quarters]


def _print(text: str, box: Box) -> Print:
    left, top, right, bottom = box
    size = min(bottom - top, right - left) / _BOX_HEIGHT
    return Print(text, box, size, bold=False, mono=False)


def _pieces(prints: list[Print]) -> Iterator[Piece]:
    order = reading_order([_item(one) for one in prints])
    # A picture says nothing sure of sizes, so nothing in it is a heading.
    headings = Headings(body=float("inf"))
    return printed_pieces.composed(1, ([prints[one]] for one in order), headings)


def _item(one: Print) -> Item:
    left, top, right, bottom = one.box
    reach = _REACH * (bottom - top)
    return Item((left, top - reach, right, bottom + reach), bottom - top)
