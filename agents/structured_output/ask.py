"""Ask a model: the reply is a value or a status with its reason, never an exception that ends the run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ValidationError

from agents.chat_models.failures import ModelFailure
from agents.chat_models.registry import LoadedModel
from agents.chat_models.retry import Attempts
from agents.prompts import render
from agents.schemas import Cost, add_cost
from agents.structured_output.arguments import arguments_of
from agents.structured_output.position import MAX_TEXT_CHARACTERS, ReplyStatus, looks_like_a_refusal
from core.errors import first_problem

V = TypeVar("V")
T = TypeVar("T", bound=BaseModel)
Offered = BaseTool | type[BaseModel] | dict[str, Any] | Callable[..., Any]

KEPT_CHARACTERS = 2_000
"""Characters kept of the text of a reply that is too long: enough to see what it was."""
KEPT_ARGUMENT_CHARACTERS = 8_000
"""Characters kept of each call's arguments of a reply that is too long: too many for any tool, so the call fails."""
ESTIMATED = "the model's server reports no token counts: they are estimated from the length of the texts"


class Reply(NamedTuple, Generic[V]):
    """Outcome of a question.

    Attributes:
        value: with status ok; else None.
        status: ok, refused, unparsable or failed.
        problem: why there is no value, in one line; empty with status ok.
        messages: to append to the conversation after the messages that were sent: answers, acknowledgements of their
            tool calls, and the request for a repair.
        cost: of all attempts; the tokens of those that brought no reply are not known.
        remarks: what the answer of the run should mention, each once.
        model: the name of the model that was asked.
        seconds: from the first request to the last reply. They are not in `cost`, as models are asked side by side.
    """

    value: V | None
    status: ReplyStatus
    problem: str
    messages: list[AnyMessage]
    cost: Cost
    remarks: tuple[str, ...] = ()
    model: str = ""
    seconds: float = 0.0


def ask(
    model: LoadedModel,
    messages: Sequence[BaseMessage],
    tools: Sequence[Offered] = (),
    *,
    seconds: float | None = None,
) -> Reply[AIMessage]:
    """Send a conversation, offering tools. A refusal or an empty message is a reply like any other.

    Args:
        model: the model to ask.
        messages: the whole conversation, system prompt and photo included.
        tools: what the model may call.
        seconds: for everything, pauses between attempts included; None: as long as the attempts may take.
    """
    return _ask(model, messages, tools, None, _deadline(seconds))


def ask_structured(
    model: LoadedModel,
    messages: Sequence[BaseMessage],
    schema: type[T],
    *,
    seconds: float | None = None,
    beside: Sequence[Offered] = (),
) -> Reply[T]:
    """Ask for one value of a schema, which is offered as the tool to call.

    A call of the tool counts, or else JSON or, for a position, prose in the text. What does not fit the schema is
    sent back once with the problem; then it is unparsable. A refusal is not argued with.

    Args:
        model: the model to ask.
        messages: the whole conversation, system prompt and photo included.
        schema: of the value.
        seconds: for everything, as for `ask`.
        beside: tools in the request that are not to be called now: where the tools stay the same from request to
            request, servers find what they have read before in their caches.
    """
    deadline = _deadline(seconds)
    first = _ask_once(model, messages, schema, deadline, beside)
    if first.status is not ReplyStatus.UNPARSABLE:
        return first
    repair = HumanMessage(render("repair", problem=first.problem, tool_name=schema.__name__))
    second = _ask_once(model, [*messages, *first.messages, repair], schema, deadline, beside)
    return second._replace(
        messages=[*first.messages, repair, *second.messages],
        cost=add_cost(first.cost, second.cost),
        remarks=tuple(dict.fromkeys([*first.remarks, *second.remarks])),
        seconds=first.seconds + second.seconds,
    )


