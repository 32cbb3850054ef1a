"""Text in photos, by RapidOCR (PP-OCRv6 small) with the models in its package: nothing is downloaded.

It finds lines of any script and reads Latin, Chinese and Japanese. Lines that it cannot read go to tesseract where that
is installed, with its packs for Cyrillic, Greek, Arabic, Thai, Korean and others (`tools/services/tesseract.py`).
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import UserError
from tools.results import Box, Sign, SignsRead
from tools.services.language_id import dominant_script, likely_languages
from tools.services.tesseract import Reading, Tesseract, TesseractError, has_enough_letters

if TYPE_CHECKING:
    from rapidocr import RapidOCR

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class OcrSettings:
    """How thoroughly a photo is searched for text.

    Attributes:
        threads: of ONNX Runtime, for one photo.
        at_once: pictures that several threads may read at once; each takes another 0.2 GB.
        min_confidence: of a line, below which it is not text but texture.
        detection_px: long side at which lines are looked for; smaller pictures are enlarged to it.
        gate_px: long side of a first look with a low threshold; a photo without a line there is not searched
            again. None: no first look.
        gate_threshold: of a line's score in the first look.
        sure_confidence: of a line as RapidOCR reads it, from which on tesseract is not asked.
        sure_characters: that a line must have for each of its heights that it is long, if tesseract is not to be
            asked: RapidOCR leaves out letters that it does not know.
        min_word_confidence: of tesseract's reading, below which its words are not believed.
        min_script_confidence: of tesseract's reading, below which its script is not believed either.

    The last four were set by hand on rendered signs and the 199 photos of docs/results.md, "Scripts of signs".
    """

    threads: int = 2
    at_once: int = 1
    min_confidence: float = 0.6
    detection_px: int = 960
    gate_px: int | None = 512
    gate_threshold: float = 0.3
    sure_confidence: float = 0.9
    sure_characters: float = 0.8
    min_word_confidence: float = 0.75
    min_script_confidence: float = 0.7


class _Line(NamedTuple):
    text: str
    confidence: float
    corners_xy: NDArray[np.float64]  # (4, 2) pixels of the picture given
    crop: Rgb  # upright


class OcrReader:
    """Reads the text in a picture. Models load at the first use; safe between threads."""

    def __init__(self, settings: OcrSettings = OcrSettings(), tesseract: Tesseract | None = None) -> None:
        self._settings = settings
        self._tesseract = tesseract or Tesseract()
        self._idle: queue.LifoQueue[RapidOCR | None] = queue.LifoQueue()
        """Engines, one a picture that may be read at once; None: one that nobody needed so far."""
        for _ in range(settings.at_once):
            self._idle.put(None)

    def read(self, rgb: Rgb) -> SignsRead:
        """Lines of text in a uint8 picture (height, width, 3), from top to bottom; boxes are fractions of it."""
        with self._engine() as engine:
            lines = self._lines(rgb, engine)
        others, problem = self._in_other_scripts(lines)
        height, width = rgb.shape[:2]
        both = zip(lines, others, strict=True)
        signs = [sign for line, other in both if (sign := self._sign(line, other, (width, height))) is not None]
        languages = likely_languages(" ".join(sign.text for sign in signs))
        return SignsRead(signs=tuple(signs), languages=languages, problem=problem)

    def _in_other_scripts(self, lines: Sequence[_Line]) -> tuple[list[Reading | None], str]:
        """What tesseract reads in the lines that RapidOCR cannot read, and what went wrong."""
        unsure = [i for i, line in enumerate(lines) if self._is_unsure(line)]
        found: list[Reading | None] = [None] * len(lines)
        try:
            readings = self._tesseract.read([lines[i].crop for i in unsure])
        except TesseractError as error:
            return found, f"lines in other scripts than Latin, Chinese and Japanese were not read: {error}"
        for i, reading in zip(unsure, readings, strict=True):
            found[i] = reading
        return found, ""

    def _is_unsure(self, line: _Line) -> bool:
        height, width = line.crop.shape[:2]
        characters = sum(not c.isspace() for c in line.text)
        too_few = characters < self._settings.sure_characters * width / height
        return too_few or line.confidence < self._settings.sure_confidence

    def _sign(self, line: _Line, other: Reading | None, size_px: tuple[int, int]) -> Sign | None:
        """The line in the script that it is in: its words, its script alone, or None where it is no text."""
        settings, box = self._settings, _box(line.corners_xy / size_px)
        if other is not None and other.confidence >= settings.min_script_confidence and has_enough_letters(other):
            words = other.text if other.confidence >= settings.min_word_confidence else ""
            return _sign(words, other.confidence, box, other.script)
        if line.text.strip() and line.confidence >= settings.min_confidence:
            return _sign(line.text, line.confidence, box, dominant_script(line.text))
        return None

    def _lines(self, rgb: Rgb, engine: RapidOCR) -> list[_Line]:
        """Every line found, with RapidOCR's reading, which is empty where it knows no letter of it."""
        gate_px = self._settings.gate_px
        if gate_px is not None and not len(_boxes(engine, _fitted(rgb, gate_px), self._settings.gate_threshold)):
            return []
        picture = _enlarged(rgb, self._settings.detection_px)
        boxes = _boxes(engine, picture, threshold=0.5)
        if not len(boxes):
            return []
        crops = engine.crop_text_regions(_bgr(picture), boxes)
        read = engine.recognize_txt(crops)
        shrink = rgb.shape[1] / picture.shape[1]
        rows = zip(read.txts or (), read.scores, boxes * shrink, crops, strict=True)
        return [_Line(text, float(score), box, _bgr(crop)) for text, score, box, crop in rows]

    @contextmanager
    def _engine(self) -> Iterator[RapidOCR]:
        """An engine for one picture; it bears no second thread."""
        engine = self._idle.get()
        try:
            if engine is None:
                from rapidocr import RapidOCR

                engine = RapidOCR(params=_parameters(self._settings))
            yield engine
        finally:
            self._idle.put(engine)


