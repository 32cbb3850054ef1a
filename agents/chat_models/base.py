"""Base classes of the package's chat models: tools bound in OpenAI's form, replies computed from the messages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
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
        """Offer tools."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=tool_choice, **kwargs)


class LocalModel(ToolBindingModel):
    """A chat model without a server: its reply is a function of the messages and the tools offered."""

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
        return ChatResult(generations=[ChatGeneration(message=self.reply(messages, kwargs.get("tools", [])))])
