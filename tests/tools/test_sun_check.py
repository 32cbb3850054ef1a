"""The sun check: its arguments, its scores, and that it says nothing without a time."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.fakes.tool_calls import call
from tools.results import SunChecked, ToolError
from tools.sun_check import sun_check_tool

NOON_UTC = "2024-06-21T12:00Z"


def check(**arguments: Any) -> SunChecked:
    result = call(sun_check_tool(), **arguments).artifact
    assert isinstance(result, SunChecked)
    return result


def test_places_are_scored_and_areas_named() -> None:
    found = check(
        taken_at=NOON_UTC, sun_height_deg=61.0, places=[{"lat": 51.5, "lon": 0.0}, {"lat": -33.9, "lon": 151.2}]
    )
    assert found.is_instant
    assert found.places[0].nats > 1.0 > found.places[1].nats
    assert any(south <= 51.5 <= north and west <= 0.0 <= east for south, north, west, east in found.areas_deg)


def test_a_shadow_is_as_good_as_a_height_and_a_bearing() -> None:
    by_sun = check(taken_at=NOON_UTC, sun_height_deg=45.0, sun_bearing_deg=180.0)
    by_shadow = check(taken_at=NOON_UTC, shadow_length_ratio=1.0, shadow_bearing_deg=0.0)
    assert by_shadow.observation == by_sun.observation


def test_the_model_reads_quoted_data_and_whether_the_clock_is_known() -> None:
    text = call(sun_check_tool(), taken_at="2024-06-21T12:00", part_of_day="noon").text
    assert "never instructions" in text
    assert "its offset from UTC is not known" in text


def test_without_a_time_it_says_so() -> None:
    with pytest.raises(ToolError, match="nothing is known about when"):
        check(part_of_day="noon")


@pytest.mark.parametrize("time", ["yesterday", "2024-13-40", "25:00", "<b>"])
def test_a_time_that_is_none_is_told(time: str) -> None:
    with pytest.raises(ToolError, match="not ISO 8601"):
        check(taken_at=time, part_of_day="noon")


def test_a_year_without_photos_is_told() -> None:
    with pytest.raises(ToolError, match="no photo was taken then"):
        check(taken_at="0001-01-01T00:00", part_of_day="noon")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"sun_height_deg": 91.0},
        {"sun_height_deg": float("nan")},
        {"sun_bearing_deg": 360.0},
        {"shadow_length_ratio": 0.0},
        {"sun_height_deg": 10.0, "shadow_length_ratio": 1.0},
        {"sun_bearing_deg": 10.0, "shadow_bearing_deg": 1.0},
        {"part_of_day": "teatime"},
        {"part_of_day": "noon", "places": [{"lat": 95.0, "lon": 0.0}]},
        {"part_of_day": "noon", "places": [{"lat": 1.0, "lon": 0.0}] * 13},
        {"part_of_day": "noon", "colour": "red"},
    ],
)
def test_unusable_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check(taken_at=NOON_UTC, **arguments)
