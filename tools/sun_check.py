"""The tool that checks where on Earth the sun can have stood as it does in the photo."""

from __future__ import annotations

import math
from typing import Self

from langchain_core.tools import StructuredTool
from pydantic import Field, model_validator

from geo.point import Point
from geo.sphere import lat_lon_array
from geo.sun import PartOfDay, SunObservation, possible_areas, sun_nats
from tools.base import Arguments, PositionArguments, result_tool, shown_position
from tools.results import SunAtPlace, SunChecked, ToolError
from tools.untrusted_text import quoted

MAX_PLACES = 12
MAX_AREAS = 24
FIRST_YEAR, LAST_YEAR = 1826, 2100
"""From the first photograph to where the astronomy stops being exact."""


class SunArguments(Arguments):
    """Where the sun stands, and the places to check. The time is filled in by the machine."""

    taken_at: str | None = Field(None, max_length=40, description="leave out: what is known about the photo is used")
    sun_height_deg: float | None = Field(
        None, ge=-90.0, le=90.0, allow_inf_nan=False, description="of the sun above the horizon"
    )
    shadow_length_ratio: float | None = Field(
        None,
        gt=0.0,
        le=100.0,
        allow_inf_nan=False,
        description="instead: a shadow's length / its thing's height",
    )
    sun_bearing_deg: float | None = Field(
        None, ge=0.0, lt=360.0, allow_inf_nan=False, description="of the sun, clockwise from true north"
    )
    shadow_bearing_deg: float | None = Field(
        None, ge=0.0, lt=360.0, allow_inf_nan=False, description="instead: which way shadows fall, clockwise from north"
    )
    part_of_day: PartOfDay | None = Field(None, description="what the light looks like")
    places: list[PositionArguments] = Field(
        default_factory=list, max_length=MAX_PLACES, description="positions to score, at most 12"
    )

    @model_validator(mode="after")
    def _observed(self) -> Self:
        if self.sun_height_deg is not None and self.shadow_length_ratio is not None:
            raise ValueError("give sun_height_deg or shadow_length_ratio, not both")
        if self.sun_bearing_deg is not None and self.shadow_bearing_deg is not None:
            raise ValueError("give sun_bearing_deg or shadow_bearing_deg, not both")
        heights = (self.sun_height_deg, self.shadow_length_ratio)
        bearings = (self.sun_bearing_deg, self.shadow_bearing_deg)
        if all(value is None for value in (*heights, *bearings, self.part_of_day)):
            raise ValueError("give the sun's height or bearing, or the part of the day")
        return self


def sun_check_tool() -> StructuredTool:
    """The tool `sun_check(...)`: astronomy in this process, no network."""

    def sun_check(
        taken_at: str | None = None,
        sun_height_deg: float | None = None,
        shadow_length_ratio: float | None = None,
        sun_bearing_deg: float | None = None,
        shadow_bearing_deg: float | None = None,
        part_of_day: PartOfDay | None = None,
        places: list[PositionArguments] | None = None,
    ) -> SunChecked:
        """Check where on Earth the sun can have stood as it does in the photo at the time it was taken.

        Needs a time that the user gave; without one it says so. Give what you see: the sun's height or a shadow's
        length, the bearing of the sun or of shadows if you know where north is, or the part of the day. Returns for
        each place a score in nats (above 0 fits better than an average place, below 0 worse), the areas of the
        Earth where it fits best, and whether the time is an instant or a clock's whose offset is not known.
        """
        if taken_at is None:
            raise ToolError("nothing is known about when the photo was taken, so the sun says nothing; go on without")
        height = math.degrees(math.atan2(1.0, shadow_length_ratio)) if shadow_length_ratio else sun_height_deg
        bearing = (shadow_bearing_deg + 180.0) % 360.0 if shadow_bearing_deg is not None else sun_bearing_deg
        observation = SunObservation(
            taken_at=check_time(taken_at), sun_height_deg=height, sun_bearing_deg=bearing, part_of_day=part_of_day
        )
        return _checked_places(observation, [Point(lat=place.lat, lon=place.lon) for place in places or []])

    return result_tool(sun_check, SunArguments, render_sun)


def check_time(taken_at: str) -> str:
    """The time itself, if it is one that can be used.

    Raises:
        ToolError: it is not ISO 8601, or no photo was taken then; the message gives an example.
    """
    try:
        time = SunObservation(taken_at=taken_at).time
    except ValueError as error:
        raise ToolError(f"the time {taken_at[:40]!r} is not ISO 8601, such as 2024-06-21T17:30+02:00") from error
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise ToolError(f"the year {time.year} is not between {FIRST_YEAR} and {LAST_YEAR}: no photo was taken then")
    return taken_at


def _checked_places(observation: SunObservation, points: list[Point]) -> SunChecked:
    nats = sun_nats(observation, lat_lon_array(points))
    places = tuple(SunAtPlace(point=p, nats=round(float(n), 3)) for p, n in zip(points, nats, strict=True))
    return SunChecked(
        observation=observation,
        is_instant=observation.time.tzinfo is not None,
        places=places,
        areas_deg=tuple(possible_areas(observation)[:MAX_AREAS]),
    )


def render_sun(result: SunChecked) -> str:
    """What the model reads."""
    return quoted(
        {
            "observed": result.observation.summary,
            "time": "an instant" if result.is_instant else "a clock's; its offset from UTC is not known",
            "places": [{**shown_position(place.point), "nats": round(place.nats, 2)} for place in result.places],
            "fits_best_in": [
                {"south": south, "north": north, "west": west, "east": east}
                for south, north, west, east in result.areas_deg
            ],
        }
    )
