"""A case as quoted data for the model, for a follow-up question; no finer than the settings allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from agents.schemas import Answer, Cost, EvidenceKind, HypothesisStatus
from agents.strategies import Shown
from belief.records import ANY
from belief.witnesses.areas import bounded_nats
from belief.witnesses.place_names import MOST_CERTAIN
from graphs.chat.state import Case, Coarsen, coarsened_answer
from graphs.context import GeolocateContext
from graphs.prompt_data import belief_data, evidence_data, hypothesis_data, photo_data, scene_data
from graphs.state import GeolocateState
from retrieval.candidate import AtlasKind

LEAST_USELESS = 1e-3


def as_state(case: Case, messages: Sequence[Any] = (), spent: Cost | None = None) -> GeolocateState:
    """A case as the state that the geolocation's nodes work on; `spent` counts against the budgets, or all its cost."""
    cost = case["cost"] if spent is None else spent
    return cast(GeolocateState, {**case, "messages": list(messages), "cost": cost})


def follow_up_data(
    context: GeolocateContext, case: Case, question: str, is_coarse: bool, coarsen: Coarsen
) -> dict[str, Any]:
    """The question, hypotheses, evidence, scene and answer; if coarse, nothing but what that answer holds."""
    state, answer = as_state(case), coarsened_answer(case, coarsen)
    closed = [h for h in answer.hypotheses if h.status is not HypothesisStatus.OPEN]
    shown = context.strategy.shown | {Shown.SIGNS}
    known = _coarse_belief(answer) if is_coarse else scene_data(context, state, shown) | belief_data(context, state)
    return {
        **known,
        **photo_data(state),
        "person_asks": question,
        "answer": _answer(answer),
        "closed": [{"id": h.id, "name": h.name, "status": h.status.value} for h in closed],
        "most_nats": most_nats(context),
    }


def most_nats(context: GeolocateContext) -> dict[str, float]:
    """How much one more piece of evidence of each kind may take from a place that it speaks against, in nats.

    Each may be useless, as its record says, so none rules a place out. What it adds to the place that it speaks for
    has no such bound: the fewer photos are taken there, the more.
    """
    parameters = context.parameters
    retrieval = parameters.retrieval_of(AtlasKind.PHOTO, context.versions.encoder).record
    useless = {
        **parameters.useless,
        EvidenceKind.PLACE_NAME.value: 1.0 - MOST_CERTAIN * (1.0 - parameters.place_name.shares[-1]),
        EvidenceKind.RETRIEVAL.value: retrieval.shares[-1],
        EvidenceKind.SIGHT.value: parameters.records.of(ANY).shares[-1],
    }
    most = {kind: -math.log(max(LEAST_USELESS, share)) for kind, share in useless.items()}
    most[EvidenceKind.JUDGEMENT.value] = bounded_nats(math.inf, context.judgement_accuracy)
    most[EvidenceKind.PERSON.value] = bounded_nats(math.inf, parameters.person_accuracy)
    return {kind: round(nats, 2) for kind, nats in most.items()}


def _coarse_belief(answer: Answer) -> dict[str, Any]:
    """Hypotheses and evidence of an answer that was coarsened, and nothing else."""
    still_open = [h for h in answer.hypotheses if h.status is HypothesisStatus.OPEN]
    return {
        "hypotheses": [hypothesis_data(h) for h in still_open],
        "elsewhere": round(max(0.0, 1.0 - sum(h.probability for h in still_open)), 4),
        "evidence": [evidence_data(item) for item in answer.evidence],
    }


def _answer(answer: Answer) -> dict[str, Any]:
    """The answer in short."""
    committed = answer.hypotheses[0] if answer.point and answer.hypotheses else None
    return {
        "status": answer.status.value,
        "hypothesis_id": committed.id if committed else None,
        "name": committed.name if committed else None,
        "lat": answer.point.lat if answer.point else None,
        "lon": answer.point.lon if answer.point else None,
        "radius_50_km": answer.radius_50_km,
        "radius_90_km": answer.radius_90_km,
        "radius_is_calibrated": answer.radius_is_calibrated,
        "confidence": round(answer.confidence, 4),
        "chance_within_km": {str(km): chance for km, chance in answer.chance_within_km.items()},
        "area_50_km2": answer.area_50_km2,
        "area_90_km2": answer.area_90_km2,
        "reasoning": answer.reasoning,
    }
