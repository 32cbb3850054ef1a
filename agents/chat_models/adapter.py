"""One interface for all providers' chat models: tool calls, pictures or a text in their place, one exception."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.exceptions import LangChainException, ModelError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableBinding
from pydantic import ConfigDict, Field, PrivateAttr

from agents.chat_models.base import Tool, ToolBindingModel
from agents.chat_models.failures import ModelFailure, as_failure, malformed
from agents.chat_models.tool_prompting import reply_schema, with_calls, with_tools_in_prompt
from agents.messages import count_pictures, pictures_after_results, without_pictures

# Raised by LangChain's parsers of replies when a server sends something that the protocol does not allow.
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, LangChainException)
CHARACTERS_A_TOKEN = 4
TOKENS_A_PICTURE = 1_100
"""Roughly, for one of 1024 px."""


class AdaptedChat(ToolBindingModel):
    """A provider's chat model behind an adapter; every failure is a `ModelFailure`.

    Attributes:
        inner: the provider's model.
        label: the spec, for caches and traces.
        sees_images, calls_tools, keeps_schema: what `inner` can do by itself.
        shows_results: whether pictures may stand in tool results.
        errors: exceptions of the provider's library.
        concurrency: requests under way at once.
        settings: what else replies depend on, for caches.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inner: BaseChatModel
    label: str
    sees_images: bool = True
    calls_tools: bool = True
    keeps_schema: bool = False
    shows_results: bool = False
    errors: tuple[type[Exception], ...] = ()
    concurrency: int = Field(8, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    _slots: threading.BoundedSemaphore = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Create the semaphore that limits concurrent requests."""
        super().model_post_init(context)
        self._slots = threading.BoundedSemaphore(self.concurrency)

    @property
    def _llm_type(self) -> str:
        return "adapted"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        able = (self.sees_images, self.calls_tools, self.keeps_schema)
        return {"model": self.label, "able": able, **self.settings}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        sent, given, tools = self._request(messages, kwargs)
        with self._slots, _failures(self.errors):
            result = self.inner._generate(sent, stop=stop, run_manager=run_manager, **given)
            answer = _first_message(result)
        return ChatResult(generations=[ChatGeneration(message=self._complete(answer, sent, tools))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if type(self.inner)._stream is BaseChatModel._stream:
            answer = _first_message(self._generate(messages, stop, run_manager, **kwargs))
            yield ChatGenerationChunk(message=_as_chunk(answer))
            return
        sent, given, tools = self._request(messages, kwargs)
        whole: AIMessageChunk | None = None
        with self._slots, _failures(self.errors):
            # Without the run manager: the caller reports each piece that we pass on.
            for piece in self.inner._stream(sent, stop=stop, **given):
                if isinstance(piece.message, AIMessageChunk):
                    whole = piece.message if whole is None else whole + piece.message
                yield piece
            if whole is None:
                raise ModelFailure("the server's reply is empty", is_retryable=True)
        yield ChatGenerationChunk(message=_last_piece(whole, self._complete(whole, sent, tools)))

    def _request(
        self, messages: Sequence[BaseMessage], kwargs: dict[str, Any]
    ) -> tuple[list[BaseMessage], dict[str, Any], list[dict[str, Any]]]:
        """Messages as the model takes them, arguments for the provider, and tools whose calls the text will hold."""
        given = dict(kwargs)
        tools: list[dict[str, Any]] = given.pop("tools", None) or []
        choice = given.pop("tool_choice", None)
        if not self.calls_tools and choice:  # nothing holds the model to one of several in its prompt
            tools = [tool for tool in tools if tool["function"]["name"] == choice]
        seen = list(messages) if self.sees_images else without_pictures(messages)
        if self.calls_tools:
            shown = seen if self.shows_results else pictures_after_results(seen)
            return shown, {**given, **self._bound(tools, choice)}, []
        if tools and self.keeps_schema:
            schema = {"name": "reply", "schema": reply_schema(tools)}
            given["response_format"] = {"type": "json_schema", "json_schema": schema}
        return with_tools_in_prompt(seen, tools), given, tools

    def _bound(self, tools: list[dict[str, Any]], choice: str | None) -> dict[str, Any]:
        if not tools:
            return {}
        chosen = {"tool_choice": choice} if choice else {}
        bound = self.inner.bind_tools(tools, **chosen)
        return dict(bound.kwargs) if isinstance(bound, RunnableBinding) else {}

    def _complete(self, answer: AIMessage, sent: Sequence[BaseMessage], tools: Sequence[Tool]) -> AIMessage:
        """The answer with the calls in its text, and with estimated usage if the server gave none."""
        if tools and not answer.tool_calls:
            answer = with_calls(answer, tools, id_stem=_digest(sent, answer.text))
        return answer if answer.usage_metadata else _with_estimate(answer, sent)


def _first_message(result: ChatResult) -> AIMessage:
    message = result.generations[0].message if result.generations else None
    if not isinstance(message, AIMessage):
        raise ModelFailure("the server's reply is empty", is_retryable=True)
    return message


@contextmanager
def _failures(errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what a provider's library raises into a `ModelFailure`."""
    raised: tuple[type[Exception], ...] = (ModelError, *errors)
    try:
        yield
    except ModelFailure:
        raise
    except raised as error:
        raise as_failure(error) from error
    except _MALFORMED as error:
        raise malformed(error) from error


def _with_estimate(answer: AIMessage, sent: Sequence[BaseMessage]) -> AIMessage:
    """The answer with tokens estimated from characters and pictures, and marked as such."""
    prompt = sum(_tokens(message) for message in sent) + TOKENS_A_PICTURE * count_pictures(sent)
    output = _tokens(answer)
    usage = UsageMetadata(input_tokens=prompt, output_tokens=output, total_tokens=prompt + output)
    metadata = {**answer.response_metadata, "usage_is_estimated": True}
    return answer.model_copy(update={"usage_metadata": usage, "response_metadata": metadata})


def _tokens(message: BaseMessage) -> int:
    calls = str(message.tool_calls) if isinstance(message, AIMessage) and message.tool_calls else ""
    return math.ceil(len(message.text + calls) / CHARACTERS_A_TOKEN)


def _digest(sent: Sequence[BaseMessage], text: str) -> str:
    seen = "\n".join([*(message.text for message in sent), text])
    return f"text-{hashlib.sha256(seen.encode()).hexdigest()[:12]}"


def _as_chunk(answer: AIMessage) -> AIMessageChunk:
    chunk = AIMessageChunk(content=answer.content, id=answer.id, response_metadata=answer.response_metadata)
    return chunk.model_copy(update={"usage_metadata": answer.usage_metadata, **_call_chunks(answer)})


def _call_chunks(answer: AIMessage) -> dict[str, Any]:
    calls = [
        ToolCallChunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=n, type="tool_call_chunk")
        for n, call in enumerate(answer.tool_calls)
    ]
    return {"tool_call_chunks": calls, "tool_calls": answer.tool_calls}


def _last_piece(whole: AIMessageChunk, completed: AIMessage) -> AIMessageChunk:
    """A last piece with the calls and the usage that the streamed pieces lack."""
    added = AIMessageChunk(content="", id=whole.id)
    if completed.tool_calls and not whole.tool_calls:
        added = added.model_copy(update=_call_chunks(completed))
    if not whole.usage_metadata:
        added.usage_metadata = completed.usage_metadata
        added.response_metadata = {"usage_is_estimated": True}
    return added
