"""The training configuration: one YAML file, checked, with `key=value` overrides.

`recipe: fusion` trains image and semantic towers against positions (and texts)
on frozen backbones; `recipe: compact` makes the small encoder that ships, from
scratch. Both run through the same trainer.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import UserError
from retrieval.training.data.table import TableColumns
from retrieval.training.losses import ObjectiveConfig
from retrieval.training.negatives import NegativesConfig
from retrieval.training.text_tower import TextConfig
from retrieval.training.trainer import LoopConfig


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Section):
    """Where the photos lie, and which of them are trained on."""

    photos: Path | None = Field(None, description="a folder; or give shards")
    shards: tuple[str, ...] = Field((), description="glob patterns of tar files")
    table: Path | None = None
    columns: TableColumns = TableColumns()
    cache: Path = Field(description="indexes, prepared segmentation maps and tokens, duplicates")
    teachers: Path | None = Field(None, description="folder of the .tflite files, for `compact`")
    train_part: Literal["train", "inner_train"] = Field("train", description="inner_train leaves authors for choices")
    max_bad_share: float = Field(0.01, ge=0.0, lt=1.0, description="more unusable samples than this stop the run")
    drop_duplicates: bool = Field(False, description="leave out what retrieval.training.data.duplicates has listed")
    prepared: bool = Field(
        True, description="read segmentation maps (and tokens) that retrieval.training.data.prepare made"
    )
    augment: bool = Field(True, description="random crops and mirroring, of photo and map alike")
    min_area: float = Field(0.4, gt=0.0, le=1.0, description="of a crop, as a share of the photo")
    window: int = Field(0, ge=0, description="read runs of so many neighbours on the disk; 0: in any order")
    workers: int = Field(2, ge=0)


class ValidationConfig(_Section):
    """What success is measured on; never a test set."""

    photos: int = Field(5000, gt=0, description="at most so many of the validation authors' photos")
    gallery: int = Field(20000, gt=0, description="at most so many positions of training photos are searched")
    view: Literal["image", "semantic", "fused"] = "fused"


class ImageConfig(_Section):
    """The frozen image backbone: a name in `retrieval.backbones.registry.BACKBONES`."""

    backbone: str
    weights: Literal["pretrained", "random", "tiny"] = Field(
        "pretrained", description="random and tiny ones are for speed tests and the test-suite"
    )
    folder: Path | None = Field(None, description="holds the weight file; None looks in the caches")
    tokens: Literal["patches", "pooled"] = Field("patches", description="pooled: CLIP's one embedding, as GeoCLIP")


class SemanticsConfig(_Section):
    """The frozen segmentation backbone, and the grid of semantic tokens its maps become."""

    backbone: str
    weights: Literal["pretrained", "random", "tiny"] = "pretrained"
    folder: Path | None = None
    grid: int = Field(16, gt=0, description="tokens a side")


class FusionShape(_Section):
    """The shape of the fusion encoder; see `retrieval.encoders.fusion.FusionEncoder`."""

    heads: int = 8
    layers: int = Field(1, ge=0)
    modality_dropout: float = Field(0.0, ge=0.0, lt=1.0)
    expansion: int = Field(0, ge=0)
    dropout: float = Field(0.1, ge=0.0, lt=1.0)


class LocationConfig(_Section):
    """A name in `retrieval.location.registry.LOCATION_ENCODERS` and its options."""

    encoder: str = "geoclip"
    options: dict[str, Any] = {}
    weights: Path | None = Field(None, description="safetensors to start from; names and shapes must fit")


class TowersConfig(_Section):
    """What is trained by `recipe: fusion`."""

    dim: int = Field(512, gt=0)
    image: ImageConfig
    semantics: SemanticsConfig | None = None
    fusion: FusionShape = FusionShape()
    location: LocationConfig = LocationConfig()
    text: TextConfig | None = None
    start: Path | None = Field(None, description="trained weights to start from; names and shapes must fit")


class PrepareConfig(_Section):
    """How crops are drawn for the teachers of `compact`."""

    crops: int
    min_area: float
    mixed_share: float
    workers: int


class PrepareMaps(_Section):
    """How segmentation maps and tokens are stored."""

    batch: int = Field(32, gt=0)
    block: int = Field(1024, gt=0, description="photos a file; a stopped run goes on with the next file")
    tokens: bool = Field(False, description="store the image backbone's tokens too (much space, no augmentation)")
    workers: int = Field(2, ge=0)


class ModelConfig(_Section):
    """The shape of the `compact` network; enough to rebuild it."""

    size_px: int = 160
    widths: tuple[int, int, int, int] = (32, 96, 192, 256)
    blocks: tuple[int, int, int] = (1, 2, 2)
    dim: int = 256
    heads: int = 4
    layers: int = 1
    modality_dropout: float = 0.0
    sigmas: tuple[float, ...] = (1.0, 16.0, 256.0)
    frequencies: int = 64
    hidden: int = 192


class DistilConfig(_Section):
    """Learning to see: a student of the teachers' tokens, embeddings and segmentations."""

    small_epochs: int
    small_px: int
    token_weight: float
    pooled_weight: float
    relation_weight: float
    segment_weight: float
    loop: LoopConfig


