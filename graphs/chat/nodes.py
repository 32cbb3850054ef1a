"""The nodes of the conversation: locate a photo, answer follow-up questions from its evidence with the same tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolCall, ToolMessage
from pydantic import ValidationError

from agents.messages import request
from agents.offline.explanations import why
from agents.prompts import render
from agents.reply_schemas import NoteFacts, ReviseHypotheses
from agents.schemas import Answer, AnswerStatus, Cost, Level, add_cost, add_cost_by_model
from agents.structured_output.position import looks_like_a_refusal
from core.errors import first_problem
from geo.sphere import point_distance_km
from graphs.assessment.assess import assess
from graphs.budgets import spent_on_asking
from graphs.chat.facts import NOTE, note_facts
from graphs.chat.photo_archive import PhotoArchive
from graphs.chat.prompt_data import as_state, follow_up_data
from graphs.chat.receive import words_of
from graphs.chat.state import ALL_KEYS, FINEST, Case, ChatState, Coarsen, coarsened_answer, is_finer
from graphs.chat.transcript import ChatTranscript, earlier_turns
from graphs.context import GeolocateContext
from graphs.geolocate import Geolocate
from graphs.nodes.commit import commit, listed_hypotheses
from graphs.nodes.investigate import usable_tools, with_time
from graphs.nodes.model_calls import ask_model, reply_sha256
from graphs.nodes.revise import apply_revision
from graphs.nodes.tool_calls import limits_left, run_tool_calls
from graphs.prompt_data import belief_data, photo_title
from graphs.state import add_records
from graphs.toponyms import resolve_toponyms

MAX_REMEMBERED = 12
"""Messages of the conversation that the model is shown again; hypotheses and evidence hold the rest."""

REVISE = ReviseHypotheses.__name__
_NO_MODEL_ANSWER = (AnswerStatus.REFUSED, AnswerStatus.UNPARSABLE, AnswerStatus.FAILED)
_BEGAN_FINER = "This turn began when finer answers were allowed.\n"
MOVED_KM = 1.0
"""An answer that moves by less is the same answer."""


@dataclass(frozen=True, kw_only=True)
class ChatParts:
    """Model, tools, data and functions of a conversation.

    Attributes:
        context: model, tools and data.
        geolocate: the state machine, compiled without a checkpointer of its own.
        photos: where photos are found again.
        coarsen: makes an answer no finer than the settings allow.
        max_precision: the finest level of an answer, if there is a limit; then the model that replies knows only the
            coarsened answer.
        summary: an answer in a few lines, for the reply to a photo.
        audit: writes a line a turn: the answer (None if there is none) and what was asked.
        transcript: keeps the words of earlier turns; None: they all stay in the state.
    """

    context: GeolocateContext
    geolocate: Geolocate
    photos: PhotoArchive
    coarsen: Coarsen
    max_precision: Level | None
    summary: Callable[[Answer], str]
    audit: Callable[[Answer | None, str], None]
    transcript: ChatTranscript | None = None

    @property
    def is_coarse(self) -> bool:
        """Whether answers are coarsened."""
        return self.max_precision is not None


def locate(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    """Run the state machine on the current photo."""
    photo_id = str(state["photo_id"])
    shown = next(photo for photo in state["photos"] if photo.photo_id == photo_id)
    parts.photos.bring(shown)
    given = shown.query(_question(state))
    # All channels: what a step's update holds beyond these keys would be missing from the stream of its events.
    final = cast(Case, parts.geolocate.invoke(given, output_keys=list(ALL_KEYS)))
    case = {key: value for key, value in final.items() if key != "messages"}
    case = _with_a_table(parts.context, case)
    answer = parts.coarsen(case["answer"])
    return {
        "cases": {photo_id: {**case, "coarsened": answer}},
        "answer": answer,
        "reply": parts.summary(answer),
        "spent": case["cost"],
    }


def _with_a_table(context: GeolocateContext, case: Case) -> Case:
    """The case with hypotheses and evidence, whatever the strategy; where the model gave no answer, the belief's."""
    without = case["answer"].status in _NO_MODEL_ANSWER
    if case["hypotheses"] and not without:
        return case
    state = as_state(case)
    case = {**case, **assess(context, state, listed_hypotheses(context, state)).update()}
    if not without:
        return case
    note = f"the model gave no answer ({case['answer'].status.value}), so this is what the belief says without it"
    case = {**case, "notes": [*case["notes"], note]}
    return {**case, "answer": commit(context, as_state(case), by_belief=True)["answer"]}


