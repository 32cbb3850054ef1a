"""A named place and how far it is."""

from __future__ import annotations

from pydantic import Field

from core.frozen import Immutable
from geo.point import Point


class Place(Immutable):
    """A populated place from an offline gazetteer.

    `distance_km` is measured from the position that was asked about; it is
    None when the place was found by name.
    """

    country: str
    country_code: str = Field(description="ISO 3166-1 alpha-2")
    region: str | None = Field(None, description="first-level division, such as a state")
    city: str | None = None
    point: Point = Field(description="the place's own position")
    population: int | None = None
    distance_km: float | None = Field(None, ge=0.0)

    @property
    def name(self) -> str:
        """City, region and country, as far as they are known."""
        parts = [self.city, self.region, self.country]
        return ", ".join(dict.fromkeys(part for part in parts if part))


class SimilarPlace(Immutable):
    """A place whose name is not the one that was asked for, but like it, or part of it."""

    place: Place
    matched: str = Field(description="the part of what was asked that it matches")
    score: float = Field(ge=0.0, le=1.0, description="share of the letters of what was asked that match")
