"""Every metric against hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.scores import distance

MISS = float("nan")


def test_threshold_is_inclusive_and_a_missing_answer_is_a_miss() -> None:
    distances_km = [0.0, 1.0, 1.0001, MISS]
    assert distance.accuracy_interval(distances_km, 1.0).estimate == 0.5


def test_a_run_of_failures_scores_zero_with_the_denominator_intact() -> None:
    for threshold_km in distance.THRESHOLDS_KM:
        assert distance.accuracy_interval([MISS] * 8, threshold_km)[0] == 0.0
    assert distance.geoscore([MISS] * 8).tolist() == [0.0] * 8
    assert distance.median_km([MISS] * 8) == np.inf


def test_accuracy_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 trials"):
        distance.accuracy_interval([], 25.0)


def test_wilson_interval_matches_the_textbook() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    interval = distance.wilson_interval(81, 263)
    assert interval.low == pytest.approx(0.2553, abs=5e-5)
    assert interval.high == pytest.approx(0.3662, abs=5e-5)


def test_wilson_interval_of_no_success_starts_at_zero() -> None:
    interval = distance.wilson_interval(0, 10)
    assert interval.low == 0.0
    assert interval.high == pytest.approx(0.2775, abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_interval_refuses_nonsense(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="interval"):
        distance.wilson_interval(successes, trials)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_agrees_with_scipy(counts: tuple[int, int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.binomtest(*counts).proportion_ci(method="wilson")
    ours = distance.wilson_interval(*counts)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_geoscore_by_hand() -> None:
    assert distance.geoscore([0.0, 1492.7]).tolist() == pytest.approx([5000.0, 5000.0 / np.e])


def test_median_counts_missing_answers_as_infinitely_far() -> None:
    assert distance.median_km([10.0, 20.0, MISS]) == 20.0


def test_bootstrap_is_wider_when_photos_come_in_clusters() -> None:
    rng = np.random.default_rng(1)
    per_author = rng.normal(size=20)
    values = np.repeat(per_author, 10)
    clustered = distance.clustered_bootstrap(values, np.repeat(np.arange(20), 10))
    alone = distance.clustered_bootstrap(values, np.arange(200))
    assert clustered.estimate == pytest.approx(values.mean())
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)
