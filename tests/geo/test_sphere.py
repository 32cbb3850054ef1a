import numpy as np
import pytest
from geopy.distance import great_circle
from hypothesis import given
from hypothesis import strategies as st

from geo.point import Point
from geo.sphere import (
    EARTH_RADIUS_KM,
    HALF_CIRCUMFERENCE_KM,
    bearing_deg,
    circle_lat_lon_deg,
    destination,
    destinations_deg,
    distance_km,
    lat_lon_array,
    mean_point,
    medoid_index,
    pairwise_distance_km,
    point_distance_km,
    to_lat_lon_deg,
    unit_vectors,
    wrap_longitudes_deg,
)

POSITIONS = st.tuples(st.floats(-90, 90), st.floats(-180, 179.999))
ONE_DEGREE_KM = HALF_CIRCUMFERENCE_KM / 180


def point(lat, lon):
    return Point(lat=lat, lon=lon)


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((0, 0), (0, 0), 0.0),
        ((0, 0), (0, 1), ONE_DEGREE_KM),
        ((60, 0), (60, 180), 60 * ONE_DEGREE_KM),
        ((0, 179.5), (0, -179.5), ONE_DEGREE_KM),
        ((90, 17), (90, -130), 0.0),
        ((90, 0), (-90, 77), HALF_CIRCUMFERENCE_KM),
        ((0, 0), (0, 180), HALF_CIRCUMFERENCE_KM),
        ((37, 12), (-37, -168), HALF_CIRCUMFERENCE_KM),
        ((52.2296756, 21.0122287), (52.406374, 16.9251681), 278.459),
    ],
)
def test_distances_by_hand(a, b, km):
    assert float(distance_km(a, b)) == pytest.approx(km, abs=2e-3)


@given(POSITIONS, POSITIONS)
def test_distances_agree_with_geopy(a, b):
    assert float(distance_km(a, b)) == pytest.approx(great_circle(a, b, radius=EARTH_RADIUS_KM).km, abs=1e-3)


@given(POSITIONS, POSITIONS, POSITIONS)
def test_distance_is_a_metric(a, b, c):
    ab, bc, ac = float(distance_km(a, b)), float(distance_km(b, c)), float(distance_km(a, c))
    assert ab == float(distance_km(b, a))
    assert 0.0 <= ab <= HALF_CIRCUMFERENCE_KM + 1e-9
    assert ac <= ab + bc + 1e-3


def test_distances_broadcast():
    assert distance_km(np.zeros((3, 1, 2)), np.ones((1, 4, 2))).shape == (3, 4)
    assert pairwise_distance_km([(0, 0), (0, 1), (0, 3)])[0].tolist() == pytest.approx(
        [0, ONE_DEGREE_KM, 3 * ONE_DEGREE_KM]
    )


@given(POSITIONS)
def test_vectors_and_back(position):
    vector = unit_vectors(position)
    assert np.linalg.norm(vector) == pytest.approx(1.0)
    assert float(distance_km(to_lat_lon_deg(vector * 3), position)) < 1e-4


def test_vectors_by_hand():
    assert unit_vectors([(0, 0), (0, 90), (90, 0)]) == pytest.approx(np.eye(3), abs=1e-15)
    assert to_lat_lon_deg((-1.0, 0.0, 0.0)).tolist() == [0.0, -180.0]
    assert unit_vectors(np.zeros((2, 3, 2))).shape == (2, 3, 3)


def test_mean_across_the_antimeridian_and_over_the_pole():
    assert point_distance_km(mean_point([(10, 179), (10, -179)]), point(10.0015, 180)) < 0.5
    assert mean_point([(80, 0), (80, 180)]).lat == pytest.approx(90.0)
    assert mean_point([(0, 0), (0, 90)], [1.0, 3.0]).lon == pytest.approx(np.degrees(np.arctan2(3, 1)))


def test_a_mean_that_is_nowhere_is_refused():
    for nowhere in ([(0, 0), (0, 180)], np.zeros((0, 2))):
        with pytest.raises(ValueError, match="undefined"):
            mean_point(nowhere)
    with pytest.raises(ValueError, match="undefined"):
        mean_point([(0, 0)], [0.0])


def test_medoid():
    line = [(0, 178), (0, -179), (0, 170)]
    assert medoid_index(line) == 0
    assert medoid_index(line, [1, 10, 1]) == 1
    assert medoid_index([(0, 0), (0, 1)]) == 0
    assert medoid_index([(0, 5), (0, 1), (0, 5)], [1, 2, 1]) == 0
    with pytest.raises(ValueError, match="undefined"):
        medoid_index([])


@pytest.mark.parametrize(
    ("start", "end", "degrees"),
    [
        ((0, 0), (1, 0), 0),
        ((0, 0), (0, 1), 90),
        ((1, 0), (0, 0), 180),
        ((0, 179.5), (0, -179.5), 90),
        ((0, 0), (0, -1), 270),
    ],
)
def test_bearings(start, end, degrees):
    assert bearing_deg(point(*start), point(*end)) == pytest.approx(degrees)


@given(POSITIONS, st.floats(0, 359.99), st.floats(0, 20_000))
def test_a_destination_is_as_far_as_asked(position, bearing, km):
    start = point(*position)
    reached = destination(start, bearing, km)
    assert -180.0 <= reached.lon < 180.0
    assert point_distance_km(start, reached) == pytest.approx(km, abs=1e-3)


@given(st.tuples(st.floats(-85, 85), st.floats(-180, 179)), st.floats(1, 359), st.floats(10, 15_000))
def test_a_destination_lies_where_its_bearing_points(position, bearing, km):
    start = point(*position)
    turned = bearing_deg(start, destination(start, bearing, km)) - bearing
    assert abs((turned + 180) % 360 - 180) < 1e-5


def test_destinations_by_hand():
    assert destinations_deg(point(0, 0), [0, 90, 180], ONE_DEGREE_KM) == pytest.approx(
        np.array([(1, 0), (0, 1), (-1, 0)]), abs=1e-12
    )
    over_the_pole = destination(point(89, 0), 0, 2 * ONE_DEGREE_KM)
    assert (over_the_pole.lat, over_the_pole.lon) == pytest.approx((89, -180), abs=1e-9)


def test_a_circle_is_round_even_around_the_pole():
    for centre in (point(89.9, 10), point(0, 179.99), point(-90, 0)):
        circle = circle_lat_lon_deg(centre, 300.0)
        assert circle.shape == (72, 2)
        assert distance_km(circle, (centre.lat, centre.lon)) == pytest.approx(np.full(72, 300.0), abs=1e-3)


def test_arrays_of_points_and_of_longitudes():
    assert lat_lon_array([point(1, 2), point(3, 4)]).tolist() == [[1, 2], [3, 4]]
    assert lat_lon_array([]).shape == (0, 2)
    assert wrap_longitudes_deg([180, -181, 540, np.nextafter(-180, -181)]).tolist() == [-180, 179, -180, -180]
