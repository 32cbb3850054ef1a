"""A provider's chat model that plays given answers, behind the adapter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from pydantic import Field

from agents.chat_models.adapter import AdaptedChat
from agents.chat_models.prices import Price
from agents.chat_models.registry import LoadedModel
from agents.chat_models.spec import Capabilities, ModelOptions


@tool
def read_signs(photo_id: str) -> str:
    """Read the signs in a photo."""
    return photo_id


@tool
def find_place(name: str) -> str:
    """Find a place."""
    return name


class Server(BaseChatModel):
    """A provider's model that plays answers and errors one after the other, and keeps what it was sent."""

    plays: list[Any]
    sent: list[tuple[list[BaseMessage], dict[str, Any]]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "server"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools, **kwargs)

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        self.sent.append((messages, kwargs))
        played = self.plays.pop(0)
        if isinstance(played, Exception):
            raise played
        message = AIMessage(played) if isinstance(played, str) else played
        return ChatResult(generations=[ChatGeneration(message=message)])


class Streaming(Server):
    """The same, a word at a time."""

    def _stream(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        from langchain_core.messages import AIMessageChunk

        text = self._generate(messages, **kwargs).generations[0].message.text
        for word in text.split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))
        ended = {"finish_reason": "stop"}
        yield ChatGenerationChunk(message=AIMessageChunk(content=""), generation_info=ended)


def called(name: str, args: dict[str, Any], number: int = 0) -> AIMessage:
    return AIMessage("", tool_calls=[ToolCall(name=name, args=args, id=f"c{number}")])


def loaded(*plays: AIMessage | Exception | str, price: Price | None = None, **able: Any) -> tuple[LoadedModel, Server]:
    server = Server(plays=list(plays))
    options = ModelOptions(max_retries=2, backoff_s=0.0)
    return LoadedModel(
        name="x", chat=AdaptedChat(inner=server, label="x", able=Capabilities(**able)), options=options, price=price
    ), server
