"""A run commits through what the system was fitted with: calibrated radii."""

from __future__ import annotations

import pytest

from graphs.assessment.calibration import Corrections
from tests.fakes.machine import context, run
from tests.graphs.assessment.test_calibration import MADE

RETRIEVAL = next(iter(MADE.levels.values()))


def test_radii_and_confidence_are_the_fitted_ones_and_the_point_stays() -> None:
    raw, fitted = run(context()), run(context(corrections=Corrections(calibration=MADE)))
    assert (raw.radius_is_calibrated, fitted.radius_is_calibrated) == (False, True)
    assert fitted.point == raw.point
    assert raw.radius_50_km is not None
    assert raw.radius_90_km is not None
    radii = RETRIEVAL.radii(raw.radius_50_km, raw.radius_90_km)
    assert (fitted.radius_50_km, fitted.radius_90_km) == pytest.approx((radii.half_km, radii.most_km), rel=1e-3)
    assert fitted.confidence == pytest.approx(RETRIEVAL.confidence(raw.confidence), abs=1e-6)


def test_a_level_that_was_not_fitted_stays_as_it_is() -> None:
    raw, fitted = run(context(["Lisbon"])), run(context(["Lisbon"], corrections=Corrections(calibration=MADE)))
    assert not fitted.radius_is_calibrated
    assert (fitted.radius_50_km, fitted.confidence) == (raw.radius_50_km, raw.confidence)
