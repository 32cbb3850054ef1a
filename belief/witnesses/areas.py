"""Witnesses about areas: a tool result that a model judged, a person's answer, a table of countries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from belief.support import Disc, Support
from belief.witnesses.countries import CountryWeights
from belief.witnesses.reports import with_floor
from geo.sphere import Floats

LEAST_RADIUS_KM = 1.0


def bounded_nats(said_nats: float, accuracy: float) -> float:
    """What a judgement may weigh, in nats: at most the log-odds of how often its maker is right, nothing up to half.

    >>> round(bounded_nats(3.0, 0.8), 3), round(bounded_nats(-0.5, 0.8), 3), bounded_nats(3.0, 0.5)
    (1.386, -0.5, 0.0)
    """
    most = max(0.0, math.log(accuracy / (1.0 - accuracy)))
    return min(most, max(-most, said_nats))


def area_log_ratio(support: Support, circle: Disc, nats: float) -> Floats:
    """Log likelihood ratio (n,) of "it is there" or "it is not": nats within the circle, fading over its radius.

    >>> from belief.support import make_support
    >>> support = make_support([(48.86, 2.34), (38.72, -9.14)])
    >>> area_log_ratio(support, Disc(48.86, 2.34, 10.0), 2.0)[support.pins].round(3).tolist()
    [2.0, 0.0]
    """
    beyond_km = np.maximum(0.0, support.distance_km(circle[:2])[:, 0] - circle.radius_km)
    inside = np.exp(-beyond_km / max(LEAST_RADIUS_KM, circle.radius_km))
    return np.asarray(np.log(inside * math.exp(nats) + (1.0 - inside)))


def country_log_ratio(support: Support, codes: Sequence[str | None], weights: CountryWeights, useless: float) -> Floats:
    """Log likelihood ratio (n,) of weights by country.

    Args:
        support: n positions.
        codes: the country of each position; None: at sea.
        weights: by country.
        useless: chance that they say nothing of this photo.
    """
    nats_of = {code: weights.of(code) for code in set(codes)}
    return with_floor(np.array([nats_of[code] for code in codes]), support.prior_mass, useless)
