"""`recipe: fusion`: train towers on frozen backbones over a collection of photos; leaves an encoder folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from core.errors import UserError
from core.files import sha256_of_file
from geo.places.gazetteer import Gazetteer
from retrieval.photos.decoding import PhotoError
from retrieval.splits import inner_split, part_indices
from retrieval.training.config import FusionConfig
from retrieval.training.contrastive_task import ContrastiveTask
from retrieval.training.data.bad_samples import BAD_SAMPLES, DUPLICATES, BadSamples, read_bad_samples
from retrieval.training.data.feature_cache import open_feature_cache
from retrieval.training.data.loading import NO_AUGMENTATION, LoadRequest, PhotoDataset, PhotoLoader
from retrieval.training.data.sources import PhotoSource, open_source
from retrieval.training.distributed import ProcessGroup
from retrieval.training.frozen_backbones import FrozenBackbones
from retrieval.training.run_folder import WEIGHTS, TrainingRunFolder
from retrieval.training.towers import Towers
from retrieval.training.trainer import Trainer
from retrieval.training.validation import Scores

PROBED_PHOTOS = 8


class Collection(NamedTuple):
    """A collection, and which of its rows are trained and validated on."""

    source: PhotoSource
    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def open_collection(config: FusionConfig, bad_samples: BadSamples) -> Collection:
    """Read and check the whole table, split it by photographer, and list what cannot be used.

    Raises:
        UserError: too much of it cannot be used, or nothing is left.
    """
    data = config.data
    source, unusable = open_source(data)
    bad_samples.add(unusable, len(source.table.ids) + len(unusable))
    if config.model.text is not None:
        name_places(source)
    train, validation = split_rows(source.table.authors, data.train_part)
    if data.drop_duplicates:
        train = _without_duplicates(train, source, data.cache / DUPLICATES)
    if not len(train) or not len(validation):
        raise UserError(
            f"data: {len(train)} training and {len(validation)} validation photos: photos are split by photographer, "
            f"so several are needed in column {data.columns.author}"
        )
    chosen = np.random.default_rng(config.seed).permutation(validation)[: config.validation.photos]
    return Collection(source, train, np.sort(chosen))


def name_places(source: PhotoSource) -> None:
    """Give rows without a text the gazetteer's "city, region, country"."""
    table = source.table
    nameless = [row for row, text in enumerate(table.texts) if not text]
    if nameless:
        for row, place in zip(nameless, Gazetteer().places_at(table.positions_deg[nameless]), strict=True):
            table.texts[row] = place.name


