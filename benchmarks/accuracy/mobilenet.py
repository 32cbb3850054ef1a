"""The pretrained MobileNetV1 embedding that others are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

MODEL = "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
SIDE_PX = 224


def mobilenet_embeddings(weights: Path, photos: Sequence[Path]) -> NDArray[np.float32]:
    """Embeddings (n, 1024) of photos squeezed to 224 x 224, L2-normalised after removing the zero point."""
    net = Interpreter(model_path=str(weights / MODEL), num_threads=2)
    net.allocate_tensors()
    into, out = net.get_input_details()[0], net.get_output_details()[0]
    scale, zero = out["quantization"]
    vectors = []
    for path in tqdm(photos, desc="MobileNetV1"):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR))
        net.set_tensor(into["index"], pixels[None])
        net.invoke()
        vectors.append((net.get_tensor(out["index"]).ravel().astype(np.float32) - zero) * scale)
    stacked = np.stack(vectors)
    return np.asarray(stacked / np.linalg.norm(stacked, axis=1, keepdims=True), dtype=np.float32)
