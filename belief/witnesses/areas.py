"""Witnesses about areas: a tool result that a model judged, a person's answer, a table of countries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from belief.support import Circle, Support
from belief.witnesses.countries import CountryWeights
from belief.witnesses.reports import with_floor
from geo.sphere import Floats


def bounded_nats(said_nats: float, accuracy: float) -> float:
    """What a judgement may weigh: at most the log-odds of how often its maker is right, nothing at half or below.

    >>> round(bounded_nats(3.0, 0.8), 3), round(bounded_nats(-0.5, 0.8), 3), bounded_nats(3.0, 0.5)
    (1.386, -0.5, 0.0)
    """
    most = max(0.0, math.log(accuracy / (1.0 - accuracy)))
    return max(-most, min(most, said_nats))


def area_log_ratio(support: Support, circle: Circle, nats: float) -> Floats:
    """Log likelihood ratio (n,) of "it is there" or "it is not": nats within the circle, fading over its radius."""
    away_km = support.distance_km(circle[:2])[:, 0]
    inside = np.exp(-np.maximum(0.0, away_km - circle.radius_km) / max(1.0, circle.radius_km))
    return np.asarray(np.log1p(inside * np.expm1(nats)))


def country_log_ratio(support: Support, codes: Sequence[str | None], weights: CountryWeights, useless: float) -> Floats:
    """Log likelihood ratio (n,) of weights by country, from the country of each position."""
    nats_of = {code: weights.of(code) for code in set(codes)}
    return with_floor(np.array([nats_of[code] for code in codes]), support.prior_mass, useless)
