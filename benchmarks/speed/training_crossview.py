"""What cross-view training at published size takes: operations a place, counted; hours and memory, estimated from them.

    python -m benchmarks.speed.training_crossview [--card-tflops 700]

Operations come from torch's FLOP counter on shapes alone; activations are counted as what autograd keeps. No GPU is
needed, and none is measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.training import ASSUMED_SHARE, TERA, hours
from retrieval.backbones.registry import load_image_backbone
from retrieval.training.config import CrossviewConfig, load_config

CONFIGS = Path(__file__).parents[2] / "configs"


class Published(NamedTuple):
    """A configuration, what it overrides, and how many queries an epoch has (from the papers)."""

    config: str
    overrides: tuple[str, ...]
    queries: int


RUNS = {
    "CVUSA": Published("crossview_cvusa", (), 35_532),
    "VIGOR, same area": Published("crossview_cvusa", ("data.layout=vigor", "model.sizes.ground_px=[384,768]"), 52_609),
    "MMLandmarks, 3 photos a query": Published("crossview_mmlandmarks", (), 110_000),
}


class Counted(NamedTuple):
    """Of one picture: operations forward, and bytes that autograd keeps of it in half precision."""

    flops: float
    kept_bytes: float


def count_picture(height_px: int, width_px: int) -> Counted:
    """What ConvNeXt-B does with one picture."""
    with torch.device("meta"):
        backbone = load_image_backbone("transformers", "random").requires_grad_(True)
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += 0 if isinstance(tensor, torch.nn.Parameter) else tensor.numel() * 2
        return tensor

    pixels = torch.empty(1, height_px, width_px, 3, dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        backbone(pixels)
    return Counted(float(counter.get_total_flops()), float(kept))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card-tflops", type=float, default=700.0, help="matmul rate that the estimate assumes")
    chosen = parser.parse_args()
    print("| run | operations a query | queries x epochs | hours, one card | activations of a batch on one card |")
    print("|---|---|---|---|---|")
    for name, run in RUNS.items():
        config = load_config(CONFIGS / f"{run.config}.yaml", run.overrides)
        assert isinstance(config, CrossviewConfig)  # noqa: S101  # it is ours
        ground, tile = (count_picture(*size) for size in (config.model.sizes.ground_px, config.model.sizes.tile_px))
        photos = config.data.photos
        flops = 3.0 * (photos * ground.flops + tile.flops)
        kept_gb = config.loop.batch * (photos * ground.kept_bytes + tile.kept_bytes) / 1e9
        taken = hours(flops, run.queries * config.loop.epochs, chosen.card_tflops * TERA * ASSUMED_SHARE)
        epochs = f"{run.queries:,} x {config.loop.epochs}"
        print(f"| {name} | {flops / TERA:.2f} T | {epochs} | {taken:.1f} | {kept_gb:.0f} GB |")


if __name__ == "__main__":
    main()