class AlignConfig(_Section):
    """Learning where: the same contrast as `recipe: fusion`, on tokens of the distilled backbone."""

    objective: ObjectiveConfig
    negatives: NegativesConfig
    text: TextConfig | None = None
    loop: LoopConfig


class CardConfig(_Section):
    """What people should know about the weights; goes into `card.json` as it is."""

    licence: str = ""
    description: str = ""
    data: str = ""
    intended_use: str = ""
    limits: str = ""


class _Run(_Section):
    """What every recipe has."""

    name: str
    seed: int
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: int = Field(2, gt=0)
    data: DataConfig
    run: Path
    card: CardConfig = CardConfig()


class TrainingConfig(_Run):
    """`recipe: compact`: distil a small backbone, then align it."""

    recipe: Literal["compact"]
    bf16: bool
    prepare: PrepareConfig
    model: ModelConfig
    distil: DistilConfig
    align: AlignConfig


class FusionConfig(_Run):
    """`recipe: fusion`: frozen backbones, trained towers."""

    recipe: Literal["fusion"]
    model: TowersConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    negatives: NegativesConfig = NegativesConfig()
    validation: ValidationConfig = ValidationConfig()
    prepare: PrepareMaps = PrepareMaps()
    loop: LoopConfig

    @model_validator(mode="after")
    def _parts_fit(self) -> FusionConfig:
        views = self.objective.views
        if self.model.semantics is None and views & {"semantic"}:
            raise ValueError("objective.pairs uses the semantic view, but model.semantics is not set")
        if ("text" in views) != (self.model.text is not None):
            raise ValueError("model.text and the text pairs of objective.pairs: set both or neither")
        if self.objective.relation:
            raise ValueError("objective.relation needs a teacher, which this recipe does not have")
        return self

    def identity(self) -> str:
        """JSON of all that a checkpoint depends on; where files lie and how fast they are read is left out."""
        apart = {"device", "threads", "run", "card", "data", "prepare", "loop"}
        free = {"cache", "workers", "photos", "shards", "table", "teachers"}
        loop = self.loop.model_dump(mode="json", exclude={"compile", "checkpoint_steps", "tensorboard", "chunk"})
        data = self.data.model_dump(mode="json", exclude=free)
        return _json({**self.model_dump(mode="json", exclude=apart), "loop": loop, "data": data})


def _json(tree: dict[str, Any]) -> str:
    import json

    return json.dumps(tree, sort_keys=True)


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """The `compact` configuration in a YAML file, with overrides such as `distil.loop.epochs=2` applied.

    Raises:
        UserError: no such file, not YAML, an override without `=`, or an unknown or wrong value.
    """
    config = load_any_config(path, overrides)
    if not isinstance(config, TrainingConfig):
        raise UserError(f"{path}: recipe: this command needs a configuration of `recipe: compact`")
    return config


def load_any_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig | FusionConfig:
    """The configuration in a YAML file, with overrides applied.

    Raises:
        UserError: as for `load_config`; the message names the key, and the nearest one that exists.
    """
    tree = _read(path)
    for override in overrides:
        _apply(tree, override)
    kinds: dict[Any, type[TrainingConfig] | type[FusionConfig]] = {"compact": TrainingConfig, "fusion": FusionConfig}
    kind = kinds.get(tree.get("recipe"))
    if kind is None:
        raise UserError(f"{path}: recipe: give one of {', '.join(kinds)}, not {tree.get('recipe')!r}")
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error, kind)}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} is no configuration: it must hold keys such as name, recipe, data")
    return tree


def _first_problem(error: ValidationError, kind: type[BaseModel]) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
    known = _keys(kind, first["loc"][:-1])
    near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
    return f"{where}: unknown key" + (f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}")


def _keys(kind: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys that a section has."""
    for part in path:
        annotation = kind.model_fields[str(part)].annotation if str(part) in kind.model_fields else None
        inner = [annotation, *getattr(annotation, "__args__", ())]
        sections = [one for one in inner if isinstance(one, type) and issubclass(one, BaseModel)]
        if not sections:
            return []
        kind = sections[0]
    return list(kind.model_fields)


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"override {override!r} is not of the form key=value, such as loop.epochs=2")
    *sections, leaf = key.split(".")
    for section in sections:
        inner = tree.get(section)
        if inner is None:
            inner = tree[section] = {}
        if not isinstance(inner, dict):
            raise UserError(f"override {override!r}: {section} is no section")
        tree = inner
    try:
        tree[leaf] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"override {override!r}: the value is not valid YAML") from error
