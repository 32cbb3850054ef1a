"""A position on Earth."""

from __future__ import annotations

import math

from pydantic import Field, field_validator

from core.frozen import Immutable


def wrap_longitude_deg(lon_deg: float) -> float:
    """Longitude wrapped to [-180, 180) degrees.

    >>> wrap_longitude_deg(190.0), wrap_longitude_deg(180.0)
    (-170.0, -180.0)
    """
    wrapped_deg = (lon_deg + 180.0) % 360.0 - 180.0
    # A hair west of the antimeridian the modulo rounds up to a full turn.
    return wrapped_deg if wrapped_deg < 180.0 else -180.0


class Point(Immutable):
    """A WGS84 position in degrees, latitude first.

    Longitude is wrapped to [-180, 180). `(0, 0)` is a real place in the Gulf
    of Guinea and never stands for a failure.

    >>> print(Point(lat=-33.87, lon=151.21))
    33.8700° S, 151.2100° E

    Raises:
        pydantic.ValidationError: latitude outside [-90, 90] or not finite.
    """

    lat: float = Field(ge=-90.0, le=90.0, allow_inf_nan=False, description="degrees north")
    lon: float = Field(allow_inf_nan=False, description="degrees east, wrapped to [-180, 180)")

    @field_validator("lon")
    @classmethod
    def _wrap(cls, lon_deg: float) -> float:
        return lon_deg if -180.0 <= lon_deg < 180.0 else wrap_longitude_deg(lon_deg)

    def __str__(self) -> str:
        north = "N" if self.lat >= 0 else "S"
        east = "E" if self.lon >= 0 else "W"
        return f"{math.fabs(self.lat):.4f}° {north}, {math.fabs(self.lon):.4f}° {east}"
