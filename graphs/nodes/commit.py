"""commit: choose a point and a radius by the strategy's rule, or abstain and say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.schemas import Answer, AnswerStatus, Evidence, EvidenceKind, Hypothesis, HypothesisStatus, Level, Source
from agents.structured_output.position import ReplyStatus
from geo.point import Point
from geo.sphere import point_distance_km
from graphs.budgets import spent_budget
from graphs.context import GeolocateContext
from graphs.inference.calibration import calibrated
from graphs.inference.ledger import elsewhere, open_hypotheses
from graphs.inference.verdicts import RULES, Verdict
from graphs.nodes.model_calls import model_status
from graphs.state import GeolocateState

SHOWN_EVIDENCE = 4
SHOWN_ALTERNATIVES = 3
MIN_SHOWN_NATS = 0.2


def explain(hypotheses: Sequence[Hypothesis], evidence: Sequence[Evidence], notes: Sequence[str]) -> str:
    """Why the first hypothesis was committed to, what else is possible, and what went wrong on the way."""
    chosen, others = hypotheses[0], [h for h in hypotheses[1:] if h.probability > 0.0][:SHOWN_ALTERNATIVES]
    sentences = [f"{chosen.name} has a probability of {chosen.probability:.0%}."]
    sentences += _reasons(chosen, evidence)
    if others:
        named = "; ".join(f"{h.name} ({h.probability:.0%})" for h in others)
        sentences.append(f"Next likely: {named}.")
    sentences.append(f"Somewhere else: {elsewhere(hypotheses):.0%}.")
    return " ".join([*sentences, *_note_sentences(notes)])


def _reasons(chosen: Hypothesis, evidence: Sequence[Evidence]) -> list[str]:
    weight = {e.id: e.log_likelihood_ratio.get(chosen.id, 0.0) for e in evidence}
    strongest = sorted((e for e in evidence if abs(weight[e.id]) >= MIN_SHOWN_NATS), key=lambda e: -abs(weight[e.id]))
    return [f"{'For' if weight[e.id] > 0 else 'Against'} it: {e.claim} ({e.id})." for e in strongest[:SHOWN_EVIDENCE]]


def explain_abstention(reason: str, notes: Sequence[str]) -> str:
    """Why there is no answer."""
    return " ".join([f"No answer: {reason}.", *_note_sentences(notes)])


def _note_sentences(notes: Sequence[str]) -> list[str]:
    return [f"Note: {note}." for note in dict.fromkeys(notes)]


LEVEL_UP_TO_KM = (
    (2.0, Level.STREET),
    (25.0, Level.CITY),
    (200.0, Level.REGION),
    (750.0, Level.COUNTRY),
)
"""The finest level whose distance holds half of the probability; beyond the last it is a continent."""


def commit(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Apply the strategy's commit rule and put the answer together."""
    verdict = RULES[context.strategy.commit_rule](context, state)
    return {"answer": _answer(context, state, _calibrated(context, _above_threshold(context, verdict)))}


def _calibrated(context: GeolocateContext, verdict: Verdict) -> Verdict:
    """The verdict with calibrated radii and confidence, where a calibration was fitted for this system."""
    calibration, chosen = context.corrections.calibration, verdict.chosen
    if calibration is None or chosen is None:
        return verdict
    trusted = calibrated(calibration, chosen.hypothesis, verdict.evidence, chosen.radius)
    if trusted is None:
        return verdict
    return verdict._replace(chosen=chosen._replace(radius=trusted.radius, confidence=trusted.confidence))


def _above_threshold(context: GeolocateContext, verdict: Verdict) -> Verdict:
    """The verdict, or an abstention where its hypothesis is below the threshold."""
    chosen = verdict.chosen
    if chosen is None or chosen.hypothesis.probability >= context.min_confidence:
        return verdict
    low = f"the best hypothesis, {chosen.hypothesis.name}, has a probability of only"
    refusal = f"{low} {chosen.hypothesis.probability:.1%}, below the threshold of {context.min_confidence:.1%}"
    return verdict._replace(chosen=None, refusal=refusal)


def _answer(context: GeolocateContext, state: GeolocateState, verdict: Verdict) -> Answer:
    chosen = verdict.chosen
    point = chosen.point if chosen else None
    hypotheses = _ordered(verdict)
    status = model_status(state["replies"])
    return Answer(
        photo_sha256=state["photo_sha256"],
        status=AnswerStatus.ANSWERED if chosen else verdict.status,
        point=point,
        place=context.places([point])[0] if point else None,
        point_source=chosen.source if chosen else None,
        model_status=status.value if status else None,
        radius_50_km=round(chosen.radius.radius_50_km, 1) if chosen else None,
        radius_90_km=round(chosen.radius.radius_90_km, 1) if chosen else None,
        radius_is_calibrated=chosen.radius.calibrated if chosen else False,
        level=level_of(chosen.radius.radius_50_km) if chosen else None,
        confidence=_confidence(verdict),
        reasoning=_reasoning(context, state, verdict, hypotheses),
        hypotheses=tuple(hypotheses),
        evidence=(*verdict.evidence, *_metadata_evidence(state, point)),
        candidates=tuple(state["candidates"]),
        metadata_position=state["metadata_position"],
        cost=state["cost"],
        cost_by_model=state.get("cost_by_model", {}) if len(context.models) > 1 else {},
        versions=context.versions,
    )


def _ordered(verdict: Verdict) -> list[Hypothesis]:
    """The committed hypothesis, then the open ones, then the rejected ones."""
    ranked = open_hypotheses(verdict.hypotheses)
    rejected = [h for h in verdict.hypotheses if h.status is HypothesisStatus.REJECTED]
    first = [verdict.chosen.hypothesis] if verdict.chosen else []
    return [*first, *(h for h in [*ranked, *rejected] if not first or h.id != first[0].id)]


def _confidence(verdict: Verdict) -> float:
    """The confidence of the committed hypothesis; of the best one where there is no answer."""
    if verdict.chosen:
        calibrated_confidence = verdict.chosen.confidence
        return verdict.chosen.hypothesis.probability if calibrated_confidence is None else calibrated_confidence
    return max((h.probability for h in verdict.hypotheses), default=0.0)


def _reasoning(
    context: GeolocateContext, state: GeolocateState, verdict: Verdict, hypotheses: Sequence[Hypothesis]
) -> str:
    notes = list(state["notes"])
    spent = spent_budget(context.budgets, state["cost"], state["round"])
    if spent and context.strategy.uses_model and not state["settled"]:
        notes.append(spent)
    if not verdict.chosen:
        return explain_abstention(verdict.refusal, notes)
    status = model_status(state["replies"])
    if status not in (None, ReplyStatus.OK):
        notes.append(f"the model gave nothing to use ({status}), so this rests on retrieval and signs alone")
    return explain(hypotheses, verdict.evidence, notes)


def level_of(radius_50_km: float) -> Level:
    """The level of an answer with this radius."""
    return next((level for limit_km, level in LEVEL_UP_TO_KM if radius_50_km <= limit_km), Level.CONTINENT)


def _metadata_evidence(state: GeolocateState, point: Point | None) -> list[Evidence]:
    """The position that the file claims, as evidence without weight."""
    claimed = state["metadata_position"]
    if claimed is None:
        return []
    away = f", {point_distance_km(claimed, point):.0f} km from the answer" if point else ""
    source = Source(tool="metadata", arguments={}, result_sha256=state["photo_sha256"])
    claim = f"the file's metadata claims {claimed}{away}; not used to choose the point"
    return [Evidence(id="M1", kind=EvidenceKind.METADATA, claim=claim, source=source)]
