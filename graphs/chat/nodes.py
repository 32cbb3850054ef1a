"""discuss, act, recommit: a follow-up question is answered from the ledger, with the same tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from pydantic import ValidationError

from agents.messages import request
from agents.offline.explanations import why
from agents.prompts import render
from agents.reply_schemas import ReviseHypotheses
from agents.schemas import Answer, Cost
from geo.sphere import point_distance_km
from graphs.budgets import spent_on_asking
from graphs.chat.prompt_data import as_state, follow_up_data
from graphs.chat.state import Case, ChatState
from graphs.context import GeolocateContext
from graphs.inference.reckoning import reckon
from graphs.nodes.commit import commit
from graphs.nodes.hypothesise import locate_all
from graphs.nodes.model_calls import ask_model
from graphs.nodes.revise import apply_revision
from graphs.nodes.tool_calls import Limits, run_tool_calls
from graphs.prompt_data import ledger_data
from graphs.reply_status import reply_sha256
from graphs.state import ToolRecord, add_cost, add_records

MAX_REMEMBERED = 12
"""Messages of the conversation that the model is shown again; the ledger holds the rest."""

REVISE = ReviseHypotheses.__name__
MOVED_KM = 1.0


def discuss(context: GeolocateContext, state: ChatState, asked: str, coarse: bool) -> dict[str, Any]:
    """Ask the model, with the ledger before it and the tools at hand."""
    case = _case(state)
    told: Answer = case["told"]
    data = follow_up_data(context, case, told, asked, coarse)
    working = list(state["working"])
    new = [request(render("follow_up", photo_id=case["photo_id"]), data)] if not working else []
    history = _history(state["messages"])
    offered = [] if coarse or _is_spent(context, state) else [*context.tools.values(), ReviseHypotheses]
    reply = ask_model(context, as_state(case, [*history, *working], state["spent"]), new, offered)
    update = {
        "working": [*working, *reply.messages],
        "rounds": state["rounds"] + 1,
        "spent": add_cost(state["spent"], reply.cost),
    }
    if reply.value is None:
        return {**update, "reply": f"The model gave no answer ({reply.problem}). The ledger says:\n{why(data)}"}
    # Where nothing is offered any more, calls are not carried out: a model that loops ends its turn here.
    wants_tools = bool(offered) and bool(_calls(reply.value))
    return {**update, "reply": "" if wants_tools else reply.value.text.strip() or why(data)}


def goes_on(state: ChatState) -> bool:
    """Whether the model wants tools."""
    last = state["working"][-1] if state["working"] else None
    return not state["reply"] and isinstance(last, AIMessage) and bool(_calls(last))


def act(context: GeolocateContext, state: ChatState) -> dict[str, Any]:
    """Carry out the calls: results become evidence, revisions change the hypotheses, the ledger is weighed again."""
    case, last = _case(state), state["working"][-1]
    calls = _calls(last)
    limits = _limits(context, state)
    outcomes = run_tool_calls([call for call in calls if call["name"] != REVISE], context.tools, limits)
    messages: list[AnyMessage] = [outcome.message for outcome in outcomes]
    records = [_of_turn(outcome.record, state) for outcome in outcomes]
    grown: Case = {**case, "records": add_records(case["records"], records)}
    for call in (call for call in calls if call["name"] == REVISE):
        grown, message = _revised(context, grown, call, state)
        messages.append(message)
    grown |= reckon(context, as_state(grown), grown["hypotheses"], grown["records"], grown["opinions"])._asdict()
    cost = Cost(tool_calls=min(len(records), limits.calls))
    again = render("follow_up_again", tool_calls_left=max(0, limits.calls - len(records)))
    return {
        "working": [*state["working"], *messages, request(again, ledger_data(context, as_state(grown)))],
        "cases": {case["photo_id"]: grown},
        "spent": add_cost(state["spent"], cost),
        "changed": True,
    }


def recommit(context: GeolocateContext, state: ChatState, told: Callable[[Answer], Answer]) -> dict[str, Any]:
    """Commit to an answer from the ledger as it now stands, and say so if it is another one."""
    case = _case(state)
    case = {**case, "cost": add_cost(case["cost"], state["spent"])}
    before: Answer = case["told"]
    answer = commit(context, as_state(case))["answer"]
    now = told(answer)
    reply = f"{state['reply']}{_change(before, now)}"
    return {"cases": {case["photo_id"]: {**case, "answer": answer, "told": now}}, "answer": now, "reply": reply}


def _change(before: Answer, now: Answer) -> str:
    if now.point is None:
        return "" if before.point is None else "\nThis withdraws the answer: nothing stands out any more."
    if before.point is not None and point_distance_km(before.point, now.point) < MOVED_KM:
        return ""
    return f"\nThis changes the answer: it is now {now.hypotheses[0].name}, at {now.point}."


def _case(state: ChatState) -> Case:
    return state["cases"][str(state["photo_id"])]


def _calls(message: AnyMessage) -> list[ToolCall]:
    return list(message.tool_calls) if isinstance(message, AIMessage) else []


def _history(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """What was said before this turn; the turn's own question comes with its data."""
    return list(messages[:-1][-MAX_REMEMBERED:])


def _is_spent(context: GeolocateContext, state: ChatState) -> bool:
    """A turn has budgets of its own, of the size that a run has."""
    return state["rounds"] >= context.budgets.rounds or spent_on_asking(context.budgets, state["spent"]) is not None


def _limits(context: GeolocateContext, state: ChatState) -> Limits:
    spent = state["spent"]
    calls = max(0, context.budgets.tool_calls - spent.tool_calls)
    return Limits(calls=calls, seconds=max(0.0, context.budgets.seconds - spent.seconds))


def _of_turn(record: ToolRecord, state: ChatState) -> ToolRecord:
    """A record under an id of its own: models number the calls of each turn from the start again."""
    return record.model_copy(update={"call_id": _turn_id(record.call_id, state)})


def _turn_id(call_id: str, state: ChatState) -> str:
    turn = sum(message.type == "human" for message in state["messages"])
    return f"turn{turn}-{state['rounds']}-{call_id}"


def _revised(context: GeolocateContext, case: Case, call: ToolCall, state: ChatState) -> tuple[Case, ToolMessage]:
    """The case with a revision applied, and what the model is told about it."""
    try:
        revision = ReviseHypotheses.model_validate(call["args"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return case, _answer_to(call, f"Error: {'.'.join(map(str, first['loc']))}: {first['msg']}", "error")
    judged = [
        j.model_copy(update={"tool_call_id": _turn_id(j.tool_call_id, state) if j.tool_call_id else None})
        for j in revision.judgements
    ]
    key = _turn_id("revise", state)
    added, records, _ = locate_all(
        context, as_state(case, spent=state["spent"]), revision.add, key, reply_sha256([state["working"][-1]])
    )
    changes = apply_revision(revision.model_copy(update={"judgements": judged}), added, case["hypotheses"])
    hypotheses, opinions, notes = changes
    revised = {
        "hypotheses": hypotheses,
        "opinions": [*case["opinions"], *opinions],
        "records": add_records(case["records"], records),
        "notes": [*case["notes"], *notes],
    }
    return {**case, **revised}, _answer_to(call, "Noted.")


def _answer_to(call: ToolCall, text: str, status: Any = "success") -> ToolMessage:
    return ToolMessage(text, tool_call_id=call["id"] or "", name=call["name"], status=status)
