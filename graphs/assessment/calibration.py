"""Radii and confidence that hold what they promise: corrections fitted on photos whose place is known.

The radii of the belief hold on photos like those it was fitted on. For your own, a calibration moves them by what was
missing on photos of other photographers (split conformal prediction, Vovk et al. 2005; Lei et al. 2018), apart for
each level of evidence. The correction is made in the log-odds of the share of the Earth that the circle covers,

    x = ln(share / (1 - share)) = 2 ln tan(r / 2R),     x' = slope x + shift,

so that no radius leaves the sphere, and one that is already wide grows by few kilometres. The confidence goes through
a monotone map. A level of evidence that too few photos had is left alone. `python -m evals.calibrate` fits both;
docs/results.md says how well they hold.

A calibration belongs to one encoder, strategy, model, set of atlas kinds and parameters of the belief, and is applied
to no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from agents.schemas import Evidence, EvidenceKind, Frozen, Hypothesis, Versions
from agents.strategies import Step, Strategy
from belief.parameters import Parameters
from core.errors import UserError
from core.files import read_model
from geo.sphere import EARTH_RADIUS_KM, HALF_CIRCUMFERENCE_KM, Floats
from graphs.settings import Settings
from retrieval.candidate import AtlasKind

LEAST_KM = 0.01
_MOST_LOG_ODDS = 1_400.0
"""Beyond it the circle is the whole Earth, or a point, in floating point."""
OFFLINE = "offline"


class EvidenceLevel(StrEnum):
    """What an answer rests on, the most telling first."""

    NAMED_PLACE = "named place"
    """A place whose name was read."""
    SIGNS = "signs"
    """Language, domains, phone numbers and so on."""
    RETRIEVAL = "retrieval"
    """Photos or places that look alike."""
    OPINION = "opinion"
    """Nothing but the model's word."""


_LEVEL_OF_KIND = {
    EvidenceKind.PLACE_NAME: EvidenceLevel.NAMED_PLACE,
    EvidenceKind.SIGN: EvidenceLevel.SIGNS,
    EvidenceKind.LANGUAGE: EvidenceLevel.SIGNS,
    EvidenceKind.RETRIEVAL: EvidenceLevel.RETRIEVAL,
}
_ORDER = tuple(EvidenceLevel)


def evidence_level(said: Iterable[tuple[EvidenceKind, float]]) -> EvidenceLevel:
    """The level of an answer from its evidence: kind, and nats for the committed hypothesis.

    Retrieval is what the machine falls back on, so it counts whatever it says; the rest must speak for the answer.
    """
    levels = [
        _LEVEL_OF_KIND[kind]
        for kind, nats in said
        if kind in _LEVEL_OF_KIND and (nats > 0.0 or kind is EvidenceKind.RETRIEVAL)
    ]
    return min(levels, key=_ORDER.index, default=EvidenceLevel.OPINION)


def area_log_odds(radius_km: ArrayLike) -> Floats:
    """Log-odds of the share of the Earth's surface within a radius."""
    bounded = np.clip(np.asarray(radius_km, dtype=np.float64), LEAST_KM, HALF_CIRCUMFERENCE_KM - LEAST_KM)
    return np.asarray(2.0 * np.log(np.tan(bounded / (2.0 * EARTH_RADIUS_KM))))


def radius_km(log_odds: ArrayLike) -> Floats:
    """The radius in km whose circle has these log-odds."""
    bounded = np.clip(np.asarray(log_odds, dtype=np.float64), -_MOST_LOG_ODDS, _MOST_LOG_ODDS)
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arctan(np.exp(bounded / 2.0)))


class Correction(Frozen):
    """How one radius is corrected."""

    slope: float = Field(ge=0.0, description="of the raw radius; 0: the same radius for all")
    shift: float

    def __call__(self, raw_km: float) -> float:
        """The corrected radius in km."""
        return float(radius_km(self.slope * area_log_odds(raw_km) + self.shift))


class Radius(NamedTuple):
    """Radii in km that should hold half and nine tenths of the probability, and whether they were calibrated."""

    radius_50_km: float
    radius_90_km: float
    calibrated: bool = False


class Radii(NamedTuple):
    """Radii in km that hold half, and nine tenths, of the truths."""

    half_km: float
    most_km: float


class LevelFit(Frozen):
    """The corrections of one level of evidence, and what they were fitted on."""

    radius_50: Correction
    radius_90: Correction
    confidence_raw: tuple[float, ...] = Field(description="knots of the confidence map, rising")
    confidence_right: tuple[float, ...] = Field(description="share that was right at each knot, rising")
    photos: int
    photographers: int

    @model_validator(mode="after")
    def _usable(self) -> Self:
        raw, right = self.confidence_raw, self.confidence_right
        if not raw or len(raw) != len(right) or list(raw) != sorted(raw) or list(right) != sorted(right):
            raise ValueError("the knots of the confidence map must be as many, and rise")
        return self

    def radii(self, raw_50_km: float, raw_90_km: float) -> Radii:
        """Corrected radii of an answer."""
        half_km = self.radius_50(raw_50_km)
        return Radii(half_km, max(half_km, self.radius_90(raw_90_km)))

    def confidence(self, raw: float) -> float:
        """How often an answer as confident as this is right."""
        return float(np.interp(raw, self.confidence_raw, self.confidence_right))