def split_rows(authors: list[str], train_part: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are trained and validated on, by photographer; test and calibration photographers are in neither."""
    train = np.array(part_indices(authors, "train"), dtype=np.int64)
    if train_part == "train":
        return train, np.array(part_indices(authors, "validation"), dtype=np.int64)
    inner = np.array(inner_split([authors[row] for row in train]), dtype=object)
    return train[inner == "inner_train"], train[inner == "inner_validation"]


def _without_duplicates(rows: NDArray[np.int64], source: PhotoSource, listed: Path) -> NDArray[np.int64]:
    if not listed.is_file():
        raise UserError(
            f"data.drop_duplicates: no {listed}: run python -m retrieval.training.data.duplicates CONFIG first"
        )
    dropped = {sample.name for sample in read_bad_samples(listed)}
    return rows[[source.table.ids[row] not in dropped for row in rows]]


def train_fusion(config: FusionConfig, process_group: ProcessGroup, arguments: list[str]) -> Scores:
    """Train to the end; the scores of the best weights, on the validation photographers.

    Raises:
        UserError: a mistake in configuration or data, found before training, or a full disk.
    """
    run = TrainingRunFolder(config.run)
    bad_samples = BadSamples(run.folder / BAD_SAMPLES, config.data.max_bad_share)
    collection = open_collection(config, bad_samples)
    backbones = FrozenBackbones(config.model, process_group.device, config.loop.bf16)
    towers = Towers(config.model, backbones.shape, config.seed).to(process_group.device)
    loader = _photo_loader(config, collection, backbones, towers, bad_samples, process_group)
    _probe_photos(loader, collection)
    task = ContrastiveTask(
        towers,
        config.objective,
        config.negatives,
        loader,
        _searched_positions(config, collection),
        config.validation.view,
        config.loop.chunk,
        process_group,
        config.seed,
    )
    if process_group.is_main:
        run.describe(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), arguments)
    recipe = json.dumps({"config": config.identity(), "photos": len(collection.train)}, sort_keys=True)
    scores = Trainer(task, config.loop, run, process_group, config.seed, recipe).fit()
    if process_group.is_main:
        run.save_card(encoder_card(config, backbones, run.folder, scores, len(collection.train), len(bad_samples)))
    return scores


def _photo_loader(
    config: FusionConfig,
    collection: Collection,
    backbones: FrozenBackbones,
    towers: Towers,
    bad_samples: BadSamples,
    process_group: ProcessGroup,
) -> PhotoLoader:
    data, cache = config.data, None
    cached_tokens = data.prepared and config.prepare.tokens
    if cached_tokens or (data.prepared and backbones.segmenter is not None):
        cache = open_feature_cache(config, collection.source, backbones.identity(tokens=cached_tokens))
        cache.check_complete()
    cropper = backbones.view_cropper(cache, cached_tokens=cached_tokens)
    return PhotoLoader(
        PhotoDataset(collection.source, cropper, towers.text, config.seed, data.min_area),
        collection.train,
        collection.validation,
        backbones,
        bad_samples,
        batch=config.loop.batch,
        process_group=process_group,
        seed=config.seed,
        window=data.window,
        workers=data.workers,
        augment=data.augment and not cached_tokens,
    )


def _probe_photos(loader: PhotoLoader, collection: Collection) -> None:
    """Read a few photos now: a wrong path or an unreadable disk should not wait for the first batch."""
    loaded = loader.dataset[LoadRequest(collection.train[:PROBED_PHOTOS], NO_AUGMENTATION)]
    if not loaded.tensors:
        first = loaded.bad_samples[0]
        raise PhotoError(f"none of the first photos can be read: {first.where} ({first.name}): {first.reason}")


def _searched_positions(config: FusionConfig, collection: Collection) -> torch.Tensor:
    """Positions (n, 2) of training photos, which validation searches."""
    positions = collection.source.table.positions_deg[collection.train]
    chosen = np.random.default_rng(config.seed).permutation(len(positions))[: config.validation.gallery]
    return torch.from_numpy(positions[np.sort(chosen)]).float()


def encoder_card(
    config: FusionConfig, backbones: FrozenBackbones, folder: Path, scores: Scores, photos: int, bad_samples: int
) -> dict[str, Any]:
    """What `retrieval.encoders.registry` needs to rebuild the encoder, and what people should know about it."""
    run_facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {
        "name": config.name,
        "kind": "fusion",
        "dim": config.model.dim,
        "files": {WEIGHTS: sha256_of_file(folder / WEIGHTS)},
        **config.card.model_dump(),
        "model": config.model.model_dump(mode="json"),
        "tokens": backbones.shape._asdict(),
        "backbones": backbones.identity(tokens=True),
        "training": {
            "photos": photos,
            "bad_samples": bad_samples,
            "part": config.data.train_part,
            "loop": config.loop.model_dump(mode="json"),
            "objective": config.objective.model_dump(mode="json"),
            "negatives": config.negatives.model_dump(mode="json"),
            **{key: run_facts[key] for key in ("commit", "packages", "gpu")},
        },
        "validation": {
            "view": config.validation.view,
            "searched": "positions of training photos",
            "scores": {key: round(value, 4) for key, value in scores.items()},
        },
    }
