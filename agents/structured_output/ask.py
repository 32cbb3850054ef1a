"""Ask a model: the reply is a value or a status with its reason, never an exception that ends the run."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ValidationError

from agents.chat_models.adapter import REMARKS, USAGE_IS_ESTIMATED, AdaptedChat
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
SAMPLES_AT_ONCE = 4
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
    model: LoadedModel, messages: Sequence[BaseMessage], schema: type[T], *, seconds: float | None = None
) -> Reply[T]:
    """Ask for one value of a schema, which is offered as the tool to call.

    A call of the tool counts, or else JSON or, for a position, prose in the text. What does not fit the schema is
    sent back once with the problem; then it is unparsable. A refusal is not argued with.
    """
    return _ask_and_repair(model, messages, schema, _deadline(seconds))


def ask_structured_samples(
    model: LoadedModel, messages: Sequence[BaseMessage], schema: type[T], n: int, *, seconds: float | None = None
) -> list[Reply[T]]:
    """Ask the same `n` times; one reply a sample, each as of `ask_structured`.

    Where the server takes it, all samples are one request, so that prompt and photo are read, and paid for, once: the
    first reply has the cost of the request. What is missing of them, as where the server refuses `n`, is asked for one
    by one, side by side.
    """
    deadline = _deadline(seconds)
    together = _ask_together(model, messages, schema, n, deadline) if n > 1 and _takes_samples(model) else []
    missing = n - len(together)
    tasks = [partial(_repaired, model, messages, schema, deadline, reply) for reply in together]
    tasks += [partial(_ask_and_repair, model, messages, schema, deadline)] * missing
    return _side_by_side(tasks)


def _takes_samples(model: LoadedModel) -> bool:
    return isinstance(model.chat, AdaptedChat) and model.chat.capabilities.samples


def _ask_together(
    model: LoadedModel, messages: Sequence[BaseMessage], schema: type[T], n: int, deadline: float | None
) -> list[Reply[T]]:
    """The replies of one request; none if it fails: then each is asked for by itself."""
    tools = [convert_to_openai_tool(schema)]
    started, attempts = time.perf_counter(), Attempts(model.options, deadline, model.name)
    asked = {"tools": tools, "tool_choice": schema.__name__, "n": n, "stream": False}
    try:
        result = attempts(partial(_generate, model.chat, messages, asked))
    except ModelFailure:
        return []
    answers = [item.message for item in result.generations[0] if isinstance(item, ChatGeneration)]
    seconds = time.perf_counter() - started
    read = [
        # One request, or several attempts at it, have brought them all.
        _read(model, answer, 0 if number else attempts.made)
        for number, answer in enumerate(answer for answer in answers if isinstance(answer, AIMessage))
    ]
    return [_parsed(reply._replace(model=model.name, seconds=seconds / len(read)), schema) for reply in read[:n]]


def _generate(chat: BaseChatModel, messages: Sequence[BaseMessage], asked: dict[str, Any]) -> LLMResult:
    """All replies to one request, with the callbacks of the run that it is part of; `invoke` gives only the first."""
    config = ensure_config()
    return chat.generate(
        [list(messages)], callbacks=config.get("callbacks"), tags=config["tags"], metadata=config["metadata"], **asked
    )


def _ask_and_repair(
    model: LoadedModel, messages: Sequence[BaseMessage], schema: type[T], deadline: float | None
) -> Reply[T]:
    return _repaired(model, messages, schema, deadline, _ask_once(model, messages, schema, deadline))


def _side_by_side(tasks: Sequence[Callable[[], V]]) -> list[V]:
    """Results in the order of the tasks; each thread gets this one's context, so that its events belong to the run."""
    if len(tasks) == 1:
        return [tasks[0]()]
    with ThreadPoolExecutor(max_workers=SAMPLES_AT_ONCE) as pool:
        started = [pool.submit(contextvars.copy_context().run, task) for task in tasks]
        return [future.result() for future in started]


def _repaired(
    model: LoadedModel, messages: Sequence[BaseMessage], schema: type[T], deadline: float | None, first: Reply[T]
) -> Reply[T]:
    """The reply, or, if it does not fit the schema, the one to a request for its repair."""
    if first.status is not ReplyStatus.UNPARSABLE:
        return first
    repair = HumanMessage(render("repair", problem=first.problem, tool_name=schema.__name__))
    second = _ask_once(model, [*messages, *first.messages, repair], schema, deadline)
    return second._replace(
        messages=[*first.messages, repair, *second.messages],
        cost=add_cost(first.cost, second.cost),
        remarks=tuple(dict.fromkeys([*first.remarks, *second.remarks])),
        seconds=first.seconds + second.seconds,
    )


def _ask_once(model: LoadedModel, messages: Sequence[BaseMessage], schema: type[T], deadline: float | None) -> Reply[T]:
    return _parsed(_ask(model, messages, [schema], schema.__name__, deadline), schema)


def _parsed(reply: Reply[AIMessage], schema: type[T]) -> Reply[T]:
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
    attempts = Attempts(model.options, deadline, model.name)
    try:
        answer = attempts(lambda: bound.invoke(list(messages)))
    except ModelFailure as failure:
        return Reply(None, ReplyStatus.FAILED, str(failure), [], Cost(model_calls=attempts.made), model.remarks)
    return _read(model, answer, attempts.made)


def _read(model: LoadedModel, answer: AIMessage, requests: int) -> Reply[AIMessage]:
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
