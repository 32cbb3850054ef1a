"""A real encoder folder, a few kilobytes in size: random projections, for tests that need any encoder at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DIM, SIZE_PX = 16, 8


def write_tiny_encoder(folder: Path, seed: int = 0) -> Path:
    """Write `photos.onnx`, `points.onnx` and `card.json`; another seed makes another revision."""
    onnx = pytest.importorskip("onnx", reason="onnx comes with the train extra")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    photo_weights = rng.normal(size=(3 * SIZE_PX * SIZE_PX, DIM)).astype(np.float32)
    point_weights = rng.normal(size=(4, DIM)).astype(np.float32)
    onnx.save(_photos(onnx.helper, onnx.TensorProto, photo_weights), folder / "photos.onnx")
    onnx.save(_points(onnx.helper, onnx.TensorProto, point_weights), folder / "points.onnx")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("photos.onnx", "points.onnx")}
    card = {"name": "tiny", "dim": DIM, "size_px": SIZE_PX, "files": hashes}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def _photos(helper: Any, types: Any, weights: np.ndarray[Any, Any]) -> Any:
    nodes = [
        helper.make_node("Cast", ["input"], ["pixels"], to=types.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"], axis=1),
        helper.make_node("Sub", ["flat", "middle"], ["centred"]),
        helper.make_node("MatMul", ["centred", "weights"], ["projected"]),
        helper.make_node("LpNormalization", ["projected"], ["fused"], axis=1, p=2),
        helper.make_node("Identity", ["fused"], ["image"]),
        helper.make_node("Identity", ["fused"], ["semantic"]),
    ]
    given = helper.make_tensor_value_info("input", types.UINT8, ["n", SIZE_PX, SIZE_PX, 3])
    return _model(helper, types, nodes, given, ("image", "semantic", "fused"), {"weights": weights, "middle": _MIDDLE})


def _points(helper: Any, types: Any, weights: np.ndarray[Any, Any]) -> Any:
    nodes = [
        helper.make_node("Mul", ["input", "radians"], ["angles"]),
        helper.make_node("Sin", ["angles"], ["sines"]),
        helper.make_node("Cos", ["angles"], ["cosines"]),
        helper.make_node("Concat", ["sines", "cosines"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "weights"], ["projected"]),
        helper.make_node("LpNormalization", ["projected"], ["point"], axis=1, p=2),
    ]
    given = helper.make_tensor_value_info("input", types.FLOAT, ["n", 2])
    return _model(helper, types, nodes, given, ("point",), {"weights": weights, "radians": _RADIANS})


_MIDDLE = np.array([120.5], np.float32)
_RADIANS = np.array([np.pi / 180.0], np.float32)


def _model(helper: Any, types: Any, nodes: Any, given: Any, outputs: Any, weights: dict[str, Any]) -> Any:
    made = [helper.make_tensor_value_info(name, types.FLOAT, ["n", DIM]) for name in outputs]
    kept = [helper.make_tensor(name, types.FLOAT, w.shape, w.tobytes(), raw=True) for name, w in weights.items()]
    graph = helper.make_graph(nodes, "tiny", [given], made, kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
