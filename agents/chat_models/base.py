"""Base classes of the package's chat models: tools bound in OpenAI's form, replies computed from the messages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from functools import lru_cache
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

Tool = Mapping[str, Any]
"""A tool in OpenAI's form: {"type": "function", "function": {"name", "description", "parameters"}}."""


_sample: ContextVar[int] = ContextVar("sample", default=0)


@contextmanager
def sample_number(number: int) -> Iterator[None]:
    """Within, requests are those of one of several independent samples of the same question, numbered from 0."""
    token = _sample.set(number)
    try:
        yield
    finally:
        _sample.reset(token)


def current_sample() -> int:
    """Number of the sample that is being asked for."""
    return _sample.get()


class ToolBindingModel(BaseChatModel):
    """A chat model whose `_generate` gets the offered tools in OpenAI's form, as the keyword argument `tools`."""

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools, their schemas without what tells a model nothing."""
        return self.bind(tools=[lean_tool(tool) for tool in tools], tool_choice=tool_choice, **kwargs)


def lean_tool(tool: dict[str, Any] | type | Callable[..., Any] | BaseTool) -> dict[str, Any]:
    """A tool in OpenAI's form without titles, defaults, bounds, null as a choice and long descriptions.

    A model leaves out what it has no value for. Every request carries the schemas of all tools.
    """
    return deepcopy(_lean_schema(tool)) if isinstance(tool, type) else _lean_tool(tool)


@lru_cache(maxsize=256)
def _lean_schema(tool: type) -> dict[str, Any]:
    return _lean_tool(tool)


def _lean_tool(tool: dict[str, Any] | type | Callable[..., Any] | BaseTool) -> dict[str, Any]:
    plain = convert_to_openai_tool(tool)
    function = plain["function"]
    parameters = {**_lean(function["parameters"]), "type": "object"}
    return {**plain, "function": {**function, "parameters": parameters}}


_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"})
"""Checked when a call is read; what a model has to know of them is in the descriptions."""
_TELLS_NOTHING = frozenset({"title", "default", "description", *_BOUNDS})


def _lean(schema: Any) -> Any:
    """A schema without its own description, which is that of a Python class; those of its fields stay."""
    if isinstance(schema, list):
        return [_lean(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if len(choices) == 1:
        return _lean({**choices[0], **{key: value for key, value in schema.items() if key != "anyOf"}})
    lean = {key: _lean(value) for key, value in schema.items() if key not in (*_TELLS_NOTHING, "properties")}
    fields = {name: _field(field) for name, field in schema.get("properties", {}).items()}
    return {**lean, **({"properties": fields} if fields else {})}


def _field(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A field's schema with the first paragraph of its description: the rest is for readers of the code."""
    described = {"description": schema["description"].split("\n\n")[0]} if "description" in schema else {}
    return {**described, **_lean(schema)}


class LocalModel(ToolBindingModel):
    """A chat model without a server: its reply is made from the messages and the tools that may be called."""

    @abstractmethod
    def reply(self, messages: Sequence[BaseMessage], tools: Sequence[Tool]) -> AIMessage:
        """The reply to a conversation.

        Raises:
            ModelFailure: there is none.
        """

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - the base class's signature
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the same
        **kwargs: Any,
    ) -> ChatResult:
        offered, choice = kwargs.get("tools", []), kwargs.get("tool_choice")
        tools = [tool for tool in offered if choice in (None, tool["function"]["name"])]
        return ChatResult(generations=[ChatGeneration(message=self.reply(messages, tools))])
