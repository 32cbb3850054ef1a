"""The posterior mixture of a ledger: which positions the photo may have been taken at, with what weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.schemas import Evidence, Hypothesis, Origin
from geo.sphere import lat_lon_array
from graphs.inference.choosing import is_named_on_a_sign
from graphs.inference.country_weights import CountryWeights
from graphs.inference.ledger import elsewhere
from graphs.inference.posterior import ELSEWHERE, PRIOR, Floats, Support, positions
from graphs.inference.weighing import Scene

NAMED_OWN_SHARE = 0.9
"""A place named on a sign, or by the model at first sight, is meant itself; candidates around it share the rest."""

MIN_SPREAD_KM = 1.0


def posterior_support(
    at: Scene,
    candidate_countries: Sequence[str | None],
    evidence: Sequence[Evidence],
    countries: Sequence[CountryWeights],
) -> Support:
    """Spread each open hypothesis over its candidates and its own point, elsewhere over the rest and the prior.

    Within a hypothesis, candidates are reweighted by what signs say about their countries and by how near they are
    to the model's first reading; between hypotheses the ledger has done that already.
    """
    tilt = np.array([sum(w.of(code) for w in countries) for code in candidate_countries], dtype=np.float64)
    tilted = at.candidate_weight * np.exp(tilt) * _sighted(at, positions(at.candidates))
    own_share = np.array([_own_share(at, i, h, evidence) for i, h in enumerate(at.hypotheses)])
    probability = np.array([h.probability for h in at.hypotheses])
    prior_part = _prior_part(at)
    candidate_part = _candidate_part(at, tilted, probability * (1.0 - own_share), prior_part)
    return Support(
        lat_lon_deg=np.concatenate(
            [positions(at.candidates), lat_lon_array(h.point for h in at.hypotheses), at.parameters.prior_lat_lon_deg]
        ),
        weight=_normalised(np.concatenate([candidate_part, probability * own_share, prior_part])),
        spread_km=np.concatenate([_candidate_spread(at), _own_spread(at), _prior_spread(at)]),
        owner=np.concatenate(
            [at.owner, np.arange(len(at.hypotheses)), np.full(len(prior_part), PRIOR)],
        ).astype(np.intp),
    )


def _own_share(at: Scene, index: int, hypothesis: Hypothesis, evidence: Sequence[Evidence]) -> float:
    """Share of a hypothesis' probability at its own point rather than at its candidates."""
    if not (at.owner == index).any():
        return 1.0
    said = at.reading is not None and hypothesis.origin in (Origin.MODEL, Origin.PLACE_NAME)
    return NAMED_OWN_SHARE if said or is_named_on_a_sign(hypothesis.id, evidence) else 0.0


def _sighted(at: Scene, lat_lon_deg: Floats) -> Floats:
    """How much likelier the model's first reading makes each position; 1 without one."""
    return at.reading.ratio(lat_lon_deg) if at.reading and len(lat_lon_deg) else np.ones(len(lat_lon_deg))


def _candidate_part(at: Scene, tilted: Floats, probability: Floats, prior_part: Floats) -> Floats:
    part = np.zeros(len(at.candidates))
    for index, chance in enumerate(probability):
        part += chance * _within(tilted, at.owner == index)
    left = max(0.0, elsewhere(at.hypotheses) - float(prior_part.sum()))
    return part + left * _within(tilted, at.owner == ELSEWHERE)


def _within(weights: Floats, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
    """Weights of the masked rows, normalised to sum 1 (or all 0)."""
    inside = np.where(mask, weights, 0.0)
    total = inside.sum()
    return np.asarray(inside / total if total > 0.0 else inside)


def _prior_part(at: Scene) -> Floats:
    """What of elsewhere the prior holds: the same split that the ledger's retrieval evidence was made with."""
    outside = (1.0 - at.parameters.prior_share) * float(at.candidate_weight[at.owner == ELSEWHERE].sum())
    share = at.parameters.prior_share / max(outside + at.parameters.prior_share, 1e-12)
    weights = at.parameters.prior_weights * _sighted(at, at.parameters.prior_lat_lon_deg)
    return np.asarray(elsewhere(at.hypotheses) * share * weights / weights.sum())


def _candidate_spread(at: Scene) -> Floats:
    return np.array([at.parameters.candidate_spread_km[c.kind] for c in at.candidates], dtype=np.float64)


def _own_spread(at: Scene) -> Floats:
    return np.array([max(MIN_SPREAD_KM, h.radius_km / 2.0) for h in at.hypotheses], dtype=np.float64)


def _prior_spread(at: Scene) -> Floats:
    return np.full(len(at.parameters.prior_lat_lon_weight), at.parameters.density_scale_km)


def _normalised(weights: Floats) -> Floats:
    return np.asarray(weights / weights.sum())
