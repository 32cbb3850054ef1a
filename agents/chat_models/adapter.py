"""Any chat model made to look alike: tool calls, pictures or a word in their place, one kind of failure."""

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
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolCallChunk, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableBinding
from pydantic import ConfigDict, Field, PrivateAttr

from agents.chat_models.base import ToolBindingModel
from agents.chat_models.failures import ModelFailure, as_failure, malformed
from agents.chat_models.tool_prompting import reply_schema, with_calls, with_tools_in_prompt

LEFT_OUT = (
    "[A picture is left out here: you cannot be shown pictures. Go by the data alone, and say what you cannot know.]"
)
_PICTURE_TYPES = frozenset({"image", "image_url"})


def is_picture(block: object) -> bool:
    """Whether a content block is a picture."""
    return isinstance(block, dict) and block.get("type") in _PICTURE_TYPES


def count_pictures(messages: Sequence[BaseMessage]) -> int:
    """Number of pictures in a conversation."""
    return sum(is_picture(block) for message in messages for block in _blocks(message))


def without_pictures(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation with a word in place of each picture; the messages given stay as they are."""
    return [_replaced(message) if any(map(is_picture, _blocks(message))) else message for message in messages]


def pictures_after_results(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation with pictures of tool results moved into a message of their own behind the results.

    OpenAI's protocol allows only text in a tool's result.
    """
    moved: list[BaseMessage] = []
    waiting: list[Any] = []
    for message in messages:
        if waiting and not isinstance(message, ToolMessage):
            moved.append(HumanMessage(waiting))
            waiting = []
        if isinstance(message, ToolMessage) and any(map(is_picture, _blocks(message))):
            waiting += _shown_later(message)
            message = _with_blocks(message, [block for block in _blocks(message) if not is_picture(block)])
        moved.append(message)
    return [*moved, HumanMessage(waiting)] if waiting else moved


def _shown_later(message: ToolMessage) -> list[Any]:
    told = {"type": "text", "text": f"The picture that the tool call {message.tool_call_id} returned:"}
    return [told, *filter(is_picture, _blocks(message))]


def _blocks(message: BaseMessage) -> list[Any]:
    return message.content if isinstance(message.content, list) else []


def _replaced(message: BaseMessage) -> BaseMessage:
    word = {"type": "text", "text": LEFT_OUT}
    return _with_blocks(message, [word if is_picture(block) else block for block in _blocks(message)])


def _with_blocks(message: BaseMessage, blocks: list[Any]) -> BaseMessage:
    """The same message with other content; text alone as a string, which every server takes."""
    if all(isinstance(block, str) or block.get("type") == "text" for block in blocks):
        text = "\n".join(block if isinstance(block, str) else block["text"] for block in blocks)
        return message.model_copy(update={"content": text})
    return message.model_copy(update={"content": blocks})


# What LangChain's readers of replies trip over when a server sends something that the protocol does not allow.
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, LangChainException)
CHARACTERS_A_TOKEN = 4
TOKENS_A_PICTURE = 1_100
"""About what providers charge for one of 1024 px."""


class AdaptedChat(ToolBindingModel):
    """A provider's chat model behind an adapter; every failure is a `ModelFailure`.

    Attributes:
        inner: the provider's model.
        label: the spec, for caches and traces.
        sees_images, calls_tools, keeps_schema: what `inner` can do by itself.
        shows_results: whether pictures may stand in tool results.
        errors: what the provider's library raises.
        concurrency: requests under way at once.
        settings: what else makes replies differ, for caches.
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
        """Make the slots that requests under way take."""
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
        return ChatResult(generations=[ChatGeneration(message=self._read(answer, sent, tools))])

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
        yield from self._pieces(messages, stop, kwargs)

    def _pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> Iterator[ChatGenerationChunk]:
        """What the server sends as it comes, then what can be said of the whole: calls in its text, its size."""
        sent, given, tools = self._request(messages, kwargs)
        whole: AIMessageChunk | None = None
        with self._slots, _failures(self.errors):
            # Without the run manager: the caller tells it of each piece that we pass on.
            for piece in self.inner._stream(sent, stop=stop, **given):
                if isinstance(piece.message, AIMessageChunk):
                    whole = piece.message if whole is None else whole + piece.message
                yield piece
            if whole is None:
                raise ModelFailure("the server's reply is empty", is_retryable=True)
        yield ChatGenerationChunk(message=_what_is_missing(whole, self._read(whole, sent, tools)))

    def _request(
        self, messages: Sequence[BaseMessage], kwargs: dict[str, Any]
    ) -> tuple[list[BaseMessage], dict[str, Any], list[dict[str, Any]]]:
        """Messages as the model takes them, arguments for the provider, and tools to be read from the text."""
        given = dict(kwargs)
        tools: list[dict[str, Any]] = given.pop("tools", None) or []
        choice = given.pop("tool_choice", None)
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

    def _read(self, answer: AIMessage, sent: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]) -> AIMessage:
        """The answer with the calls that stand in its text, and with a size if the server gave none."""
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
    """With a size in tokens made up from the number of characters and pictures, and marked as such."""
    asked = sum(_tokens(message) for message in sent) + TOKENS_A_PICTURE * count_pictures(sent)
    said = _tokens(answer)
    usage = UsageMetadata(input_tokens=asked, output_tokens=said, total_tokens=asked + said)
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


def _what_is_missing(whole: AIMessageChunk, read: AIMessage) -> AIMessageChunk:
    """A last piece with what reading the whole has added."""
    added = AIMessageChunk(content="", id=whole.id)
    if read.tool_calls and not whole.tool_calls:
        added = added.model_copy(update=_call_chunks(read))
    if not whole.usage_metadata:
        added.usage_metadata = read.usage_metadata
        added.response_metadata = {"usage_is_estimated": True}
    return added
