"""The training configuration: one YAML file, checked, with `key=value` overrides.

`recipe: fusion` trains image and semantic towers against positions (and texts)
on frozen backbones; `recipe: compact` trains the small encoder that ships, from
scratch; `recipe: crossview` trains a siamese network on photos and satellite
tiles. All use the same trainer.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from core.errors import UserError, first_problem
from core.frozen import Frozen
from retrieval.training.crossview.config import CrossviewModel, MatchingConfig, PlacesConfig, SamplingConfig
from retrieval.training.data.table import TableColumns
from retrieval.training.losses import ObjectiveConfig
from retrieval.training.negatives import NegativesConfig
from retrieval.training.text_tower import TextConfig
from retrieval.training.trainer import LoopConfig


class DataConfig(Frozen):
    """The collection of photos, and which of them are trained on."""

    photos: Path | None = Field(None, description="a folder; or give shards")
    shards: tuple[str, ...] = Field((), description="glob patterns of tar files")
    table: Path | None = None
    columns: TableColumns = TableColumns()
    cache: Path = Field(description="indexes, prepared segmentation maps and tokens, duplicates")
    teachers: Path | None = Field(None, description="folder of the .tflite files, for `compact`")
    train_part: Literal["train", "inner_train"] = Field(
        "train", description="inner_train keeps authors back for model choices"
    )
    max_bad_share: float = Field(0.01, ge=0.0, lt=1.0, description="more unusable samples than this stop the run")
    drop_duplicates: bool = Field(False, description="leave out what retrieval.training.data.duplicates listed")
    prepared: bool = Field(
        True, description="read segmentation maps (and tokens) that retrieval.training.data.prepare computed"
    )
    augment: bool = Field(True, description="random crops and mirroring, of photo and map alike")
    min_area: float = Field(0.4, gt=0.0, le=1.0, description="of a crop, as a share of the photo")
    window: int = Field(0, ge=0, description="read runs of this many neighbours on the disk; 0: in any order")
    workers: int = Field(2, ge=0)


class ValidationConfig(Frozen):
    """The photos and positions of validation; never a test set."""

    photos: int = Field(5000, gt=0, description="the most photos by validation authors that are scored")
    gallery: int = Field(20000, gt=0, description="the most positions of training photos that are searched")
    view: Literal["image", "semantic", "fused"] = "fused"


class ImageConfig(Frozen):
    """The frozen image backbone: a name in `retrieval.backbones.registry.BACKBONES`."""

    backbone: str
    weights: Literal["pretrained", "random", "tiny"] = Field(
        "pretrained", description="random and tiny weights are for speed tests and the test suite"
    )
    folder: Path | None = Field(None, description="of the weight file; None looks in the caches")
    tokens: Literal["patches", "pooled"] = Field("patches", description="pooled: CLIP's one embedding, as in GeoCLIP")


class SemanticsConfig(Frozen):
    """The frozen segmentation backbone, and the grid of semantic tokens made of its maps."""

    backbone: str
    weights: Literal["pretrained", "random", "tiny"] = "pretrained"
    folder: Path | None = None
    grid: int = Field(16, gt=0, description="tokens a side")


class FusionShape(Frozen):
    """The shape of the fusion encoder; see `retrieval.encoders.fusion.FusionEncoder`."""

    heads: int = 8
    layers: int = Field(1, ge=0)
    modality_dropout: float = Field(0.0, ge=0.0, lt=1.0)
    expansion: int = Field(0, ge=0)
    dropout: float = Field(0.1, ge=0.0, lt=1.0)


class LocationConfig(Frozen):
    """A name in `retrieval.location.registry.LOCATION_ENCODERS` and its options."""

    encoder: str = "geoclip"
    options: dict[str, Any] = Field(default_factory=dict)
    weights: Path | None = Field(None, description="safetensors to start from; names and shapes must fit")


class TowersConfig(Frozen):
    """The networks of `recipe: fusion`: frozen backbones and trained towers."""

    dim: int = Field(512, gt=0)
    image: ImageConfig
    semantics: SemanticsConfig | None = None
    fusion: FusionShape = FusionShape()
    location: LocationConfig = LocationConfig()
    text: TextConfig | None = None
    start: Path | None = Field(None, description="trained weights to start from; names and shapes must fit")


class TeacherCropsConfig(Frozen):
    """How crops are drawn for the teachers of `recipe: compact`."""

    crops: int
    min_area: float
    mixed_share: float
    workers: int


class FeatureCacheConfig(Frozen):
    """How segmentation maps and tokens of `recipe: fusion` are stored."""

    batch: int = Field(32, gt=0)
    block: int = Field(1024, gt=0, description="photos a file; a stopped run continues with the next file")
    tokens: bool = Field(False, description="store the image backbone's tokens too (much space, no augmentation)")
    workers: int = Field(2, ge=0)


class CompactShape(Frozen):
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


class DistilConfig(Frozen):
    """First phase of `compact`: distilling the teachers' tokens, embeddings and segmentations."""

    small_epochs: int
    small_px: int
    token_weight: float
    pooled_weight: float
    relation_weight: float
    segment_weight: float
    loop: LoopConfig


