"""What the encoders cost on one CPU core: CPU seconds a photo and a position, with random weights of the real shape.

    python -m benchmarks.speed.encoders [--photos 2] [--positions 2048]
    python -m benchmarks.speed.encoders --batches 1 4 16      # only what batches of photos gain, resizing included

CPU time is counted, not time on the wall, so a busy machine changes little.
GeoCLIP's GPS encoder has its released weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from retrieval.backbones.registry import load_image_backbone, load_segmenter
from retrieval.encoders.compact import Pixels
from retrieval.encoders.fusion import FusionEncoder
from retrieval.encoders.geoclip import load_locations
from retrieval.encoders.geoclip_release import find_release
from retrieval.encoders.registry import load_encoder
from retrieval.photos.photo import Photo

IMAGE_BACKBONES = ("compact", "dinov3", "siglip2", "clip-vit-l14")
SEGMENTERS = ("compact-segments", "segformer-b5-ade", "mask2former")


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call after a first that is not counted."""
    work()
    start = time.process_time()
    work()
    return time.process_time() - start


def print_batches(batches: Sequence[int], rgb: Pixels) -> None:
    """Photos a CPU second of `compact` as it ships, the median of five rounds, and of CLIP, by photos in a call."""
    compact = load_encoder("compact", 1)
    clip = load_image_backbone("clip-vit-l14", "random")
    work: dict[str, tuple[int, Callable[[int], object]]] = {
        "compact": (5, lambda count: compact.encode_photos([Photo(rgb, "0" * 64, "photo")] * count)),
        "clip-vit-l14": (1, lambda count: clip(torch.from_numpy(np.stack([clip.prepare(rgb) for _ in range(count)])))),
    }
    print(f"| photos a CPU second, in batches of | {' | '.join(map(str, batches))} |\n|---|{'---|' * len(batches)}")
    for name, (rounds, encode) in work.items():
        encode(1)
        rates = np.median([[photos_per_cpu_second(encode, size) for size in batches] for _ in range(rounds)], axis=0)
        print(f"| {name} | {' | '.join(f'{rate:.3g}' for rate in rates)} |", flush=True)


def photos_per_cpu_second(encode: Callable[[int], object], size: int) -> float:
    """Over as many calls as take a CPU second, or one that takes longer."""
    calls, start = 0, time.process_time()
    while (seconds := time.process_time() - start) < 1.0:
        encode(size)
        calls += 1
    return calls * size / seconds


def parameters_m(module: torch.nn.Module) -> float:
    return sum(one.numel() for one in module.parameters()) / 1e6


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--positions", type=int, default=2048)
    parser.add_argument("--batches", type=int, nargs="+", help="photos in a call")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rgb = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    if arguments.batches:
        print_batches(arguments.batches, rgb)
        return
    print("| network | million weights | CPU s a photo |\n|---|---|---|")
    for name in (*IMAGE_BACKBONES, *SEGMENTERS):
        net = load_image_backbone(name, "random") if name in IMAGE_BACKBONES else load_segmenter(name, 16, "random")
        pixels = torch.from_numpy(np.stack([net.prepare(rgb)] * arguments.photos))
        seconds = cpu_seconds(lambda net=net, pixels=pixels: net(pixels)) / arguments.photos  # type: ignore[misc]  # defaults bind the loop's values
        print(f"| {name} | {parameters_m(net):.1f} | {seconds:.3f} |", flush=True)
    fusion = FusionEncoder(1024, 150, 512, 8, 2, expansion=4).eval()
    tokens, classes = torch.randn(8, 256, 1024), torch.rand(8, 256, 150)
    print(f"| fusion, 2 layers | {parameters_m(fusion):.1f} | {cpu_seconds(lambda: fusion(tokens, classes)) / 8:.3f} |")
    locations = load_locations(find_release().location)
    places = torch.rand(arguments.positions, 2) * 100.0
    seconds = cpu_seconds(lambda: locations(places)) / arguments.positions
    print(f"\nGeoCLIP's GPS encoder: {seconds * 1e3:.3f} CPU ms a position, {seconds * 1e5:.0f} CPU s for 100,000")


if __name__ == "__main__":
    main()
