"""Export a trained model as the folder that ships.

    python -m retrieval.training.compact.export configs/compact.yaml FOLDER [key=value ...]

Writes `photos.onnx`, `points.onnx`, `weights.safetensors` and `card.json`.
Batch normalisation is folded into the convolutions, weights are rounded to
half precision, and both graphs read them from the one safetensors file, so
nothing is stored twice. The graphs are checked against torch.
"""

from __future__ import annotations

import copy
import json
import struct
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import torch
from onnx import TensorProto, external_data_helper, helper
from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import UserError
from core.files import sha256_of_file
from retrieval.backbones.compact import fold_norms
from retrieval.training.compact.model import CompactModel
from retrieval.training.config import CompactConfig, load_compact_config, require_arguments
from retrieval.training.run_folder import TrainingRunFolder, read_state

WEIGHTS = "weights.safetensors"
TOLERANCE = 1e-4


def shipped_form(model: CompactModel) -> CompactModel:
    """A float32 copy with folded norms and weights rounded to half precision."""
    shipped = copy.deepcopy(model).cpu().eval()
    fold_norms(shipped.photos.backbone)
    return shipped.half().float()


def export(model: CompactModel, size_px: int, folder: Path) -> None:
    """Write the weights and both graphs into `folder`.

    Raises:
        UserError: the graphs do not compute what torch computes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shipped = shipped_form(model)
    state = {name: tensor.half().contiguous() for name, tensor in shipped.state_dict().items()}
    save_file(state, str(folder / WEIGHTS))
    (folder / WEIGHTS).chmod(0o644)  # safetensors keeps its files private
    pixels = torch.randint(0, 256, (2, size_px, size_px, 3), dtype=torch.uint8)
    positions = torch.tensor([[48.86, 2.35], [-33.87, 151.21]])
    _graph(shipped.photos, pixels, folder / "photos.onnx", "photos.", ("image", "semantic", "fused"))
    _graph(shipped.points, positions, folder / "points.onnx", "points.", ("point",))
    for module, sample, name in ((shipped.photos, pixels, "photos"), (shipped.points, positions, "points")):
        worst = _worst_difference(module, sample, folder / f"{name}.onnx")
        if worst > TOLERANCE:
            raise UserError(f"{name}.onnx differs from torch by {worst:.1e} (limit {TOLERANCE:.0e}): do not ship it")


def _graph(module: nn.Module, sample: Tensor, path: Path, prefix: str, outputs: tuple[str, ...]) -> None:
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    program = torch.onnx.export(
        module,
        (sample,),
        dynamo=True,
        optimize=False,
        input_names=["input"],
        output_names=list(outputs),
        dynamic_shapes=({0: batch},),
        verbose=False,
    )
    assert program is not None, "dynamo export returns a program"  # noqa: S101  # by its documentation
    proto = program.model_proto
    _point_at_weights(proto, path.parent / WEIGHTS, prefix)
    onnx.save_model(proto, str(path))


def _point_at_weights(model: onnx.ModelProto, weights: Path, prefix: str) -> None:
    """Replace the initialisers that are in the weight file by references to it and casts from half precision."""
    spans, casts = _spans(weights), []
    for tensor in model.graph.initializer:
        span = spans.get(prefix + tensor.name)
        if span is None:
            continue
        casts.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
        tensor.name = f"{tensor.name}.half"
        tensor.data_type = TensorProto.FLOAT16
        tensor.raw_data = b"\0"
        external_data_helper.set_external_data(tensor, WEIGHTS, offset=span[0], length=span[1])
        tensor.ClearField("raw_data")
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _strip(model)


def _strip(model: onnx.ModelProto) -> None:
    """Remove debugging information, which names source files of the exporting machine."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    for item in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output, model.graph):
        del item.metadata_props[:]
        item.doc_string = ""


def _spans(weights: Path) -> dict[str, tuple[int, int]]:
    """Offset and length in bytes of each tensor in a safetensors file."""
    raw = weights.read_bytes()
    (header_length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + header_length])
    start = 8 + header_length
    return {
        name: (start + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in header.items()
        if name != "__metadata__"
    }


@torch.no_grad()
def _worst_difference(module: nn.Module, sample: Tensor, path: Path) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"input": sample.numpy()})
    wanted = module(sample)
    wanted = [wanted] if isinstance(wanted, Tensor) else list(wanted)
    return max(float(np.abs(f - w.numpy()).max()) for f, w in zip(found, wanted, strict=True))


def write_card(config: CompactConfig, folder: Path) -> None:
    """Write `card.json`: description, training configuration, and the SHA-256 of each file."""
    card = {
        "name": config.name,
        "dim": config.model.dim,
        "size_px": config.model.size_px,
        "files": {name: sha256_of_file(folder / name) for name in ("photos.onnx", "points.onnx", WEIGHTS)},
        **config.card.model_dump(),
        "command": f"python -m retrieval.training.train configs/{config.name}.yaml",
        "config": json.loads(config.model_dump_json(exclude={"data", "run", "device", "threads", "card"})),
    }
    TrainingRunFolder(folder).save_card(card)


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    require_arguments(arguments, __doc__, least=2)
    try:
        config = load_compact_config(Path(arguments[0]), arguments[2:])
        state = read_state(config.run / "model.pt", "trained model")
        trained = CompactConfig.model_validate_json(state["config"])
        model = CompactModel(trained.model, trained.seed)
        model.load_state_dict(state["model"])
        export(model, trained.model.size_px, Path(arguments[1]))
        write_card(trained.model_copy(update={"card": config.card}), Path(arguments[1]))
    except UserError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
