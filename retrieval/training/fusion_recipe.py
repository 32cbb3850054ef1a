"""`recipe: fusion`: put a collection, frozen backbones and towers together, train them, leave an encoder folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
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
from retrieval.training.contrastive_task import Contrast
from retrieval.training.data.bad_samples import BadSamples, read_bad_samples
from retrieval.training.data.feature_cache import FINE_GRID, PreparedStore
from retrieval.training.data.loading import PhotoFeed, PhotoRequests, Request
from retrieval.training.data.sources import PhotoSource, open_source
from retrieval.training.distributed import ProcessGroup
from retrieval.training.frozen_backbones import FrozenBackbones
from retrieval.training.run_folder import WEIGHTS, RunFolder
from retrieval.training.towers import Towers
from retrieval.training.trainer import Scores, Trainer

BAD_SAMPLES, DUPLICATES = "bad_samples.csv", "duplicates.csv"
FIRST_LOOK = 8


class Collection(NamedTuple):
    """A collection, and which of its rows are trained and validated on."""

    source: PhotoSource
    train: NDArray[np.int64]
    held: NDArray[np.int64]


def open_collection(config: FusionConfig, bad: BadSamples) -> Collection:
    """Read and check the whole table, split it by photographer, and list what cannot be used.

    Raises:
        UserError: too much of it cannot be used, or nothing is left.
    """
    data = config.data
    source, unusable = open_source(data.photos, data.shards, data.table, data.columns, data.cache / "shards.npz")
    bad.add(unusable, len(source.table.ids) + len(unusable))
    if config.model.text is not None:
        name_places(source)
    train, held = split_rows(source.table.authors, data.train_part)
    if data.drop_duplicates:
        train = _without_duplicates(train, source, data.cache / DUPLICATES)
    if not len(train) or not len(held):
        raise UserError(
            f"data: {len(train)} training and {len(held)} validation photos: photos are split by photographer, so "
            f"several are needed in column {data.columns.author}"
        )
    chosen = np.random.default_rng(config.seed).permutation(held)[: config.validation.photos]
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
    dropped = {one.name for one in read_bad_samples(listed)}
    return rows[[source.table.ids[row] not in dropped for row in rows]]


def prepared_store(config: FusionConfig, source: PhotoSource, eyes_identity: Mapping[str, str]) -> PreparedStore:
    """Where this collection's segmentation maps (and tokens) are kept."""
    names = hashlib.sha256("\n".join(source.table.ids).encode()).hexdigest()
    recipe = {**eyes_identity, "photos": names, "fine_grid": FINE_GRID, "tokens": config.prepare.tokens}
    return PreparedStore(config.data.cache / "prepared", recipe, len(source.table.ids), config.prepare.block)


def identity_of(frozen: FrozenBackbones, *, tokens: bool) -> dict[str, str]:
    """Which weights the prepared files come from."""
    segments = {"semantics": frozen.segmenter.identity} if frozen.segmenter else {}
    return segments | ({"image": frozen.image.identity} if tokens else {})


def train_fusion(config: FusionConfig, process_group: ProcessGroup, arguments: list[str]) -> Scores:
    """Train to the end; the scores of the best weights, on the validation photographers.

    Raises:
        UserError: something that can be known to be wrong before training, or goes wrong in it.
    """
    run = RunFolder(config.run)
    bad = BadSamples(run.folder / BAD_SAMPLES, config.data.max_bad_share)
    collection = open_collection(config, bad)
    frozen = FrozenBackbones(config.model, process_group.device, config.loop.bf16)
    towers = Towers(config.model, frozen.shape, config.seed).to(process_group.device)
    feed = _feed(config, collection, frozen, towers, bad, process_group)
    _look_at_some(feed, collection)
    task = _task(config, collection, towers, feed, process_group)
    if process_group.leads:
        run.describe(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), arguments)
    recipe = json.dumps({"config": json.loads(config.identity()), "photos": len(collection.train)}, sort_keys=True)
    scores = Trainer(task, config.loop, run, process_group, config.seed, recipe).fit()
    if process_group.leads:
        run.save_card(encoder_card(config, frozen, run.folder, scores, len(collection.train), len(bad)))
    return scores


def _feed(
    config: FusionConfig,
    collection: Collection,
    frozen: FrozenBackbones,
    towers: Towers,
    bad: BadSamples,
    process_group: ProcessGroup,
) -> PhotoFeed:
    data, viewer = config.data, frozen.worker()
    tokens = data.prepared and config.prepare.tokens
    if tokens or (data.prepared and frozen.segmenter is not None):
        viewer.store = prepared_store(config, collection.source, identity_of(frozen, tokens=tokens))
        viewer.store.check_complete()
        viewer.stored_tokens = tokens
    requests = PhotoRequests(collection.source, viewer, towers.text, config.seed, data.min_area)
    return PhotoFeed(
        collection.source,
        collection.train,
        collection.held,
        frozen,
        requests,
        bad,
        batch=config.loop.batch,
        process_group=process_group,
        seed=config.seed,
        window=data.window,
        workers=data.workers,
        augment=data.augment and not tokens,
    )


def _look_at_some(feed: PhotoFeed, collection: Collection) -> None:
    """Read a few photos now: a wrong path or an unreadable disk should not wait for the first batch."""
    loaded = feed.requests[Request(collection.train[:FIRST_LOOK], -1)]
    if not loaded.tensors:
        first = loaded.bad[0]
        raise PhotoError(f"none of the first photos can be read: {first.where} ({first.name}): {first.reason}")


def _task(
    config: FusionConfig, collection: Collection, towers: Towers, feed: PhotoFeed, process_group: ProcessGroup
) -> Contrast:
    gallery = torch.from_numpy(Gazetteer().coordinates().lat_lon_deg).float()
    positions = collection.source.table.positions_deg[collection.train]
    chosen = np.random.default_rng(config.seed).permutation(len(positions))[: config.validation.gallery]
    searched = torch.from_numpy(positions[np.sort(chosen)]).float()
    return Contrast(
        towers,
        config.objective,
        config.negatives,
        feed,
        gallery,
        searched,
        config.validation.view,
        config.loop.chunk,
        process_group,
        config.seed,
    )


def encoder_card(
    config: FusionConfig, frozen: FrozenBackbones, folder: Path, scores: Scores, photos: int, bad: int
) -> dict[str, Any]:
    """What `retrieval.encoders.registry` needs to rebuild the encoder, and what people should know about it."""
    weights = sha256_of_file(folder / WEIGHTS)
    run_facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {
        "name": config.name,
        "kind": "fusion",
        "dim": config.model.dim,
        "files": {WEIGHTS: weights},
        **config.card.model_dump(),
        "model": config.model.model_dump(mode="json"),
        "tokens": frozen.shape._asdict(),
        "backbones": identity_of(frozen, tokens=True),
        "training": {
            "photos": photos,
            "bad_samples": bad,
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
