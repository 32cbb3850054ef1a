"""The training configuration: one YAML file, checked, with `key=value` overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from geo.errors import UserError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Section):
    """Where the photos, the teachers and the cache lie."""

    photos: Path
    table: Path
    teachers: Path
    cache: Path


class PrepareConfig(_Section):
    """How crops are drawn for the teachers."""

    crops: int
    min_area: float
    mixed_share: float
    workers: int


class ModelConfig(_Section):
    """The shape of the network; enough to rebuild it."""

    size_px: int = 160
    widths: tuple[int, int, int, int] = (32, 96, 192, 256)
    blocks: tuple[int, int, int] = (1, 2, 2)
    dim: int = 256
    heads: int = 4
    sigmas: tuple[float, ...] = (1.0, 16.0, 256.0)
    frequencies: int = 64
    hidden: int = 192


class DistilConfig(_Section):
    """Learning to see: a student of the teachers' tokens, embeddings and segmentations."""

    photos: Literal["train", "inner_train"]
    epochs: int
    small_epochs: int
    small_px: int
    batch: int
    learning_rate: float
    weight_decay: float
    token_weight: float
    pooled_weight: float
    relation_weight: float
    segment_weight: float


class AlignConfig(_Section):
    """Learning where: dual-view contrastive alignment with positions."""

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    temperature: float
    target_km: float
    queue: int
    jitter_km: float
    relation_weight: float


class CardConfig(_Section):
    """What people should know about the weights; goes into `card.json` as it is."""

    licence: str = ""
    description: str = ""
    data: str = ""
    intended_use: str = ""
    limits: str = ""


class TrainingConfig(_Section):
    """Everything one training run depends on."""

    name: str
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    threads: int
    bf16: bool
    data: DataConfig
    run: Path
    prepare: PrepareConfig
    model: ModelConfig
    distil: DistilConfig
    align: AlignConfig
    card: CardConfig = CardConfig()


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """The configuration in a YAML file, with overrides such as `distil.epochs=2` applied.

    Raises:
        UserError: no such file, not YAML, an override without `=`, or an unknown or wrong value.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from error
    for override in overrides:
        _apply(tree, override)
    try:
        return TrainingConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {where}: {first['msg']}") from error


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"override {override!r} is not of the form key=value, such as distil.epochs=2")
    *sections, leaf = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[leaf] = yaml.safe_load(value)
