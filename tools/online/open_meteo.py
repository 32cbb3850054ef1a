"""Weather of the past from Open-Meteo's archive (https://open-meteo.com/en/docs/historical-weather-api).

Reanalysis since 1940 on a grid of 9 to 25 km, some days behind today. Data are CC BY 4.0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from geo.point import Point
from tools.online.json_service import JsonService
from tools.results import ToolError

_HOURLY = ("temperature_2m", "precipitation", "cloud_cover", "snow_depth")
_DAY = timedelta(days=1)


class HourOfWeather(NamedTuple):
    """An hour's weather; None where the archive has no value."""

    local_time: datetime
    temperature_c: float | None
    precipitation_mm: float | None
    cloud_cover_percent: float | None
    snow_depth_m: float | None


class OpenMeteo:
    """Open-Meteo's archive at one address. Safe between threads."""

    def __init__(self, service: JsonService) -> None:
        self._service = service

    def hours_around(self, point: Point, day: date) -> list[HourOfWeather]:
        """The hours of three days, in the clock time of the place; positions are sent to 0.01 degrees.

        Raises:
            ToolError: the service cannot be reached, or has no values for these days.
        """
        answer = self._service.get(
            {
                "latitude": f"{point.lat:.2f}",
                "longitude": f"{point.lon:.2f}",
                "start_date": (day - _DAY).isoformat(),
                "end_date": (day + _DAY).isoformat(),
                "hourly": ",".join(_HOURLY),
                "timezone": "auto",
            }
        )
        try:
            hours = _hours(answer)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise ToolError("Open-Meteo sent JSON of another form than it should") from error
        if all(value is None for hour in hours for value in hour[1:]):
            raise ToolError("the archive has no weather for this place and date: it ends some days before today")
        return hours


def _hours(answer: dict[str, Any]) -> list[HourOfWeather]:
    hourly = answer["hourly"]
    offset = timedelta(seconds=int(answer["utc_offset_seconds"]))
    zone = _zone(answer.get("timezone"), offset)
    # All times are given with the one offset that `utc_offset_seconds` names, on whichever side of a change of clocks.
    utc = [(datetime.fromisoformat(time) - offset).replace(tzinfo=UTC) for time in hourly["time"]]
    columns = [_numbers(hourly[name], len(utc)) for name in _HOURLY]
    return [HourOfWeather(time.astimezone(zone), *values) for time, *values in zip(utc, *columns, strict=True)]


def _zone(name: Any, offset: timedelta) -> tzinfo:
    """The time zone of a name; the offset alone where this machine does not know the name."""
    try:
        return ZoneInfo(str(name))
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return timezone(offset)


def _numbers(values: Sequence[Any], count: int) -> list[float | None]:
    if len(values) != count:
        raise ValueError("columns of different length")
    numbers = [None if value is None else float(value) for value in values]
    if not all(number is None or math.isfinite(number) for number in numbers):
        raise ValueError("a value that is not finite")
    return numbers
