"""The sections of a configuration of `recipe: crossview`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.frozen import Frozen
from retrieval.crossview.encoder import CrossviewBackbone
from retrieval.crossview.network import CrossviewShape, ViewSizes
from retrieval.training.text_tower import TextConfig

Layout = Literal["table", "cvusa", "vigor", "mmlandmarks"]


class PlacesConfig(Frozen):
    """Places with their photos and tiles, and which of them are trained on."""

    folder: Path = Field(description="of the photos and tiles")
    layout: Layout = Field("table", description="a CSV of ours, or a published folder")
    table: str = Field("places.csv", description="of layout table: columns photo, tile, lat, lon, place, text, part")
    cities: tuple[str, ...] = Field((), description="of layout vigor; none: all four")
    outdoor_only: bool = Field(False, description="of layout mmlandmarks: without the photos from indoors")
    photos: int = Field(1, gt=0, description="photos of a place that make one query in training")
    drop_photos: bool = Field(True, description="of several photos leave some out at random, so that fewer do, too")
    validation_share: float = Field(0.1, gt=0.0, lt=1.0, description="of the places, where the data has no such part")
    mirror: bool = Field(True, description="mirror photo and tile together, every second time")
    rotate: bool = Field(True, description="turn tiles by quarter turns; panoramas turn with them")
    panoramas: bool = Field(False, description="photos show the whole circle, north in their middle")
    in_memory: bool = Field(False, description="keep the resized pictures in memory, for small collections")
    max_bad_share: float = Field(0.01, ge=0.0, lt=1.0, description="more unusable places than this stop the run")
    workers: int = Field(2, ge=0)


class CrossviewModel(Frozen):
    """The siamese network, and what else is trained with it."""

    image: CrossviewBackbone
    shape: CrossviewShape = CrossviewShape()
    sizes: ViewSizes = ViewSizes()
    location: str | None = Field(None, description="a name in `LOCATION_ENCODERS`, for pairs with gps")
    location_options: dict[str, Any] = Field(default_factory=dict)
    text: TextConfig | None = None


class SamplingConfig(Frozen):
    """Hard negatives, as in Sample4Geo: near ones at first, then those that the network finds similar."""

    near_epochs: int = Field(4, ge=0, description="so many epochs put neighbours on the ground into one batch")
    similar_every: int = Field(4, ge=0, description="then, by similarity measured every so many epochs; 0: never")
    neighbours: int = Field(64, ge=0, description="brought in with each place: half the nearest, half of the next")
    among: int = Field(128, gt=0, description="the neighbours they are drawn from")


class MatchingConfig(Frozen):
    """Validation: each place's photos against the tiles of all validation places."""

    places: int = Field(5000, gt=0)
