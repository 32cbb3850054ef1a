"""Weather of the past, over a server on localhost that answers as Open-Meteo's archive does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pytest
from langchain_core.tools import BaseTool

from tests.fakes.tool_calls import Reply, call, shown_to_model
from tests.tools.online.server import Asked, OnlineServer, Service, as_json, serving
from tools.online.json_service import JsonService
from tools.online.open_meteo import OpenMeteo
from tools.online.weather import weather_tool
from tools.results import ToolError

NONE = [None] * 72
OSLO = {"lat": 59.9139, "lon": 10.7522}
Start = Callable[[Service], tuple[BaseTool, OnlineServer]]


def archive(offset_h: int = 1, zone: str = "Europe/Oslo", **columns: Any) -> Service:
    """Hours from the first day to the last, local at one offset; the temperature counts the hours."""

    def answer(asked: Asked) -> Reply:
        first, last = (date.fromisoformat(asked.query[name]) for name in ("start_date", "end_date"))
        count = ((last - first).days + 1) * 24
        start = datetime.combine(first, datetime.min.time())
        hourly = {
            "time": [(start + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M") for hour in range(count)],
            "temperature_2m": [float(hour) for hour in range(count)],
            "precipitation": [0.1] * count,
            "cloud_cover": [50] * count,
            "snow_depth": [0.25] * count,
        }
        return as_json(
            {
                "latitude": 59.93,
                "longitude": 10.72,
                "generationtime_ms": 0.1,
                "utc_offset_seconds": offset_h * 3600,
                "timezone": zone,
                "timezone_abbreviation": "GMT+1",
                "elevation": 12.0,
                "hourly_units": {"time": "iso8601", "temperature_2m": "°C", "snow_depth": "m"},
                "hourly": hourly | columns,
            },
            "application/json; charset=utf-8",
        )

    return answer


@pytest.fixture
def start(client: httpx.Client) -> Iterator[Start]:
    with ExitStack() as stack:

        def tool_of(service: Service) -> tuple[BaseTool, OnlineServer]:
            server = stack.enter_context(serving(service))
            at = JsonService("Open-Meteo", f"{server.url}/v1/archive", client, min_interval_s=0.0)
            return weather_tool(OpenMeteo(at)), server

        yield tool_of


def test_an_instant(start: Start) -> None:
    tool, server = start(archive())
    message = call(tool, taken_at="2024-01-15T11:10Z", **OSLO)
    result = message.artifact
    assert result.hour.local_time == "2024-01-15T12:10+01:00"
    assert result.hour.temperature_c == 24.0 + 12.0
    assert result.hour.snow_depth_cm == 25.0
    assert result.hour.sun_height_deg == pytest.approx(8.8, abs=0.3)
    assert result.hour.sun_bearing_deg == pytest.approx(176.0, abs=2.0)
    assert (result.temperature_min_c, result.temperature_max_c) == (24.0, 47.0)
    assert (result.precipitation_sum_mm, result.cloud_cover_mean_percent) == (2.4, 50)
    shown = shown_to_model(message)
    assert shown["hour"]["cloud_cover_percent"] == 50.0
    assert "Open-Meteo" in shown["attribution"]
    [asked] = server.asked
    assert asked.path == "/v1/archive"
    assert asked.query == {
        "latitude": "59.91",
        "longitude": "10.75",
        "start_date": "2024-01-14",
        "end_date": "2024-01-16",
        "hourly": "temperature_2m,precipitation,cloud_cover,snow_depth",
        "timezone": "auto",
    }


def test_a_clock_without_an_offset_is_read_in_the_zone_of_the_place(start: Start) -> None:
    """The archive gives a summer day at the winter's offset: the clock is an hour ahead of its times."""
    tool, _ = start(archive(offset_h=1))
    hour = call(tool, taken_at="2024-07-01T13:00", **OSLO).artifact.hour
    assert hour.local_time == "2024-07-01T13:00+02:00"
    assert hour.temperature_c == 24.0 + 12.0
    assert hour.sun_height_deg == pytest.approx(53.0, abs=1.0)


def test_a_zone_that_nobody_knows_leaves_the_offset(start: Start) -> None:
    for zone in ("Mars/Olympus", "../../etc/passwd", ""):
        tool, _ = start(archive(offset_h=5, zone=zone))
        assert call(tool, taken_at="2024-07-01T13:00", **OSLO).artifact.hour.local_time == "2024-07-01T13:00+05:00"


def test_a_date_alone_gives_the_day(start: Start) -> None:
    tool, _ = start(archive())
    message = call(tool, taken_at="2024-01-15", **OSLO)
    assert message.artifact.hour is None
    assert message.artifact.temperature_max_c == 47.0
    assert shown_to_model(message)["hour"] == "not known"


def test_the_local_day_of_an_instant_across_the_date_line(start: Start) -> None:
    tool, server = start(archive(offset_h=13, zone="Pacific/Auckland"))
    hour = call(tool, taken_at="2024-01-14T23:30Z", lat=-36.85, lon=174.76).artifact.hour
    assert hour.local_time == "2024-01-15T12:30+13:00"
    assert server.asked[0].query["start_date"] == "2024-01-14"


def test_missing_values_are_left_out(start: Start) -> None:
    tool, _ = start(archive(snow_depth=NONE, cloud_cover=[None] * 71 + [10]))
    message = call(tool, taken_at="2024-01-15T12:00+01:00", **OSLO)
    assert message.artifact.hour.snow_depth_cm is None
    assert "snow_depth_cm" not in shown_to_model(message)["hour"]
    assert message.artifact.cloud_cover_mean_percent is None


@pytest.mark.parametrize(
    ("taken_at", "message"),
    [
        (None, "nothing is known about when"),
        ("last summer", "is not ISO 8601"),
        ("1890-01-01", "not between 1940 and now"),
        ("2999-01-01", "not between 1940 and now"),
    ],
)
def test_times_that_say_nothing_send_nothing(start: Start, taken_at: str | None, message: str) -> None:
    tool, server = start(archive())
    with pytest.raises(ToolError, match=message):
        call(tool, taken_at=taken_at, **OSLO)
    assert not server.asked


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (lambda _: as_json({"error": True, "reason": "Parameter 'start_date' is out of range"}, status=400), "400"),
        (lambda _: as_json({"error": True, "reason": "limit exceeded"}, status=429), "asked too often"),
        (lambda _: as_json({"hourly": {}}), "another form"),
        (archive(cloud_cover=[1.0]), "another form"),
        (archive(temperature_2m=[1e999] * 72), "another form"),
        (archive(time=["soon"] * 72), "another form"),
        (
            archive(temperature_2m=NONE, precipitation=NONE, cloud_cover=NONE, snow_depth=NONE),
            "no weather for this place and date",
        ),
    ],
)
def test_an_archive_that_fails_is_one_clear_error(start: Start, service: Service, message: str) -> None:
    tool, _ = start(service)
    with pytest.raises(ToolError, match=message):
        call(tool, taken_at="2024-01-15T12:00", **OSLO)
