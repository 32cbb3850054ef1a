"""`recipe: compact`: distil a small backbone, compute its tokens once, align them with positions.

Writes to `run`: `distil/` and `align/` (a run folder each, so that a stopped run
resumes), `bank.pt` (the tokens) and `model.pt` (weights, configuration, scores
on the inner validation authors), from which `retrieval.training.compact.export`
makes the folder that ships.
"""

from __future__ import annotations

import json

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from retrieval.backbones.compact import CompactBackbone
from retrieval.encoders.fusion import Views
from retrieval.training.compact.align import (
    TokenBank,
    TokenBankLoader,
    compact_towers,
    compute_token_bank,
    place_texts,
)
from retrieval.training.compact.crop_cache import CropCache, inner_train_mask
from retrieval.training.compact.distillation import DistillationTask, Student
from retrieval.training.compact.model import CompactModel
from retrieval.training.config import CompactConfig
from retrieval.training.contrastive_task import ContrastiveTask
from retrieval.training.distributed import ProcessGroup
from retrieval.training.run_folder import WEIGHTS, TrainingRunFolder, read_state
from retrieval.training.trainer import Trainer
from retrieval.training.validation import Scores, nearest_scores, within_top


def train_compact(config: CompactConfig, process_group: ProcessGroup, arguments: list[str]) -> dict[str, Scores]:
    """Run both phases; scores on the inner validation authors, with the inner training authors as references."""
    cache, run = CropCache(config), TrainingRunFolder(config.run)
    if process_group.is_main:
        run.describe(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), arguments)
    backbone = distil(config, cache, process_group)
    bank = _token_bank(config, cache, backbone, process_group)
    model = align(config, cache, bank, process_group)
    model.photos.backbone.load_state_dict(backbone.state_dict())
    scores = inner_scores(model, bank, inner_train_mask(cache.table))
    state = {"model": model.state_dict(), "config": config.model_dump_json(), "inner_scores": json.dumps(scores)}
    if process_group.is_main:
        run.save_state("model.pt", state)
    return scores


def distil(config: CompactConfig, cache: CropCache, process_group: ProcessGroup) -> CompactBackbone:
    """Run or resume the first phase; the distilled backbone."""
    task, loop = DistillationTask(config, cache, process_group), config.distil.loop
    recipe = _recipe(
        config,
        distil=loop.identity(),
        terms=config.distil.model_dump(mode="json", exclude={"loop"}),
        crops=config.prepare.model_dump(mode="json", exclude={"workers"}),
    )
    Trainer(task, loop, TrainingRunFolder(config.run / "distil"), process_group, config.seed, recipe).fit()
    student = task.model
    assert isinstance(student, Student), "it is what distillation trains"  # noqa: S101  # for the type checker
    return student.backbone.eval()


def align(config: CompactConfig, cache: CropCache, bank: TokenBank, process_group: ProcessGroup) -> CompactModel:
    """Run or resume the second phase; a model with trained fusion and GPS encoder and an untrained backbone."""
    towers = compact_towers(config.model, config.align.text, config.seed, bank)
    texts = place_texts(bank.positions, towers.text) if towers.text else None
    loop, validation = config.align.loop, np.flatnonzero(~inner_train_mask(cache.table)).astype(np.int64)
    task = ContrastiveTask(
        towers.to(process_group.device),
        config.align.objective,
        config.align.negatives,
        TokenBankLoader(bank, cache.photos, validation, loop.batch, process_group, config.seed, texts),
        bank.positions[torch.from_numpy(cache.photos)],
        "fused",
        loop.chunk,
        process_group,
        config.seed,
    )
    recipe = _recipe(
        config,
        align=loop.identity(),
        contrast=config.align.model_dump(mode="json", exclude={"loop"}),
        bank=float(bank.tokens.float().abs().mean()),
    )
    Trainer(task, loop, TrainingRunFolder(config.run / "align"), process_group, config.seed, recipe).fit()
    model = CompactModel(config.model, config.seed).to(process_group.device)
    model.photos.fusion.load_state_dict(towers.fusion.state_dict())
    model.points.load_state_dict(towers.location.state_dict())
    return model.eval()


def _recipe(config: CompactConfig, **phase: object) -> str:
    """JSON of everything that a phase's checkpoint depends on."""
    shared = {"seed": config.seed, "bf16": config.bf16, "train_part": config.data.train_part}
    return json.dumps({"model": config.model.model_dump(mode="json"), **phase, **shared}, sort_keys=True)


def _token_bank(
    config: CompactConfig, cache: CropCache, backbone: CompactBackbone, process_group: ProcessGroup
) -> TokenBank:
    """The token bank of the distilled backbone, computed unless `bank.pt` is newer than its weights."""
    path, weights = config.run / "bank.pt", config.run / "distil" / WEIGHTS
    if process_group.is_main and not (path.is_file() and path.stat().st_mtime > weights.stat().st_mtime):
        bank = compute_token_bank(config, cache, backbone, process_group.device)
        TrainingRunFolder(config.run).save_state("bank.pt", bank._asdict())
    process_group.barrier()
    return TokenBank(**read_state(path, "token bank"))


@torch.no_grad()
def whole_views(model: CompactModel, bank: TokenBank) -> Views:
    """The views, (photos, dim) each, of every photo as a whole (crop 0) from the bank's tokens."""
    device = next(model.parameters()).device
    parts = zip(torch.split(bank.tokens[:, 0], 128), torch.split(bank.distributions[:, 0], 128), strict=True)
    views = [
        model.photos.fusion(tokens.float().to(device), distributions.float().to(device))
        for tokens, distributions in parts
    ]
    return Views(*(torch.cat(column).cpu() for column in zip(*views, strict=True)))


def inner_scores(model: CompactModel, bank: TokenBank, inner_train: NDArray[np.bool_]) -> dict[str, Scores]:
    """Nearest-photo and nearest-position scores of the inner validation photos.

    They guide choices only when the run left these photos out (`data.train_part=inner_train`).
    """
    positions = bank.positions.double().numpy()
    device = next(model.parameters()).device
    with torch.no_grad():
        gallery = model.points(bank.positions.to(device)).cpu().numpy()[inner_train]
    spaces = {**whole_views(model.eval(), bank)._asdict(), "teacher": bank.embeddings[:, 0]}
    wanted, known = positions[~inner_train], positions[inner_train]
    scores = {}
    for name, vectors in spaces.items():
        queries, references = vectors.numpy()[~inner_train], vectors.numpy()[inner_train]
        scores[f"{name}, nearest photo"] = nearest_scores(queries, wanted, references, known)
        scores[f"{name}, best of 20"] = within_top(queries, wanted, references, known, 20)
        if name != "teacher":
            scores[f"{name}, nearest position"] = nearest_scores(queries, wanted, gallery, known)
    return scores
