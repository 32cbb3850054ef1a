"""A person who states a fact about the photo: a country, a language or a place it is in, or is not in.

What fits the fact is as likely as it was, what does not is all but ruled out; but a stated fact may be wrong, so
nothing is ruled out altogether.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from belief.support import Disc, Support
from belief.witnesses.areas import LEAST_RADIUS_KM
from belief.witnesses.countries import FIRST_LANGUAGE, stated_language_weights
from belief.witnesses.reports import with_floor
from geo.places.country_facts import countries_of_language
from geo.sphere import Floats

FACT_ACCURACY = 0.98
"""How often a fact is right that a person states unasked: more often than an answer to a question, which may be a guess
(`Parameters.person_accuracy`). Set by hand."""

MISFIT_NATS = -12.0
"""Of a position that does not fit the fact if the person is right."""


def fact_log_ratio(support: Support, nats: Floats, accuracy: float = FACT_ACCURACY) -> Floats:
    """Log likelihood ratio (n,) of a stated fact, from how well each position fits it if it is right.

    >>> from belief.support import make_support
    >>> support = make_support([(48.86, 2.34), (38.72, -9.14)])
    >>> codes = ["FR" if lat > 45.0 else "PT" for lat, _ in support.lat_lon_deg]
    >>> ratio = fact_log_ratio(support, countries_nats(codes, {"FR"}, is_denied=True))
    >>> (ratio[support.pins] < -2.0).tolist()
    [True, False]
    """
    return with_floor(nats, support.prior_mass, 1.0 - accuracy)


def countries_nats(codes: Sequence[str | None], stated: Collection[str], *, is_denied: bool) -> Floats:
    """Fit (n,) of countries of positions to "it is in one of these countries", or in none of them."""
    return np.array([0.0 if (code in stated) is not is_denied else MISFIT_NATS for code in codes])


def languages_nats(codes: Sequence[str | None], languages: Sequence[str], *, is_denied: bool) -> Floats:
    """Fit (n,) of countries to "the writing, or what is spoken, is in one of these languages", or in none of them.

    Signs of a language stand in other countries too, so this tells less than a country.
    """
    if is_denied:
        spoken = [countries_of_language().get(language, {}) for language in languages]
        here = [max((shares.get(code or "", 0.0) for shares in spoken), default=0.0) for code in codes]
        return np.log1p(-FIRST_LANGUAGE * np.array(here))
    weights = stated_language_weights(languages)
    return np.array([weights.of(code) for code in codes])


def places_nats(support: Support, circles: Sequence[Disc], *, is_denied: bool) -> Floats:
    """Fit (n,) of positions to "it is in one of these places, or near", fading over their radius; or in none."""
    inside = np.zeros(len(support.lat_lon_deg))
    for circle in circles:
        beyond_km = np.maximum(0.0, support.distance_km(circle[:2])[:, 0] - circle.radius_km)
        inside = np.maximum(inside, np.exp(-beyond_km / max(LEAST_RADIUS_KM, circle.radius_km)))
    fits = 1.0 - inside if is_denied else inside
    return np.asarray(np.log(np.maximum(fits, math.exp(MISFIT_NATS))))
