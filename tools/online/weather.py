"""The tool that says what the weather was where and when a photo may have been taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from langchain_core.tools import StructuredTool
from pydantic import Field

from geo.point import Point
from geo.sun import sun_position
from tools.base import PositionArguments, result_tool, shown_position
from tools.online.open_meteo import HourOfWeather, OpenMeteo
from tools.online.results import WeatherAt, WeatherThen
from tools.results import ToolError
from tools.untrusted_text import quoted

ATTRIBUTION = "Open-Meteo.com, CC BY 4.0"
FIRST_YEAR = 1940
_DATE_ONLY = len("2024-06-21")


class WeatherArguments(PositionArguments):
    """A position. The time is filled in by the machine."""

    taken_at: str | None = Field(None, max_length=40, description="leave out: what is known about the photo is used")


def weather_tool(archive: OpenMeteo) -> StructuredTool:
    """The tool `weather(lat, lon)`; `taken_at` is filled in by the machine."""

    def weather(lat: float, lon: float, taken_at: str | None = None) -> WeatherAt:
        """Look up the weather and the sun at a position when the photo was taken, to compare with what it shows.

        Needs a time that the user gave; without one it says so. Returns cloud cover, temperature, precipitation and
        snow depth at that hour and over that day, and the height and bearing of the sun. Values are means over
        some 10 to 25 km: a shower or the weather in a mountain valley may differ.
        """
        if taken_at is None:
            raise ToolError("nothing is known about when the photo was taken, so there is no weather; go on without")
        point, time = Point(lat=lat, lon=lon), _time(taken_at)
        local_day = time.date() if time.tzinfo is None else (time.astimezone(UTC) + _solar_offset(point)).date()
        hours = archive.hours_around(point, local_day)
        hour = _nearest(hours, time)
        day = [one for one in hours if one.local_time.date() == hour.local_time.date()]
        then = None if len(taken_at) <= _DATE_ONLY else _then(point, hour, _instant(time, hour))
        return _weather_at(point, taken_at, then, day)

    return result_tool(weather, WeatherArguments, render_weather)


def _time(taken_at: str) -> datetime:
    """The time; at noon where there is only a date."""
    try:
        time = datetime.fromisoformat(taken_at)
    except ValueError as error:
        raise ToolError(f"the time {taken_at[:40]!r} is not ISO 8601, such as 2024-06-21T17:30+02:00") from error
    if not FIRST_YEAR <= time.year <= datetime.now(UTC).year + 1:
        raise ToolError(f"the year {time.year} is not between {FIRST_YEAR} and now: the archive has no weather then")
    return time.replace(hour=12) if len(taken_at) <= _DATE_ONLY else time


def _solar_offset(point: Point) -> timedelta:
    return timedelta(hours=point.lon / 15.0)


def _instant(time: datetime, hour: HourOfWeather) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=hour.local_time.tzinfo)


def _nearest(hours: Sequence[HourOfWeather], time: datetime) -> HourOfWeather:
    return min(hours, key=lambda hour: abs(hour.local_time - _instant(time, hour)))


def _then(point: Point, hour: HourOfWeather, instant: datetime) -> WeatherThen:
    height_deg, bearing_deg = sun_position(point, instant)
    return WeatherThen(
        local_time=instant.astimezone(hour.local_time.tzinfo).isoformat(timespec="minutes"),
        temperature_c=hour.temperature_c,
        precipitation_mm=hour.precipitation_mm,
        cloud_cover_percent=hour.cloud_cover_percent,
        snow_depth_cm=_to_cm(hour.snow_depth_m),
        sun_height_deg=round(height_deg, 1),
        sun_bearing_deg=round(bearing_deg, 1),
    )


def _weather_at(point: Point, taken_at: str, then: WeatherThen | None, day: Sequence[HourOfWeather]) -> WeatherAt:
    temperatures = _known(hour.temperature_c for hour in day)
    clouds = _known(hour.cloud_cover_percent for hour in day)
    rain = _known(hour.precipitation_mm for hour in day)
    return WeatherAt(
        point=point,
        taken_at=taken_at,
        hour=then,
        temperature_min_c=min(temperatures, default=None),
        temperature_max_c=max(temperatures, default=None),
        precipitation_sum_mm=round(sum(rain), 1) if rain else None,
        cloud_cover_mean_percent=round(sum(clouds) / len(clouds)) if clouds else None,
        snow_depth_max_cm=_to_cm(max(_known(hour.snow_depth_m for hour in day), default=None)),
        attribution=ATTRIBUTION,
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _to_cm(depth_m: float | None) -> float | None:
    return None if depth_m is None else round(100.0 * depth_m, 1)


def render_weather(result: WeatherAt) -> str:
    """What the model reads: what is known, in its units."""
    day = result.model_dump(exclude={"point", "taken_at", "hour", "attribution"})
    return quoted(
        {
            **shown_position(result.point),
            "taken_at": result.taken_at,
            "hour": _without_none(result.hour.model_dump()) if result.hour else "not known",
            "day": _without_none(day),
            "attribution": result.attribution,
        }
    )


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
