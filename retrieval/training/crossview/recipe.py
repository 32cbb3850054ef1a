"""`recipe: crossview`: train the siamese network on places; leaves an encoder folder.

`retrieval.crossview.encoder.CrossviewEncoder` opens it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from core.files import sha256_of_file
from retrieval.training.config import CrossviewConfig
from retrieval.training.crossview.places import PhotoGroups, missing_files, read_places
from retrieval.training.crossview.task import CrossviewTask, build_towers
from retrieval.training.crossview.views import PlaceDataset, PlaceLoader
from retrieval.training.data.bad_samples import BAD_SAMPLES, BadSample, BadSamples
from retrieval.training.distributed import ProcessGroup, share_batch_norms
from retrieval.training.run_folder import WEIGHTS, TrainingRunFolder
from retrieval.training.trainer import Trainer
from retrieval.training.validation import Scores


def train_crossview(config: CrossviewConfig, process_group: ProcessGroup, arguments: list[str]) -> Scores:
    """Train to the end; the recalls of the best weights on the validation places.

    Raises:
        UserError: a mistake in configuration or data, found before training, or a full disk.
    """
    run = TrainingRunFolder(config.run)
    bad_samples = BadSamples(run.folder / BAD_SAMPLES, config.data.max_bad_share)
    listed = read_places(config.data)
    gone = missing_files(config.data.folder, listed)
    reasons = {name: f"no {file}" for name, file in gone.items()}
    if "text" in config.objective.views:
        silent = (place.name for place in listed if place.part == "train" and not place.text.strip())
        reasons = dict.fromkeys(silent, "no text") | reasons
    unusable = [BadSample(str(config.data.folder), name, reason) for name, reason in reasons.items()]
    bad_samples.add(unusable, len(listed))
    places = [place for place in listed if place.name not in reasons]
    parts = [[i for i, place in enumerate(places) if place.part == part] for part in ("train", "validation")]
    trained, held_out = (PhotoGroups.of(places, rows, config.data.photos) for rows in parts)
    groups = PhotoGroups(np.concatenate([trained.place, held_out.place]), trained.photos + held_out.photos)
    towers = build_towers(config.model, config.seed).to(process_group.device)
    share_batch_norms(towers, process_group, config.loop.chunk)
    dataset = PlaceDataset(config.data, config.model.sizes, places, groups, towers.text, config.seed)
    loader = PlaceLoader(dataset, process_group.device, config.data.workers)
    task = CrossviewTask(config, places, groups, len(trained.place), loader, towers, bad_samples, process_group)
    if process_group.is_main:
        run.describe(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), arguments)
    recipe = json.dumps({"config": config.identity(), "groups": len(trained.place)}, sort_keys=True)
    scores = Trainer(task, config.loop, run, process_group, config.seed, recipe).fit()
    if process_group.is_main:
        run.save_card(crossview_card(config, run.folder, scores, len(trained.place)))
    return scores


def crossview_card(config: CrossviewConfig, folder: Path, scores: Scores, groups: int) -> dict[str, Any]:
    """What `retrieval.crossview.encoder` needs to rebuild the encoder, and what people should know about it."""
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {
        "name": config.name,
        "kind": "crossview",
        "files": {WEIGHTS: sha256_of_file(folder / WEIGHTS)},
        "backbone": config.model.image.model_dump(mode="json"),
        "shape": config.model.shape.model_dump(mode="json"),
        "sizes": config.model.sizes.model_dump(mode="json"),
        **config.card.model_dump(),
        "training": {
            "groups_of_photos": groups,
            "loop": config.loop.model_dump(mode="json"),
            "objective": config.objective.model_dump(mode="json"),
            "sampling": config.sampling.model_dump(mode="json"),
            **{key: facts[key] for key in ("commit", "packages", "gpu")},
        },
        "validation": {key: round(value, 4) for key, value in scores.items()},
    }
