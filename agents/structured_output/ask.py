"""Ask a model: the reply is a value or a status with its reason, never an exception that ends the run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ValidationError

from agents.chat_models.adapter import REMARKS, USAGE_IS_ESTIMATED
from agents.chat_models.dialects.replies import FINISH_REASON, REASONING
from agents.chat_models.failures import ModelFailure
from agents.chat_models.prices import cached_tokens
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
    return _ask(model, messages, tools, None, deadline_in(seconds))


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
    question = StructuredQuestion(model, messages, schema, deadline_in(seconds), beside)
    return repaired(question, first_reply(question))


class StructuredQuestion(NamedTuple, Generic[T]):
    """A question for one value of a schema, with the arguments of `ask_structured`; `deadline` is monotonic."""

    model: LoadedModel
    messages: Sequence[BaseMessage]
    schema: type[T]
    deadline: float | None
    beside: Sequence[Offered] = ()

    @property
    def tools(self) -> list[Offered]:
        """All tools of the request."""
        return [*self.beside] if self.schema in self.beside else [*self.beside, self.schema]


def first_reply(question: StructuredQuestion[T]) -> Reply[T]:
    """The reply to a question, as it comes."""
    model, messages, schema, deadline, _ = question
    return parsed(_ask(model, messages, question.tools, schema.__name__, deadline), schema)


def repaired(question: StructuredQuestion[T], first: Reply[T]) -> Reply[T]:
    """The first reply, or, if it does not fit the schema, the one to a request for its repair."""
    if first.status is not ReplyStatus.UNPARSABLE:
        return first
    repair = HumanMessage(render("repair", problem=first.problem, tool_name=question.schema.__name__))
    second = first_reply(question._replace(messages=[*question.messages, *first.messages, repair]))
    return second._replace(
        messages=[*first.messages, repair, *second.messages],
        cost=add_cost(first.cost, second.cost),
        remarks=tuple(dict.fromkeys([*first.remarks, *second.remarks])),
        seconds=first.seconds + second.seconds,
    )


def parsed(reply: Reply[AIMessage], schema: type[T]) -> Reply[T]:
    """The reply with its value, and with acknowledgements of its calls."""
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
        if answer.response_metadata.get(FINISH_REASON) == "content_filter":
            return None, ReplyStatus.REFUSED, "the provider's filter withheld the answer"
        if looks_like_a_refusal(answer.text):
            return None, ReplyStatus.REFUSED, "the model declined to answer"
        return None, ReplyStatus.UNPARSABLE, problem
    try:
        return schema.model_validate(arguments), ReplyStatus.OK, ""
    except ValidationError as error:
        return None, ReplyStatus.UNPARSABLE, first_problem(error)


def deadline_in(seconds: float | None) -> float | None:
    """The end of some seconds from now on the monotonic clock; None: never."""
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
    attempts = Attempts(options, None if model.kind.is_written else deadline, model.name)
    try:
        answer = attempts(lambda: bound.invoke(list(messages)))
    except ModelFailure as failure:
        return Reply(None, ReplyStatus.FAILED, str(failure), [], Cost(model_calls=attempts.made), model.remarks)
    return read_answer(model, answer, attempts.made)


def read_answer(model: LoadedModel, answer: AIMessage, requests: int) -> Reply[AIMessage]:
    """The reply with its cost, if it is not too long to be read."""
    metadata = answer.response_metadata
    estimated = [ESTIMATED] if metadata.get(USAGE_IS_ESTIMATED) else []
    remarks = tuple(dict.fromkeys([*model.remarks, *metadata.get(REMARKS, ()), *estimated]))
    kept, cost = _shortened(answer), _cost(model, answer, requests)
    if len(answer.text) <= MAX_TEXT_CHARACTERS:
        return Reply(kept, ReplyStatus.OK, "", [kept], cost, remarks)
    problem = f"the reply has {len(answer.text):,} characters; at most {MAX_TEXT_CHARACTERS:,} are read"
    return Reply(None, ReplyStatus.UNPARSABLE, problem, [kept], cost, remarks)


def _cost(model: LoadedModel, answer: AIMessage, requests: int) -> Cost:
    usage = answer.usage_metadata
    if not usage:
        return Cost(model_calls=requests)
    return Cost(
        model_calls=requests,
        tokens=usage["total_tokens"],
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cached_tokens=cached_tokens(usage),
        usd=model.usd(answer),
    )


def _shortened(answer: AIMessage) -> AIMessage:
    """The answer if it is of a sane size, else enough of it to show what it was: it goes into checkpoints."""
    calls = [*answer.tool_calls, *answer.invalid_tool_calls]
    if len(answer.text) + sum(len(str(call["args"])) for call in calls) <= MAX_TEXT_CHARACTERS:
        return answer
    short = [
        ToolCall(name=c["name"][:200], args=_shortened_arguments(c["args"]), id=c["id"]) for c in answer.tool_calls
    ]
    return AIMessage(
        answer.text[:KEPT_CHARACTERS],
        tool_calls=short,
        id=answer.id,
        usage_metadata=answer.usage_metadata,
        additional_kwargs={key: value for key, value in answer.additional_kwargs.items() if key == REASONING},
        response_metadata={key: value for key, value in answer.response_metadata.items() if key == FINISH_REASON},
    )


def _shortened_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    text = str(arguments)
    return arguments if len(text) <= KEPT_ARGUMENT_CHARACTERS else {"too_long": text[:KEPT_ARGUMENT_CHARACTERS]}