def _ask_once(
    model: LoadedModel,
    messages: Sequence[BaseMessage],
    schema: type[T],
    deadline: float | None,
    beside: Sequence[Offered],
) -> Reply[T]:
    tools = beside if schema in beside else [*beside, schema]
    reply = _ask(model, messages, tools, schema.__name__, deadline)
    value, status, problem = _parse(reply.value, schema) if reply.value else (None, reply.status, reply.problem)
    # Chat models require an answer to each of their calls.
    text = f"Error: {problem}" if problem else "Noted."
    calls = [call for message in reply.messages if isinstance(message, AIMessage) for call in message.tool_calls]
    acknowledged = [ToolMessage(text, tool_call_id=call["id"] or "", name=call["name"]) for call in calls]
    said = [*reply.messages, *acknowledged]
    return Reply(value, status, problem, said, reply.cost, reply.remarks, reply.model, reply.seconds)


def _parse(answer: AIMessage, schema: type[T]) -> tuple[T | None, ReplyStatus, str]:
    arguments, problem = arguments_of(answer, schema)
    if arguments is None:
        if looks_like_a_refusal(answer.text):
            return None, ReplyStatus.REFUSED, "the model declined to answer"
        return None, ReplyStatus.UNPARSABLE, problem
    try:
        return schema.model_validate(arguments), ReplyStatus.OK, ""
    except ValidationError as error:
        return None, ReplyStatus.UNPARSABLE, first_problem(error)


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _ask(
    model: LoadedModel,
    messages: Sequence[BaseMessage],
    tools: Sequence[Offered],
    choice: str | None,
    deadline: float | None,
) -> Reply[AIMessage]:
    """One request, with as many attempts as it may take; timed."""
    started = time.perf_counter()
    reply = _ask_in_time(model, messages, tools, choice, deadline)
    return reply._replace(model=model.name, seconds=time.perf_counter() - started)


def _ask_in_time(
    model: LoadedModel,
    messages: Sequence[BaseMessage],
    tools: Sequence[Offered],
    choice: str | None,
    deadline: float | None,
) -> Reply[AIMessage]:
    bound = model.chat.bind_tools(list(tools), tool_choice=choice) if tools else model.chat
    # A wait for somebody to write a reply has a limit of its own, and is no work of the run.
    options = model.options.model_copy(update={"timeout_s": math.inf}) if model.kind.is_written else model.options
    attempts = Attempts(options, None if model.kind.is_written else deadline)
    try:
        answer = attempts(lambda: bound.invoke(list(messages)))
    except ModelFailure as failure:
        return Reply(None, ReplyStatus.FAILED, str(failure), [], Cost(model_calls=attempts.made), model.remarks)
    tokens = answer.usage_metadata["total_tokens"] if answer.usage_metadata else 0
    cost = Cost(model_calls=attempts.made, tokens=tokens, usd=model.usd(answer))
    remarks = (*model.remarks, *([ESTIMATED] if answer.response_metadata.get("usage_is_estimated") else []))
    kept = _shortened(answer)
    if len(answer.text) <= MAX_TEXT_CHARACTERS:
        return Reply(kept, ReplyStatus.OK, "", [kept], cost, remarks)
    problem = f"the reply has {len(answer.text):,} characters; at most {MAX_TEXT_CHARACTERS:,} are read"
    return Reply(None, ReplyStatus.UNPARSABLE, problem, [kept], cost, remarks)


def _shortened(answer: AIMessage) -> AIMessage:
    """The answer if it is of a sane size, else enough of it to show what it was: it goes into checkpoints."""
    calls = [*answer.tool_calls, *answer.invalid_tool_calls]
    if len(answer.text) + sum(len(str(call["args"])) for call in calls) <= MAX_TEXT_CHARACTERS:
        return answer
    short = [
        ToolCall(name=c["name"][:200], args=_shortened_arguments(c["args"]), id=c["id"]) for c in answer.tool_calls
    ]
    return AIMessage(
        answer.text[:KEPT_CHARACTERS], tool_calls=short, id=answer.id, usage_metadata=answer.usage_metadata
    )


def _shortened_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    text = str(arguments)
    return arguments if len(text) <= KEPT_ARGUMENT_CHARACTERS else {"too_long": text[:KEPT_ARGUMENT_CHARACTERS]}
