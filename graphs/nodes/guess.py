"""guess: the model gives its own final answer, once or several times over."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

from langchain_core.messages import AnyMessage

from agents.messages import request
from agents.reply_schemas import GivePosition, NamePlace, PredictedPlace
from agents.schemas import Cost
from agents.strategies import Ask, ReplyKind
from agents.structured_output.ask import Reply, ReplyStatus
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.nodes.model_calls import ask_model, ask_model_structured
from graphs.prompt_data import scene_data
from graphs.reply_status import reply_sha256
from graphs.state import GeolocateState, Position, ToolRecord, add_cost
from graphs.toponyms import resolve_toponym

SAMPLES_AT_ONCE = 4
"""Independent samples asked for side by side: a spent budget stops the next batch."""

_SCHEMAS = {ReplyKind.PLACE: NamePlace, ReplyKind.POSITION: GivePosition}

T = TypeVar("T")


class Sample(NamedTuple):
    """What one pass through the questions gave."""

    said: PredictedPlace | None
    status: ReplyStatus
    problem: str
    messages: list[AnyMessage]
    cost: Cost


def guess(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Ask the strategy's questions, as many times as it samples; every usable answer becomes a position."""
    samples = list(_samples(context, state))
    spent = _total(sample.cost for sample in samples)
    positions: list[Position] = []
    records: list[ToolRecord] = []
    replies: list[str] = []
    for number, sample in enumerate(samples):
        found, status = _located(context, _with_cost(state, spent), sample, number, records)
        spent = add_cost(spent, Cost(tool_calls=len(records) - spent.tool_calls))
        positions += [found] if found else []
        replies.append(status.value)
    return {
        "positions": positions,
        "records": records,
        "replies": replies,
        "messages": samples[0].messages if samples else [],
        "notes": _notes(context, samples, replies),
        "cost": spent,
    }


def _samples(context: GeolocateContext, state: GeolocateState) -> Iterator[Sample]:
    """Samples in batches, side by side within each; none begins when a budget is spent."""
    spent, left = Cost(), context.strategy.samples
    while left and not spent_on_asking(context.budgets, add_cost(state["cost"], spent)):
        batch = _side_by_side([lambda: _sample(context, state)] * min(left, SAMPLES_AT_ONCE))
        yield from batch
        spent = add_cost(spent, _total(sample.cost for sample in batch))
        left -= len(batch)


def _side_by_side(work: Sequence[Callable[[], T]]) -> list[T]:
    """Results in the order of the work; each thread sees this one's context, so that its events are the run's."""
    if len(work) == 1:
        return [work[0]()]
    with ThreadPoolExecutor(max_workers=len(work)) as pool:
        started = [pool.submit(contextvars.copy_context().run, task) for task in work]
        return [future.result() for future in started]


def _sample(context: GeolocateContext, state: GeolocateState) -> Sample:
    """One pass through the questions; it ends at the first that gives nothing to use."""
    messages: list[AnyMessage] = []
    cost = Cost()
    for number, question in enumerate(context.strategy.asks):
        so_far: GeolocateState = {**state, "messages": [*state["messages"], *messages]}
        reply = _asked(context, so_far, question, first=number == 0)
        messages += reply.messages
        cost = add_cost(cost, reply.cost)
        if reply.value is None:
            return Sample(None, reply.status, reply.problem, messages, cost)
    return Sample(cast(PredictedPlace, reply.value), ReplyStatus.OK, "", messages, cost)


def _asked(context: GeolocateContext, state: GeolocateState, question: Ask, first: bool) -> Reply[Any]:
    schema = _SCHEMAS.get(question.wants)
    values = {**question.values, "tool_name": schema.__name__ if schema else ""}
    prompt = context.strategy.render(question.prompt, photo_id=state["photo_id"], **values)
    data = scene_data(context, state) if first else {"photo_id": state["photo_id"]}
    message = request(prompt, data)
    return ask_model_structured(context, state, message, schema) if schema else ask_model(context, state, [message])


def _located(
    context: GeolocateContext, state: GeolocateState, sample: Sample, number: int, records: list[ToolRecord]
) -> tuple[Position | None, ReplyStatus]:
    """The position of a sample; look-ups are added to `records`. A name that nobody knows is unparsable."""
    if sample.said is None:
        return None, sample.status
    found = resolve_toponym(context, state, sample.said, f"guess-{number}", reply_sha256(sample.messages))
    records.extend(found.records)
    return found.position, ReplyStatus.OK if found.position else ReplyStatus.UNPARSABLE


def _notes(context: GeolocateContext, samples: Sequence[Sample], replies: Sequence[str]) -> list[str]:
    lost = [sample.problem or "it names a place that the gazetteer does not know" for sample in samples]
    told = [problem for problem, status in zip(lost, replies, strict=True) if status != ReplyStatus.OK]
    notes = list(context.model.remarks)
    notes += [f"a reply of the model could not be used: {problem}" for problem in dict.fromkeys(told)]
    if len(samples) < context.strategy.samples:
        notes.append(f"{len(samples)} of {context.strategy.samples} samples were asked for before a budget was spent")
    return notes


def _total(costs: Iterator[Cost]) -> Cost:
    total = Cost()
    for cost in costs:
        total = add_cost(total, cost)
    return total


def _with_cost(state: GeolocateState, more: Cost) -> GeolocateState:
    return {**state, "cost": add_cost(state["cost"], more)}
