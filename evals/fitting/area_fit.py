"""How much of the belief the smallest areas have to be of, so that they hold the truth as often as they say.

Split-conformal prediction with highest-density regions (HPD-split; Izbicki, Shimizu and Stern 2022): the share of the
belief that is denser than the truth, of many photos, has the wanted quantiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from belief.parameters import Parameters
from evals.fitting.belief_fit import Fitter

HELD = (0.25, 0.5, 0.75, 0.9)
"""How often areas are to hold the truth: the areas of an answer."""

LEAST_PHOTOS = 100
"""Of fewer nothing is fitted; set by hand."""


def with_area_shares(fitter: Fitter, parameters: Parameters, rows: Sequence[int]) -> Parameters:
    """Parameters with the shares of the belief fitted to some photos; of too few, they stay as they are.

    Each photo counts with what is believed without any model, with one of those that gave a place, and with all.
    """
    if len(rows) < LEAST_PHOTOS:
        return parameters
    denser = [
        fitter.belief(parameters, row, models).denser_share(fitter.samples[row].truth_deg)
        for turn, row in enumerate(rows)
        for models in _heard(fitter, row, turn)
    ]
    shares = {held: round(float(np.quantile(denser, held)), 3) for held in HELD}
    return parameters.model_copy(update={"area_shares": shares})


def _heard(fitter: Fitter, row: int, turn: int) -> Iterator[Sequence[str]]:
    """No model, one, which changes from photo to photo, and all; fewer where fewer gave a place."""
    told = sorted(name for name, places in fitter.samples[row].reports.items() if places)
    yield ()
    if told:
        yield (told[turn % len(told)],)
    if len(told) > 1:
        yield told
