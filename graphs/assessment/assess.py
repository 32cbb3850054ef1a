"""Assessment: the belief from all that a run knows, and the table of hypotheses and evidence read off it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from agents.schemas import Evidence, Hypothesis, HypothesisStatus, Origin
from belief.hypotheses import find_modes, held_by, log_bayes_factors, owners
from belief.posterior import Belief, divergence_nats
from belief.support import Disc, make_support
from belief.witnesses.reports import WeighedReport
from geo.point import Point
from graphs.assessment.evidence import statements
from graphs.assessment.hypotheses import add, open_hypotheses
from graphs.assessment.statement import Statement
from graphs.context import GeolocateContext
from graphs.prompt_data import place_name
from graphs.state import GeolocateState, Opinion, Position, ToolRecord

MOST_HYPOTHESES = 8
"""Modes of the belief are added up to so many open hypotheses."""

_DIGITS = 6


class Assessment(NamedTuple):
    """The belief, the hypotheses with their probabilities, and the evidence with what it did."""

    hypotheses: list[Hypothesis]
    evidence: list[Evidence]
    belief: Belief

    def update(self) -> dict[str, Any]:
        """What a node keeps of it: the belief is made again from the records."""
        return {"hypotheses": self.hypotheses, "evidence": self.evidence}


def assess(
    context: GeolocateContext,
    state: GeolocateState,
    hypotheses: Sequence[Hypothesis] | None = None,
    records: Sequence[ToolRecord] | None = None,
    opinions: Sequence[Opinion] | None = None,
) -> Assessment:
    """Read hypotheses and evidence off the belief; what is not given is the state's.

    Modes of the belief that no open or rejected hypothesis covers become hypotheses.
    """
    listed = list(state["hypotheses"] if hypotheses is None else hypotheses)
    known_records = state["records"] if records is None else records
    known_opinions = state["opinions"] if opinions is None else opinions
    said = statements(context, state, listed, known_records, known_opinions)
    belief = believe(context, said)
    return _read_off(belief, said, _with_modes(context, belief, listed))


def believe(context: GeolocateContext, said: Sequence[Statement]) -> Belief:
    """The belief from statements; their order changes nothing.

    What depends on the belief without it, a match with satellite tiles, is heard last.
    """
    support = make_support(sorted({pin for statement in said for pin in statement.pins}))
    reports: dict[str, WeighedReport] = {}
    others: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
    for statement in said:
        if statement.log_ratio is None:
            continue
        nats = statement.log_ratio(support)
        if statement.by_model is None:
            others[statement.evidence.id] = nats
        else:
            reports[statement.evidence.id] = WeighedReport(np.exp(nats), statement.worth_nats)
    belief = Belief(support, reports, others, context.parameters)
    given = [statement for statement in said if statement.log_ratio_given is not None]
    heard = {s.evidence.id: s.log_ratio_given(belief) for s in given if s.log_ratio_given is not None}
    return Belief(support, reports, others | heard, context.parameters) if heard else belief


def _with_modes(context: GeolocateContext, belief: Belief, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    still_open = open_hypotheses(hypotheses)
    rejected = [h for h in hypotheses if h.status is HypothesisStatus.REJECTED]
    known = _circles([*still_open, *rejected])
    modes = find_modes(belief, known, max(0, MOST_HYPOTHESES - len(still_open)))
    grown = list(hypotheses)
    points = [Point(lat=mode.lat_deg, lon=mode.lon_deg) for mode in modes]
    for mode, point, place in zip(modes, points, context.places(points), strict=True):
        new = Hypothesis(
            id=f"H{len(grown) + 1}",
            name=place_name(place, point),
            point=point,
            radius_km=round(mode.radius_km, 1),
            probability=0.0,
            origin=Origin.BELIEF,
        )
        grown = add(grown, new)
    return grown


def _circles(hypotheses: Iterable[Hypothesis]) -> list[Disc]:
    return [Disc(h.point.lat, h.point.lon, h.radius_km) for h in hypotheses]


def _read_off(belief: Belief, said: Sequence[Statement], hypotheses: Sequence[Hypothesis]) -> Assessment:
    still_open = [h for h in hypotheses if h.status is HypothesisStatus.OPEN]
    owner = owners(belief.support, _circles(still_open))
    held = held_by(belief.mass, owner, len(still_open))
    evidence = [_with_effect(statement, belief, owner, still_open) for statement in said]
    probability = dict(zip((h.id for h in still_open), held.tolist(), strict=True))
    return Assessment([_told(h, probability, evidence) for h in hypotheses], evidence, belief)


def _told(hypothesis: Hypothesis, probability: dict[str, float], evidence: Sequence[Evidence]) -> Hypothesis:
    about = tuple(e.id for e in evidence if e.log_likelihood_ratio.get(hypothesis.id))
    chance = min(1.0, round(probability.get(hypothesis.id, 0.0), 9))
    return hypothesis.model_copy(update={"probability": chance, "evidence_ids": about})


def _with_effect(
    statement: Statement,
    belief: Belief,
    owner: np.ndarray[Any, np.dtype[np.intp]],
    hypotheses: Sequence[Hypothesis],
) -> Evidence:
    """The evidence with what it did: by hypothesis, had it been missing, and to the whole."""
    key = statement.evidence.id
    if not statement.has_weight:
        return statement.evidence
    without = belief.mass_without(key)
    factors = log_bayes_factors(belief.mass, without, owner, len(hypotheses))
    nats = {h.id: round(float(value), _DIGITS) for h, value in zip(hypotheses, factors, strict=True)}
    told = round(divergence_nats(belief.mass, without), _DIGITS)
    return statement.evidence.model_copy(update={"log_likelihood_ratio": nats, "information_nats": told})


def with_proposals(hypotheses: Sequence[Hypothesis], proposals: Iterable[Position]) -> list[Hypothesis]:
    """The hypotheses with proposed places added under new ids: this changes no probability of any other."""
    grown = list(hypotheses)
    for proposal in proposals:
        new = Hypothesis(
            id=f"H{len(grown) + 1}",
            name=proposal.name,
            point=proposal.point,
            radius_km=proposal.radius_km,
            probability=0.0,
            origin=proposal.origin,
        )
        grown = add(grown, new)
    return grown
