"""Reported positions: what a witness that names places says about every position on Earth.

A report is one or more places with shares. Around each lies a mixture of kernels; the shares of the mixture are the
witness' record. Within a kernel of scale s around a place y the truth is distributed as photos are:

    P(x | report) / p(x) = share(anywhere) + sum over places y, scales s of share(y) share(s) exp(-d(x, y) / s) / p_s(y)

where p_s(y) = sum over x of p(x) exp(-d(x, y) / s): that models name well-known places more often than others is in
the norm. This is the likelihood ratio against "anywhere".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from belief.kernels import SCALES_KM, decay
from belief.records import LEAST_SCALE_KM, RADIUS_FACTORS, WIDE_SCALES_KM, Agreement, Record, Records, Shares
from belief.support import Support
from geo.sphere import Floats

TINY = 1e-300
"""A ratio or probability of nothing is counted as this, so that its logarithm is finite."""

LEAST_NEAR = 1e-12

NONE_OF_THESE = 0.2
"""Chosen among 0, 0.1, 0.25, 0.5 and 1 by cross-validated log score (docs/decisions.md)."""


class ReportedPlace(NamedTuple):
    """A place with the radius that half of its probability is said to lie within, and the probability said."""

    lat_deg: float
    lon_deg: float
    radius_km: float | None = None
    confidence: float | None = None


class Report(NamedTuple):
    """Places that one witness named, its record, and their shares; None: those that it stated (`place_shares`)."""

    places: Sequence[ReportedPlace]
    record: Record
    shares: Sequence[float] | None = None


def place_shares(places: Sequence[ReportedPlace]) -> Floats:
    """Shares (k,) of the places of a report; what they leave of 1 is "none of these".

    Stated confidences count in proportion. Of what they leave of 1, a share of NONE_OF_THESE is "none of these": a
    model that is unsure is mostly unsure which of its places it is. Without confidences the k-th place counts 1/k.

    >>> at = ReportedPlace(0.0, 0.0)
    >>> place_shares([at._replace(confidence=0.6), at._replace(confidence=0.2)]).round(2).tolist()
    [0.72, 0.24]
    >>> place_shares([at, at]).round(3).tolist()
    [0.667, 0.333]
    """
    said = np.array([1.0 / rank if p.confidence is None else p.confidence for rank, p in enumerate(places, start=1)])
    total = float(said.sum())
    if total <= 0.0:
        return np.zeros(len(places))
    is_stated = any(place.confidence is not None for place in places)
    none_of_these = NONE_OF_THESE * max(0.0, 1.0 - total) if is_stated else 0.0
    return np.asarray(said / total * (1.0 - none_of_these))


def report_ratio(support: Support, report: Report, records: Records) -> Floats:
    """Likelihood ratio (n,) of a report at every position of a support, 1 on average over the prior.

    A model that was 40 % within a city of where it says, and 60 % anywhere, about Paris:

    >>> from belief.support import make_support
    >>> paris, record = ReportedPlace(48.86, 2.34), Record(shares=(0.0, 0.0, 0.4, 0.0, 0.0, 0.6))
    >>> pooled = Records(models={"any": record.model_copy(update={"stated": (0.1,) * 10})})
    >>> support = make_support([paris[:2]])
    >>> ratio = report_ratio(support, Report([paris], record), pooled)
    >>> round(float(support.prior_mass @ ratio), 3), round(float(ratio.min()), 2)
    (1.0, 0.6)
    """
    shares = np.asarray(place_shares(report.places) if report.shares is None else report.shares)
    ratio = np.full(len(support.prior_mass), max(0.0, 1.0 - float(shares.sum())))
    for place, share in zip(report.places, shares, strict=True):
        kernel_shares = report.record.shares if place.radius_km is None else records.stated_of(report.record)
        at, own = np.array([place[:2]]), np.array([share])
        ratio += mixture_ratio(support, at, own, kernel_scales_km(place), kernel_shares)
    return ratio


def kernel_scales_km(place: ReportedPlace) -> Sequence[float]:
    """Scales of the kernels around a place: in units of its radius where it states one."""
    if place.radius_km is None:
        return SCALES_KM
    return [*(max(LEAST_SCALE_KM, factor * place.radius_km) for factor in RADIUS_FACTORS), *WIDE_SCALES_KM]


def prior_near(support: Support, lat_lon_deg: Floats, scales_km: Sequence[float]) -> Floats:
    """The prior's average of exp(-distance / scale) around positions (k, 2) in degrees: shape (k, scales)."""
    away_km = support.distance_km(lat_lon_deg)
    return np.stack([support.prior_mass @ decay(away_km, scale_km) for scale_km in scales_km], axis=1)


