"""Training speed of `recipe: fusion`, and of a plain loop as published, measured in one run.

    python -m benchmarks.speed.training [--batch N] [--steps N] [--card-tflops T] [--usd-per-hour D]

On a GPU: CLIP ViT-L/14 + SegFormer-B5 with random weights in bfloat16. Without one: the tiny networks, whose
speed says nothing about a GPU; the operations of the full configuration are counted all the same, and hours are
estimated from them.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.training_published import PublishedLoop
from retrieval.backbones.registry import load_image_backbone, load_segmenter
from retrieval.photos.photo import decode_photo
from retrieval.training.config import FusionConfig, load_config
from retrieval.training.contrastive_task import ContrastiveTask
from retrieval.training.data.loading import LIMITS
from retrieval.training.distributed import ProcessGroup, pick_device
from retrieval.training.frozen_backbones import PIXELS, SEGMENT_PIXELS, FrozenBackbones
from retrieval.training.gradient_cache import GradientStep
from retrieval.training.towers import CLASSES, POSITIONS, TOKENS, TokenShape, Towers
from retrieval.training.trainer import Batch

MP16_PHOTOS, EPOCHS = 4_100_000, 10
CONFIG = Path(__file__).parents[2] / "configs" / "dualgeo_mp16.yaml"
TERA = 1e12
ASSUMED_SHARE = 0.4
"""Share of a card's matmul rate that the estimate assumes where nothing was measured on one."""


class Setup(NamedTuple):
    """Device, configuration and size of the measurement."""

    process_group: ProcessGroup
    config: FusionConfig
    batch: int
    steps: int

    @property
    def real(self) -> bool:
        """True with the real networks."""
        return self.process_group.device.type == "cuda"


class Measurement(NamedTuple):
    """The speed of one training loop: medians over the steps."""

    seconds: float
    photos: int
    flops: int
    memory_gb: float
    parts: dict[str, float]


