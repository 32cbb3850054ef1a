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
    # Bins (0.2, 0.3] and (0.8, 0.9]: |0.25 - 0.5| for two photos, |0.85 - 1| for one.
    error = reliability.expected_calibration_error([0.22, 0.28, 0.85], [True, False, True])
    assert error == pytest.approx((2 * 0.25 + 1 * 0.15) / 3)
    assert reliability.expected_calibration_error([0.0, 1.0], [False, True]) == 0.0
    with pytest.raises(ValueError, match="no photos"):
        reliability.expected_calibration_error([], [])


def test_calibration_error_agrees_with_scikit_learn() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(1)
    confidence = rng.uniform(size=400)
    right = rng.uniform(size=400) < confidence**2
    share, mean = calibration.calibration_curve(right, confidence, n_bins=10)
    count = np.histogram(confidence, bins=10, range=(0, 1))[0]
    theirs = float(np.abs(share - mean) @ count[count > 0] / count.sum())
    assert reliability.expected_calibration_error(confidence, right) == pytest.approx(theirs)


def test_risk_coverage_by_hand() -> None:
    curve = reliability.risk_coverage([0.9, MISS, 0.5, 0.7], [0.0, 1.0, 1.0, 0.0])
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.risk.tolist() == pytest.approx([0.0, 0.0, 1 / 3, 0.5])
    assert curve.area == pytest.approx((1 / 3 + 1 / 2) / 4)


def test_equal_confidences_are_accepted_in_random_order() -> None:
    curve = reliability.risk_coverage([0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0])
    assert curve.risk.tolist() == pytest.approx([0.25] * 4)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.6, 0.9]), st.booleans()), min_size=1, max_size=30))
def test_risk_coverage_agrees_with_random_orders(photos: list[tuple[float, bool]]) -> None:
    confidence, loss = np.array([c for c, _ in photos]), np.array([float(wrong) for _, wrong in photos])
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(300):
        order = np.lexsort((rng.uniform(size=len(photos)), -confidence))
        areas.append(np.mean([loss[order][: k + 1].mean() for k in range(len(photos))]))
    area = reliability.risk_coverage(confidence, loss).area
    assert area == pytest.approx(np.mean(areas), abs=4 * np.std(areas) / np.sqrt(300) + 1e-9)


def test_recall_at_areas_never_finds_what_has_no_answer() -> None:
    found = reliability.recall_at_areas([10.0, 1000.0, MISS, 10.0], [1.0, 10.0, 1e9])
    assert found.recall.tolist() == [0.0, 0.5, 0.75]
