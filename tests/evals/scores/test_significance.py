"""Paired tests against hand-computed values and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.scores import distance, significance


def test_mcnemar_by_hand() -> None:
    # One against seven: 2 · (C(8,0) + C(8,1)) / 2^8.
    assert significance.mcnemar_exact(1, 7) == pytest.approx(18 / 256)
    assert significance.mcnemar_exact(0, 0) == 1.0
    assert significance.mcnemar_exact(4, 4) == 1.0
    with pytest.raises(ValueError, match="negative"):
        significance.mcnemar_exact(-1, 3)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_agrees_with_scipy(first: int, second: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert significance.mcnemar_exact(first, second) == pytest.approx(theirs, abs=1e-12)


def test_holm_by_hand() -> None:
    # Sorted: 0.01·4, 0.02·3, 0.03·2 raised to 0.06, 0.5·1.
    assert significance.holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert significance.holm([]) == []
    assert significance.holm([0.9, 0.8]) == [1.0, 1.0]


def test_sign_flips_of_few_clusters_are_exact() -> None:
    # Three photographers, all for the first: 2 of the 8 flips are as extreme.
    assert significance.sign_flip_p_value([1.0, 1.0, 2.0, 3.0], ["a", "a", "b", "c"]) == pytest.approx(0.25)
    assert significance.sign_flip_p_value([0.0, 0.0], ["a", "b"]) == 1.0


def test_sign_flips_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    totals = np.random.default_rng(3).normal(0.4, 1.0, 30)
    theirs = stats.permutation_test(
        (totals,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=20_000, rng=1
    ).pvalue
    assert significance.sign_flip_p_value(totals, np.arange(30)) == pytest.approx(theirs, abs=0.015)


def test_one_large_album_does_not_make_a_difference_significant() -> None:
    gain = np.concatenate([np.ones(40), np.zeros(20)])
    authors = ["album"] * 40 + [f"other{i}" for i in range(20)]
    assert significance.mcnemar_exact(40, 0) < 1e-9
    assert significance.sign_flip_p_value(gain, authors) == 1.0


def test_bootstrap_agrees_with_scipy_where_every_photo_is_its_own_cluster() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(5).exponential(size=200)
    ours = distance.clustered_bootstrap(values, np.arange(200), draws=5000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=2).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


@pytest.mark.parametrize(("photographers", "systems"), [(9, 14), (12, 14), (5, 2), (6, 2), (40, 60)])
def test_a_design_that_cannot_reject_is_known_without_data(photographers: int, systems: int) -> None:
    # The most telling data there can be: every photographer's photos favour the same system.
    telling = significance.sign_flip_p_value(
        np.ones(photographers), np.arange(photographers), draws=significance.flips_drawn(systems)
    )
    pairs = systems * (systems - 1) // 2
    adjusted = significance.holm([telling, *[1.0] * (pairs - 1)])[0]
    assert significance.smallest_p_value(photographers, systems) == pytest.approx(adjusted, rel=1e-9)
    assert significance.can_reject(photographers, systems) == (adjusted < significance.LEVEL)