def _boxes(engine: RapidOCR, picture: Rgb, threshold: float) -> NDArray[np.float32]:
    """Corners (n, 4, 2) of the lines found, in pixels."""
    found = engine(_bgr(picture), use_det=True, use_cls=False, use_rec=False, box_thresh=threshold)
    boxes = getattr(found, "boxes", None)
    return np.empty((0, 4, 2), np.float32) if boxes is None else np.asarray(boxes, np.float32)


def _parameters(settings: OcrSettings) -> dict[str, Any]:
    """Settings of the engine. With its models named by path it never reaches its downloader."""
    runtime = "EngineConfig.onnxruntime"
    return {
        "Global.log_level": "critical",
        "Global.text_score": 0.0,
        "Det.model_path": str(_bundled_model("det")),
        "Cls.model_path": str(_bundled_model("cls")),
        "Rec.model_path": str(_bundled_model("rec")),
        "Det.limit_type": "max",
        "Det.limit_side_len": settings.detection_px,
        f"{runtime}.intra_op_num_threads": settings.threads,
        f"{runtime}.inter_op_num_threads": 1,
    }


def _bundled_model(task: str) -> Path:
    import rapidocr

    folder = Path(rapidocr.__file__).parent / "models"
    models = sorted(folder.glob(f"*_{task}_*.onnx"))
    if len(models) != 1:
        raise UserError(
            f"Reading signs needs exactly one {task} model in {folder}, found {len(models)}: "
            "pip install --force-reinstall rapidocr"
        )
    return models[0]


def _sign(text: str, confidence: float, box: Box, script: str) -> Sign:
    languages = likely_languages(text)
    return Sign(text=text, confidence=min(1.0, confidence), box=box, script=script, languages=languages)


def _box(corners: NDArray[np.float64]) -> Box:
    """The upright box around four corners in fractions, held inside the picture and never empty."""
    left, top = np.clip(corners.min(axis=0), 0.0, 0.999)
    right, bottom = np.clip(corners.max(axis=0), (left + 0.001, top + 0.001), 1.0)
    return Box(left=float(left), top=float(top), right=float(right), bottom=float(bottom))


def _fitted(rgb: Rgb, long_side_px: int) -> Rgb:
    image = Image.fromarray(rgb)
    scale = long_side_px / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _enlarged(rgb: Rgb, long_side_px: int) -> Rgb:
    return rgb if max(rgb.shape[:2]) >= long_side_px else _fitted(rgb, long_side_px)


def _bgr(rgb: Rgb) -> Rgb:
    return np.ascontiguousarray(rgb[:, :, ::-1])