class RandomPhotoLoader:
    """Random photos that lie on the device already; implements `retrieval.training.contrastive_task.BatchLoader`."""

    def __init__(self, setup: Setup, backbones: FrozenBackbones, *, segmenting: bool, timer: PhaseTimer) -> None:
        self.steps_per_epoch = setup.steps
        self._backbones, self._timer = backbones, timer
        device, generator = setup.process_group.device, torch.Generator().manual_seed(0)
        self._photos = {
            PIXELS: _pixels(setup.batch, backbones.image.description.preprocessing.size_px, generator, device)
        }
        assert backbones.segmenter is not None  # noqa: S101  # the configuration names one
        if segmenting:
            size_px = backbones.segmenter.description.preprocessing.size_px
            self._photos[SEGMENT_PIXELS] = _pixels(setup.batch, size_px, generator, device)
        else:
            shape = (setup.batch, backbones.shape.semantic_tokens, backbones.shape.classes)
            self._photos[CLASSES] = torch.rand(shape, generator=generator).softmax(dim=-1).to(device)
        spread = torch.tensor([160.0, 340.0])
        self._positions = ((torch.rand(setup.batch, 2, generator=generator) - 0.5) * spread).to(device)

    def batches(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """The same photos each time, through the backbones."""
        for _ in range(first, last):
            with self._timer("backbones (frozen)"):
                features = self._backbones.extract(self._photos)
            yield {**features, POSITIONS: self._positions}

    def validation_batches(self) -> Iterable[dict[str, Tensor]]:
        """None."""
        return []


class PhaseTimer:
    """Seconds spent in each named phase; waits for the device, so that they add up."""

    def __init__(self, device: torch.device) -> None:
        self._device, self.seconds = device, {}  # type: ignore[var-annotated]  # str to list of float
        self._name, self._began = "", 0.0

    def __call__(self, name: str) -> PhaseTimer:
        """Name the phase that begins."""
        self._name = name
        return self

    def __enter__(self) -> None:
        self._began = self.now()

    def __exit__(self, *_: object) -> None:
        self.seconds.setdefault(self._name, []).append(self.now() - self._began)

    def now(self) -> float:
        """The time after everything queued on the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def measure_ours(setup: Setup, *, segmenting: bool) -> Measurement:
    """The trainer's own step: backbones, towers with gradient caching, loss, clipping, AdamW."""
    backbones = FrozenBackbones(setup.config.model, setup.process_group.device, setup.config.loop.bf16)
    timer = PhaseTimer(setup.process_group.device)
    loader = RandomPhotoLoader(setup, backbones, segmenting=segmenting, timer=timer)
    towers = Towers(setup.config.model, backbones.shape, 0).to(setup.process_group.device)
    config = setup.config
    task = ContrastiveTask(
        towers,
        config.objective,
        config.negatives,
        loader,
        torch.rand(5000, 2) * 100.0,
        "fused",
        config.loop.chunk,
        setup.process_group,
        0,
    )
    if setup.real and config.loop.compile:
        towers.compile()
    autocast = torch.bfloat16 if config.loop.bf16 else None
    gradients = GradientStep(task.embed, task.loss, task.objective, setup.process_group, autocast)
    optimiser = torch.optim.AdamW([*towers.parameters(), *task.objective.parameters()], 1e-4)

    def step(batch: Batch) -> None:
        optimiser.zero_grad(set_to_none=True)
        with timer("towers and loss, both ways"):
            gradients(batch.parts, batch.labels, 0)
        with timer("clipping and AdamW"):
            nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
            optimiser.step()

    return _timed(setup, task.batches(0, setup.steps + 2), step, timer)


def measure_published(setup: Setup) -> Measurement:
    """The plain loop: see `benchmarks.speed.training_published`."""
    timer = PhaseTimer(setup.process_group.device)
    loop = PublishedLoop(setup.config.model.image, setup.process_group.device, half=setup.real)
    return _timed(setup, (loop.batch(setup.batch) for _ in range(setup.steps + 2)), loop.step, timer)


def _timed(setup: Setup, batches: Iterable[Any], step: Callable[[Any], None], timer: PhaseTimer) -> Measurement:
    """Medians after two warm-up steps; the operations of the second one are counted."""
    if setup.real:
        torch.cuda.reset_peak_memory_stats()
    times, flops, coming = [], 0, iter(batches)
    for number in range(setup.steps + 2):
        began = timer.now()
        if number == 1:
            with FlopCounterMode(display=False) as counter:
                step(next(coming))
            flops = counter.get_total_flops()
            timer.seconds.clear()
            continue
        step(next(coming))
        if number > 1:
            times.append(timer.now() - began)
    memory = (
        torch.cuda.max_memory_allocated() if setup.real else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    parts = {name: float(np.median(seconds)) for name, seconds in timer.seconds.items()}
    return Measurement(float(np.median(times)), setup.batch, flops, memory / 1e9, parts)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large square product: what the card gives in practice."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    timer, times = PhaseTimer(device), []
    for _ in range(8):
        began = timer.now()
        a @ b
        times.append(timer.now() - began)
    return float(2 * side**3 / np.median(times[2:]))


class FlopsPerPhoto(NamedTuple):
    """Floating-point operations a photo of the full configuration, counted without computing."""

    image: float
    segments: float
    towers: float


def count_flops(config: FusionConfig) -> FlopsPerPhoto:
    """Forward of the frozen networks; forward and backward (three times the forward) of the towers."""
    with torch.device("meta"):
        image = load_image_backbone(config.model.image.backbone, "random")
        segments = load_segmenter("segformer-b5-ade", 16, "random")
    shape = TokenShape(image.description.dim, image.description.tokens or 1, segments.description.dim, 256)
    towers = Towers(config.model, shape, 0)  # small enough to be computed, and autocast knows no meta device
    counted = []
    for network, size_px in ((image, 224), (segments, 640)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.empty(1, size_px, size_px, 3, dtype=torch.uint8, device="meta"))
        counted.append(float(counter.get_total_flops()))
    photo = {TOKENS: (1, 256, 1024), CLASSES: (1, 256, 150), POSITIONS: (1, 2)}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        towers({name: torch.rand(size) for name, size in photo.items()})
    return FlopsPerPhoto(counted[0], counted[1], 3.0 * counter.get_total_flops())


def decode_rate(photos: int = 40) -> float:
    """Photos (640 x 480 JPEG) a second that one core reads, crops and resizes to CLIP's square."""
    prepare = load_image_backbone("clip-vit-l14", "tiny").description.preprocessing.model_copy(update={"size_px": 224})
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
        began = time.perf_counter()
        for _ in range(photos):
            prepare.prepare(decode_photo(path.read_bytes(), "photo", limits=LIMITS).rgb)
    return photos / (time.perf_counter() - began)


def _pixels(count: int, size_px: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randint(0, 256, (count, size_px, size_px, 3), dtype=torch.uint8, generator=generator).to(device)


def _row(name: str, one: Measurement, rate: float) -> str:
    speed = one.flops / one.seconds
    cells = [f"{one.photos / one.seconds:,.1f}", f"{one.seconds:.3f}", f"{one.memory_gb:.1f}"]
    cells += [f"{speed / TERA:.3f}", f"{100 * speed / rate:.0f} %"]
    return f"| {name} | " + " | ".join(cells) + " |"


def hours(flops_a_photo: float, photos: float, flops_a_second: float) -> float:
    """photos x operations a photo / operations a second, in hours."""
    return photos * flops_a_photo / flops_a_second / 3600.0


def _estimate(about: FlopsPerPhoto, tflops: float, usd_per_hour: float, images_per_s: float | None) -> Iterator[str]:
    training = about.image + about.towers
    yield (
        f"Operations a photo: CLIP {about.image / 1e9:.0f} G, SegFormer {about.segments / 1e9:.0f} G (once), "
        f"towers {about.towers / 1e9:.1f} G (forward and backward)."
    )
    for cards in (1, 8):
        rate = tflops * TERA * ASSUMED_SHARE * cards
        once, epochs = hours(about.segments, MP16_PHOTOS, rate), hours(training, MP16_PHOTOS * EPOCHS, rate)
        total = once + epochs
        yield (
            f"ESTIMATE, {cards} card(s) of {tflops:.0f} TFLOP/s at {100 * ASSUMED_SHARE:.0f} %: maps {once:.1f} h "
            f"once, {EPOCHS} epochs of {MP16_PHOTOS:,} photos {epochs:.1f} h; {total * cards * usd_per_hour:,.0f} USD "
            f"at {usd_per_hour:g} USD a card and hour; needs {MP16_PHOTOS * EPOCHS / epochs / 3600:,.0f} photos/s read."
        )
        if images_per_s:
            measured = MP16_PHOTOS * EPOCHS / images_per_s / 3600.0 / cards
            yield f"From the speed measured above, {cards} card(s), if several scale evenly: {measured:.1f} h."


def build_setup(arguments: argparse.Namespace) -> Setup:
    """The real networks on a GPU, the tiny ones elsewhere."""
    device = pick_device("auto")
    real = device.type == "cuda"
    weights = "random" if real else "tiny"
    batch = arguments.batch or (512 if real else 32)
    overrides = [f"model.image.weights={weights}", f"model.semantics.weights={weights}"]
    overrides += [f"loop.bf16={real}", f"loop.chunk={min(256, batch)}"] + ([] if real else ["negatives.queue=64"])
    config = load_config(CONFIG, overrides)
    assert isinstance(config, FusionConfig)  # noqa: S101  # it is ours
    return Setup(ProcessGroup(device), config, batch, arguments.steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=0, help="photos a step; default 512 on a GPU, 32 elsewhere")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--card-tflops", type=float, default=700.0, help="matmul rate that the estimate assumes")
    parser.add_argument("--usd-per-hour", type=float, default=3.0, help="of one card")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    setup = build_setup(arguments)
    rate = matmul_rate(setup.process_group.device, torch.bfloat16 if setup.real else torch.float32)
    name = torch.cuda.get_device_name() if setup.real else "CPU, one thread, TINY networks: says nothing about a GPU"
    print(f"{name}; batch {setup.batch}; measured matmul rate {rate / TERA:.3f} TFLOP/s\n")
    print("| loop | images/s | s/step | memory GB | TFLOP/s | of matmul rate |\n|---|---|---|---|---|---|")
    rows = {
        "ours, maps prepared": measure_ours(setup, segmenting=False),
        "ours, segmenting while training": measure_ours(setup, segmenting=True),
        "plain loop as published (maps prepared)": measure_published(setup),
    }
    for title, one in rows.items():
        print(_row(title, one, rate))
    for title, one in rows.items():
        if one.parts:
            print(f"\nWhere the time goes, {title}: " + ", ".join(f"{k} {v:.4f} s" for k, v in one.parts.items()))
    print(f"\nReading: {decode_rate():.0f} photos/s a core (640 x 480 JPEG, decoded, resized to 224)\n")
    first = rows["ours, maps prepared"]
    speed = first.photos / first.seconds if setup.real else None
    about = count_flops(load_config(CONFIG))  # type: ignore[arg-type]  # it is ours
    card = rate / TERA if setup.real else arguments.card_tflops
    print("\n".join(_estimate(about, card, arguments.usd_per_hour, speed)))


if __name__ == "__main__":
    main()