def mixture_ratio(
    support: Support, lat_lon_deg: Floats, weights: Floats, scales_km: Sequence[float], shares: Shares
) -> Floats:
    """Ratio (n,) of places (k, 2) with weights (k,): kernels of some scales, each normalised over the prior.

    Args:
        support: n positions.
        lat_lon_deg: of the places.
        weights: of the places, which sum to 1 or less; the ratio's average over the prior is their sum.
        scales_km: of the kernels.
        shares: of the kernels, and of "anywhere".
    """
    away_km = support.distance_km(lat_lon_deg)
    ratio = np.full(len(support.prior_mass), shares[-1] * float(weights.sum()))
    for scale_km, share in zip(scales_km, shares, strict=False):
        if share > 0.0:
            kernels = decay(away_km, scale_km)
            near = support.prior_mass @ kernels
            # A place that no position of the support lies near at this scale tells nothing.
            seen = near > LEAST_NEAR
            each = np.divide(weights, near, out=np.zeros(len(weights)), where=seen)
            ratio += share * (kernels @ each + float(weights[~seen].sum()))
    return ratio


def similarity_weights(similarity: Floats, temperature: float) -> Floats:
    """Weights (n,) of retrieved places that sum to 1: a softmax of their similarities (n,).

    >>> similarity_weights(np.array([0.9, 0.8]), temperature=0.1).round(3).tolist()
    [0.731, 0.269]
    """
    scaled = np.exp((similarity - similarity.max()) / temperature)
    return np.asarray(scaled / scaled.sum())


class WeighedReport(NamedTuple):
    """A model's report on n positions: its likelihood ratio (n,), and what such reports are worth in nats."""

    ratio: Floats
    worth_nats: float = 0.0


def weighed_report(support: Support, report: Report, records: Records) -> WeighedReport:
    """A model's report on a support, with what such reports are worth."""
    return WeighedReport(report_ratio(support, report, records), report.record.worth_nats)


def joint_log_ratio(reports: Sequence[WeighedReport], prior_mass: Floats, agreement: Agreement) -> Floats:
    """Log likelihood ratio (n,) of reports of several models that may err alike.

    With shares that are fitted, the reports are independent (their product), err alike, only one of them is right
    (their average), or none says anything. A model weighs w = exp(worth): where they err alike with correlation c, its
    report counts w / (w + c (W - w)) times, W being the weight of all. n equal models count n / (1 + (n-1) c) together
    (the design effect of Kish 1965), and one that is far better than the rest counts alone.

    Two equal models that agree about half of the Earth, if they surely err alike with c = 0.5, count 1.33 times one:

    >>> alike = Agreement(independent=0.0, alike=1.0, one=0.0, none=1e-9, correlation=0.5)
    >>> one, mass = WeighedReport(np.array([1.6, 0.4])), np.array([0.5, 0.5])
    >>> both = joint_log_ratio([one, one], mass, alike)
    >>> bool(np.isclose((both[0] - both[1]) / np.log(4.0), 2 / 1.5))
    True
    """
    each = [np.log(np.maximum(report.ratio, TINY)) for report in reports]
    if len(reports) < 2:
        return sum_in_any_order(each, len(prior_mass))
    share = shares_by_worth([report.worth_nats for report in reports])
    counts = share / (share + agreement.correlation * (1.0 - share))
    alike = sum_in_any_order([count * nats for count, nats in zip(counts, each, strict=True)], len(prior_mass))
    average = [weight * report.ratio for weight, report in zip(share, reports, strict=True)]
    return np.asarray(
        np.log(
            agreement.independent * normalised(sum_in_any_order(each, len(prior_mass)), prior_mass)
            + agreement.alike * normalised(alike, prior_mass)
            + agreement.one * sum_in_any_order(average, len(prior_mass))
            + agreement.none
        )
    )


def shares_by_worth(worth_nats: Sequence[float]) -> Floats:
    """Weights exp(worth) of models, summing to 1, to the bit the same in whatever order they come.

    >>> shares_by_worth([6.0, 4.0]).round(3).tolist()
    [0.881, 0.119]
    """
    weights = np.exp(np.asarray(worth_nats) - max(worth_nats))
    return np.asarray(weights / np.sort(weights).sum())


def sum_in_any_order(terms: Sequence[Floats], size: int) -> Floats:
    """The sum (size,) of terms (size,), to the bit the same in whatever order they come: the least is added first.

    >>> terms = [np.array([0.1]), np.array([0.2]), np.array([0.3])]
    >>> sum_in_any_order(terms, 1) == sum_in_any_order(terms[::-1], 1), sum(terms) == sum(terms[::-1])
    (array([ True]), array([False]))
    """
    total = np.zeros(size)
    for row in np.sort(np.reshape(terms, (len(terms), size)), axis=0):
        total += row
    return total


def normalised(log_ratio: Floats, prior_mass: Floats) -> Floats:
    """Likelihood ratio (n,) that is 1 on average over the prior."""
    scaled = np.exp(log_ratio - log_ratio.max())
    return np.asarray(scaled / float(prior_mass @ scaled))


def with_floor(log_ratio: Floats, prior_mass: Floats, useless: float) -> Floats:
    """A log likelihood ratio (n,), normalised to 1 on average over the prior and mixed with "says nothing".

    >>> with_floor(np.log([8.0, 0.0001]), np.array([0.5, 0.5]), useless=0.2).round(2).tolist()
    [0.59, -1.61]
    """
    return np.asarray(np.log(useless + (1.0 - useless) * normalised(log_ratio, prior_mass)))
