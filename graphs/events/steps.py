"""Events of a run for people: one after each step, then the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from agents.schemas import Answer, Cost, Frozen, Hypothesis
from graphs.assessment.hypotheses import open_hypotheses
from graphs.state import ToolRecord

Update = Mapping[str, Any]
"""The partial state that a node returned."""


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


def step_event(step: str, update: Update) -> StepDone:
    """The event of a node's update."""
    return StepDone(
        step=step,
        text=_TEXTS[step](update) if step in _TEXTS else step,
        hypotheses=tuple(open_hypotheses(update.get("hypotheses", ()))),
        records=tuple(update.get("records", ())),
        cost=update.get("cost", Cost()),
    )


def _look(update: Update) -> str:
    return "; ".join(map(_looked_at, update.get("records", ()))) or "signs are not read"


def _looked_at(record: ToolRecord) -> str:
    if record.result is None:
        return f"{record.tool} failed: {record.error}"
    return f"{len(record.result['signs'])} lines of text read" if record.tool == "read_signs" else "the sun is checked"


def _hypotheses(update: Update) -> str:
    leaders = open_hypotheses(update["hypotheses"])[:3]
    named = ", ".join(f"{h.name} {h.probability:.0%}" for h in leaders)
    return f"{len(update['hypotheses'])} hypotheses: {named}" if named else "no hypothesis"


def _calls_wanted(messages: Sequence[Any]) -> str:
    """The tool calls of the model's last message, in words; empty if there are none."""
    calls = getattr(messages[-1], "tool_calls", ()) if messages else ()
    names = ", ".join(dict.fromkeys(call["name"] for call in calls))
    return f"{len(calls)} tool calls wanted: {names}" if calls else ""


def _tools(update: Update) -> str:
    failed = sum(record.error is not None for record in update["records"])
    return f"{len(update['records'])} tool calls" + (f", {failed} of them failed" if failed else "")


def _match(update: Update) -> str:
    compared = sum(len(record.result["hits"]) for record in update["records"] if record.result)
    return f"compared with satellite tiles, {compared} of them looked at; {_hypotheses(update)}"


def _act(update: Update) -> str:
    case = next(iter(update["cases"].values()))
    return f"what is known is taken in, {_hypotheses(case)}"


def _recommit(update: Update) -> str:
    answer: Answer = update["answer"]
    return f"the answer: {answer.hypotheses[0].name}" if answer.point else "no answer"


def _pose_question(update: Update) -> str:
    return "two places are close: a question for you" if update.get("question_posed") else "no two places are close"


_TEXTS: Mapping[str, Callable[[Update], str]] = {
    "look": _look,
    "recall": lambda update: f"{len(update['candidates'])} similar places retrieved",
    "cluster": lambda update: f"{len(update['regions'])} regions",
    "hypothesise": _hypotheses,
    "match": _match,
    "investigate": lambda update: _calls_wanted(update.get("messages", ())) or "nothing more to find out",
    "tools": _tools,
    "revise": _hypotheses,
    "pose_question": _pose_question,
    "ask_person": _hypotheses,
    "discuss": lambda update: _calls_wanted(update.get("working", ())) or "an answer from the evidence",
    "act": _act,
    "recommit": _recommit,
}
