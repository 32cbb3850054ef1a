"""The posterior mixture and the choice of a point."""

from __future__ import annotations

import numpy as np
import pytest
from graphs.inference.choosing import choose, expected_utility, posterior_radius, weighted_quantile
from graphs.inference.posterior import (
    ELSEWHERE,
    PRIOR,
    PosteriorParameters,
    Support,
    candidate_weights,
    default_parameters,
    density,
    finest_containing,
)
from hypothesis import given
from hypothesis import strategies as st

from geo.point import Point
from retrieval.candidate import AtlasKind, Candidate

PARAMETERS = default_parameters()
GEOSCORE = {1492.7: 1.0}


def candidate(similarity: float, kind: AtlasKind = AtlasKind.PHOTO, lat: float = 0.0) -> Candidate:
    return Candidate(
        point=Point(lat=lat, lon=0.0), similarity=similarity, atlas=kind.value, kind=kind, item_id="i", rank=0
    )


def support(rows: list[tuple[float, float, float, int]], spread_km: float = 1.0) -> Support:
    """Rows of latitude, longitude, weight and owner."""
    table = np.array(rows, dtype=np.float64)
    weight = table[:, 2] / table[:, 2].sum()
    return Support(table[:, :2], weight, np.full(len(rows), spread_km), table[:, 3].astype(np.intp))


def test_the_packaged_parameters_are_usable() -> None:
    assert set(PARAMETERS.temperature) == set(PARAMETERS.candidate_spread_km) == set(AtlasKind)
    assert PARAMETERS.prior_weights.sum() == pytest.approx(1.0)
    assert all(temperature > 0.0 for temperature in PARAMETERS.temperature.values())


@given(st.lists(st.tuples(st.floats(-1, 1), st.sampled_from(AtlasKind)), min_size=1, max_size=40))
def test_candidate_weights_sum_to_one_and_follow_similarity(rows: list[tuple[float, AtlasKind]]) -> None:
    found = [candidate(similarity, kind) for similarity, kind in rows]
    weight = candidate_weights(found, PARAMETERS)
    assert weight.sum() == pytest.approx(1.0)
    for kind in AtlasKind:
        own = [(c.similarity, w) for c, w in zip(found, weight, strict=True) if c.kind is kind]
        assert [w for _, w in sorted(own)] == sorted(w for _, w in own)


def test_one_kind_of_atlas_alone_has_all_the_weight() -> None:
    assert candidate_weights([candidate(0.3), candidate(0.2)], PARAMETERS).sum() == pytest.approx(1.0)


def test_no_candidates_have_no_weights() -> None:
    assert candidate_weights([], PARAMETERS).shape == (0,)


def test_the_finest_hypothesis_that_contains_a_position_owns_it() -> None:
    centres = np.array([[0.0, 0.0], [0.0, 0.0], [50.0, 50.0]])
    owner = finest_containing(np.array([[0.0, 0.1], [0.0, 4.0], [0.0, 90.0]]), centres, np.array([1000.0, 30.0, 10.0]))
    assert owner.tolist() == [1, 0, ELSEWHERE]


def test_without_hypotheses_everything_is_elsewhere() -> None:
    assert finest_containing(np.zeros((2, 2)), np.empty((0, 2)), np.empty(0)).tolist() == [ELSEWHERE, ELSEWHERE]


def test_density_fades_with_distance() -> None:
    near, far = density(np.array([[0.0, 0.0], [0.0, 90.0]]), np.array([[0.0, 0.0]]), np.array([1.0]), 500.0)
    assert near == pytest.approx(1.0)
    assert far < 1e-8


def test_utility_of_a_sure_thing_is_geoscore() -> None:
    sure = support([(0.0, 0.0, 1.0, 0)], spread_km=0.0)
    at, away = expected_utility(np.array([[0.0, 0.0], [0.0, 13.424]]), sure, GEOSCORE)
    assert at == pytest.approx(1.0)
    assert away == pytest.approx(np.exp(-1.0), abs=1e-3)  # 13.424 degrees at the equator are 1492.7 km


def test_the_choice_is_the_dense_side_for_near_distances_and_the_middle_for_far_ones() -> None:
    rows = [(0.0, 0.0, 0.30, 0), (0.0, 0.1, 0.30, 0), (0.0, 20.0, 0.05, 1), (0.0, 30.0, 0.35, 2)]
    assert choose(support(rows), {25.0: 1.0}).owner == 0
    assert choose(support(rows), {20000.0: 1.0}).owner in (0, 1)


def test_prior_and_unexplained_candidates_are_never_answered() -> None:
    rows = [(0.0, 0.0, 0.9, PRIOR), (10.0, 0.0, 0.9, ELSEWHERE), (60.0, 60.0, 0.1, 0)]
    choice = choose(support(rows), GEOSCORE)
    assert choice.point == Point(lat=60.0, lon=60.0)
    with pytest.raises(ValueError, match="no hypothesis"):
        choose(support(rows[:2]), GEOSCORE)


def test_the_first_of_equals_is_chosen() -> None:
    rows = [(0.0, 90.0, 0.5, 1), (0.0, -90.0, 0.5, 0)]
    assert choose(support(rows), GEOSCORE).owner == 1


def test_radii_are_quantiles_of_the_posterior() -> None:
    rows = [(0.0, 0.0, 0.6, 0), (0.0, 1.0, 0.3, 0), (0.0, 90.0, 0.1, ELSEWHERE)]
    r50, r90, _ = posterior_radius(Point(lat=0.0, lon=0.0), support(rows))
    assert r50 == pytest.approx(1.0)
    assert r90 == pytest.approx(111.2, abs=0.1)


def test_weighted_quantiles_by_hand() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([0.25, 0.5, 0.25])
    assert [weighted_quantile(values, weights, share) for share in (0.5, 0.75, 0.76, 1.0)] == [1.0, 2.0, 3.0, 3.0]


def test_parameters_refuse_unknown_fields() -> None:
    with pytest.raises(ValueError, match="extra"):
        PosteriorParameters.model_validate({**PARAMETERS.model_dump(), "magic": 1})
