"""commit: choose a point and a radius from the ledger, or abstain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agents.schemas import (
    Answer,
    AnswerStatus,
    Evidence,
    EvidenceKind,
    Hypothesis,
    HypothesisStatus,
    Level,
    Source,
)
from agents.strategies import CommitRule
from geo.point import Point
from geo.sphere import point_distance_km
from graphs.budgets import spent_budget
from graphs.explaining import explain, explain_abstention
from graphs.ledger import open_hypotheses
from graphs.posterior import Choice, choose, radii
from graphs.reckoning import open_scene
from graphs.retrieval_only import region_ledger, top_candidate_ledger
from graphs.state import GeolocateState
from graphs.support import posterior_support
from graphs.weighing import country_weights
from graphs.workbench import Workbench

LEVEL_UP_TO_KM = (
    (2.0, Level.STREET),
    (25.0, Level.CITY),
    (200.0, Level.REGION),
    (750.0, Level.COUNTRY),
)
"""The finest level whose distance holds half of the probability; beyond the last it is a continent."""


class Verdict(NamedTuple):
    """What a commit rule came to: a choice of a hypothesis of the ledger, or why there is none."""

    hypotheses: list[Hypothesis]
    evidence: list[Evidence]
    committed: Hypothesis | None
    choice: Choice | None
    refusal: str = ""


def commit(bench: Workbench, state: GeolocateState) -> dict[str, Any]:
    """Apply the strategy's commit rule and put the answer together."""
    verdict = _RULES[bench.strategy.commit_rule](bench, state)
    if verdict.committed and verdict.committed.probability < bench.min_confidence:
        low = f"the best hypothesis, {verdict.committed.name}, has a probability of only"
        refusal = f"{low} {verdict.committed.probability:.1%}, below the threshold of {bench.min_confidence:.1%}"
        verdict = verdict._replace(committed=None, choice=None, refusal=refusal)
    return {"answer": _answer(bench, state, verdict)}


def _by_posterior(bench: Workbench, state: GeolocateState) -> Verdict:
    at = open_scene(bench, state, state["hypotheses"])
    if not at.hypotheses:
        return Verdict(state["hypotheses"], state["evidence"], None, None, "no hypothesis is left open")
    countries = country_weights(state["records"])
    support = posterior_support(at, state["candidate_countries"], state["evidence"], countries)
    choice = choose(support, bench.parameters.utility)
    return Verdict(list(state["hypotheses"]), list(state["evidence"]), at.hypotheses[choice.owner], choice)


def _by_top_candidate(bench: Workbench, state: GeolocateState) -> Verdict:
    return _by_retrieval(bench, state, *top_candidate_ledger(bench, state))


def _by_top_region(bench: Workbench, state: GeolocateState) -> Verdict:
    return _by_retrieval(bench, state, *region_ledger(bench, state))


def _by_retrieval(
    bench: Workbench, state: GeolocateState, hypotheses: list[Hypothesis], evidence: list[Evidence]
) -> Verdict:
    if not hypotheses:
        return Verdict([], [], None, None, "nothing was retrieved")
    at = open_scene(bench, state, hypotheses)
    support = posterior_support(at, state["candidate_countries"], evidence, [])
    point = hypotheses[0].point
    return Verdict(hypotheses, evidence, hypotheses[0], Choice(point, 0, *radii(point, support)))


_RULES: dict[CommitRule, Callable[[Workbench, GeolocateState], Verdict]] = {
    CommitRule.POSTERIOR: _by_posterior,
    CommitRule.TOP_CANDIDATE: _by_top_candidate,
    CommitRule.TOP_REGION: _by_top_region,
}


def _answer(bench: Workbench, state: GeolocateState, verdict: Verdict) -> Answer:
    point = verdict.choice.point if verdict.choice else None
    hypotheses = _ordered(verdict)
    evidence = [*verdict.evidence, *_metadata_evidence(state, point)]
    return Answer(
        photo_sha256=state["photo_sha256"],
        status=AnswerStatus.ANSWERED if point else AnswerStatus.ABSTAINED,
        point=point,
        place=bench.places([point])[0] if point else None,
        radius_50_km=round(verdict.choice.radius_50_km, 1) if verdict.choice else None,
        radius_90_km=round(verdict.choice.radius_90_km, 1) if verdict.choice else None,
        radius_is_calibrated=False,
        level=level_of(verdict.choice.radius_50_km) if verdict.choice else None,
        confidence=_confidence(verdict),
        reasoning=_reasoning(bench, state, verdict, hypotheses),
        hypotheses=tuple(hypotheses),
        evidence=tuple(evidence),
        candidates=tuple(state["candidates"]),
        metadata_position=state["metadata_position"],
        cost=state["cost"],
        versions=bench.versions,
    )


def _ordered(verdict: Verdict) -> list[Hypothesis]:
    """The committed hypothesis, then the open ones, then the rejected ones."""
    ranked = open_hypotheses(verdict.hypotheses)
    rejected = [h for h in verdict.hypotheses if h.status is HypothesisStatus.REJECTED]
    first = [verdict.committed] if verdict.committed else []
    return [*first, *(h for h in [*ranked, *rejected] if not first or h.id != first[0].id)]


def _confidence(verdict: Verdict) -> float:
    """Of the committed hypothesis; of the best one where the machine abstains."""
    if verdict.committed:
        return verdict.committed.probability
    return max((h.probability for h in verdict.hypotheses), default=0.0)


def _reasoning(bench: Workbench, state: GeolocateState, verdict: Verdict, hypotheses: Sequence[Hypothesis]) -> str:
    notes = list(state["notes"])
    spent = spent_budget(bench.budgets, state["cost"], state["round"])
    if spent and bench.strategy.uses_model and not state["settled"]:
        notes.append(spent)
    if not verdict.committed:
        return explain_abstention(verdict.refusal, notes)
    return explain(hypotheses, verdict.evidence, notes)


def level_of(radius_50_km: float) -> Level:
    """How fine an answer with this radius is."""
    return next((level for limit_km, level in LEVEL_UP_TO_KM if radius_50_km <= limit_km), Level.CONTINENT)


def _metadata_evidence(state: GeolocateState, point: Point | None) -> list[Evidence]:
    """What the file claims, said beside the answer and weighing nothing in it."""
    claimed = state["metadata_position"]
    if claimed is None:
        return []
    away = f", {point_distance_km(claimed, point):.0f} km from the answer" if point else ""
    source = Source(tool="metadata", arguments={}, result_sha256=state["photo_sha256"])
    claim = f"the file's metadata claims {claimed}{away}; not used to choose the point"
    return [Evidence(id="M1", kind=EvidenceKind.METADATA, claim=claim, source=source)]
