"""How much of the belief the smallest areas have to be of, so that they hold the truth as often as they say.

Conformal prediction with highest-density regions (HPD-split; Izbicki, Shimizu and Stern 2022): quantiles of the share
of the belief that is denser than the truth. Unlike there, the records of models are fitted on the same photos; on
photographers left out of both `benchmarks.accuracy.belief` says how often areas hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from belief.areas import AREA_SHARES
from belief.parameters import Parameters
from evals.fitting.belief_fit import Fitter
from evals.fitting.conformal import conformal_quantile

LEAST_PHOTOS = 100
"""Of fewer nothing is fitted; set by hand."""


def with_area_shares(fitter: Fitter, parameters: Parameters, rows: Sequence[int]) -> Parameters:
    """Parameters with the shares of the belief fitted to some photos; of too few, they stay as they are.

    Each photo counts with what is believed without any model, with one of those that gave a place, and with all.
    """
    if len(rows) < LEAST_PHOTOS:
        return parameters
    cases = [(fitter.samples[row], fitter.belief(parameters, row, models)) for row, models in _heard(fitter, rows)]
    denser = np.array([belief.denser_share(sample.truth_deg) for sample, belief in cases])
    photographers = np.array([sample.photographer for sample, _ in cases])
    shares = {held: round(conformal_quantile(denser, photographers, held), 3) for held in AREA_SHARES}
    return parameters.model_copy(update={"area_shares": shares})


def _heard(fitter: Fitter, rows: Sequence[int]) -> Iterator[tuple[int, Sequence[str]]]:
    """Photos with no model, with one in turn, and with all; less often where fewer gave a place."""
    for turn, row in enumerate(rows):
        told = sorted(name for name, places in fitter.samples[row].reports.items() if places)
        yield row, ()
        if told:
            yield row, (told[turn % len(told)],)
        if len(told) > 1:
            yield row, told