class Subject(Frozen):
    """What a calibration is about."""

    encoder: str = Field(description="name@revision")
    strategy: str
    model: str
    atlas_kinds: tuple[AtlasKind, ...] = Field(description="of the atlases that were searched, sorted")
    posterior: str = Field(description="digest of the belief's parameters")

    @model_validator(mode="before")
    @classmethod
    def _without_chooser(cls, read: Any) -> Any:
        """Files of earlier versions name a chooser; where it is empty they still say the same."""
        if isinstance(read, dict) and read.get("chooser") == "":
            return {key: value for key, value in read.items() if key != "chooser"}
        return read


class Calibration(Frozen):
    """Fitted corrections. JSON, never code."""

    format: int = Field(1, ge=1, le=1)
    subject: Subject
    fitted_on: str = Field(description="which photos, of how many photographers")
    measured: str = Field(description="what held on photos it was not fitted on")
    levels: dict[EvidenceLevel, LevelFit] = Field(
        min_length=1, description="answers of a level that is not here stay as they are, and say: not calibrated"
    )


def parameters_digest(parameters: Parameters, model: str) -> str:
    """Changes with every number of the belief that enters the radii and chances of a model's answers."""
    # Records of models never enter the answers of the offline reasoner.
    left_out = {"area_shares"} | ({"records"} if model == OFFLINE else set())
    return hashlib.sha256(parameters.model_dump_json(exclude=left_out).encode()).hexdigest()[:16]


def subject_of(versions: Versions, kinds: Iterable[AtlasKind], parameters: Parameters) -> Subject:
    """What answers of this system would be calibrated by."""
    return Subject(
        encoder=versions.encoder,
        strategy=versions.strategy,
        model=versions.model,
        atlas_kinds=tuple(sorted(set(kinds))),
        posterior=parameters_digest(parameters, versions.model),
    )


def load_calibration(path: Path) -> Calibration:
    """A calibration from its file.

    Raises:
        UserError: no such file, or not a calibration.
    """
    return read_model(path, Calibration, "calibration", "make it with `python -m evals.calibrate`")


def find_calibration(subject: Subject, path: Path | None = None) -> Calibration | None:
    """The calibration in a file given; None without one: the belief's own radii hold.

    Raises:
        UserError: the file given cannot be read or is about another system.
    """
    if path is None:
        return None
    given = load_calibration(path)
    difference = told_difference(given.subject, subject)
    if difference:
        raise UserError(
            f"the calibration {path} was fitted for {difference}: fit one for this system with"
            " `python -m evals.calibrate`, or leave the setting out"
        )
    return given


def told_difference(theirs: Subject, ours: Subject) -> str:
    """In which way two systems differ first, in words; empty if they are the same."""
    for name in Subject.model_fields:
        other, own = getattr(theirs, name), getattr(ours, name)
        if other != own:
            return f"{name} {_told(other)}, not {_told(own)}"
    return ""


def _told(value: str | tuple[AtlasKind, ...]) -> str:
    return repr(value) if isinstance(value, str) else f"({', '.join(value) or 'none'})"


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
    parameters: Parameters,
) -> Corrections:
    """The calibration that the settings name, if they name one.

    Raises:
        UserError: a file that cannot be read, or that was fitted for another system.
    """
    known = tuple(kinds)
    searched = known if strategy.runs(Step.RECALL) else ()
    subject = subject_of(versions, searched, parameters)
    calibration = find_calibration(subject, settings.calibration) if settings.calibrated else None
    return Corrections(known, calibration)


class Trusted(NamedTuple):
    """Radius and confidence of an answer."""

    radius: Radius
    confidence: float


def calibrated(
    calibration: Calibration | None, chosen: Hypothesis, evidence: Sequence[Evidence], raw: Radius, confidence: float
) -> Trusted:
    """Radius and confidence as they held with this level of evidence; as they are where nothing was fitted for it."""
    said = ((item.kind, item.log_likelihood_ratio.get(chosen.id, 0.0)) for item in evidence)
    fit = calibration.levels.get(evidence_level(said)) if calibration else None
    if fit is None:
        return Trusted(raw, confidence)
    radii = fit.radii(raw.radius_50_km, raw.radius_90_km)
    return Trusted(Radius(radii.half_km, radii.most_km, calibrated=True), fit.confidence(confidence))
