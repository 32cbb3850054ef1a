import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.accuracy.published_recipe import published_order
from geo.sphere import distance_km, medoid_index, pairwise_distance_km, to_lat_lon_deg
from retrieval.regions import rank_regions, vote_weights

PARIS, LONDON, TOKYO, SYDNEY, LIMA = (48.86, 2.35), (51.51, -0.13), (35.68, 139.76), (-33.87, 151.21), (-12.05, -77.04)


def around(place, *offsets_deg):
    return [(place[0] + north, place[1] + east) for north, east in offsets_deg]


def ranked(positions, weights=None, **options):
    return rank_regions(positions, np.ones(len(positions)) if weights is None else weights, **options)


def test_the_heavier_of_two_towns_comes_first():
    regions = ranked([*around(TOKYO, (0, 0), (0.05, 0)), *around(LIMA, (0, 0), (0.05, 0), (0, 0.05))])
    assert [region.members for region in regions] == [(2, 3, 4), (0, 1)]
    assert [region.mass for region in regions] == pytest.approx([0.6, 0.4])
    assert not any(region.isolated for region in regions)


def test_similarity_counts_not_only_numbers():
    """Two good candidates outweigh three poor ones; the published recipe counts heads and goes to Lima."""
    positions = [*around(TOKYO, (0, 0), (0.05, 0)), *around(LIMA, (0, 0), (0.05, 0), (0, 0.05)), SYDNEY]
    regions = rank_regions(positions, vote_weights([0.9, 0.88, 0.5, 0.5, 0.5, 0.4]))
    assert set(regions[0].members) == {0, 1}
    assert published_order(np.array(positions))[0] in (2, 3, 4)


def test_a_far_outlier_with_the_highest_score_is_demoted_not_dropped():
    similarity = [0.60, 0.55, 0.54, 0.53, 0.52, 0.40]
    positions = [SYDNEY, *around(PARIS, (0, 0), (0.1, 0), (0, 0.1), (0.1, 0.1)), LIMA]
    regions = rank_regions(positions, vote_weights(similarity))
    assert set(regions[0].members) == {1, 2, 3, 4}
    assert regions[1].members == (0,)
    assert regions[1].isolated
    assert sorted(i for region in regions for i in region.members) == list(range(6))


def test_an_outlier_does_not_move_the_answer_where_nothing_clusters():
    """With no cluster the recipe takes the mean of all positions: between Paris and Sydney, it is Tokyo."""
    positions = [PARIS, SYDNEY, TOKYO]
    assert published_order(np.array(positions))[0] == 2
    assert rank_regions(positions, vote_weights([0.9, 0.5, 0.4]))[0].members == (0,)


def test_a_cluster_across_the_antimeridian_is_one():
    """Taveuni in Fiji: the recipe's arithmetic mean of its longitudes lies in Africa."""
    taveuni = [(-16.8, 179.95), (-16.8, -179.95), (-16.85, 179.99), (-16.82, -179.99)]
    positions = [*taveuni, (-15.0, 10.0)]
    regions = ranked(positions)
    assert set(regions[0].members) == {0, 1, 2, 3}
    assert regions[0].radius_km < 15
    assert abs(regions[0].centre.lon) > 179.9
    assert published_order(np.array(positions))[0] == 4


def test_a_cluster_around_the_pole_is_one():
    regions = ranked([(89.9, 0.0), (89.9, 120.0), (89.9, -120.0), (10.0, 10.0)])
    assert set(regions[0].members) == {0, 1, 2}
    assert regions[0].radius_km == pytest.approx(float(distance_km((89.9, 0.0), (89.9, 120.0))), abs=1e-3)


def test_two_equal_clusters_both_stay_in_the_order_of_their_first_candidates():
    """The recipe keeps one of them only: the order of the other's members says nothing."""
    towns = [*around(TOKYO, (0, 0), (0.1, 0)), *around(LIMA, (0, 0), (0.1, 0))]
    assert [region.members for region in ranked(towns)] == [(0, 1), (2, 3)]
    swapped = [towns[i] for i in (2, 0, 3, 1)]
    regions = ranked(swapped)
    assert [region.members for region in regions] == [(0, 2), (1, 3)]
    assert regions[0].mass == regions[1].mass == 0.5


def test_neighbouring_towns_speak_for_each_other():
    """Paris and London beat a lone Lima of the same weight as either."""
    lima = around(LIMA, (0, 0), (0.01, 0))
    positions = [*lima, *around(PARIS, (0, 0), (0.01, 0)), *around(LONDON, (0, 0), (0.01, 0))]
    first, second, third = ranked(positions, eps_km=50)
    assert {first.members, second.members} == {(2, 3), (4, 5)}
    assert third.members == (0, 1)


