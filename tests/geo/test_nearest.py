import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.nearest import NearestIndex
from geo.sphere import distance_km, to_lat_lon_deg


def anywhere(count, seed):
    return to_lat_lon_deg(np.random.default_rng(seed).normal(size=(count, 3)))


def brute_force(positions, queries):
    all_km = distance_km(queries[:, None, :], positions[None, :, :])
    return all_km.argmin(axis=1), all_km.min(axis=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 700), st.integers(0, 10_000))
def test_as_brute_force(count, seed):
    positions, queries = anywhere(count, seed), anywhere(50, seed + 1)
    index, km = NearestIndex(positions).query(queries)
    expected_index, expected_km = brute_force(positions, queries)
    assert index.tolist() == expected_index.tolist()
    assert km == pytest.approx(expected_km, abs=1e-6)


def test_clusters_far_from_the_queries():
    """All positions in one town, queries all over the world: the walk cannot be cut short early."""
    random = np.random.default_rng(3)
    positions = np.array([48.0, 11.0]) + random.normal(0, 0.01, (3000, 2))
    queries = anywhere(200, 4)
    index, km = NearestIndex(positions).query(queries)
    assert km == pytest.approx(brute_force(positions, queries)[1], abs=1e-6)
    assert distance_km(queries, positions[index]) == pytest.approx(km, abs=1e-6)


def test_across_the_antimeridian_and_over_the_pole():
    index, km = NearestIndex([(0.0, 170.0), (0.0, -179.9), (89.0, 0.0)]).query([(0.0, 179.9), (89.0, 180.0)])
    assert index.tolist() == [1, 2]
    assert km == pytest.approx([0.2 * 111.195, 2 * 111.195], rel=1e-4)


def test_the_first_of_equals_wins():
    index, _ = NearestIndex([(5.0, 5.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)]).query([(1.0, 1.0), (0.0, 0.0)])
    assert index.tolist() == [1, 1]


def test_no_queries_and_no_positions():
    index, km = NearestIndex([(1.0, 1.0)]).query(np.zeros((0, 2)))
    assert (len(index), len(km)) == (0, 0)
    with pytest.raises(ValueError, match="no positions"):
        NearestIndex(np.zeros((0, 2)))
