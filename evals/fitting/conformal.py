"""Fitting calibrations: conformal quantiles that know about photographers, and a monotone map of confidence.

Photos of one photographer lie together, so it is photographers that are exchangeable, not photos. A radius is the
quantile of what was missing over all photos, each counting the same, with as much weight again at infinity as an
average photographer has: for the one still to come (split conformal prediction for two layers: Dunn, Wasserman and
Ramdas 2023; Lee, Barber and Willett 2023). With one photo each that is the usual split-conformal quantile. Counting
photographers the same instead holds on average over photographers but not over photos: docs/results.md has both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from core.errors import UserError
from evals.scores.arrays import Bools, Texts
from geo.sphere import Floats
from graphs.assessment.calibration import Calibration, Correction, EvidenceLevel, LevelFit, Subject, area_log_odds

SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEAST_PHOTOS = 40
LEAST_PHOTOGRAPHERS = 10
"""A level of evidence with fewer is left as it is."""


class CalibrationCases(NamedTuple):
    """n answered photos: the radii and confidence that were stated, and how far off the answers were."""

    author: Texts
    level: Texts
    away_km: Floats
    raw_50_km: Floats
    raw_90_km: Floats
    confidence: Floats
    right: Bools
    """Whether what the confidence is about holds (`ScoreArrays.claim_right`)."""

    def at(self, rows: Bools) -> CalibrationCases:
        """Some of the photos."""
        return CalibrationCases._make(values[rows] for values in self)


class CalibratedValues(NamedTuple):
    """Calibrated radii and confidence of n photos that the calibration was not fitted on."""

    radius_50_km: Floats
    radius_90_km: Floats
    confidence: Floats


def conformal_quantile(values: Floats, authors: Texts, share: float) -> float:
    """The least value that holds `share` of the photos of photographers yet to come, on average.

    With too few photographers for the share no finite value is sure; then it is the greatest seen.

    >>> conformal_quantile(np.array([4.0, 1.0, 3.0, 2.0]), np.array(["ann", "bob", "cem", "dag"]), 0.5)
    3.0
    """
    photographers = len(np.unique(authors))
    wanted = int(np.ceil(share * len(values) * (photographers + 1) / photographers - 1e-9))
    return float(np.sort(values)[min(max(wanted, 1), len(values)) - 1])


def fit_correction(cases: CalibrationCases, raw_km: Floats, share: float) -> Correction:
    """The slope under which the conformal radii fit best (pinball loss), and its shift."""
    truth, raw = area_log_odds(cases.away_km), area_log_odds(raw_km)
    found = []
    for slope in SLOPES:
        missing = truth - slope * raw
        shift = conformal_quantile(missing, cases.author, share)
        loss = np.where(missing > shift, share * (missing - shift), (1.0 - share) * (shift - missing))
        found.append((float(loss.mean()), slope, shift))
    _, slope, shift = min(found)
    return Correction(slope=slope, shift=shift)


def fit_levels(cases: CalibrationCases) -> dict[EvidenceLevel, LevelFit]:
    """Corrections for each level of evidence with enough photos and photographers.

    Raises:
        UserError: no level has enough, or scikit-learn is missing.
    """
    fits = {}
    for name in np.unique(cases.level).tolist():
        own = cases.at(cases.level == name)
        if len(own.author) >= LEAST_PHOTOS and len(np.unique(own.author)) >= LEAST_PHOTOGRAPHERS:
            fits[EvidenceLevel(name)] = _fit_level(own)
    if not fits:
        least = f"{LEAST_PHOTOS} photos by {LEAST_PHOTOGRAPHERS} photographers"
        raise UserError(f"no level of evidence has {least}: give runs on more photos")
    return fits


def _fit_level(cases: CalibrationCases) -> LevelFit:
    raw, right = fit_confidence(cases)
    return LevelFit(
        radius_50=fit_correction(cases, cases.raw_50_km, 0.5),
        radius_90=fit_correction(cases, cases.raw_90_km, 0.9),
        confidence_raw=raw,
        confidence_right=right,
        photos=len(cases.author),
        photographers=len(np.unique(cases.author)),
    )


def fit_confidence(cases: CalibrationCases) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of the rising map from confidence to the share that was right (isotonic regression).

    Raises:
        UserError: scikit-learn is missing.
    """
    try:
        from sklearn.isotonic import IsotonicRegression
    except ImportError as error:
        raise UserError("fitting a confidence map needs scikit-learn: pip install 'geosleuth[evals]'") from error
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    fitted.fit(cases.confidence, cases.right.astype(np.float64))
    rounded = np.round([fitted.X_thresholds_, fitted.y_thresholds_], 6)
    return tuple(rounded[0].tolist()), tuple(rounded[1].tolist())


def fit_calibration(cases: CalibrationCases, subject: Subject, fitted_on: str = "", measured: str = "") -> Calibration:
    """A calibration fitted on all the cases."""
    return Calibration(subject=subject, fitted_on=fitted_on, measured=measured, levels=fit_levels(cases))


def apply_calibration(calibration: Calibration, cases: CalibrationCases) -> CalibratedValues:
    """The calibrated values of each case; a level of evidence without a fit stays as it is."""
    rows = []
    raw = (cases.level.tolist(), cases.raw_50_km.tolist(), cases.raw_90_km.tolist(), cases.confidence.tolist())
    for level, half_km, most_km, confidence in zip(*raw, strict=True):
        fit = calibration.levels.get(EvidenceLevel(level))
        fitted = (*fit.radii(half_km, most_km), fit.confidence(confidence)) if fit else (half_km, most_km, confidence)
        rows.append(fitted)
    return CalibratedValues(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)


def cross_validated(cases: CalibrationCases, fit: Callable[[CalibrationCases], Calibration]) -> CalibratedValues:
    """Calibrated values of each photographer's photos, by calibrations fitted on all other photographers."""
    calibrated = CalibratedValues(*(np.full(len(cases.author), np.nan) for _ in CalibratedValues._fields))
    for author in np.unique(cases.author):
        own = cases.author == author
        for column, values in zip(calibrated, apply_calibration(fit(cases.at(~own)), cases.at(own)), strict=True):
            column[own] = values
    return calibrated


def photographers_mean(within: Bools, authors: Sequence[str] | Texts) -> float:
    """Share of photos held, on average over photographers."""
    _, index = np.unique(np.asarray(authors), return_inverse=True)
    return float((np.bincount(index, within) / np.bincount(index)).mean())
