"""The pretrained nets the student learns from, run from `.tflite` files.

MobileNetV1 1.0/224 (ImageNet) gives the token grid and, averaged, the
embedding; DeepLab on MobileNet-EdgeTPU gives Cityscapes class distributions.
Their weights are never copied.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from geo.errors import UserError
from retrieval.compact_encoder import Pixels, preprocess

IMAGE_FILE = "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
SEGMENT_FILE = "deeplab_mobilenet_edgetpu_slim_cityscapes_quant.tflite"

TEACHER_PX = 224
TOKEN_SHAPE = (7, 7, 1024)
SEGMENT_SHAPE = (33, 33, 19)


class _TfLite:
    """One quantised net with one inner uint8 tensor, found by its shape, as output."""

    def __init__(self, path: Path, inner_shape: tuple[int, ...], threads: int) -> None:
        if not path.is_file():
            raise UserError(f"no teacher at {path}: set data.teachers to the folder of the .tflite files")
        with warnings.catch_warnings():
            # The interpreter warns that keeping inner tensors costs memory; here they are the point.
            warnings.simplefilter("ignore", UserWarning)
            self._net = Interpreter(str(path), num_threads=threads, experimental_preserve_all_tensors=True)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]
        self._inner = self._last_of_shape((1, *inner_shape))

    def _last_of_shape(self, shape: tuple[int, ...]) -> dict[str, Any]:
        details: list[dict[str, Any]] = self._net.get_tensor_details()
        return [d for d in details if tuple(d["shape"]) == shape][-1]

    def __call__(self, rgb: Pixels) -> NDArray[np.uint8]:
        pixels = preprocess(rgb, int(self._input["shape"][1]))
        self._net.set_tensor(self._input["index"], pixels[None])
        self._net.invoke()
        return np.asarray(self._net.get_tensor(self._inner["index"])[0], dtype=np.uint8)

    @property
    def scale_zero(self) -> tuple[float, int]:
        scale, zero = self._inner["quantization"]
        return float(scale), int(zero)


class ImageTeacher:
    """MobileNetV1's last feature map."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._net = _TfLite(folder / IMAGE_FILE, TOKEN_SHAPE, threads)

    def tokens(self, rgb: Pixels) -> NDArray[np.uint8]:
        """Quantised tokens (7, 7, 1024); zero means zero and the scale does not matter to cosines."""
        return self._net(rgb)

    def embedding(self, rgb: Pixels) -> NDArray[np.float32]:
        """The L2-normalised mean token (1024,): the pretrained baseline."""
        mean = self.tokens(rgb).reshape(-1, TOKEN_SHAPE[-1]).mean(axis=0, dtype=np.float32)
        return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


class SegmentTeacher:
    """DeepLab's class distributions over the 19 Cityscapes classes."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._net = _TfLite(folder / SEGMENT_FILE, SEGMENT_SHAPE, threads)

    def distributions(self, rgb: Pixels) -> NDArray[np.float32]:
        """Class probabilities (33, 33, 19) over the whole picture."""
        scale, zero = self._net.scale_zero
        logits = (self._net(rgb).astype(np.float32) - zero) * scale
        exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(exp / exp.sum(axis=-1, keepdims=True), dtype=np.float32)
