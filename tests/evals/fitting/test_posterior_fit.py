"""Fitting the posterior: it finds what the cases were made with, and nothing depends on chance."""

from __future__ import annotations

import numpy as np

from evals.fitting.posterior_fit import GRIDS, Case, fit, log_likelihood
from geo.point import Point
from retrieval.candidate import AtlasKind, Candidate
from tests.fakes.machine import PARAMETERS


def case(rng: np.random.Generator, reliable: bool) -> Case:
    """Ten photos over the world; the truth lies near the most similar one, or anywhere."""
    spots = np.column_stack([rng.uniform(-60, 60, 10), rng.uniform(-180, 179, 10)])
    found = [
        Candidate(
            point=Point(lat=lat, lon=lon),
            similarity=0.9 - 0.05 * rank,
            atlas="a",
            kind=AtlasKind.PHOTO,
            item_id=str(rank),
            rank=rank,
        )
        for rank, (lat, lon) in enumerate(spots.tolist())
    ]
    lat, lon = spots[0] + rng.normal(0.0, 0.1, 2) if reliable else (rng.uniform(-60, 60), rng.uniform(-180, 179))
    return Case(found, (float(lat), float(lon)), 1.0)


def cases(reliable: bool) -> list[Case]:
    rng = np.random.default_rng(7)
    return [case(rng, reliable) for _ in range(40)]


def test_reliable_retrieval_is_trusted_and_unreliable_is_not() -> None:
    trusted, distrusted = (fit(cases(reliable), PARAMETERS, "made") for reliable in (True, False))
    assert trusted.prior_share == min(GRIDS["prior_share"])
    assert distrusted.prior_share == max(GRIDS["prior_share"])
    assert trusted.temperature[AtlasKind.PHOTO] < distrusted.temperature[AtlasKind.PHOTO]


def test_a_fit_is_never_worse_than_its_start_and_repeats_itself() -> None:
    made = cases(reliable=True)
    fitted = fit(made, PARAMETERS, "made")
    assert log_likelihood(made, fitted) > log_likelihood(made, PARAMETERS)
    assert fit(made, PARAMETERS, "made") == fitted
    assert fitted.fitted_on == "made"


def test_what_no_case_speaks_of_stays_as_it_is() -> None:
    fitted = fit(cases(reliable=True), PARAMETERS, "made")
    assert fitted.temperature[AtlasKind.GPS] == PARAMETERS.temperature[AtlasKind.GPS]
    assert fitted.atlas_share == PARAMETERS.atlas_share
    assert fitted.prior_lat_lon_weight == PARAMETERS.prior_lat_lon_weight
