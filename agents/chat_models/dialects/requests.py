"""A request as a server takes it: without what it refuses, and with what makes up for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableBinding

from agents.chat_models.adjustments import Unsupported
from agents.chat_models.dialects.conversations import alternate_roles, fold_system, mark_for_cache, merge_user_turns
from agents.chat_models.dialects.replies import REASONING
from agents.chat_models.tool_prompting import name_the_tool, reply_schema, with_tools_in_prompt
from agents.messages import count_pictures, first_picture_only, pictures_after_results, without_pictures


class Wanted(NamedTuple):
    """What is asked of a model, before it is put as the server takes it.

    Attributes:
        messages: the conversation.
        tools: on offer, in OpenAI's form.
        choice: the tool that must be called; None: the model chooses.
        samples: replies to the same question.
        arguments: others, for the provider.
    """

    messages: Sequence[BaseMessage]
    tools: list[dict[str, Any]]
    choice: str | None
    samples: int
    arguments: Mapping[str, Any]


class Request(NamedTuple):
    """A request as the server takes it.

    Attributes:
        model: the provider's, without the parameters that the server refuses.
        messages: to send.
        arguments: of the provider's request.
        tools: on offer.
        is_text: whether the text of the reply will hold their calls.
        used: what the server might refuse of it.
    """

    model: BaseChatModel
    messages: list[BaseMessage]
    arguments: dict[str, Any]
    tools: list[dict[str, Any]]
    is_text: bool
    used: frozenset[Unsupported]


class Dialect(NamedTuple):
    """How a provider's requests differ from those of others.

    Attributes:
        shows_results: whether pictures may stand in tool results.
        marks_cache: whether it wants marks for its prompt cache.
        length_field: the attribute of LangChain's class that limits a reply's tokens.
        default_length: what the limit is where the server refuses the chosen one; None: none.
    """

    shows_results: bool = False
    marks_cache: bool = False
    length_field: str = "max_tokens"
    default_length: int | None = None


def request_for(
    inner: BaseChatModel, wanted: Wanted, dialect: Dialect, refused: frozenset[Unsupported], is_stream: bool = False
) -> Request:
    """The request for what is wanted, without what the server refuses."""
    messages = _pictured(wanted.messages, dialect, refused)
    shown = count_pictures(messages)
    arguments = dict(wanted.arguments)
    is_text = Unsupported.TOOLS in refused
    if is_text and wanted.choice:  # nothing holds the model to one of several in its prompt
        chosen = [tool for tool in wanted.tools if tool["function"]["name"] == wanted.choice]
        wanted = wanted._replace(tools=chosen)
    if wanted.tools and not is_text:
        choice = wanted.choice if Unsupported.FORCED_CHOICE not in refused else None
        arguments |= _bound(inner, wanted.tools, choice)
        if wanted.choice and not choice:
            messages = [*messages, HumanMessage(name_the_tool(wanted.choice))]
    elif is_text:
        messages = with_tools_in_prompt(messages, wanted.tools)
        if wanted.tools and Unsupported.SCHEMA not in refused:
            arguments |= schema_argument(reply_schema(wanted.tools))
    if wanted.samples > 1 and Unsupported.SAMPLES not in refused:
        arguments["n"] = wanted.samples
    messages = _roles(messages, refused)
    used = frozenset(_used(inner, wanted, dialect, messages, arguments, shown, is_stream)) - refused
    if Unsupported.CACHE_MARKS in used:
        messages = mark_for_cache(messages)
    return Request(_without_parameters(inner, dialect, refused), messages, arguments, wanted.tools, is_text, used)


def schema_argument(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The argument that has a server of OpenAI's protocol hold its reply to a JSON schema.

    It goes past OpenAI's library, which takes a reply that was cut off for an error.
    """
    wanted = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
    return {"extra_body": {"response_format": wanted}}


def _pictured(messages: Sequence[BaseMessage], dialect: Dialect, refused: frozenset[Unsupported]) -> list[BaseMessage]:
    """The conversation with its pictures where the server takes them."""
    if Unsupported.PICTURES in refused:
        return without_pictures(messages)
    if Unsupported.SEVERAL_PICTURES in refused:
        return first_picture_only(messages)
    if Unsupported.TOOLS in refused or (dialect.shows_results and Unsupported.RESULT_PICTURES not in refused):
        return list(messages)
    return pictures_after_results(messages)


def _roles(messages: Sequence[BaseMessage], refused: frozenset[Unsupported]) -> list[BaseMessage]:
    turns = merge_user_turns(messages)
    turns = fold_system(turns) if Unsupported.SYSTEM_ROLE in refused else turns
    return alternate_roles(turns) if Unsupported.REPEATED_ROLES in refused else turns


def _bound(inner: BaseChatModel, tools: list[dict[str, Any]], choice: str | None) -> dict[str, Any]:
    bound = inner.bind_tools(tools, **({"tool_choice": choice} if choice else {}))
    return dict(bound.kwargs) if isinstance(bound, RunnableBinding) else {}


def _used(
    inner: BaseChatModel,
    wanted: Wanted,
    dialect: Dialect,
    messages: Sequence[BaseMessage],
    arguments: Mapping[str, Any],
    pictures: int,
    is_stream: bool,
) -> Iterator[Unsupported]:
    """What a request holds that a server might refuse."""
    limit = getattr(inner, dialect.length_field, None)
    results = [message for message in messages if isinstance(message, ToolMessage)]
    has = {
        Unsupported.TEMPERATURE: getattr(inner, "temperature", None) is not None,
        Unsupported.LENGTH: limit not in (None, dialect.default_length),
        Unsupported.LENGTH_NAME: hasattr(inner, "length_parameter") and limit is not None,
        Unsupported.STREAM_USAGE: is_stream and bool(getattr(inner, "stream_usage", False)),
        Unsupported.CACHE_MARKS: dialect.marks_cache,
        Unsupported.SAMPLES: "n" in arguments,
        Unsupported.SCHEMA: "extra_body" in arguments,
        Unsupported.FORCED_CHOICE: bool(wanted.choice) and "tools" in arguments,
        Unsupported.TOOLS: "tools" in arguments,
        Unsupported.PICTURES: pictures > 0,
        Unsupported.SEVERAL_PICTURES: pictures > 1,
        Unsupported.RESULT_PICTURES: count_pictures(results) > 0,
        Unsupported.SYSTEM_ROLE: any(isinstance(message, SystemMessage) for message in messages),
        Unsupported.REPEATED_ROLES: bool(results),
        Unsupported.MISSING_REASONING: hasattr(inner, "sends_reasoning") and any(map(_has_reasoning, wanted.messages)),
    }
    return (refusal for refusal, holds in has.items() if holds)


def _has_reasoning(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage) and REASONING in message.additional_kwargs


def _without_parameters(inner: BaseChatModel, dialect: Dialect, refused: frozenset[Unsupported]) -> BaseChatModel:
    """The provider's model without the parameters that the server refuses, or with their other names."""
    changes: dict[Unsupported, dict[str, Any]] = {
        Unsupported.TEMPERATURE: {"temperature": None},
        Unsupported.LENGTH_NAME: {"length_parameter": "max_completion_tokens"},
        Unsupported.LENGTH: {dialect.length_field: dialect.default_length},
        Unsupported.STREAM_USAGE: {"stream_usage": False},
        Unsupported.MISSING_REASONING: {"sends_reasoning": True},
    }
    wanted = {
        name: value for refusal, change in changes.items() if refusal in refused for name, value in change.items()
    }
    known = {name: value for name, value in wanted.items() if hasattr(inner, name)}
    return inner.model_copy(update=known) if known else inner
