"""The pretrained networks that `compact` is distilled from, run from `.tflite` files.

MobileNetV1 1.0/224 (ImageNet) gives the token grid and, averaged, the
embedding; DeepLab on MobileNet-EdgeTPU gives Cityscapes class distributions.
Their weights are not copied into the student.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from retrieval.backbones.tflite import SEGMENT_SHAPE, TOKEN_SHAPE, TfLiteNet
from retrieval.encoders.compact import Pixels, preprocess
from retrieval.training.config import DataConfig

IMAGE_FILE = "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
SEGMENT_FILE = "deeplab_mobilenet_edgetpu_slim_cityscapes_quant.tflite"

TEACHER_PX = 224


class ImageTeacher:
    """MobileNetV1's last feature map as tokens."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._net = TfLiteNet(folder / IMAGE_FILE, TOKEN_SHAPE, threads)

    def tokens(self, rgb: Pixels) -> NDArray[np.uint8]:
        """Quantised tokens, uint8 (7, 7, 1024), of a photo (height, width, 3); 0 is 0.0, and cosines need no scale."""
        return self._net(preprocess(rgb, self._net.size_px))

    def embedding(self, rgb: Pixels) -> NDArray[np.float32]:
        """The mean token (1024,), L2-normalised: the pretrained baseline."""
        mean = self.tokens(rgb).reshape(-1, TOKEN_SHAPE[-1]).mean(axis=0, dtype=np.float32)
        return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


class SegmentTeacher:
    """DeepLab's distributions over the 19 Cityscapes classes."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._net = TfLiteNet(folder / SEGMENT_FILE, SEGMENT_SHAPE, threads)

    def distributions(self, rgb: Pixels) -> NDArray[np.float32]:
        """Class probabilities, float32 (33, 33, 19), of a photo (height, width, 3)."""
        logits = self._net.real(preprocess(rgb, self._net.size_px))
        exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(exp / exp.sum(axis=-1, keepdims=True), dtype=np.float32)


def teachers_folder(data: DataConfig) -> Path:
    """The folder of the `.tflite` files.

    Raises:
        UserError: not configured.
    """
    if data.teachers is None:
        raise UserError("data.teachers: set it to the folder of the .tflite files")
    return data.teachers
