import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from geo.point import Point, wrap_longitude_deg


@pytest.mark.parametrize(
    ("given_deg", "wrapped_deg"),
    [(0, 0), (180, -180), (-180, -180), (181, -179), (-181, 179), (540, -180), (359.5, -0.5), (-540, -180)],
)
def test_longitudes_wrap(given_deg, wrapped_deg):
    assert Point(lat=0, lon=given_deg).lon == wrapped_deg


@given(st.floats(-90, 90), st.floats(-1e6, 1e6))
def test_longitude_is_always_in_range_and_the_same_place(lat, lon):
    point = Point(lat=lat, lon=lon)
    assert -180.0 <= point.lon < 180.0
    turns = (point.lon - lon) / 360.0
    assert abs(turns - round(turns)) < 1e-6


def test_a_hair_west_of_the_antimeridian_does_not_become_180():
    """The modulo of a tiny negative number rounds up to a full turn."""
    assert wrap_longitude_deg(math.nextafter(-180.0, -181.0)) == -180.0


def test_a_longitude_in_range_is_kept_to_the_last_bit():
    assert Point(lat=0, lon=0.1 + 0.2).lon == 0.1 + 0.2


@pytest.mark.parametrize(
    ("lat", "lon"), [(90.1, 0), (-91, 0), (math.nan, 0), (0, math.nan), (0, math.inf), (math.inf, 0)]
)
def test_what_is_no_position_is_refused(lat, lon):
    with pytest.raises(ValidationError):
        Point(lat=lat, lon=lon)


def test_text_and_immutability():
    point = Point(lat=-33.8568, lon=151.2153)
    assert str(point) == "33.8568° S, 151.2153° E"
    assert str(Point(lat=40.6892, lon=-74.0445)) == "40.6892° N, 74.0445° W"
    with pytest.raises(ValidationError):
        point.lat = 1.0  # type: ignore[misc]  # that it is refused is the point
    assert len({point, Point(lat=-33.8568, lon=151.2153)}) == 1
