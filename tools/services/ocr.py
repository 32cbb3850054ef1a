"""Text in photos, by RapidOCR (PP-OCRv6 small) with the models in its package: nothing is downloaded.

It reads Latin, Chinese and Japanese; it does not read Cyrillic, Thai, Korean, Arabic or Devanagari.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import UserError
from tools.results import Box, Sign
from tools.services.language_id import dominant_script, likely_languages

if TYPE_CHECKING:
    from rapidocr import RapidOCR

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class OcrSettings:
    """How thoroughly a photo is searched for text.

    Attributes:
        threads: of ONNX Runtime, for one photo.
        min_confidence: of a line, below which it is not text but texture.
        detection_px: long side at which lines are looked for; smaller pictures are enlarged to it.
        gate_px: long side of a first look with a low threshold; a photo without a line there is not searched
            again. None: no first look.
        gate_threshold: of a line's score in the first look.
    """

    threads: int = 2
    min_confidence: float = 0.6
    detection_px: int = 960
    gate_px: int | None = 512
    gate_threshold: float = 0.3


class _Line(NamedTuple):
    text: str
    confidence: float
    corners_xy: NDArray[np.float64]  # (4, 2) pixels of the picture given


class OcrReader:
    """Reads the text in a picture. Models load at the first use; safe between threads, one picture at a time."""

    def __init__(self, settings: OcrSettings = OcrSettings()) -> None:
        self._settings = settings
        self._engine: RapidOCR | None = None
        self._lock = threading.Lock()

    def read(self, rgb: Rgb) -> tuple[Sign, ...]:
        """Lines of text in a uint8 picture (height, width, 3), from top to bottom; boxes are fractions of it."""
        with self._lock:
            found = self._lines(rgb)
        height, width = rgb.shape[:2]
        return tuple(_sign(line, width, height) for line in found if line.confidence >= self._settings.min_confidence)

    def _lines(self, rgb: Rgb) -> list[_Line]:
        from rapidocr.utils.output import RapidOCROutput

        gate_px = self._settings.gate_px
        if gate_px is not None and not self._may_hold_text(_fitted(rgb, gate_px)):
            return []
        picture = _enlarged(rgb, self._settings.detection_px)
        found = self._loaded()(_bgr(picture), use_det=True, use_cls=False, use_rec=True, box_thresh=0.5)
        if not isinstance(found, RapidOCROutput) or found.txts is None or found.scores is None or found.boxes is None:
            return []
        shrink = rgb.shape[1] / picture.shape[1]
        rows = zip(found.txts, found.scores, found.boxes, strict=True)
        return [_Line(text, float(score), np.asarray(box, np.float64) * shrink) for text, score, box in rows]

    def _may_hold_text(self, picture: Rgb) -> bool:
        threshold = self._settings.gate_threshold
        found = self._loaded()(_bgr(picture), use_det=True, use_cls=False, use_rec=False, box_thresh=threshold)
        return getattr(found, "boxes", None) is not None

    def _loaded(self) -> RapidOCR:
        if self._engine is None:
            from rapidocr import RapidOCR

            self._engine = RapidOCR(params=_parameters(self._settings))
        return self._engine


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


def _sign(line: _Line, width_px: int, height_px: int) -> Sign:
    return Sign(
        text=line.text,
        confidence=min(1.0, line.confidence),
        box=_box(line.corners_xy / (width_px, height_px)),
        script=dominant_script(line.text),
        languages=likely_languages(line.text),
    )


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
