"""Fit the belief's numbers to photos whose place is known, by the mean log-probability density at the truth.

Mixture shares (of the prior's layers, of a model's kernels, of retrieval's) are those of maximum likelihood, found by
expectation-maximisation (Dempster, Laird and Rubin 1977); how models err together is the best of a grid.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from belief.kernels import SCALES_KM
from belief.parameters import Parameters, RetrievalRecord
from belief.prior import ANYWHERE, Positions, Prior, packaged_positions
from belief.records import ANY, Agreement, Record, Records, Shares
from belief.support import MAX_PINS, Support, make_support
from belief.witnesses.reports import (
    Report,
    ReportedPlace,
    kernel_scales_km,
    place_shares,
    prior_near,
    report_ratio,
    similarity_weights,
)
from geo.sphere import Floats, distance_km

POOLED_PHOTOS = 10.0
"""Photos' worth of the pooled record mixed into a model's own: chosen among 0.5 to 50 by cross-validation."""

LEAST_SHARE = 0.002
"""No witness is beyond doubt, and photos are taken anywhere."""

CAUTION = 0.5
"""Share of "as a photo from anywhere" mixed into the record of models that nothing is known about; set by hand."""

FIT_SAMPLE_SIZE = 1024
FOLDS = 5
CORRELATIONS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
LEAST_REPORTS = 20
_ITERATIONS = 200


class BeliefSample(NamedTuple):
    """A photo: where it was taken, by whom, what models reported of it, and what was retrieved for it.

    Attributes:
        truth_deg: latitude, longitude.
        photographer: whose it is.
        reports: places by model; empty where a model gave none.
        retrieved: positions (k, 2) and similarities (k,) by kind of atlas.
    """

    truth_deg: tuple[float, float]
    photographer: str
    reports: Mapping[str, Sequence[ReportedPlace]]
    retrieved: Mapping[str, tuple[Floats, Floats]]


def fold_of(photographer: str) -> int:
    """The part of the cross-validation that a photographer's photos are in."""
    return zlib.crc32(photographer.encode()) % FOLDS


def fit_mixture(
    densities: Floats, constant: Floats | float = 0.0, towards: Floats | None = None, strength: float = 0.0
) -> Floats:
    """Shares (k,) of a mixture of k densities, given at n truths as (n, k), by expectation-maximisation.

    Args:
        densities: of each component at each truth.
        constant: (n,) of a part that is not fitted.
        towards: shares (k,) that the fit is drawn to, as so many truths as `strength` says.
        strength: in truths.

    Three truths speak for the first component, one for the second:

    >>> fit_mixture(np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]])).round(2).tolist()
    [0.75, 0.25]
    """
    count = densities.shape[1]
    shares = np.full(count, 1.0 / count) if towards is None else np.array(towards)
    drawn = np.zeros(count) if towards is None else strength * np.asarray(towards)
    for _ in range(_ITERATIONS):
        parts = densities * shares
        held = (parts / (parts.sum(axis=1) + constant)[:, None]).sum(axis=0) + drawn
        if held.sum() <= 0.0:
            return shares
        shares = held / held.sum()
    return np.asarray(shares)


def fit_prior_shares(samples: Sequence[BeliefSample], positions: tuple[Positions, Positions]) -> dict[str, float]:
    """Shares of the layers of the prior."""
    even = Prior(*positions, {})
    densities = even.layer_densities([sample.truth_deg for sample in samples])
    shares = dict(zip(even.layers, fit_mixture(densities).tolist(), strict=True))
    shares[ANYWHERE] = max(shares[ANYWHERE], LEAST_SHARE)
    total = sum(shares.values())
    return {name: round(share / total, 6) for name, share in shares.items()}


class _Reported(NamedTuple):
    """Kernels of a report at the truth, relative to the prior: summed over its places, and what they leave."""

    absolute: Floats
    stated: Floats | None
    left: float


