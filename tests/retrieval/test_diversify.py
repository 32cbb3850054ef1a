"""Candidates that stand apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geo.point import Point
from geo.sphere import lat_lon_array, pairwise_distance_km
from retrieval.candidate import AtlasKind, Candidate
from retrieval.diversify import spread_out


def candidate(lat: float, lon: float, rank: int = 0) -> Candidate:
    point = Point(lat=lat, lon=lon)
    return Candidate(
        point=point, similarity=1.0 - rank / 1000, atlas="world", kind=AtlasKind.GPS, item_id=str(rank), rank=rank
    )


def test_keeps_the_best_of_each_neighbourhood_in_order() -> None:
    places = [(48.85, 2.35), (48.86, 2.36), (51.5, -0.12), (48.8, 2.3), (52.5, 13.4)]
    kept = spread_out([candidate(*place, rank) for rank, place in enumerate(places)], 100.0, 10)
    assert [c.item_id for c in kept] == ["0", "2", "4"]
    assert [c.rank for c in kept] == [0, 1, 2]


def test_sees_across_the_antimeridian_and_the_pole() -> None:
    assert len(spread_out([candidate(0.0, 179.9), candidate(0.0, -179.9)], 100.0, 10)) == 1
    assert len(spread_out([candidate(89.9, 0.0), candidate(89.9, 180.0)], 100.0, 10)) == 1


def test_the_same_place_twice_is_one_place() -> None:
    assert len(spread_out([candidate(10.0, 10.0, 0), candidate(10.0, 10.0, 1)], 0.01, 10)) == 1


def test_stops_at_the_limit_and_takes_nothing_from_nothing() -> None:
    assert len(spread_out([candidate(0.0, lon) for lon in range(0, 90, 10)], 100.0, 3)) == 3
    assert spread_out([], 100.0, 3) == []


positions = st.tuples(st.floats(-90, 90), st.floats(-180, 179))


@given(st.lists(positions, min_size=1, max_size=30), st.floats(1, 5000))
def test_those_kept_stand_apart_and_those_left_out_are_near_a_better_one(
    places: list[tuple[float, float]], min_km: float
) -> None:
    given_ = [candidate(*place, rank) for rank, place in enumerate(places)]
    kept = [int(c.item_id) for c in spread_out(given_, min_km, len(given_))]
    away_km = pairwise_distance_km(lat_lon_array(c.point for c in given_))
    assert all(away_km[a, b] > min_km - 1e-3 for a in kept for b in kept if a < b)
    for left_out in set(range(len(given_))) - set(kept):
        assert np.min(away_km[left_out, [k for k in kept if k < left_out]]) < min_km + 1e-3
