"""The box around a circle covers the circle, everywhere on the sphere."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geo.point import Point
from geo.sphere import HALF_CIRCUMFERENCE_KM, destinations_deg
from retrieval.stores.filters import LatLonBox, Near, bounding_box

latitudes = st.floats(-90, 90) | st.sampled_from([-90.0, -89.9999999, 0.0, 89.9999999, 90.0])
longitudes = st.floats(-180, 180) | st.sampled_from([-180.0, 179.9999999, 0.0])
radii = st.floats(0.001, HALF_CIRCUMFERENCE_KM) | st.sampled_from([0.001, 10_007.5, HALF_CIRCUMFERENCE_KM])


def holds(box: LatLonBox, point: Point) -> bool:
    in_lon = not box.lon_ranges or any(low <= point.lon <= high for low, high in box.lon_ranges)
    return box.lat_min <= point.lat <= box.lat_max and in_lon


@given(latitudes, longitudes, radii, st.integers(0, 1000))
def test_the_box_holds_every_point_of_the_circle(lat: float, lon: float, radius_km: float, seed: int) -> None:
    near = Near(Point(lat=lat, lon=lon), radius_km)
    box = bounding_box(near)
    rng = np.random.default_rng(seed)
    distances = radius_km * np.sqrt(rng.random(64)).clip(0, 1)
    distances[:16] = radius_km  # the rim is where a box would be too small
    rim = destinations_deg(near.centre, rng.uniform(0, 360, 64), distances)
    outside = [point for point in rim if not holds(box, Point(lat=point[0], lon=point[1]))]
    assert not outside


def test_a_box_is_not_the_whole_world_where_it_need_not_be() -> None:
    box = bounding_box(Near(Point(lat=60.0, lon=179.5), 111.2))
    assert box.lat_max - box.lat_min < 2.01
    assert len(box.lon_ranges) == 2
    assert sum(high - low for low, high in box.lon_ranges) < 4.05
    assert not holds(box, Point(lat=60.0, lon=0.0))


def test_a_circle_over_a_pole_meets_every_meridian() -> None:
    box = bounding_box(Near(Point(lat=89.5, lon=12.0), 200.0))
    assert box.lon_ranges == ()
    assert box.lat_max == 90.0
    assert holds(box, Point(lat=89.0, lon=-168.0))
