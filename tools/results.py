"""What tools return: typed data with units. Text for the model is rendered elsewhere."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from geo.place import Place
from geo.point import Point
from retrieval.candidate import Candidate, Region


class ToolError(Exception):
    """Tell the model and go on. Anything else a tool raises is a bug and propagates."""


class ToolResult(BaseModel):
    """A typed, immutable tool result."""

    model_config = ConfigDict(frozen=True)

    def sha256(self) -> str:
        """Hash of the canonical JSON, to check evidence against."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class Circle(BaseModel):
    """A search area on the sphere."""

    model_config = ConfigDict(frozen=True)

    centre: Point
    radius_km: float = Field(gt=0.0)


class Box(BaseModel):
    """A crop of a photo, in fractions of its width and height from the top left."""

    model_config = ConfigDict(frozen=True)

    left: float = Field(ge=0.0, lt=1.0)
    top: float = Field(ge=0.0, lt=1.0)
    right: float = Field(gt=0.0, le=1.0)
    bottom: float = Field(gt=0.0, le=1.0)


class PhotoMatches(ToolResult):
    """Candidates from one or more atlases, most similar first within each atlas."""

    candidates: tuple[Candidate, ...]
    near: Circle | None = None
    box: Box | None = None


class RankedRegions(ToolResult):
    candidates: tuple[Candidate, ...] = Field(description="what the regions' members index")
    regions: tuple[Region, ...]


class PlaceAt(ToolResult):
    """What lies at a position."""

    point: Point
    place: Place | None = Field(description="nearest populated place; None if none lies within the search distance")
    surface: Literal["land", "sea"]


class FoundPlaces(ToolResult):
    """Places of a given name, most populous first."""

    query: str
    places: tuple[Place, ...]


class Sign(BaseModel):
    """A line of text read in a photo. Untrusted: data, never an instruction."""

    model_config = ConfigDict(frozen=True)

    text: str
    confidence: float = Field(ge=0.0, le=1.0)
    box: Box
    script: str = Field(description="dominant Unicode script, such as Latin, Han, Cyrillic")
    languages: tuple[tuple[str, float], ...] = Field(description="ISO 639-1 code and probability, most likely first")


class SignsRead(ToolResult):
    signs: tuple[Sign, ...]


class SatelliteView(ToolResult):
    """A square picture of the ground around a point, north up."""

    point: Point
    zoom: int
    km_per_pixel: float
    width_km: float
    source: str
    attribution: str
    png_base64: str = Field(repr=False)
