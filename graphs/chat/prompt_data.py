"""What the model is told for a follow-up question: the case as quoted data, no finer than may be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from agents.schemas import Answer, Cost, Hypothesis, HypothesisStatus
from graphs.chat.state import Case
from graphs.context import GeolocateContext
from graphs.inference.ledger import CAP_NATS
from graphs.prompt_data import ledger_data, scene_data
from graphs.state import GeolocateState


def as_state(case: Case, messages: Sequence[Any] = (), spent: Cost | None = None) -> GeolocateState:
    """A case as the state that the geolocation's nodes work on.

    Args:
        case: of a photo.
        messages: the conversation with the model.
        spent: what counts against the budgets; None: all that the case has cost.
    """
    cost = case["cost"] if spent is None else spent
    return cast(GeolocateState, {**case, "messages": list(messages), "cost": cost})


def follow_up_data(context: GeolocateContext, case: Case, told: Answer, asked: str, coarse: bool) -> dict[str, Any]:
    """The question, the ledger, what was seen and the present answer.

    Args:
        context: names places.
        case: of the photo.
        told: the answer as it may be told.
        asked: the person's words.
        coarse: tell nothing that is not in `told`.
    """
    state = as_state(case)
    ledger = coarse_ledger(told) if coarse else ledger_data(context, state)
    scene = {} if coarse else scene_data(context, state)
    return {
        **scene,
        **ledger,
        "photo_id": case["photo_id"],
        "person_asks": asked,
        "answer": answer_data(told),
        "closed": [_closed(h) for h in told.hypotheses if h.status is not HypothesisStatus.OPEN],
        "cap_nats": {kind.value: cap for kind, cap in CAP_NATS.items()},
    }


def coarse_ledger(told: Answer) -> dict[str, Any]:
    """Hypotheses and evidence of an answer that was coarsened, and nothing else."""
    still_open = [h for h in told.hypotheses if h.status is HypothesisStatus.OPEN]
    return {
        "hypotheses": [_hypothesis(h) for h in still_open],
        "elsewhere": round(max(0.0, 1.0 - sum(h.probability for h in still_open)), 4),
        "evidence": [
            {
                "id": e.id,
                "kind": e.kind.value,
                "claim": e.claim,
                "nats": {key: round(value, 2) for key, value in e.log_likelihood_ratio.items()},
            }
            for e in told.evidence
        ],
    }


def answer_data(told: Answer) -> dict[str, Any]:
    """The answer in short."""
    committed = told.hypotheses[0] if told.point and told.hypotheses else None
    return {
        "status": told.status.value,
        "hypothesis_id": committed.id if committed else None,
        "name": committed.name if committed else None,
        "lat": told.point.lat if told.point else None,
        "lon": told.point.lon if told.point else None,
        "radius_50_km": told.radius_50_km,
        "radius_90_km": told.radius_90_km,
        "radius_is_calibrated": told.radius_is_calibrated,
        "confidence": round(told.confidence, 4),
        "reasoning": told.reasoning,
    }


def _hypothesis(hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        "id": hypothesis.id,
        "name": hypothesis.name,
        "probability": round(hypothesis.probability, 4),
        "lat": hypothesis.point.lat,
        "lon": hypothesis.point.lon,
        "radius_km": hypothesis.radius_km,
    }


def _closed(hypothesis: Hypothesis) -> dict[str, Any]:
    return {"id": hypothesis.id, "name": hypothesis.name, "status": hypothesis.status.value}
