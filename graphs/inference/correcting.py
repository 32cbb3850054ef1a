"""What was learned from photos whose place is known, applied when a run ends: radii that hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agents.schemas import Evidence, Hypothesis, Versions
from agents.strategies import Step, Strategy
from graphs.inference.calibration import Calibration, evidence_level, find_calibration, subject_of
from graphs.inference.posterior import PosteriorParameters
from graphs.inference.radius import Radius
from graphs.settings import Settings
from retrieval.candidate import AtlasKind


class Corrections(NamedTuple):
    """What a system was fitted with; nothing, unless it was fitted for this very system."""

    kinds: tuple[AtlasKind, ...] = ()
    """Of the open atlases."""
    calibration: Calibration | None = None


def open_corrections(
    settings: Settings,
    versions: Versions,
    strategy: Strategy,
    kinds: Iterable[AtlasKind],
    parameters: PosteriorParameters,
) -> Corrections:
    """The calibration that the settings name or that comes with the package.

    Raises:
        UserError: a file that cannot be read, or that was fitted for another system.
    """
    known = tuple(kinds)
    searched = known if strategy.runs(Step.RECALL) else ()
    subject = subject_of(versions, searched, parameters)
    calibration = find_calibration(subject, settings.calibration) if settings.calibrated else None
    return Corrections(known, calibration)


class Trusted(NamedTuple):
    """What held on other photographers' photos."""

    radius: Radius
    confidence: float


def calibrated(
    calibration: Calibration, hypothesis: Hypothesis, evidence: Sequence[Evidence], raw: Radius
) -> Trusted | None:
    """Radius and confidence of an answer as they held with its level of evidence; None if nobody knows."""
    said = ((item.kind, item.log_likelihood_ratio.get(hypothesis.id, 0.0)) for item in evidence)
    fit = calibration.levels.get(evidence_level(said))
    if fit is None:
        return None
    radii = fit.radii(raw.radius_50_km, raw.radius_90_km)
    return Trusted(Radius(radii.half_km, radii.most_km, calibrated=True), fit.confidence(hypothesis.probability))
