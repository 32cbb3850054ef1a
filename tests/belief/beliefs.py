"""Positions and beliefs that the tests of belief/ share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from belief.kernels import SCALES_KM
from belief.parameters import Parameters, default_parameters
from belief.posterior import Belief
from belief.prior import ANYWHERE, Prior, packaged_positions
from belief.records import Agreement, Record, Records
from belief.support import Support, make_support
from belief.witnesses.reports import Report, ReportedPlace, WeighedReport, report_ratio

PARIS, LISBON, TOKYO = (48.86, 2.34), (38.72, -9.14), (35.69, 139.69)
NULL_ISLAND, ATLANTIC = (0.0, 0.0), (30.0, -40.0)
FIJI, NORTH_POLE, SOUTH_POLE = (-16.8, 180.0), (90.0, 0.0), (-90.0, 0.0)
ODD_PLACES = (NULL_ISLAND, ATLANTIC, FIJI, NORTH_POLE, SOUTH_POLE)

AGREEMENT = Agreement(independent=0.2, alike=0.55, one=0.24, none=0.01, correlation=0.4)


def parameters() -> Parameters:
    """The packaged ones with an agreement of models, and shares of areas, that no new fit changes."""
    return default_parameters().model_copy(update={"agreement": AGREEMENT, "area_shares": {}})


@cache
def flat_prior() -> Prior:
    """Every km² of the Earth alike."""
    return Prior(*packaged_positions(), {ANYWHERE: 1.0})


def record(**shares: float) -> Record:
    """Shares by scale in km, such as s25=0.7; what they leave of 1 is anywhere."""
    of_scale = [shares.get(f"s{scale:g}".replace(".", "_"), 0.0) for scale in SCALES_KM]
    return Record(shares=(*of_scale, 1.0 - sum(of_scale)))


def records(stated: Sequence[float] = (0.1, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.1)) -> Records:
    """Records of which only the pooled one for stated radii matters."""
    return Records(models={"any": Record(shares=(0.0,) * 5 + (1.0,), stated=tuple(stated))})


def report_of(support: Support, places: Sequence[ReportedPlace], own: Record, worth_nats: float = 0.0) -> WeighedReport:
    """A report as the belief takes it."""
    return WeighedReport(ratio_of(support, places, own), worth_nats)


def ratio_of(support: Support, places: Sequence[ReportedPlace], own: Record) -> np.ndarray:
    """Likelihood ratio of a report."""
    return report_ratio(support, Report(places, own), records())


def belief_in(shares: Mapping[tuple[float, float], float], own: Record, prior: Prior | None = None) -> Belief:
    """A belief from one report of some places with confidences."""
    support = make_support(sorted(shares), prior)
    places = [ReportedPlace(*at, confidence=confidence) for at, confidence in shares.items()]
    return Belief(support, {"model": report_of(support, places, own)}, {}, parameters())