class Fitter:
    """Fits parameters on samples whose supports it keeps, so that cross-validation makes each only once."""

    def __init__(self, samples: Sequence[BeliefSample], start: Parameters, prior: Prior | None = None) -> None:
        self.samples = samples
        self.start = start
        self.prior = prior or Prior(*packaged_positions(), start.prior_shares)
        self.log_prior = np.log(self.prior.density([sample.truth_deg for sample in samples]))
        self._reported: dict[tuple[int, str], _Reported] = {}

    def support(self, row: int) -> Support:
        """The support of a photo, around every place that was reported."""
        pins = [place[:2] for places in self.samples[row].reports.values() for place in places]
        return make_support(pins, self.prior, FIT_SAMPLE_SIZE)

    def reported(self, row: int, model: str) -> _Reported:
        """A model's report of a photo, as kernels at the truth."""
        if (row, model) not in self._reported:
            support = self.support(row)
            for name, places in self.samples[row].reports.items():
                if places:
                    self._reported[row, name] = _at_truth(support, places, self.samples[row].truth_deg)
        return self._reported[row, model]

    def rows_of(self, model: str, rows: Iterable[int]) -> list[int]:
        """Those of some photos that a model gave a place for."""
        return [row for row in rows if self.samples[row].reports.get(model)]

    def fit_records(self, rows: Sequence[int], sources: Callable[[str, int], str]) -> Records:
        """Records of every model with reports, and the pooled one.

        Args:
            rows: photos to fit on.
            sources: from a model's name and its number of answers to what its record says of itself.
        """
        names = sorted({name for row in rows for name in self.samples[row].reports})
        pooled = self._pooled(names, rows)
        models = {ANY: pooled}
        for name in names:
            asked = [row for row in rows if name in self.samples[row].reports]
            answered = self.rows_of(name, asked)
            if len(answered) >= LEAST_REPORTS:
                fitted = self._record(name, answered, pooled)
                models[name] = fitted.model_copy(
                    update={"photos": len(asked), "answered": len(answered), "source": sources(name, len(answered))}
                )
        # Models that nothing is known about: what is usual, mixed with "anywhere".
        models[ANY] = pooled.model_copy(
            update={
                "shares": _cautious(pooled.shares),
                "stated": _cautious(pooled.stated or ()),
                "source": f"pooled over {len(names)} models, mixed with {CAUTION:.0%} anywhere",
            }
        )
        return Records(models=models)

    def _pooled(self, names: Sequence[str], rows: Sequence[int]) -> Record:
        reports = [self.reported(row, name) for name in names for row in self.rows_of(name, rows)]
        stated = [report for report in reports if report.stated is not None]
        return Record(
            shares=_rounded(_fit_reports(reports, lambda r: r.absolute)),
            stated=_rounded(_fit_reports(stated, _stated_of)) if len(stated) >= LEAST_REPORTS else self._any_stated(),
        )

    def _any_stated(self) -> Shares | None:
        return self.start.records.models[ANY].stated

    def _record(self, name: str, rows: Sequence[int], pooled: Record) -> Record:
        reports = [self.reported(row, name) for row in rows]
        stated = [report for report in reports if report.stated is not None]
        own = _fit_reports(reports, lambda r: r.absolute, pooled.shares)
        own_stated = _fit_reports(stated, _stated_of, pooled.stated) if len(stated) >= LEAST_REPORTS else None
        return Record(shares=_rounded(own), stated=None if own_stated is None else _rounded(own_stated))

    def fit_agreement(self, records: Records, rows: Sequence[int], juries: Sequence[Sequence[str]]) -> Agreement:
        """How models err together, over photos that at least two of a jury gave a place for.

        The shares are those of maximum likelihood for each correlation of a grid, of which the likeliest is taken.
        """
        best: tuple[float, Agreement] | None = None
        parts = [self._joint_parts(records, row, jury) for jury in juries for row in rows if self._heard(row, jury, 2)]
        if not parts:
            return self.start.agreement
        for index, correlation in enumerate(CORRELATIONS):
            densities = np.array([[independent, alike[index], one, 1.0] for independent, alike, one in parts])
            shares = _floored(fit_mixture(densities))
            worth = float(np.log(densities @ shares).sum())
            if best is None or worth > best[0]:
                independent, alike, one, none = np.round(shares, 4).tolist()
                fitted = Agreement(independent=independent, alike=alike, one=one, none=none, correlation=correlation)
                best = worth, fitted
        return self.start.agreement if best is None else best[1]

    def _heard(self, row: int, jury: Sequence[str], least: int) -> list[str]:
        heard = [name for name in jury if self.samples[row].reports.get(name)]
        return heard if len(heard) >= least else []

    def _joint_parts(self, records: Records, row: int, jury: Sequence[str]) -> tuple[float, list[float], float]:
        """Ratios at the truth: of independent reports, of alike ones by correlation, and of their average."""
        heard, prior = self._heard(row, jury, 2), self.support(row).prior_mass
        at_truth = np.array([self.ratio_at_truth(records, row, name) for name in heard])
        ratios = [report_ratio(self.support(row), self._report(records, row, name), records) for name in heard]
        nats = np.sum(np.log(ratios), axis=0)

        def joint(correlation: float) -> float:
            discount = 1.0 + (len(heard) - 1) * correlation
            scaled = nats / discount
            average = np.log(prior @ np.exp(scaled - scaled.max())) + scaled.max()
            return float(np.exp(np.log(at_truth).sum() / discount - average))

        return joint(0.0), [joint(correlation) for correlation in CORRELATIONS], float(at_truth.mean())

    def _report(self, records: Records, row: int, name: str) -> Report:
        return Report(self.samples[row].reports[name], records.of(name))

    def ratio_at_truth(self, records: Records, row: int, name: str) -> float:
        """Likelihood ratio of a model's report at the truth."""
        report, record = self.reported(row, name), records.of(name)
        if report.stated is not None:
            return float(report.stated @ np.array(records.stated_of(record))) + report.left
        return float(report.absolute @ np.array(record.shares)) + report.left

    def log_score(self, parameters: Parameters, row: int, models: Sequence[str]) -> float:
        """Log-probability density (nats per km²) at the truth of the belief from some models' reports."""
        heard = [name for name in models if self.samples[row].reports.get(name)]
        if not heard:
            return float(self.log_prior[row])
        if len(heard) == 1:
            return float(self.log_prior[row] + np.log(self.ratio_at_truth(parameters.records, row, heard[0])))
        independent, alike, one = self._joint_parts(parameters.records, row, heard)
        agreement = parameters.agreement
        nearest = int(np.argmin(np.abs(np.array(CORRELATIONS) - agreement.correlation)))
        mixed = agreement.independent * independent + agreement.alike * alike[nearest] + agreement.one * one
        return float(self.log_prior[row] + np.log(mixed + agreement.none))

    def fit_retrieval(self, kind: str, rows: Sequence[int], source: str) -> tuple[RetrievalRecord, float]:
        """The record of retrieval from a kind of atlas, and the nats a photo that it is worth."""
        found = [row for row in rows if kind in self.samples[row].retrieved]
        best: tuple[RetrievalRecord, float] | None = None
        for temperature in TEMPERATURES:
            densities = np.array([self._retrieved_at_truth(row, kind, temperature) for row in found])
            shares = _floored(fit_mixture(densities))
            worth = float(np.log(densities @ shares).mean())
            if best is None or worth > best[1]:
                record = Record(shares=_rounded(shares), photos=len(found), answered=len(found), source=source)
                best = RetrievalRecord(temperature=temperature, record=record), worth
        if best is None:
            raise ValueError(f"nothing was retrieved from a {kind} atlas")
        return best

    def _retrieved_at_truth(self, row: int, kind: str, temperature: float) -> Floats:
        positions, similarity = self.samples[row].retrieved[kind]
        weights = similarity_weights(similarity, temperature)
        away_km = distance_km(self.samples[row].truth_deg, positions)
        # Only kernels of places near the truth matter there: those need a support of their own.
        support = make_support(positions[np.argsort(away_km)[:MAX_PINS]], self.prior, FIT_SAMPLE_SIZE)
        near = prior_near(support, positions, SCALES_KM)
        kernels = np.exp(-away_km[:, None] / np.array(SCALES_KM)) / np.maximum(near, 1e-12)
        return np.concatenate([weights @ kernels, [1.0]])