def discuss(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    """Ask the model, with hypotheses and evidence as data and the tools on offer."""
    context, case = parts.context, _case(state)
    working = [] if _began_finer(parts, state) else list(state["working"])
    data = follow_up_data(context, case, _question(state), parts.is_coarse, parts.coarsen)
    new = [request(render("follow_up", photo_id=photo_title(as_state(case))), data)] if not working else []
    # The turn's own question comes with its data.
    history = state["messages"][:-1][-MAX_REMEMBERED:]
    if parts.is_coarse:  # replies of a finer run may name what is not to be told
        history = [message for message in history if not isinstance(message, AIMessage)]
    offers_tools = not parts.is_coarse and not _is_spent(context, state)
    offered = [*usable_tools(context, as_state(case)).values(), ReviseHypotheses, NoteFacts] if offers_tools else []
    reply = ask_model(context, as_state(case, [*history, *working], state["spent"]), new, offered)
    update = {
        "working": [*working, *reply.messages],
        "rounds": state["rounds"] + 1,
        "spent": add_cost(state["spent"], reply.cost),
    }
    if reply.value is None:
        return {**update, "reply": f"The model gave no answer ({reply.problem}). The evidence says:\n{why(data)}"}
    # Where no tool is offered, calls are not carried out: a model that loops ends its turn here.
    wants_tools = offers_tools and bool(reply.value.tool_calls)
    return {**update, "reply": "" if wants_tools else _said(reply.value.text.strip(), data)}


def _said(text: str, data: Mapping[str, Any]) -> str:
    """The model's words; where it declines or says nothing, what the evidence says."""
    if looks_like_a_refusal(text):
        return f"The model declined to answer. The evidence says:\n{why(data)}"
    return text or why(data)


def pending_calls(state: ChatState) -> list[ToolCall]:
    """Tool calls of the model's last message; none once there is a reply."""
    last = state["working"][-1] if state["working"] else None
    return list(last.tool_calls) if isinstance(last, AIMessage) and not state["reply"] else []


def act(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    """Carry out the calls: results become evidence, revisions change the hypotheses, all is weighed again."""
    context, case, calls = parts.context, _case(state), pending_calls(state)
    limits = limits_left(context, as_state(case, spent=state["spent"]))
    of_tools = [with_time(call, as_state(case)) for call in calls if call["name"] not in (REVISE, NOTE)]
    outcomes = run_tool_calls(of_tools, context.tools, limits)
    messages: list[AnyMessage] = [outcome.message for outcome in outcomes]
    # Models number the calls of each turn from the start again: ids of records begin with the turn.
    records = [r.model_copy(update={"call_id": _turn_id(r.call_id, state)}) for r in (o.record for o in outcomes)]
    grown: Case = {**case, "records": add_records(case["records"], records)}
    for call in (call for call in calls if call["name"] == NOTE):
        said = [words_of(message) for message in state["messages"] if message.type == "human"]
        grown, message = note_facts(context, grown, call, said, limits, _turn_id(call["id"] or "", state))
        messages.append(message)
    for call in (call for call in calls if call["name"] == REVISE):
        grown, message = _revised(context, grown, call, state)
        messages.append(message)
    grown |= assess(context, as_state(grown)).update()
    again = render("follow_up_again", tool_calls_left=max(0, limits.calls - len(records)))
    return {
        "working": [*state["working"], *messages, request(again, belief_data(context, as_state(grown)))],
        "cases": {case["photo_id"]: grown},
        "spent": add_cost(state["spent"], Cost(tool_calls=min(len(records), limits.calls))),
        "changed": True,
    }


def recommit(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    """Commit to an answer from the belief as it now stands, and say so if it is another one."""
    case = _case(state)
    case = {**case, "cost": add_cost(case["cost"], state["spent"])}
    by_model = add_cost_by_model(case.get("cost_by_model", {}), {parts.context.model.name: state["spent"]})
    case = {**case, "cost_by_model": by_model}
    # What was found out in the conversation is in the belief, whatever the strategy had its point from.
    answer: Answer = commit(parts.context, as_state(case), by_belief=True)["answer"]
    coarsened = parts.coarsen(answer)
    return {
        "cases": {case["photo_id"]: {**case, "answer": answer, "coarsened": coarsened}},
        "answer": coarsened,
        "reply": f"{state['reply']}{_change(coarsened_answer(case, parts.coarsen), coarsened)}",
    }


def tell(parts: ChatParts, state: ChatState) -> dict[str, Any]:
    """End the turn: the reply joins the conversation, a line joins the audit log."""
    kept = state.get("answer")
    answer = parts.coarsen(kept) if kept else None  # a turn may have begun under other settings
    parts.audit(answer, _question(state))
    said = f"{_BEGAN_FINER}{parts.summary(answer) if answer else ''}" if _began_finer(parts, state) else state["reply"]
    reply = AIMessage(said, additional_kwargs={"precision": (parts.max_precision or FINEST).value})
    return {
        **_words_after(parts.transcript, state, reply),
        "working": [],
        "answer": answer,
        "photo_id": state.get("photo_id"),
        "total": state["spent"],
    }


def _began_finer(parts: ChatParts, state: ChatState) -> bool:
    """Whether this turn began when answers could be finer, so that its words may name what is not to be told now."""
    return is_finer(state.get("precision"), parts.max_precision)


def _words_after(transcript: ChatTranscript | None, state: ChatState, reply: AIMessage) -> dict[str, Any]:
    """The update of the words: the reply joins them, those of earlier turns move to the transcript."""
    count, words = earlier_turns(state["messages"]) if transcript and state.get("messages") else (0, [])
    if transcript is None or not count:
        return {"messages": [reply]}
    before = state.get("earlier_turns", 0)
    transcript.add(before, words)
    return {"messages": [*(RemoveMessage(str(word.id)) for word in words), reply], "earlier_turns": before + count}


def _question(state: ChatState) -> str:
    """The person's words of this turn."""
    people = [message for message in state.get("messages", []) if message.type == "human"]
    return words_of(people[-1]) if people else ""


def _case(state: ChatState) -> Case:
    return state["cases"][str(state["photo_id"])]


def _change(before: Answer, now: Answer) -> str:
    if now.point is None:
        return "" if before.point is None else "\nThis withdraws the answer: nothing stands out any more."
    if before.point is not None and point_distance_km(before.point, now.point) < MOVED_KM:
        return ""
    return f"\nThis changes the answer: it is now {now.hypotheses[0].name}, at {now.point}."


def _is_spent(context: GeolocateContext, state: ChatState) -> bool:
    """Whether the model may call no more tools: each turn has budgets of the size that a run has."""
    return state["rounds"] >= context.budgets.rounds or spent_on_asking(context.budgets, state["spent"]) is not None


def _turn_id(call_id: str, state: ChatState) -> str:
    turn = state.get("earlier_turns", 0) + sum(message.type == "human" for message in state["messages"])
    return f"turn{turn}-{state['rounds']}-{call_id}"


def _revised(context: GeolocateContext, case: Case, call: ToolCall, state: ChatState) -> tuple[Case, ToolMessage]:
    """The case with a revision applied, and the message for the model about it."""
    try:
        revision = ReviseHypotheses.model_validate(call["args"])
    except ValidationError as error:
        return case, _answer_to(call, f"Error: {first_problem(error)}", "error")
    judged = [
        j.model_copy(update={"tool_call_id": _turn_id(j.tool_call_id, state) if j.tool_call_id else None})
        for j in revision.judgements
    ]
    spent, reply_hash = as_state(case, spent=state["spent"]), reply_sha256([state["working"][-1]])
    found = resolve_toponyms(context, spent, revision.add, _turn_id("revise", state), reply_hash)
    changed = apply_revision(revision.model_copy(update={"judgements": judged}), found.positions, case["hypotheses"])
    grown: Case = {
        **case,
        "hypotheses": changed.hypotheses,
        "opinions": [*case["opinions"], *changed.opinions],
        "records": add_records(case["records"], found.records),
        "notes": [*case["notes"], *changed.notes],
    }
    return grown, _answer_to(call, "Noted.")


def _answer_to(call: ToolCall, text: str, status: Literal["success", "error"] = "success") -> ToolMessage:
    return ToolMessage(text, tool_call_id=call["id"] or "", name=call["name"], status=status)
