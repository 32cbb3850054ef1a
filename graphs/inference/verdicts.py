"""The commit rules: from what a run knows to a hypothesis, a point, its source and a radius, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agents.schemas import AnswerStatus, Evidence, EvidenceKind, Hypothesis, Origin, PointSource, Source
from agents.strategies import CommitRule
from geo.point import Point
from geo.sphere import distance_km, lat_lon_array
from graphs.context import GeolocateContext
from graphs.inference.choosing import (
    Radius,
    choose,
    expected_utility,
    posterior_radius,
    reading_radius,
    source_of,
    weighted_quantile,
)
from graphs.inference.posterior import Floats, Support, candidate_weights
from graphs.inference.reckoning import open_scene
from graphs.inference.sight import SightReading, sight_reading
from graphs.inference.support import posterior_support
from graphs.inference.weighing import country_weights, weigh
from graphs.nodes.model_calls import status_without_reply
from graphs.prompt_data import MIN_REGION_RADIUS_KM, place_name
from graphs.state import GeolocateState, Position

SHOWN = 8

Ledger = tuple[list[Hypothesis], list[Evidence]]


def top_candidate_ledger(context: GeolocateContext, state: GeolocateState) -> Ledger:
    """Each of the heaviest candidates is a hypothesis; the first is the most similar."""
    weight = candidate_weights(state["candidates"], context.parameters)
    order = sorted(range(len(weight)), key=lambda i: (-weight[i], i))[:SHOWN]
    areas = [(state["candidates"][i].point, MIN_REGION_RADIUS_KM, float(weight[i])) for i in order]
    return _ledger(context, state, areas, Origin.CANDIDATE)


def region_ledger(context: GeolocateContext, state: GeolocateState) -> Ledger:
    """Each region is a hypothesis, in the reranker's order."""
    weight = candidate_weights(state["candidates"], context.parameters)
    areas = [(r.centre, max(MIN_REGION_RADIUS_KM, r.radius_km), _mass(weight, r.members)) for r in state["regions"]]
    return _ledger(context, state, areas[:SHOWN], Origin.REGION)


def _mass(weight: Floats, members: tuple[int, ...]) -> float:
    return float(weight[list(members)].sum())


def _ledger(
    context: GeolocateContext, state: GeolocateState, areas: list[tuple[Point, float, float]], origin: Origin
) -> Ledger:
    """Hypotheses whose probability is their share of the retrieved weight, less what the prior holds."""
    places = context.places([point for point, _, _ in areas])
    believed = 1.0 - context.parameters.prior_share
    hypotheses = [
        Hypothesis(
            id=f"H{number}",
            name=place_name(place, point),
            point=point,
            radius_km=radius_km,
            probability=round(believed * mass, 9),
            evidence_ids=("E1",),
            origin=origin,
        )
        for number, ((point, radius_km, mass), place) in enumerate(zip(areas, places, strict=True), start=1)
    ]
    return hypotheses, [_retrieval_evidence(state)] if hypotheses else []


def _retrieval_evidence(state: GeolocateState) -> Evidence:
    record = next(r for r in state["records"] if r.tool == "search_photos")
    source = Source(tool=record.tool, arguments=record.arguments, result_sha256=record.result_sha256 or "")
    claim = f"{len(state['candidates'])} retrieved places; probability is the share of their weight"
    return Evidence(id="E1", kind=EvidenceKind.RETRIEVAL, claim=claim, source=source)


AGREE_WITHIN_KM = 200.0
"""Samples that lie this near to the answer agree with it."""

_WHY_NO_WORDS = {
    AnswerStatus.REFUSED: "the model declined to say where the photo was taken",
    AnswerStatus.UNPARSABLE: "the model's reply holds no usable answer",
    AnswerStatus.FAILED: "the model could not be reached",
}


class Chosen(NamedTuple):
    """A point to answer: of which hypothesis, whose coordinates, how far the truth may be."""

    hypothesis: Hypothesis
    point: Point
    source: PointSource
    radius: Radius
    confidence: float | None = None
    """How often answers as probable as this one are right; None: not calibrated."""


class Verdict(NamedTuple):
    """What a commit rule came to: a choice, or why there is none and how that is called."""

    hypotheses: list[Hypothesis]
    evidence: list[Evidence]
    chosen: Chosen | None
    refusal: str = ""
    status: AnswerStatus = AnswerStatus.ABSTAINED


def by_posterior(context: GeolocateContext, state: GeolocateState) -> Verdict:
    """The ledger's position of greatest expected utility."""
    at = open_scene(context, state, state["hypotheses"])
    if not at.hypotheses:
        return _without_words(state, list(state["hypotheses"]), list(state["evidence"]), "no hypothesis is left open")
    countries = country_weights(state["records"])
    support = posterior_support(at, state["candidate_countries"], state["evidence"], countries)
    choice = choose(support, context.parameters.utility)
    chosen = Chosen(
        at.hypotheses[choice.owner],
        choice.point,
        source_of(choice, at.candidates, at.hypotheses, state["evidence"]),
        posterior_radius(choice.point, support),
    )
    return Verdict(list(state["hypotheses"]), list(state["evidence"]), chosen)


def by_top_candidate(context: GeolocateContext, state: GeolocateState) -> Verdict:
    """The most similar candidate."""
    return _by_retrieval(context, state, *top_candidate_ledger(context, state))


def by_top_region(context: GeolocateContext, state: GeolocateState) -> Verdict:
    """The heaviest region."""
    return _by_retrieval(context, state, *region_ledger(context, state))


