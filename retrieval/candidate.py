"""The results of retrieval: candidates, and regions of candidates."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from core.frozen import Immutable
from geo.point import Point


class AtlasKind(StrEnum):
    """What the vectors of an atlas stand for."""

    PHOTO = "photo"
    GPS = "gps"
    TILE = "tile"
    """Satellite tiles, for matching the ground to pictures from above (`retrieval.crossview`)."""


class Candidate(Immutable):
    """One retrieved place: an item of an atlas near the query in vector space."""

    point: Point
    similarity: float = Field(description="cosine of query and item vectors; comparable within one atlas only")
    atlas: str = Field(description="name of the atlas it came from")
    kind: AtlasKind
    item_id: str = Field(description="the item's id in that atlas")
    rank: int = Field(ge=0, description="0 is the most similar")


class Region(Immutable):
    """A cluster of candidates on the sphere."""

    centre: Point = Field(description="similarity-weighted spherical medoid: the position of a real candidate")
    radius_km: float = Field(ge=0.0, description="weighted 90th percentile of the members' distance to the centre")
    members: tuple[int, ...] = Field(description="positions in the candidate list, most similar first")
    mass: float = Field(ge=0.0, le=1.0, description="share of all candidates' weight")
    isolated: bool = Field(description="a lone candidate: demoted, never dropped")