def _at_truth(support: Support, places: Sequence[ReportedPlace], truth_deg: tuple[float, float]) -> _Reported:
    shares = place_shares(places)
    absolute = np.zeros(len(SCALES_KM) + 1)
    stated: Floats | None = None
    for place, share in zip(places, shares, strict=True):
        absolute += share * _kernels_at(support, place._replace(radius_km=None), truth_deg)
        if place.radius_km is not None:
            own = share * _kernels_at(support, place, truth_deg)
            stated = own if stated is None else stated + own
    return _Reported(absolute, stated, max(0.0, 1.0 - float(shares.sum())))


def _kernels_at(support: Support, place: ReportedPlace, truth_deg: tuple[float, float]) -> Floats:
    scales_km = kernel_scales_km(place)
    near = prior_near(support, np.array([place[:2]]), scales_km)[0]
    away_km = float(distance_km(truth_deg, place[:2]))
    return np.concatenate([np.exp(-away_km / np.array(scales_km)) / np.maximum(near, 1e-12), [1.0]])


def _stated_of(report: _Reported) -> Floats:
    if report.stated is None:
        raise ValueError("the report states no radius")
    return report.stated


def _fit_reports(
    reports: Sequence[_Reported], column: Callable[[_Reported], Floats], towards: Shares | None = None
) -> Floats:
    densities = np.array([column(report) for report in reports])
    left = np.array([report.left for report in reports])
    drawn = None if towards is None else np.array(towards)
    return _floored(fit_mixture(densities, left, drawn, POOLED_PHOTOS))


def _floored(shares: Floats) -> Floats:
    """Shares of which the last one, "anywhere", is not nothing."""
    floor = np.append(np.zeros(len(shares) - 1), LEAST_SHARE)
    raised = np.maximum(shares, floor)
    return np.asarray(raised / raised.sum())


def _cautious(shares: Sequence[float]) -> Shares:
    anywhere = np.append(np.zeros(len(shares) - 1), 1.0)
    return _rounded((1.0 - CAUTION) * np.asarray(shares) + CAUTION * anywhere)


def _rounded(shares: Floats) -> Shares:
    return tuple(np.round(shares, 6).tolist())