def _by_retrieval(
    context: GeolocateContext, state: GeolocateState, hypotheses: list[Hypothesis], evidence: list[Evidence]
) -> Verdict:
    if not hypotheses:
        return Verdict([], [], None, "nothing was retrieved")
    at = open_scene(context, state, hypotheses)
    support = posterior_support(at, state["candidate_countries"], evidence, [])
    first = hypotheses[0]
    source = PointSource.REGION_CENTRE if first.origin is Origin.REGION else _source_of_best(context, state)
    return Verdict(hypotheses, evidence, Chosen(first, first.point, source, posterior_radius(first.point, support)))


def _source_of_best(context: GeolocateContext, state: GeolocateState) -> PointSource:
    at = open_scene(context, state, [])
    best = state["candidates"][int(np.argmax(at.candidate_weight))]
    return PointSource(f"retrieved_{'photo' if best.kind.value == 'photo' else 'place'}")


def by_model(context: GeolocateContext, state: GeolocateState) -> Verdict:
    """The model's own answer; of several samples, the one that the most others lie near."""
    positions = state["positions"]
    reading = sight_reading(positions, context.model.name, context.parameters.sight)
    if reading is None:
        return _without_words(state, [], [], "the model was not asked before a budget was spent")
    hypotheses = _said(positions, reading)
    best = _consensus(positions, context.parameters.utility)
    agreeing = _near(positions, best)
    chance = sum(_said_chance(positions[i], reading) for i in agreeing) / len(positions)
    committed = hypotheses[best].model_copy(update={"probability": round(min(1.0, chance), 9)})
    merged = [h for i, h in enumerate(hypotheses) if i not in agreeing]
    source = PointSource.NAMED_PLACE if positions[best].origin is Origin.PLACE_NAME else PointSource.MODEL
    chosen = Chosen(committed, positions[best].point, source, _sample_radius(positions, best, reading))
    return Verdict([committed, *merged], _evidence(context, state, [committed, *merged]), chosen)


def _said(positions: Sequence[Position], reading: SightReading) -> list[Hypothesis]:
    return [
        Hypothesis(
            id=f"H{number}",
            name=position.name,
            point=position.point,
            radius_km=position.radius_km,
            probability=round(_said_chance(position, reading) / len(positions), 9),
            origin=position.origin,
        )
        for number, position in enumerate(positions, start=1)
    ]


def _said_chance(position: Position, reading: SightReading) -> float:
    """As the model said; what its record says of its positions where it said nothing."""
    return reading.within(position.radius_km) if position.confidence is None else position.confidence


def _consensus(positions: Sequence[Position], utility: Mapping[float, float]) -> int:
    """The sample of greatest expected utility if each sample may be the truth; the first of equals."""
    at = lat_lon_array(p.point for p in positions)
    count = len(positions)
    support = Support(at, np.full(count, 1.0 / count), np.zeros(count), np.arange(count))
    scores = expected_utility(at, support, utility)
    return int(np.flatnonzero(scores >= scores.max() - 1e-12)[0])


def _near(positions: Sequence[Position], best: int) -> set[int]:
    away = _away_km(positions, best)
    return {i for i in range(len(positions)) if away[i] <= AGREE_WITHIN_KM}


def _away_km(positions: Sequence[Position], best: int) -> Floats:
    at = lat_lon_array(p.point for p in positions)
    return distance_km(at[best], at)


def _sample_radius(positions: Sequence[Position], best: int, reading: SightReading) -> Radius:
    """What the model's record says, or how far its samples scatter, whichever is more."""
    usual = reading_radius(positions[best].radius_km, reading)
    away, equal = _away_km(positions, best), np.ones(len(positions))
    half = max(usual.radius_50_km, weighted_quantile(away, equal, 0.5))
    return Radius(half, max(half, usual.radius_90_km, weighted_quantile(away, equal, 0.9)))


def _evidence(context: GeolocateContext, state: GeolocateState, hypotheses: Sequence[Hypothesis]) -> list[Evidence]:
    """What the model said, and what the tools returned; it is the model's answer, so nothing here weighs in it."""
    at = open_scene(context, state, hypotheses)._replace(reading=None)
    weighed = weigh(at, state["records"], state["opinions"])
    found = [item.model_copy(update={"id": f"E{n}"}) for n, item in enumerate(weighed, start=len(hypotheses) + 1)]
    return [*_words(state["positions"]), *found]


def _words(positions: Sequence[Position]) -> list[Evidence]:
    return [
        Evidence(
            id=f"W{number}",
            kind=EvidenceKind.OPINION,
            claim=f"the model's own answer: {position.name}{position.why and f': {position.why}'}",
            source=Source(tool="model", arguments={"sample": number}, result_sha256=position.reply_sha256),
        )
        for number, position in enumerate(positions, start=1)
    ]


def _without_words(
    state: GeolocateState, hypotheses: list[Hypothesis], evidence: list[Evidence], otherwise: str
) -> Verdict:
    """No point: because the model gave nothing to use, or for another reason."""
    status = status_without_reply(state["replies"])
    if status is None:
        return Verdict(hypotheses, evidence, None, otherwise)
    return Verdict(hypotheses, evidence, None, _WHY_NO_WORDS[status], status)


RULES: Mapping[CommitRule, Callable[[GeolocateContext, GeolocateState], Verdict]] = {
    CommitRule.POSTERIOR: by_posterior,
    CommitRule.TOP_CANDIDATE: by_top_candidate,
    CommitRule.TOP_REGION: by_top_region,
    CommitRule.MODEL: by_model,
}
"""How each rule comes to its verdict. Calibration changes the radius behind these."""
