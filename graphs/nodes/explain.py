"""The words of an answer: why this place, what else is possible, what went wrong on the way, what would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.schemas import TELLING_NATS, Evidence, Hypothesis
from agents.structured_output.position import ReplyStatus
from graphs.assessment.hypotheses import elsewhere
from graphs.budgets import spent_budget
from graphs.context import GeolocateContext
from graphs.nodes.model_calls import model_status
from graphs.state import GeolocateState
from retrieval.candidate import AtlasKind

SHOWN_EVIDENCE = 4
SHOWN_ALTERNATIVES = 3
LEAST_SHOWN_PROBABILITY = 0.005


def explain(
    hypotheses: Sequence[Hypothesis],
    evidence: Sequence[Evidence],
    chance_within_km: Mapping[int, float],
    notes: Sequence[str],
    would_help: Sequence[str] = (),
) -> str:
    """Why the first hypothesis was committed to, what else is possible, and what went wrong on the way.

    Where no evidence told anything, it says so first, with what would help. A point is chosen for its expected score,
    so that an alternative may be likelier than the place it lies in: then it says that.
    """
    chosen = hypotheses[0]
    others = [h for h in hypotheses[1:] if h.probability >= LEAST_SHOWN_PROBABILITY][:SHOWN_ALTERNATIVES]
    within = ", ".join(f"{chance:.0%} within {km:,} km" for km, chance in chance_within_km.items())
    sentences = [] if any(item.information_nats >= TELLING_NATS for item in evidence) else [_told_nothing(would_help)]
    sentences += [f"{chosen.name} has a probability of {chosen.probability:.0%}; chances of this point: {within}."]
    sentences += _reasons(chosen, evidence)
    likelier = [h for h in others if h.probability > chosen.probability]
    if likelier:
        sentences.append(f"Likelier by itself, but worth less over all that is possible: {_named(likelier)}.")
    if next_likely := [h for h in others if h not in likelier]:
        sentences.append(f"Next likely: {_named(next_likely)}.")
    sentences.append(f"Somewhere else: {elsewhere(hypotheses):.0%}.")
    return " ".join([*sentences, *_note_sentences(notes)])


def _named(hypotheses: Sequence[Hypothesis]) -> str:
    return "; ".join(f"{h.name} ({h.probability:.0%})" for h in hypotheses)


def _told_nothing(would_help: Sequence[str]) -> str:
    said = "What was found in this photo tells next to nothing beyond where photos are taken: this is a map of that."
    return f"{said} What would help: {'; '.join(would_help)}." if would_help else said


def what_would_help(context: GeolocateContext) -> list[str]:
    """What could tell more about a photo than this system can, and how to add it."""
    looks = any(model.kind.is_lmm for model in context.models)
    has_photos = AtlasKind.PHOTO in context.corrections.kinds
    return [
        *([] if looks else ["a multimodal model that looks at it (--model)"]),
        *([] if has_photos else ["an atlas of your own geotagged photos of such places (geosleuth atlas build)"]),
        "what you know yourself (geosleuth chat)",
    ]


def _reasons(chosen: Hypothesis, evidence: Sequence[Evidence]) -> list[str]:
    weight = {e.id: e.log_likelihood_ratio.get(chosen.id, 0.0) for e in evidence}
    strongest = sorted((e for e in evidence if abs(weight[e.id]) >= TELLING_NATS), key=lambda e: -abs(weight[e.id]))
    return [f"{'For' if weight[e.id] > 0 else 'Against'} it: {e.claim} ({e.id})." for e in strongest[:SHOWN_EVIDENCE]]


def explain_abstention(reason: str, notes: Sequence[str]) -> str:
    """Why there is no answer."""
    return " ".join([f"No answer: {reason}.", *_note_sentences(notes)])


def _note_sentences(notes: Sequence[str]) -> list[str]:
    return [f"Note: {note}." for note in dict.fromkeys(notes)]


def notes_of(context: GeolocateContext, state: GeolocateState) -> list[str]:
    """What the answer has to mention: the run's notes, a spent budget, a model that gave nothing to use."""
    notes = list(state["notes"])
    spent = spent_budget(context.budgets, state["cost"], state["round"])
    if spent and context.strategy.uses_model and not state["settled"]:
        notes.append(spent)
    status = model_status(state["replies"])
    if status not in (None, ReplyStatus.OK):
        notes.append(f"the model gave nothing to use ({status}), so this rests on retrieval and signs alone")
    return notes
