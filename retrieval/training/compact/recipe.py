"""`recipe: compact`: distil a small backbone, compute its tokens once, align them with positions.

Writes to `run`: `distil/` and `align/` (a run folder each; a stopped run goes
on from where it was), `bank.pt` (the tokens) and `model.pt` (weights,
configuration, scores on the inner validation authors), from which
`retrieval.training.compact.export` makes the folder that ships.
"""

from __future__ import annotations

import json

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from geo.places.gazetteer import Gazetteer
from retrieval.backbones.registry import CompactBackbone
from retrieval.encoders.fusion import Views
from retrieval.training import validation
from retrieval.training.compact.align import BankFeed, TokenBank, compact_towers, fill_bank, place_texts
from retrieval.training.compact.crop_cache import CropCache
from retrieval.training.compact.distillation import Distillation, Student
from retrieval.training.compact.model import CompactModel, load, save
from retrieval.training.compact.photos import inner_mask
from retrieval.training.config import TrainingConfig
from retrieval.training.contrastive_task import Contrast
from retrieval.training.distributed import ProcessGroup
from retrieval.training.run_folder import WEIGHTS, RunFolder
from retrieval.training.towers import Towers
from retrieval.training.trainer import LoopConfig, Trainer


def train_compact(
    config: TrainingConfig, process_group: ProcessGroup, arguments: list[str]
) -> dict[str, validation.Scores]:
    """Run both phases; scores on the inner validation authors, with the inner training authors as references."""
    cache = CropCache(config)
    if process_group.leads:
        RunFolder(config.run).describe(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), arguments)
    backbone = distil(config, cache, process_group)
    bank = _bank(config, cache, backbone, process_group)
    model = align(config, cache, bank, process_group)
    model.photos.backbone.load_state_dict(backbone.state_dict())
    scores = inner_scores(model, bank, inner_mask(cache.all_rows))
    state = {"model": model.state_dict(), "config": config.model_dump_json(), "inner_scores": json.dumps(scores)}
    if process_group.leads:
        save(config.run / "model.pt", state)
    return scores


def distil(config: TrainingConfig, cache: CropCache, process_group: ProcessGroup) -> CompactBackbone:
    """The backbone, trained to the end of the first phase (or as far as it was)."""
    task = Distillation(config, cache, process_group)
    about: dict[str, object] = {"model": config.model.model_dump(mode="json"), "distil": _asked(config.distil.loop)}
    about["terms"] = config.distil.model_dump(mode="json", exclude={"loop"})
    about["crops"] = config.prepare.model_dump(mode="json", exclude={"workers"})
    recipe = _recipe(config, about)
    Trainer(task, config.distil.loop, RunFolder(config.run / "distil"), process_group, config.seed, recipe).fit()
    student = task.model
    assert isinstance(student, Student), "it is what distillation trains"  # noqa: S101  # for the type checker
    return student.backbone.eval()


def align(config: TrainingConfig, cache: CropCache, bank: TokenBank, process_group: ProcessGroup) -> CompactModel:
    """A model whose fusion and GPS encoder are trained; its backbone is fresh.

    Args:
        config: its `model` and `align` parts.
        cache: says which photos of the bank may be seen.
        bank: tokens and positions.
        world: the processes.
    """
    towers = compact_towers(config.model, config.align.text, config.seed, bank)
    texts = place_texts(bank.positions, towers.text) if towers.text else None
    loop, held = config.align.loop, np.flatnonzero(~inner_mask(cache.all_rows)).astype(np.int64)
    feed = BankFeed(bank, cache.photos, held, loop.batch, process_group, config.seed, texts)
    gallery = torch.from_numpy(Gazetteer().coordinates().lat_lon_deg).float()
    searched = bank.positions[torch.from_numpy(cache.photos)]
    task = Contrast(
        towers.to(process_group.device),
        config.align.objective,
        config.align.negatives,
        feed,
        gallery,
        searched,
        "fused",
        loop.chunk,
        process_group,
        config.seed,
    )
    about: dict[str, object] = {"model": config.model.model_dump(mode="json"), "align": _asked(loop)}
    about["contrast"] = config.align.model_dump(mode="json", exclude={"loop"})
    about["bank"] = float(bank.tokens.float().abs().mean())
    Trainer(task, loop, RunFolder(config.run / "align"), process_group, config.seed, _recipe(config, about)).fit()
    return _assembled(config, towers)


def _assembled(config: TrainingConfig, towers: Towers) -> CompactModel:
    model = CompactModel(config.model, config.seed).to(next(towers.parameters()).device)
    model.photos.fusion.load_state_dict(towers.fusion.state_dict())
    model.points.load_state_dict(towers.location.state_dict())
    return model.eval()


def _asked(loop: LoopConfig) -> dict[str, object]:
    return loop.model_dump(mode="json", exclude={"compile", "checkpoint_steps", "tensorboard", "chunk"})


def _recipe(config: TrainingConfig, about: dict[str, object]) -> str:
    """Everything a checkpoint depends on; going on with other settings would be neither run."""
    part = {"seed": config.seed, "bf16": config.bf16, "train_part": config.data.train_part}
    return json.dumps({**about, **part}, sort_keys=True)


def _bank(
    config: TrainingConfig, cache: CropCache, backbone: CompactBackbone, process_group: ProcessGroup
) -> TokenBank:
    path, weights = config.run / "bank.pt", config.run / "distil" / WEIGHTS
    if process_group.leads and not (path.is_file() and path.stat().st_mtime > weights.stat().st_mtime):
        save(path, fill_bank(config, cache, backbone, process_group.device)._asdict())
    process_group.wait()
    return TokenBank(**load(path, "token bank"))


@torch.no_grad()
def whole_views(model: CompactModel, bank: TokenBank) -> Views:
    """The views of every photo as a whole (crop 0), through the bank."""
    device = next(model.parameters()).device
    parts = zip(torch.split(bank.tokens[:, 0], 128), torch.split(bank.distributions[:, 0], 128), strict=True)
    views = [model.photos.fusion(tokens.float().to(device), seen.float().to(device)) for tokens, seen in parts]
    return Views(*(torch.cat(column).cpu() for column in zip(*views, strict=True)))


def inner_scores(model: CompactModel, bank: TokenBank, inner_train: NDArray[np.bool_]) -> dict[str, validation.Scores]:
    """Nearest-photo and nearest-position scores of the inner validation photos.

    They only guide choices when the run left these photos out (`data.train_part=inner_train`).
    """
    positions = bank.positions.double().numpy()
    device = next(model.parameters()).device
    with torch.no_grad():
        places = model.points(bank.positions.to(device)).cpu()
    spaces = {**whole_views(model.eval(), bank)._asdict(), "teacher": bank.embeddings[:, 0]}
    wanted, known = positions[~inner_train], positions[inner_train]
    rows = {}
    for name, vectors in spaces.items():
        queries, references = _split(vectors, inner_train)
        rows[f"{name}, nearest photo"] = validation.nearest_scores(queries, wanted, references, known)
        rows[f"{name}, best of 20"] = validation.within_top(queries, wanted, references, known, 20)
        if name != "teacher":
            gallery = places.numpy()[inner_train]
            rows[f"{name}, nearest position"] = validation.nearest_scores(queries, wanted, gallery, known)
    return rows


def _split(vectors: Tensor, inner_train: NDArray[np.bool_]) -> tuple[validation.Vectors, validation.Vectors]:
    array = vectors.numpy()
    return array[~inner_train], array[inner_train]
