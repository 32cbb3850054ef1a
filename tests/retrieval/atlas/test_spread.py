"""Candidates that stand apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geo.sphere import pairwise_distance_km
from retrieval.atlas.atlas import spread_out


def test_keeps_the_best_of_each_neighbourhood_in_order() -> None:
    places = [(48.85, 2.35), (48.86, 2.36), (51.5, -0.12), (48.8, 2.3), (52.5, 13.4)]
    assert spread_out(places, 100.0, 10).tolist() == [0, 2, 4]


def test_sees_across_the_antimeridian_and_the_pole() -> None:
    assert len(spread_out([(0.0, 179.9), (0.0, -179.9)], 100.0, 10)) == 1
    assert len(spread_out([(89.9, 0.0), (89.9, 180.0)], 100.0, 10)) == 1


def test_the_same_place_twice_is_one_place() -> None:
    assert len(spread_out([(10.0, 10.0), (10.0, 10.0)], 0.01, 10)) == 1


def test_stops_at_the_limit_and_takes_nothing_from_nothing() -> None:
    assert len(spread_out([(0.0, lon) for lon in range(0, 90, 10)], 100.0, 3)) == 3
    assert spread_out([], 100.0, 3).tolist() == []


positions = st.tuples(st.floats(-90, 90), st.floats(-180, 179))


@given(st.lists(positions, min_size=1, max_size=30), st.floats(1, 5000))
def test_those_kept_stand_apart_and_those_left_out_are_near_a_better_one(
    places: list[tuple[float, float]], min_km: float
) -> None:
    kept = spread_out(places, min_km, len(places)).tolist()
    away_km = pairwise_distance_km(places)
    assert all(away_km[a, b] > min_km - 1e-3 for a in kept for b in kept if a < b)
    for left_out in set(range(len(places))) - set(kept):
        assert np.min(away_km[left_out, [k for k in kept if k < left_out]]) < min_km + 1e-3
