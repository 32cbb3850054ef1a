"""What a run tells while it goes on: a step at a time, then the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from agents.schemas import Answer, Cost, Frozen, Hypothesis
from graphs.inference.ledger import open_hypotheses
from graphs.state import ToolRecord


class StepDone(Frozen):
    """A node has finished."""

    step: str = Field(description="the node's name")
    text: str = Field(description="what it did, for people")
    hypotheses: tuple[Hypothesis, ...] = Field((), description="open ones, most probable first, where they changed")
    records: tuple[ToolRecord, ...] = Field((), description="tool calls made in this step")
    cost: Cost = Cost()


class Answered(Frozen):
    """The run is over."""

    answer: Answer


Event = StepDone | Answered


def step_event(step: str, update: Mapping[str, Any]) -> StepDone:
    """The event of a node's update."""
    records = tuple(update.get("records", ()))
    hypotheses = tuple(open_hypotheses(update.get("hypotheses", ())))
    text = _TEXT[step](update) if step in _TEXT else step
    return StepDone(step=step, text=text, hypotheses=hypotheses, records=records, cost=update.get("cost", Cost()))


def _looked(update: Mapping[str, Any]) -> str:
    said = [_seen(record) for record in update.get("records", ())]
    return "; ".join(said) or "signs are not read"


def _seen(record: ToolRecord) -> str:
    """What a tool that looks at the photo before anything else found."""
    if record.result is None:
        return f"{record.tool} failed: {record.error}"
    return f"{len(record.result['signs'])} lines of text read" if record.tool == "read_signs" else "the sun is checked"


def _recalled(update: Mapping[str, Any]) -> str:
    return f"{len(update['candidates'])} similar places retrieved"


def _clustered(update: Mapping[str, Any]) -> str:
    return f"{len(update['regions'])} regions"


def _reckoned(update: Mapping[str, Any]) -> str:
    leaders = open_hypotheses(update["hypotheses"])[:3]
    named = ", ".join(f"{h.name} {h.probability:.0%}" for h in leaders)
    return f"{len(update['hypotheses'])} hypotheses: {named}" if named else "no hypothesis"


def _investigated(update: Mapping[str, Any]) -> str:
    return _wanted(update.get("messages", ())) or "nothing more to find out"


def _wanted(messages: Sequence[Any]) -> str:
    """What the model's last message wants to call; empty if nothing."""
    calls = getattr(messages[-1], "tool_calls", ()) if messages else ()
    names = ", ".join(dict.fromkeys(call["name"] for call in calls))
    return f"{len(calls)} tool calls wanted: {names}" if calls else ""


def _discussed(update: Mapping[str, Any]) -> str:
    return _wanted(update.get("working", ())) or "an answer from the ledger"


def _acted(update: Mapping[str, Any]) -> str:
    case = next(iter(update["cases"].values()))
    return f"the ledger is weighed again, {_reckoned(case)}"


def _committed_again(update: Mapping[str, Any]) -> str:
    answer: Answer = update["answer"]
    return f"the answer: {answer.hypotheses[0].name}" if answer.point else "no answer"


def _posed(update: Mapping[str, Any]) -> str:
    return "two places are close: a question for you" if update.get("question_posed") else "no two places are close"


def _used_tools(update: Mapping[str, Any]) -> str:
    records: Sequence[ToolRecord] = update["records"]
    failed = sum(record.error is not None for record in records)
    return f"{len(records)} tool calls" + (f", {failed} of them failed" if failed else "")


_TEXT: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "look": _looked,
    "recall": _recalled,
    "cluster": _clustered,
    "hypothesise": _reckoned,
    "investigate": _investigated,
    "tools": _used_tools,
    "revise": _reckoned,
    "pose_question": _posed,
    "ask_person": _reckoned,
    "discuss": _discussed,
    "act": _acted,
    "recommit": _committed_again,
}
