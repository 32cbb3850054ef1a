"""pose_question and ask_person: where two places are close, ask a person, and weigh the answer.

Two nodes, because a node that waits for a person is run again from its start when the answer comes: the question
is made and checkpointed in the first, so that it is asked of the model only once.
"""

from __future__ import annotations

from typing import Any, Literal

from langgraph.types import interrupt

from agents.messages import request
from agents.prompts import render
from agents.schemas import Cost, Hypothesis
from agents.structured_output.ask import Reply
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.human_feedback import (
    NO,
    UNKNOWN,
    YES,
    AskPerson,
    close_pair,
    opinions_of_person,
    question_by_rules,
    question_of_model,
)
from graphs.inference.reckoning import reckon
from graphs.nodes.model_calls import ask_model_structured
from graphs.prompt_data import ledger_data
from graphs.state import GeolocateState, PersonQuestion


def pose_question(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Make a question if two places are close: the model's, or else one made by rules."""
    pair = close_pair(state["hypotheses"])
    if pair is None:
        return {"question_posed": None}
    reply = _ask_for_question(context, state, pair)
    cost = reply.cost if reply else Cost()
    if reply and reply.value and reply.value.yes_supports in (pair[0].id, pair[1].id):
        return {"question_posed": question_of_model(reply.value, pair), "cost": cost}
    countries = context.countries([hypothesis.point for hypothesis in pair])
    return {"question_posed": question_by_rules(pair, countries), "cost": cost}


def _ask_for_question(
    context: GeolocateContext, state: GeolocateState, pair: tuple[Hypothesis, Hypothesis]
) -> Reply[AskPerson] | None:
    """Ask the model for a question; None if the model is no LMM, or a budget is spent."""
    if not context.model.kind.is_lmm or spent_on_asking(context.budgets, state["cost"]):
        return None
    prompt = render("ask_person", first=pair[0].id, second=pair[1].id)
    return ask_model_structured(context, state, request(prompt, ledger_data(context, state)), AskPerson)


def route_after_pose(state: GeolocateState) -> Literal["ask_person", "commit"]:
    """Ask only if there is a question."""
    return "ask_person" if state.get("question_posed") else "commit"


def ask_person(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Wait for the person's answer, and weigh it; the ledger caps it like all evidence of its kind.

    Raises:
        ValueError: there is no question.
    """
    posed: PersonQuestion | None = state["question_posed"]
    if posed is None:
        raise ValueError("nothing was posed: the route leads here only with a question")
    answer = interrupt({"question": posed.text, "answers": [YES, NO, UNKNOWN], "about": list(posed.names)})
    opinions = opinions_of_person(posed, str(answer))
    reckoning = reckon(context, state, state["hypotheses"], state["records"], [*state["opinions"], *opinions])
    return {**reckoning._asdict(), "opinions": opinions}
