"""Compute once what frozen networks say about the photos; a stopped run goes on where it was.

    python -m retrieval.training.data.prepare CONFIG [key=value ...]

For `recipe: fusion`: segmentation maps (and, with `prepare.tokens=true`, image
tokens) of every photo, in `data.cache/prepared`. For `recipe: compact`: crops
and what its teachers say of them, in `data.cache`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from core.errors import UserError
from retrieval.backbones.registry import Preprocessing
from retrieval.photos.decoding import PhotoError
from retrieval.photos.photo import decode_photo
from retrieval.training.compact.prepare_crops import prepare_crops
from retrieval.training.config import FusionConfig, TrainingConfig, load_any_config
from retrieval.training.data.bad_samples import BadSample, BadSamples
from retrieval.training.data.feature_cache import FINE_GRID, KEPT, OK, packed
from retrieval.training.data.loading import LIMITS
from retrieval.training.data.sources import PhotoSource, open_source
from retrieval.training.distributed import pick_device
from retrieval.training.frozen_backbones import PIXELS, SEGMENT_PIXELS, FrozenBackbones, fine_segments
from retrieval.training.fusion_recipe import identity_of, prepared_store
from retrieval.training.towers import CLASSES, TOKENS

BAD_SAMPLES = "bad_samples.csv"


class Squares(Dataset[tuple[int, dict[str, Tensor], BadSample | None]]):
    """Whole photos as the squares of pixels that the backbones want; a photo that cannot be read says so."""

    def __init__(self, source: PhotoSource, image: Preprocessing | None, segments: Preprocessing | None) -> None:
        self._source = source
        self._wanted = {PIXELS: image, SEGMENT_PIXELS: segments}

    def __getitem__(self, row: int) -> tuple[int, dict[str, Tensor], BadSample | None]:
        """The row and its squares; none, and why, where the photo cannot be read."""
        name = self._source.table.ids[row]
        try:
            rgb = decode_photo(self._source.read(row), name, limits=LIMITS).rgb
        except (PhotoError, OSError) as error:
            return row, {}, BadSample(self._source.where(row), name, str(error).split(": ", 1)[-1])
        squares = {key: one.prepare(rgb) for key, one in self._wanted.items() if one is not None}
        return row, {key: torch.from_numpy(np.ascontiguousarray(one)) for key, one in squares.items()}, None


class Read(NamedTuple):
    """A batch: the rows that could be read, their squares (rows first), and the other samples."""

    rows: list[int]
    squares: dict[str, Tensor]
    bad: list[BadSample]


def prepare_maps(config: FusionConfig) -> int:
    """Fill the blocks that are not there yet; how many samples cannot be used.

    These are listed in `data.cache/bad_samples.csv`, marked in their block, and left out by training.

    Raises:
        UserError: nothing to prepare, too many unreadable photos, or no space left.
    """
    data, wants_tokens = config.data, config.prepare.tokens
    if config.model.semantics is None and not wants_tokens:
        raise UserError("nothing to prepare: model.semantics is not set and prepare.tokens is false")
    bad = BadSamples(data.cache / BAD_SAMPLES, data.max_bad_share)
    source, unusable = open_source(data.photos, data.shards, data.table, data.columns, data.cache / "shards.npz")
    total = len(source.table.ids) + len(unusable)
    bad.add(unusable, total)
    frozen = _fine_eyes(config)
    store = prepared_store(config, source, identity_of(frozen, tokens=wants_tokens))
    image = frozen.image.description.preprocessing if wants_tokens else None
    segments = frozen.segmenter.description.preprocessing if frozen.segmenter else None
    squares = Squares(source, image, segments)
    for number, rows in tqdm(list(store.blocks()), desc="blocks", unit="block"):
        block = Block(rows)
        for read in _loaded(squares, rows, config):
            bad.add(read.bad, total)
            block.add(read.rows, _kept(frozen, read.squares) if read.rows else {})
        store.write(number, block.tensors)
    return len(bad)


class Block:
    """The tensors of some rows; zeros, and 0 in `ok`, where a photo could not be read."""

    def __init__(self, rows: range) -> None:
        self._rows = rows
        self.tensors = {OK: torch.zeros(len(rows), dtype=torch.uint8)}

    def add(self, rows: list[int], kept: dict[str, Tensor]) -> None:
        """What was found out about some of the rows."""
        at = torch.tensor(rows, dtype=torch.long) - self._rows.start
        for name, one in {**kept, OK: torch.ones(len(rows), dtype=torch.uint8)}.items():
            held = self.tensors.setdefault(name, one.new_zeros((len(self._rows), *one.shape[1:])))
            held[at] = one


def _fine_eyes(config: FusionConfig) -> FrozenBackbones:
    device = pick_device(config.device)
    frozen = FrozenBackbones(config.model, device, config.loop.bf16)
    if config.model.semantics is not None:
        frozen.segmenter = fine_segments(config.model.semantics).to(device)
    return frozen


def _loaded(squares: Squares, rows: Iterable[int], config: FusionConfig) -> Iterable[Read]:
    workers = config.prepare.workers
    return DataLoader(
        squares,
        batch_size=config.prepare.batch,
        sampler=list(rows),
        collate_fn=_collated,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )


def _collated(photos: list[tuple[int, dict[str, Tensor], BadSample | None]]) -> Read:
    good = [(row, squares) for row, squares, bad in photos if bad is None]
    names = good[0][1] if good else {}
    stacked = {name: torch.stack([squares[name] for _, squares in good]) for name in names}
    return Read([row for row, _ in good], stacked, [bad for _, _, bad in photos if bad is not None])


def _kept(frozen: FrozenBackbones, seen: dict[str, Tensor]) -> dict[str, Tensor]:
    found = frozen.look({name: one.to(frozen.device) for name, one in seen.items()})
    kept = {}
    if SEGMENT_PIXELS in seen:
        kept["segments"] = packed(found[CLASSES]).cpu()
        assert kept["segments"].shape[1:] == (FINE_GRID**2, 2, KEPT)  # noqa: S101  # what `unpacked` reads
    if PIXELS in seen:
        kept["tokens"] = found[TOKENS].half().cpu()
    return kept


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    if not arguments:
        raise SystemExit("usage: python -m retrieval.training.data.prepare CONFIG [key=value ...]")
    try:
        config = load_any_config(Path(arguments[0]), arguments[1:])
        torch.set_num_threads(config.threads)
        if isinstance(config, TrainingConfig):
            prepare_crops(config)
        else:
            bad = prepare_maps(config)
            sys.stdout.write(f"prepared; {bad} unreadable samples, listed in {config.data.cache / BAD_SAMPLES}\n")
    except UserError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
