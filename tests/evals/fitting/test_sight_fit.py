"""Fitting a model's record."""

from __future__ import annotations

import numpy as np
import pytest
from graphs.inference.sight import RINGS_KM, SightRecord, said_weights

from evals.fitting.sight_fit import (
    SMOOTHING_PHOTOS,
    as_rings,
    balanced_accuracy,
    fitted_share,
    photographer_weights,
    ring_of,
)

USUAL = np.array([0.01, 0.01, 0.03, 0.15, 0.8])


def test_rings_end_where_they_say() -> None:
    assert ring_of([0.0, 25.0, 25.1, 200.0, 750.1, 2500.0, 2500.1, RINGS_KM[-1]]).tolist() == [0, 0, 1, 1, 3, 3, 4, 4]


def test_with_one_place_a_photo_the_shares_are_the_weighted_histogram() -> None:
    away_km = np.array([[3.0], [10.0], [100.0], [9000.0]])
    weights = np.array([1.0, 1.0, 2.0, 4.0])
    found = fitted_share(away_km, np.ones((4, 1)), USUAL, weights)
    plain = np.array([2.0, 2.0, 0.0, 0.0, 4.0]) / 8.0
    assert found == pytest.approx((4 * plain + SMOOTHING_PHOTOS * USUAL) / (4 + SMOOTHING_PHOTOS), abs=1e-6)


def test_a_place_that_is_right_counts_whatever_its_rank() -> None:
    """Of 100 photos 60 have the truth at one of three places given: 0.6 is found, not the mean of the three."""
    rng = np.random.default_rng(0)
    said = np.tile(said_weights([None, None, None]), (2000, 1))
    away_km = RINGS_KM[-2] + 1.0 + 4000.0 * rng.random((2000, 3))
    right = rng.random(2000) < 0.6
    rank = rng.choice(3, size=2000, p=said[0])
    away_km[right, rank[right]] = 5.0
    assert fitted_share(away_km, said, USUAL)[0] == pytest.approx(0.6, abs=0.03)


def test_places_that_were_not_given_weigh_nothing() -> None:
    away_km = np.array([[5.0, np.inf], [9000.0, 8000.0]])
    said = np.array([[1.0, 0.0], [0.6, 0.4]])
    expected = fitted_share(np.array([[5.0], [9000.0]]), np.ones((2, 1)), USUAL)
    assert fitted_share(away_km, said, USUAL) == pytest.approx(expected, abs=1e-6)


def test_rounded_shares_make_a_record() -> None:
    share = fitted_share(np.array([[5.0], [100.0], [9000.0]]), np.ones((3, 1)), USUAL)
    assert SightRecord(fitted_on="made up", share=as_rings(share)).share == pytest.approx(share, abs=1e-4)


def test_balanced_accuracy_counts_right_and_wrong_places_alike() -> None:
    right = [True] * 8 + [False] * 98
    assert balanced_accuracy([True] * 8 + [False] * 98, right) == pytest.approx((9 / 10 + 99 / 100) / 2)
    assert balanced_accuracy([False] * 106, right) == pytest.approx((1 / 10 + 99 / 100) / 2)
    assert balanced_accuracy([True, False, True, False], [True, True, False, False]) == 0.5
    assert balanced_accuracy([], []) == 0.5


def test_balanced_accuracy_is_scikit_learns_but_for_the_smoothing() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    right = rng.random(20_000) < 0.1
    fits = np.where(rng.random(20_000) < 0.8, right, ~right)
    assert balanced_accuracy(fits, right) == pytest.approx(metrics.balanced_accuracy_score(right, fits), abs=1e-3)


def test_an_album_weighs_as_the_root_of_its_photos() -> None:
    weights = photographer_weights(["ann", "bob", "ann", "ann", "ann"])
    assert weights == pytest.approx([0.5, 1.0, 0.5, 0.5, 0.5])