class AlignConfig(Frozen):
    """Second phase of `compact`: contrastive alignment of the distilled backbone's tokens with positions."""

    objective: ObjectiveConfig
    negatives: NegativesConfig
    text: TextConfig | None = None
    loop: LoopConfig


class CardConfig(Frozen):
    """What people should know about the weights; copied into `card.json`."""

    licence: str = ""
    description: str = ""
    data: str = ""
    intended_use: str = ""
    limits: str = ""


class _RunConfig(Frozen):
    """The settings of every recipe."""

    name: str
    seed: int
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: int = Field(2, gt=0)
    run: Path
    card: CardConfig = CardConfig()


class CompactConfig(_RunConfig):
    """`recipe: compact`: distil a small backbone, then align it."""

    recipe: Literal["compact"]
    data: DataConfig
    bf16: bool
    prepare: TeacherCropsConfig
    model: CompactShape
    distil: DistilConfig
    align: AlignConfig


class FusionConfig(_RunConfig):
    """`recipe: fusion`: frozen backbones, trained towers."""

    recipe: Literal["fusion"]
    data: DataConfig
    model: TowersConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    negatives: NegativesConfig = NegativesConfig()
    validation: ValidationConfig = ValidationConfig()
    prepare: FeatureCacheConfig = FeatureCacheConfig()
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

    def identity(self) -> dict[str, object]:
        """All that a checkpoint depends on; paths and settings that change only the speed are left out."""
        sections = self.model_dump(mode="json", exclude={"device", "threads", "run", "card", "data", "prepare", "loop"})
        paths = {"cache", "workers", "photos", "shards", "table", "teachers"}
        return sections | {"loop": self.loop.identity(), "data": self.data.model_dump(mode="json", exclude=paths)}


class CrossviewConfig(_RunConfig):
    """`recipe: crossview`: photos from the ground and satellite tiles, one siamese network."""

    recipe: Literal["crossview"]
    data: PlacesConfig
    model: CrossviewModel
    objective: ObjectiveConfig = ObjectiveConfig(pairs={"image-satellite": 1.0}, label_smoothing=0.1)
    sampling: SamplingConfig = SamplingConfig()
    validation: MatchingConfig = MatchingConfig()
    loop: LoopConfig

    @model_validator(mode="after")
    def _parts_fit(self) -> CrossviewConfig:
        views = self.objective.views
        if unknown := views - {"image", "satellite", "gps", "text"}:
            raise ValueError(f"objective: this recipe has no view {', '.join(sorted(unknown))}")
        for view, part in (("text", self.model.text), ("gps", self.model.location)):
            if (view in views) != (part is not None):
                key = "text" if view == "text" else "location"
                raise ValueError(f"model.{key} and the {view} pairs of objective.pairs: set both or neither")
        return self

    def identity(self) -> dict[str, object]:
        """All that a checkpoint depends on."""
        sections = self.model_dump(mode="json", exclude={"device", "threads", "run", "card", "data", "loop"})
        data = self.data.model_dump(mode="json", exclude={"folder", "workers", "in_memory"})
        return sections | {"loop": self.loop.identity(), "data": data}


AnyConfig = CompactConfig | FusionConfig | CrossviewConfig


def require_arguments(arguments: Sequence[str], documentation: str | None, least: int = 1) -> None:
    """Print what a training command is for and end, if help is asked for or arguments are missing.

    Raises:
        SystemExit: with status 0 after help, 2 where fewer than `least` arguments were given.
    """
    is_help = any(argument in ("-h", "--help") for argument in arguments)
    if is_help or len(arguments) < least:
        (sys.stdout if is_help else sys.stderr).write(documentation or "")
        raise SystemExit(0 if is_help else 2)


def load_config(path: Path, overrides: Sequence[str] = ()) -> AnyConfig:
    """Read the configuration in a YAML file, with overrides such as `loop.epochs=2` applied.

    Raises:
        UserError: no such file, not YAML, an override without `=`, or an unknown or wrong value; the message names
            the key, and the nearest one that exists.
    """
    tree = _read(path)
    for override in overrides:
        _apply(tree, override)
    recipes: dict[Any, type[AnyConfig]] = {
        "compact": CompactConfig,
        "fusion": FusionConfig,
        "crossview": CrossviewConfig,
    }
    recipe = recipes.get(tree.get("recipe"))
    if recipe is None:
        raise UserError(f"{path}: recipe: give one of {', '.join(recipes)}, not {tree.get('recipe')!r}")
    try:
        return recipe.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error, recipe)}") from error


def load_compact_config(path: Path, overrides: Sequence[str] = ()) -> CompactConfig:
    """Read a configuration of `recipe: compact`.

    Raises:
        UserError: as `load_config`, or another recipe.
    """
    config = load_config(path, overrides)
    if not isinstance(config, CompactConfig):
        raise UserError(f"{path}: recipe: this command needs a configuration of `recipe: compact`")
    return config


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


def _first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    first = error.errors()[0]
    if first["type"] != "extra_forbidden":
        return first_problem(error).removeprefix("Value error, ")
    where = ".".join(map(str, first["loc"]))
    known = _keys(model, first["loc"][:-1])
    near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
    return f"{where}: unknown key" + (f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}")


def _keys(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys of the section at a path."""
    for part in path:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        sections = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
        if not sections:
            return []
        model = sections[0]
    return list(model.model_fields)


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
