"""Radii, confidences and rankings against hand-computed values and against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.scores import distance, reliability
from geo.sphere import HALF_CIRCUMFERENCE_KM, distance_km

MISS = float("nan")


def test_mean_counts_a_missing_answer_as_the_far_side_of_the_earth() -> None:
    assert distance.mean_km([10.0, MISS]) == pytest.approx((10.0 + HALF_CIRCUMFERENCE_KM) / 2)
    assert distance.mean_km([MISS]) == pytest.approx(20015.1, abs=0.1)


def test_distances_agree_with_the_geodesic_within_what_a_sphere_can() -> None:
    geodesic = pytest.importorskip("geopy.distance").geodesic
    rng = np.random.default_rng(0)
    here, there = (np.stack([rng.uniform(-90, 90, 500), rng.uniform(-180, 180, 500)], axis=1) for _ in range(2))
    ours = distance_km(here, there)
    theirs = np.array([geodesic(tuple(a), tuple(b)).km for a, b in zip(here, there, strict=True)])
    # The ellipsoid's flattening is 1/298; a sphere of mean radius is within 0.56 % of it.
    np.testing.assert_allclose(ours, theirs, rtol=0.0056)


def test_area_of_a_cap() -> None:
    assert reliability.cap_area_km2(HALF_CIRCUMFERENCE_KM) == pytest.approx(510_065_880, rel=1e-6)
    assert reliability.cap_area_km2(HALF_CIRCUMFERENCE_KM / 2) == pytest.approx(reliability.EARTH_AREA_KM2 / 2)
    assert reliability.cap_area_km2(1.0) == pytest.approx(np.pi, rel=1e-6)
    assert reliability.cap_area_km2(1e6) == pytest.approx(reliability.EARTH_AREA_KM2)


def test_coverage_counts_photos_with_a_radius_only() -> None:
    found = reliability.coverage([5.0, 15.0, MISS, 1.0], [10.0, 10.0, MISS, MISS])
    assert found is not None
    assert found.photos == 2
    assert found.held.estimate == 0.5
    assert found.median_radius_km == 10.0
    assert reliability.coverage([MISS], [MISS]) is None


def test_calibration_error_by_hand() -> None:
    # Two bins of two photos: |0.25 - 0.5| and |0.9 - 1|.
    error = reliability.expected_calibration_error([0.22, 0.85, 0.28, 0.95], [True, True, False, True], bins=2)
    assert error == pytest.approx((2 * 0.25 + 2 * 0.1) / 4)
    assert reliability.expected_calibration_error([0.0, 1.0], [False, True]) == 0.0
    with pytest.raises(ValueError, match="no photos"):
        reliability.expected_calibration_error([], [])


def test_calibration_error_agrees_with_scikit_learn() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(1)
    confidence = rng.uniform(size=400)
    right = rng.uniform(size=400) < confidence**2
    share, mean = calibration.calibration_curve(right, confidence, n_bins=10, strategy="quantile")
    theirs = float(np.abs(share - mean).mean())
    assert reliability.expected_calibration_error(confidence, right) == pytest.approx(theirs)


def test_the_interval_of_the_calibration_error_resamples_photographers() -> None:
    rng = np.random.default_rng(2)
    chance = np.repeat(rng.uniform(size=60), 10)
    right = np.repeat(rng.uniform(size=60) < chance[::10], 10)
    albums = reliability.calibration_error_interval(chance, right, np.repeat(np.arange(60), 10))
    alone = reliability.calibration_error_interval(chance, right, np.arange(600))
    assert albums.low <= albums.estimate <= albums.high
    assert albums.high - albums.low > 1.5 * (alone.high - alone.low)


def test_a_right_chance_has_a_smaller_error_than_a_boastful_one() -> None:
    rng = np.random.default_rng(3)
    chance = rng.uniform(size=4000)
    right = rng.uniform(size=4000) < chance
    honest = reliability.chance_reliability(chance, right, np.arange(4000))
    boastful = reliability.chance_reliability(np.sqrt(chance), right, np.arange(4000))
    assert honest is not None
    assert boastful is not None
    assert honest.calibration_error.high < 0.04
    # The mean of sqrt(u) - u over [0, 1].
    assert boastful.calibration_error.estimate == pytest.approx(1 / 6, abs=0.02)
    # The Brier score of a right chance is the mean of u (1 - u).
    assert honest.brier.estimate == pytest.approx(1 / 6, abs=0.01)
    assert [each.photos for each in honest.bins] == [400] * 10


def test_photos_that_state_no_chance_or_area_are_not_in_its_denominator() -> None:
    found = reliability.chance_reliability([0.5, MISS, 0.7], [True, False, True], ["a", "b", "c"])
    assert found is not None
    assert (found.photos, found.held) == (2, 1.0)
    assert reliability.chance_reliability([MISS], [False], ["a"]) is None
    area = reliability.area_coverage([1.0, 0.0, MISS, 1.0], [1.0, 3.0, 5.0, MISS])
    assert area is not None
    assert (area.photos, area.held.estimate, area.median_area_km2) == (2, 0.5, 2.0)


def test_accuracy_coverage_by_hand() -> None:
    curve = reliability.accuracy_coverage([0.9, MISS, 0.5, 0.7], [True, False, False, True])
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.accuracy.tolist() == pytest.approx([1.0, 1.0, 2 / 3, 0.5])
    assert curve.area == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)


def test_equal_confidences_are_accepted_in_random_order() -> None:
    curve = reliability.accuracy_coverage([0.5, 0.5, 0.5, 0.5], [False, True, True, True])
    assert curve.accuracy.tolist() == pytest.approx([0.75] * 4)


def test_areas_of_draws_are_those_of_the_photos_drawn() -> None:
    rng = np.random.default_rng(4)
    confidence, right = rng.uniform(size=30), rng.uniform(size=30) < 0.5
    author = np.repeat(np.arange(6), 5)
    areas = reliability.selective_area_draws(confidence, right, author, draws=40)
    index, weights = distance.cluster_draws(author, 40, 0)
    for area, counts in zip(areas, weights[:, index].astype(int), strict=True):
        # Copies of a photo are accepted together: all have the accuracy after the last of them.
        order = np.argsort(-confidence)
        taken = np.repeat(order, counts[order])
        accuracy = np.cumsum(right[taken]) / np.arange(1, len(taken) + 1)
        last = np.cumsum(counts[order]) - 1
        expected = np.average(accuracy[last[counts[order] > 0]], weights=counts[order][counts[order] > 0])
        assert area == pytest.approx(expected)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.6, 0.9]), st.booleans()), min_size=1, max_size=30))
def test_accuracy_coverage_agrees_with_random_orders(photos: list[tuple[float, bool]]) -> None:
    confidence, right = np.array([c for c, _ in photos]), np.array([float(hit) for _, hit in photos])
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(300):
        order = np.lexsort((rng.uniform(size=len(photos)), -confidence))
        areas.append(np.mean([right[order][: k + 1].mean() for k in range(len(photos))]))
    area = reliability.accuracy_coverage(confidence, right).area
    assert area == pytest.approx(np.mean(areas), abs=4 * np.std(areas) / np.sqrt(300) + 1e-9)


def test_recall_at_areas_never_finds_what_has_no_answer() -> None:
    found = reliability.recall_at_areas([10.0, 1000.0, MISS, 10.0], [1.0, 10.0, 1e9])
    assert found.recall.tolist() == [0.0, 0.5, 0.75]
