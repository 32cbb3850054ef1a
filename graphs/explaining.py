"""The reasoning of an answer, in sentences made from the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from agents.schemas import Evidence, Hypothesis
from graphs.inference.ledger import elsewhere

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
    return " ".join([*sentences, *_noted(notes)])


def _reasons(chosen: Hypothesis, evidence: Sequence[Evidence]) -> list[str]:
    weight = {e.id: e.log_likelihood_ratio.get(chosen.id, 0.0) for e in evidence}
    telling = sorted((e for e in evidence if abs(weight[e.id]) >= MIN_SHOWN_NATS), key=lambda e: -abs(weight[e.id]))
    return [f"{'For' if weight[e.id] > 0 else 'Against'} it: {e.claim} ({e.id})." for e in telling[:SHOWN_EVIDENCE]]


def explain_abstention(reason: str, notes: Sequence[str]) -> str:
    """Why there is no answer."""
    return " ".join([f"No answer: {reason}.", *_noted(notes)])


def _noted(notes: Sequence[str]) -> list[str]:
    return [f"Note: {note}." for note in dict.fromkeys(notes)]
