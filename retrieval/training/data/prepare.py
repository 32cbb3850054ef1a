"""Compute the features of the frozen networks once; a stopped run continues where it was.

    python -m retrieval.training.data.prepare CONFIG [key=value ...]

For `recipe: fusion`: segmentation maps (and, with `prepare.tokens=true`, image
tokens) of every photo, in `data.cache/prepared`. For `recipe: compact`: crops
and the outputs of its teachers, in `data.cache`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from core.errors import UserError
from retrieval.training.compact.crop_cache import prepare_crops
from retrieval.training.config import CompactConfig, FusionConfig, load_config, require_arguments
from retrieval.training.data.bad_samples import BAD_SAMPLES, BadSamples
from retrieval.training.data.feature_cache import FINE_GRID, OK, open_feature_cache, pack_distributions
from retrieval.training.data.loading import NO_AUGMENTATION, LoadRequest, PhotoDataset, load_photos
from retrieval.training.data.sources import open_source
from retrieval.training.distributed import pick_device
from retrieval.training.frozen_backbones import FrozenBackbones
from retrieval.training.towers import CLASSES, TOKENS


def prepare_maps(config: FusionConfig) -> int:
    """Compute the blocks that are missing; how many samples cannot be used.

    These are listed in `data.cache/bad_samples.csv`, marked in their block, and left out by training.

    Raises:
        UserError: nothing to prepare, too many unreadable photos, or no space left.
    """
    data, with_tokens = config.data, config.prepare.tokens
    if config.model.semantics is None and not with_tokens:
        raise UserError("nothing to prepare: model.semantics is not set and prepare.tokens is false")
    bad_samples = BadSamples(data.cache / BAD_SAMPLES, data.max_bad_share)
    source, unusable = open_source(data)
    total = len(source.table.ids) + len(unusable)
    bad_samples.add(unusable, total)
    backbones = FrozenBackbones(config.model, pick_device(config.device), config.loop.bf16, FINE_GRID)
    cache = open_feature_cache(config, source, backbones.identity(tokens=with_tokens))
    dataset = PhotoDataset(source, backbones.view_cropper(with_pixels=with_tokens), None, config.seed, min_area=1.0)
    for number, rows in tqdm(list(cache.missing_blocks()), desc="blocks", unit="block"):
        block = FeatureBlock(rows)
        for loaded in load_photos(dataset, _requests(rows, config.prepare.batch), config.prepare.workers):
            bad_samples.add(loaded.bad_samples, total)
            block.add(loaded.rows, _stored_features(backbones, loaded.tensors))
        cache.write(number, block.tensors)
    return len(bad_samples)


def _requests(rows: range, batch: int) -> list[LoadRequest]:
    starts = range(0, len(rows), batch)
    return [LoadRequest(np.asarray(rows[start : start + batch]), NO_AUGMENTATION) for start in starts]


class FeatureBlock:
    """The tensors of some rows; zeros, and 0 in `ok`, where a photo could not be read."""

    def __init__(self, rows: range) -> None:
        self._rows = rows
        self.tensors = {OK: torch.zeros(len(rows), dtype=torch.uint8)}

    def add(self, rows: list[int], features: dict[str, Tensor]) -> None:
        """Set the features of some of the rows."""
        inside = torch.tensor(rows, dtype=torch.long) - self._rows.start
        for name, values in {**features, OK: torch.ones(len(rows), dtype=torch.uint8)}.items():
            block = self.tensors.setdefault(name, values.new_zeros((len(self._rows), *values.shape[1:])))
            block[inside] = values


def _stored_features(backbones: FrozenBackbones, photos: dict[str, Tensor]) -> dict[str, Tensor]:
    features = backbones.extract({name: tensor.to(backbones.device) for name, tensor in photos.items()})
    stored = {}
    if CLASSES in features:
        stored["segments"] = pack_distributions(features[CLASSES]).cpu()
    if TOKENS in features:
        stored["tokens"] = features[TOKENS].half().cpu()
    return stored


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    require_arguments(arguments, __doc__)
    try:
        config = load_config(Path(arguments[0]), arguments[1:])
        torch.set_num_threads(config.threads)
        if isinstance(config, CompactConfig):
            prepare_crops(config)
        elif not isinstance(config, FusionConfig):
            raise UserError("recipe: a crossview run needs nothing prepared: train it")
        else:
            bad = prepare_maps(config)
            sys.stdout.write(f"prepared; {bad} unreadable samples, listed in {config.data.cache / BAD_SAMPLES}\n")
    except UserError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
