"""guess: the model gives its own final answer, once or several times over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple, cast

from langchain_core.messages import AnyMessage, HumanMessage

from agents.chat_models.base import sample_number
from agents.messages import request
from agents.reply_schemas import GivePosition, NamePlace
from agents.schemas import Cost, add_cost
from agents.strategies import Ask, ReplyKind
from agents.structured_output.ask import Reply
from agents.structured_output.position import ReplyStatus
from agents.structured_output.samples import SAMPLES_AT_ONCE, side_by_side
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.nodes.model_calls import ask_model, ask_model_samples, ask_model_structured, reply_sha256
from graphs.prompt_data import photo_data, photo_title, scene_data
from graphs.state import GeolocateState, ModelReply, Position, ToolRecord
from graphs.toponyms import resolve_toponyms

_SCHEMAS: dict[ReplyKind, type[GivePosition] | type[NamePlace]] = {
    ReplyKind.PLACE: NamePlace,
    ReplyKind.POSITION: GivePosition,
}


class ModelSample(NamedTuple):
    """The outcome of asking the strategy's questions once."""

    predicted: GivePosition | None
    status: ReplyStatus
    problem: str
    messages: list[AnyMessage]
    cost: Cost
    seconds: float
    remarks: tuple[str, ...] = ()


def guess(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Ask the strategy's questions, as many times as it samples; every usable answer becomes a position."""
    samples = list(_samples(context, state))
    spent = reduce(add_cost, (sample.cost for sample in samples), Cost())
    of_model = add_cost(spent, Cost(seconds=sum(sample.seconds for sample in samples)))
    positions: list[Position] = []
    records: list[ToolRecord] = []
    replies: list[str] = []
    for number, sample in enumerate(samples):
        status = sample.status
        if sample.predicted is not None:
            so_far: GeolocateState = {**state, "cost": add_cost(state["cost"], spent)}
            key, reply_hash = f"guess-{number}", reply_sha256(sample.messages)
            places = [sample.predicted, *sample.predicted.alternatives]
            found = resolve_toponyms(context, so_far, places, key, reply_hash, sample=number)
            positions += found.positions
            records += found.records
            spent = add_cost(spent, found.cost)
            # A name that is in no gazetteer is as useless as a reply that cannot be parsed.
            status = ReplyStatus.OK if found.positions else ReplyStatus.UNPARSABLE
        replies.append(status.value)
    return {
        "positions": positions,
        "records": records,
        "replies": replies,
        "model_replies": _model_replies(context, samples, replies),
        "messages": samples[0].messages if samples else [],
        "notes": _notes(context, samples, replies),
        "cost": spent,
        "cost_by_model": {context.model.name: of_model},
    }


def _samples(context: GeolocateContext, state: GeolocateState) -> Iterator[ModelSample]:
    """Samples in batches, side by side within each; none begins when a budget is spent."""
    spent, left = Cost(), context.strategy.samples
    while left and not spent_on_asking(context.budgets, add_cost(state["cost"], spent)):
        batch = _batch(context, state, context.strategy.samples - left, min(left, SAMPLES_AT_ONCE))
        yield from batch
        spent = reduce(add_cost, (sample.cost for sample in batch), spent)
        left -= len(batch)


def _batch(context: GeolocateContext, state: GeolocateState, done: int, count: int) -> list[ModelSample]:
    """Samples numbered from `done`: answers to one question in one request, where the server takes it."""
    if len(context.strategy.asks) == 1 and count > 1:
        question, _ = _question(context, state, context.strategy.asks[0], is_first=True)
        with sample_number(done):
            replies = ask_model_samples(context, state, question, GivePosition, count)
        return [_of_reply(reply) for reply in replies]
    return side_by_side([partial(_sample, context, state, done + number) for number in range(count)])


def _of_reply(reply: Reply[GivePosition]) -> ModelSample:
    return ModelSample(
        reply.value, reply.status, reply.problem, reply.messages, reply.cost, reply.seconds, reply.remarks
    )


def _sample(context: GeolocateContext, state: GeolocateState, number: int) -> ModelSample:
    """Ask the questions for one of the samples."""
    with sample_number(number):
        return _ask_questions(context, state)


def _ask_questions(context: GeolocateContext, state: GeolocateState) -> ModelSample:
    """Ask the questions once; stop at the first that gives nothing to use."""
    messages: list[AnyMessage] = []
    cost, seconds, remarks = Cost(), 0.0, dict[str, None]()
    for number, question in enumerate(context.strategy.asks):
        so_far: GeolocateState = {**state, "messages": [*state["messages"], *messages]}
        reply = _ask(context, so_far, question, is_first=number == 0)
        messages += reply.messages
        cost, seconds = add_cost(cost, reply.cost), seconds + reply.seconds
        remarks |= dict.fromkeys(reply.remarks)
        if reply.value is None:
            return ModelSample(None, reply.status, reply.problem, messages, cost, seconds, tuple(remarks))
    return ModelSample(cast(GivePosition, reply.value), ReplyStatus.OK, "", messages, cost, seconds, tuple(remarks))


def _ask(context: GeolocateContext, state: GeolocateState, question: Ask, is_first: bool) -> Reply[Any]:
    message, schema = _question(context, state, question, is_first)
    return ask_model_structured(context, state, message, schema) if schema else ask_model(context, state, [message])


def _question(
    context: GeolocateContext, state: GeolocateState, question: Ask, is_first: bool
) -> tuple[HumanMessage, type[GivePosition] | type[NamePlace] | None]:
    """The message of a question, and the schema of its answer; None: prose."""
    schema, strategy = _SCHEMAS.get(question.wants), context.strategy
    values = {**question.values, "tool_name": schema.__name__ if schema else ""}
    prompt = strategy.render(
        question.prompt, photo_id=photo_title(state), clue_catalogue=strategy.clue_catalogue, **values
    )
    return request(prompt, scene_data(context, state) if is_first else photo_data(state)), schema


def _model_replies(
    context: GeolocateContext, samples: Sequence[ModelSample], statuses: Sequence[str]
) -> list[ModelReply]:
    return [
        ModelReply(model=context.model.name, status=status, problem=_problem(sample, status))
        for sample, status in zip(samples, statuses, strict=True)
    ]


def _problem(sample: ModelSample, status: str) -> str:
    """Why a sample gave nothing to use; empty if it did."""
    unknown = "it names a place that the gazetteer does not know"
    return "" if status == ReplyStatus.OK else sample.problem or unknown


def _notes(context: GeolocateContext, samples: Sequence[ModelSample], replies: Sequence[str]) -> list[str]:
    problems = [_problem(sample, status) for sample, status in zip(samples, replies, strict=True)]
    said = [*context.model.remarks, *(remark for sample in samples for remark in sample.remarks)]
    notes = list(dict.fromkeys(said))
    notes += [f"a reply of the model could not be used: {problem}" for problem in dict.fromkeys(problems) if problem]
    if len(samples) < context.strategy.samples:
        notes.append(f"{len(samples)} of {context.strategy.samples} samples were asked for before a budget was spent")
    return notes
