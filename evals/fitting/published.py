"""Records from accuracies that somebody published, for models whose answers nobody has at hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from belief.kernels import SCALES_KM
from belief.posterior import THRESHOLDS_KM
from belief.prior import Prior, default_prior
from belief.records import Record
from belief.support import make_support
from core.errors import UserError
from evals.fitting.mixtures import fit_mixture, floored, rounded
from geo.sphere import Floats

SAMPLED_PLACES = 200
"""Places, spread as photos are, that stand for where the published answers lay."""

SOURCE = "derived from published accuracies"


def record_from_accuracies(percent: Sequence[float], prior: Prior | None = None, note: str = "") -> Record:
    """The record under which answers lie within 1, 25, 200, 750 and 2500 km as often as published.

    The shares are those of maximum likelihood for the five accuracies. They assume that the answers lie where photos
    are taken, whatever the photo. Nothing is known of several places a photo, or of stated radii: these are pooled.

    >>> record = record_from_accuracies([14.1, 34.5, 50.7, 69.7, 83.8])
    >>> record.source, 0.0 < record.shares[-1] < 0.5
    ('derived from published accuracies', True)

    Args:
        percent: accuracies in %, rising.
        prior: where photos are taken; None: the packaged one.
        note: whose they are.

    Raises:
        UserError: not five rising percentages.
    """
    rising = [0.0, *percent, 100.0]
    if len(percent) != len(THRESHOLDS_KM) or rising != sorted(rising):
        kilometres = ", ".join(str(km) for km in THRESHOLDS_KM)
        raise UserError(f"published accuracies are five rising percentages, within {kilometres} km: {percent}")
    in_ring = np.diff(rising) / 100.0
    within = shares_within(prior or default_prior())
    of_ring = np.diff(within, axis=1, prepend=0.0, append=1.0)
    shares = floored(fit_mixture(of_ring.T, weights=in_ring))
    return Record(shares=rounded(shares), source=f"{SOURCE}{f' ({note})' if note else ''}")


def shares_within(prior: Prior) -> Floats:
    """How often the truth lies within each distance of an answer: (kernels and "anywhere", distances).

    A kernel around a place is weighted by the prior, as in a report, and averaged over places spread as photos are.
    """
    total = np.zeros((len(SCALES_KM) + 1, len(THRESHOLDS_KM)))
    for place in prior.sample(SAMPLED_PLACES):
        support = make_support([place], prior, sample_size=1024)
        away_km = support.distance_km(place)
        kernels = np.concatenate([np.exp(-away_km / np.array(SCALES_KM)), np.ones_like(away_km)], axis=1)
        weighted = kernels * support.prior_mass[:, None]
        total += (weighted / weighted.sum(axis=0)).T @ (away_km <= np.array(THRESHOLDS_KM))
    return total / SAMPLED_PLACES


def parse_published(text: str) -> tuple[str, list[float]]:
    """A name and its accuracies.

    >>> parse_published("gps@geoclip=14.1,34.5,50.7,69.7,83.8")
    ('gps@geoclip', [14.1, 34.5, 50.7, 69.7, 83.8])

    Raises:
        UserError: another form.
    """
    name, _, numbers = text.partition("=")
    try:
        percent = [float(number) for number in numbers.split(",")]
    except ValueError:
        percent = []
    if not name or not percent:
        raise UserError(f"published accuracies are given as NAME=14.1,34.5,50.7,69.7,83.8, not {text!r}")
    return name, percent
