"""What cross-view training at published size takes: operations a place, counted; hours and memory, estimated from them.

    python -m benchmarks.speed.training_crossview [--card-tflops 700]

Operations come from torch's FLOP counter on shapes alone; activations are counted as what autograd keeps. Training,
finding hard negatives and validation are in the hours; reading and decoding are not. No GPU is needed, and none is
measured.
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
    """A configuration, what it overrides, and the size of its data (from the papers and the data sets' own pages).

    Attributes:
        queries: of an epoch.
        places: trained on; each is embedded whenever neighbours are found anew.
        held_out: places to validate on.
        photos_held_out: of one of them.
    """

    config: str
    overrides: tuple[str, ...]
    queries: int
    places: int
    held_out: int
    photos_held_out: float


RUNS = {
    "CVUSA": Published("crossview_cvusa", (), 35_532, 35_532, 8_884, 1.0),
    "VIGOR, same area": Published(
        "crossview_cvusa",
        ("data.layout=vigor", "model.sizes.ground_px=[384,768]"),
        52_609,
        52_609,
        52_605,
        1.0,
    ),
    # 310,661 photos of 17,557 landmarks, of which 1,024 are held out; groups of three, the last of a landmark smaller.
    "MMLandmarks, 3 photos a query": Published("crossview_mmlandmarks", (), 103_000, 16_533, 1_024, 17.7),
}


class Work(NamedTuple):
    """Operations of a whole run: training, finding hard negatives, validation."""

    training: float
    mining: float
    validation: float

    def hours(self, rate: float, cards: int) -> float:
        """Hours at operations a second and card; cards share training and mining, one alone validates."""
        return hours((self.training + self.mining) / cards + self.validation, 1.0, rate)


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


def count_work(run: Published, config: CrossviewConfig, ground: Counted, tile: Counted) -> Work:
    """Operations of a run: a query forward and backward, other pictures forward alone."""
    loop, sampling, photos = config.loop, config.sampling, config.data.photos
    query = photos * ground.flops + tile.flops
    minings = len(range(sampling.near_epochs, loop.epochs, sampling.similar_every)) if sampling.similar_every else 0
    # At the end the best weights are validated once more.
    validations = -(-loop.epochs // loop.validate_epochs) + 1 if loop.validate_epochs else 1
    held_out = min(run.held_out, config.validation.places)
    return Work(
        3.0 * query * run.queries * loop.epochs,
        query * run.places * minings,
        held_out * (run.photos_held_out * ground.flops + tile.flops) * validations,
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card-tflops", type=float, default=700.0, help="matmul rate that the estimate assumes")
    rate = parser.parse_args().card_tflops * TERA * ASSUMED_SHARE
    print(
        "| run | operations a query | queries x epochs | hours, one card | of which hard negatives / validation |"
        " eight cards | activations of a batch on one card |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, run in RUNS.items():
        config = load_config(CONFIGS / f"{run.config}.yaml", run.overrides)
        assert isinstance(config, CrossviewConfig)  # noqa: S101  # it is ours
        ground, tile = (count_picture(*size) for size in (config.model.sizes.ground_px, config.model.sizes.tile_px))
        work, photos = count_work(run, config, ground, tile), config.data.photos
        kept_gb = config.loop.batch * (photos * ground.kept_bytes + tile.kept_bytes) / 1e9
        one_query = 3.0 * (photos * ground.flops + tile.flops) / TERA
        print(
            f"| {name} | {one_query:.2f} T | {run.queries:,} x {config.loop.epochs} | {work.hours(rate, 1):.1f}"
            f" | {hours(work.mining, 1.0, rate):.2f} / {hours(work.validation, 1.0, rate):.2f}"
            f" | {work.hours(rate, 8):.2f} | {kept_gb:.0f} GB |"
        )


if __name__ == "__main__":
    main()