def test_eps_follows_the_spread_within_bounds():
    """Neighbours 150 km apart: apart where the list is dense, together where it is scattered."""
    scattered = [(0.0, 0.0), (0.0, 1.35), PARIS, TOKYO, SYDNEY, LIMA]
    dense = [(0.0, 0.0), (0.0, 1.35), *around(TOKYO, *((0.1 * i, 0) for i in range(6)))]
    assert set(ranked(scattered)[0].members) == {0, 1}
    assert not any({0, 1} <= set(region.members) for region in ranked(dense))


def test_the_centre_is_the_weighted_medoid_and_the_radius_holds_nine_tenths():
    positions = around(PARIS, (0, 0), (0.02, 0), (0, 0.03), (-0.05, 0.01), (0.1, 0.1))
    weights = np.array([1.0, 5.0, 2.0, 1.1, 1.2])
    (region,) = ranked(positions, weights, eps_km=100)
    middle = medoid_index(positions, weights)
    assert (region.centre.lat, region.centre.lon) == pytest.approx(positions[middle])
    away = distance_km(positions, positions[middle])
    assert weights[away <= region.radius_km + 1e-6].sum() >= 0.9 * weights.sum()
    assert weights[away < region.radius_km - 1e-6].sum() < 0.9 * weights.sum()
    assert region.members == (1, 2, 4, 3, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.integers(0, 10_000), st.sampled_from([0.5, 2.0, 6.0, 20.0]))
def test_centre_and_radius_are_those_of_the_definition_however_uneven_the_weights(count, seed, unevenness):
    """With steep weights one candidate has half of the mass, or nine tenths."""
    random = np.random.default_rng(seed)
    positions = np.asarray(PARIS) + random.normal(0, 0.3, (count, 2))
    weights = random.uniform(0.1, 1, count) ** unevenness
    (region,) = ranked(positions, weights, eps_km=20_000)
    moments = pairwise_distance_km(positions) @ weights
    (middle,) = np.flatnonzero(distance_km(positions, (region.centre.lat, region.centre.lon)) < 1e-6)
    assert moments[middle] <= moments.min() * (1 + 1e-5)
    away = distance_km(positions, positions[middle])
    assert weights[away <= region.radius_km + 1e-6].sum() >= (0.9 - 1e-5) * weights.sum()
    assert weights[away < region.radius_km - 1e-6].sum() < (0.9 + 1e-5) * weights.sum()


def test_candidates_at_one_spot():
    (region,) = ranked([PARIS] * 30)
    assert (region.radius_km, region.mass, region.members) == (0.0, pytest.approx(1.0), tuple(range(30)))


def test_one_candidate_and_none():
    (region,) = ranked([PARIS])
    assert (region.members, region.mass, region.isolated) == ((0,), 1.0, True)
    assert rank_regions(np.zeros((0, 2)), np.zeros(0)) == []


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan], [np.inf, 1.0]])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        rank_regions([PARIS, LIMA], weights)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 10_000), st.booleans())
def test_every_candidate_is_in_one_region_whatever_the_order(count, seed, tied):
    random = np.random.default_rng(seed)
    hubs = to_lat_lon_deg(random.normal(size=(6, 3)))
    positions = hubs[random.integers(0, 6, count)] + random.normal(0, 0.2, (count, 2))
    positions[:, 0] = positions[:, 0].clip(-90, 90)
    weights = np.ones(count) if tied else random.uniform(0.1, 1, count)
    regions = rank_regions(positions, weights)
    assert sorted(i for region in regions for i in region.members) == list(range(count))
    assert sum(region.mass for region in regions) == pytest.approx(1.0, abs=1e-4)
    if not tied:
        shuffle = random.permutation(count)
        again = rank_regions(positions[shuffle], weights[shuffle])
        assert [{int(shuffle[i]) for i in r.members} for r in again] == [set(r.members) for r in regions]
        assert [r.centre for r in again] == [r.centre for r in regions]


def test_votes_depend_on_differences_only():
    similarity = np.linspace(0.9, 0.3, 40)
    weights = vote_weights(similarity)
    assert weights[0] == 1.0
    assert np.count_nonzero(weights) == 20
    assert vote_weights(similarity * 0.1 + 5.0) == pytest.approx(weights)
    assert vote_weights([0.5, 0.5]).tolist() == [1.0, 1.0]
    assert len(vote_weights([])) == 0


def test_candidates_without_a_vote_join_or_come_last():
    similarity = np.concatenate([np.linspace(0.9, 0.5, 20), [0.1, 0.05]])
    positions = [*around(PARIS, *((0.01 * i, 0) for i in range(20))), PARIS, LIMA]
    paris, lima = rank_regions(positions, vote_weights(similarity))
    assert (paris.members[-1], lima.members) == (20, (21,))
    assert (lima.mass, lima.isolated) == (0.0, True)
