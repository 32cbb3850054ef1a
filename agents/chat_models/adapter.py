"""One interface for all providers' chat models: tool calls, pictures or a text in their place, one exception."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.exceptions import LangChainException, ModelError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field, PrivateAttr

from agents.chat_models.adjustments import Unsupported, next_refusal, remarks
from agents.chat_models.base import ToolBindingModel
from agents.chat_models.dialects.replies import FINISH_REASON, REASONING, counted, normalised
from agents.chat_models.dialects.requests import Dialect, Request, Wanted, request_for
from agents.chat_models.failures import ModelFailure, as_failure, malformed
from agents.chat_models.spec import Capabilities
from agents.chat_models.tool_prompting import with_calls
from agents.messages import count_pictures
from agents.structured_output.thoughts import ThoughtFilter, begins_inside_thought

T = TypeVar("T")

# Raised by LangChain's parsers of replies when a server sends something that the protocol does not allow.
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, LangChainException)
CHARACTERS_A_TOKEN = 4
TOKENS_A_PICTURE = 1_100
"""Roughly, for one of 1024 px."""
USAGE_IS_ESTIMATED = "usage_is_estimated"
_NO_USAGE = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
REMARKS = "remarks"
"""In a reply's metadata: what an answer should say about how the model was asked."""


class AdaptedChat(ToolBindingModel):
    """A provider's chat model behind an adapter; every failure is a `ModelFailure`.

    What a server refuses of a request is left out or put otherwise, and the request made again at once; the adapter
    remembers it. Replies have one form (`dialects.replies`), without reasoning in their text.

    Attributes:
        inner: the provider's model.
        label: the spec, for caches and traces.
        able: what `inner` can do by itself, as far as it was known at the start.
        dialect: how the provider's requests differ.
        errors: exceptions of the provider's library.
        concurrency: requests under way at once.
        settings: what else replies depend on, for caches.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inner: BaseChatModel
    label: str
    able: Capabilities = Capabilities()
    dialect: Dialect = Dialect()
    errors: tuple[type[Exception], ...] = ()
    concurrency: int = Field(8, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    _slots: threading.BoundedSemaphore = PrivateAttr()
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _refused: frozenset[Unsupported] = PrivateAttr()
    _begins_inside_thought: bool | None = PrivateAttr(None)
    """Whether a reply began within reasoning that the prompt had opened; None before the first reply."""

    def model_post_init(self, context: Any, /) -> None:
        """Create the semaphore that limits concurrent requests."""
        super().model_post_init(context)
        self._slots = threading.BoundedSemaphore(self.concurrency)
        self._refused = self.able.refused

    @property
    def _llm_type(self) -> str:
        return "adapted"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        able = (self.able.images, self.able.tools, self.able.structured_output)
        return {"model": self.label, "able": able, **self.settings}

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do, less what its server has refused so far."""
        return self.able.without(self._refused)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        def send(request: Request) -> list[tuple[AIMessage, dict[str, Any]]]:
            with _failures(self.errors):
                model, sent = request.model, request.messages
                return _replies(model._generate(sent, stop=stop, run_manager=run_manager, **request.arguments))

        with self._slots:
            request, answers = self._adjusted(_wanted(messages, kwargs), send)
        complete = [self._complete(answer, request, info) for answer, info in answers]
        # The usage is that of the request, which all its replies share.
        paid = [complete[0], *(answer.model_copy(update={"usage_metadata": _NO_USAGE}) for answer in complete[1:])]
        return ChatResult(generations=[ChatGeneration(message=answer) for answer in paid])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if type(self.inner)._stream is BaseChatModel._stream:
            answer, _ = _replies(self._generate(messages, stop, run_manager, **kwargs))[0]
            yield ChatGenerationChunk(message=_as_chunk(answer))
            return

        def send(request: Request) -> tuple[ChatGenerationChunk, Iterator[ChatGenerationChunk]]:
            with _failures(self.errors):
                # Without the run manager: the caller reports each piece that we pass on.
                pieces = request.model._stream(request.messages, stop=stop, **request.arguments)
                first = next(pieces, None)
            if first is None:
                raise ModelFailure("the server's reply is empty", is_retryable=True)
            return first, pieces

        with self._slots:
            request, (first, pieces) = self._adjusted(_wanted(messages, kwargs), send, is_stream=True)
            yield from self._pass_on(request, _chained(first, pieces, self.errors))

    def _pass_on(self, request: Request, pieces: Iterator[ChatGenerationChunk]) -> Iterator[ChatGenerationChunk]:
        """The pieces of a stream without reasoning, and a last one with all that is known at the end.

        Raises:
            ModelFailure: the stream ended before the reply did.
        """
        whole: AIMessageChunk | None = None
        info: dict[str, Any] = {}
        filtered = ThoughtFilter(may_begin_inside=self._begins_inside_thought is not False)
        for piece in pieces:
            if not isinstance(piece.message, AIMessageChunk):
                continue
            message = counted(piece.message)
            whole = message if whole is None else whole + message
            info |= {key: value for key, value in (piece.generation_info or {}).items() if value is not None}
            yield ChatGenerationChunk(message=_bare(piece.message, filtered))
        if whole is None:
            raise ModelFailure("the server's reply is empty", is_retryable=True)
        complete = self._complete(whole, request, info)
        if FINISH_REASON not in complete.response_metadata:
            raise ModelFailure("the server's reply was cut off: its stream ended without a reason", is_retryable=True)
        yield ChatGenerationChunk(message=_last_piece(whole, complete, filtered.finish()))

    def _adjusted(self, wanted: Wanted, send: Callable[[Request], T], is_stream: bool = False) -> tuple[Request, T]:
        """Send a request, again without each thing that the server refuses; what then succeeds is remembered.

        Raises:
            ModelFailure: it fails for another reason, or whatever is left out.
        """
        learned: frozenset[Unsupported] = frozenset()
        first: ModelFailure | None = None
        while True:
            request = request_for(self.inner, wanted, self.dialect, self._refused | learned, is_stream)
            try:
                answer = send(request)
            except ModelFailure as failure:
                refusal = next_refusal(failure.status, failure.said, request.used)
                if refusal is None:
                    if first is None or failure.is_retryable:
                        raise
                    raise first from failure
                first, learned = first or failure, learned | {refusal}
                continue
            with self._lock:
                self._refused |= learned
            return request, answer

    def _complete(self, raw: AIMessage, request: Request, info: Mapping[str, Any]) -> AIMessage:
        """The reply in the common form, with the calls in its text, and an estimated usage if the server gave none."""
        self._note_thoughts(raw)
        answer = normalised(counted(raw), info)
        if request.tools and not answer.tool_calls and not answer.invalid_tool_calls:
            stem = _digest(request.messages, answer.text)
            answer = with_calls(answer, request.tools, id_stem=stem, by_name=not request.is_text)
        said = list(remarks(self._refused, self.label))
        if said:
            answer.response_metadata[REMARKS] = said
        return answer if answer.usage_metadata else with_estimate(answer, request.messages)

    def _note_thoughts(self, raw: AIMessage) -> None:
        """Remember whether replies begin within reasoning: then a stream is held back until that is closed."""
        text = raw.text.strip()
        if text and not self._begins_inside_thought:
            self._begins_inside_thought = begins_inside_thought(text)


def _wanted(messages: Sequence[BaseMessage], kwargs: Mapping[str, Any]) -> Wanted:
    ours = ("tools", "tool_choice", "n", "stream")
    others = {name: value for name, value in kwargs.items() if name not in ours}
    return Wanted(messages, kwargs.get("tools") or [], kwargs.get("tool_choice"), kwargs.get("n") or 1, others)


def _replies(result: ChatResult) -> list[tuple[AIMessage, dict[str, Any]]]:
    """The replies of a request, and what the integration says of each."""
    # Anthropic's integration says in the whole why the one reply ended.
    whole = result.llm_output or {}
    said = [(item.message, {**whole, **(item.generation_info or {})}) for item in result.generations]
    replies = [(message, info) for message, info in said if isinstance(message, AIMessage)]
    if not replies:
        raise ModelFailure("the server's reply is empty", is_retryable=True)
    return replies


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


def _chained(
    first: ChatGenerationChunk, others: Iterator[ChatGenerationChunk], errors: tuple[type[Exception], ...]
) -> Iterator[ChatGenerationChunk]:
    yield first
    with _failures(errors):
        yield from others


def with_estimate(answer: AIMessage, sent: Sequence[BaseMessage]) -> AIMessage:
    """The answer with tokens estimated from characters and pictures, and marked as such."""
    prompt = sum(_tokens(message) for message in sent) + TOKENS_A_PICTURE * count_pictures(sent)
    output = _tokens(answer)
    usage = UsageMetadata(input_tokens=prompt, output_tokens=output, total_tokens=prompt + output)
    metadata = {**answer.response_metadata, USAGE_IS_ESTIMATED: True}
    return answer.model_copy(update={"usage_metadata": usage, "response_metadata": metadata})


def _tokens(message: BaseMessage) -> int:
    calls = str(message.tool_calls) if isinstance(message, AIMessage) and message.tool_calls else ""
    reasoning = str(message.additional_kwargs.get(REASONING, ""))
    return math.ceil(len(message.text + calls + reasoning) / CHARACTERS_A_TOKEN)


def _digest(sent: Sequence[BaseMessage], text: str) -> str:
    seen = "\n".join([*(message.text for message in sent), text])
    return f"text-{hashlib.sha256(seen.encode()).hexdigest()[:12]}"


def _as_chunk(answer: AIMessage) -> AIMessageChunk:
    chunk = AIMessageChunk(content=answer.content, id=answer.id, response_metadata=answer.response_metadata)
    known = {"usage_metadata": answer.usage_metadata, "additional_kwargs": answer.additional_kwargs}
    return chunk.model_copy(update={**known, **_call_chunks(answer)})


def _bare(piece: AIMessageChunk, filtered: ThoughtFilter) -> AIMessageChunk:
    """A piece of a stream without reasoning, and without what only the last piece is to say."""
    content: Any = piece.content
    if isinstance(content, str):
        content = filtered.feed(content)
    else:
        content = [
            {**block, "text": filtered.feed(block["text"])} if isinstance(block, dict) and "text" in block else block
            for block in content
        ]
    said_last: dict[str, Any] = {"response_metadata": {}, "additional_kwargs": {}, "usage_metadata": None}
    return piece.model_copy(update={"content": content, **said_last})


def _call_chunks(answer: AIMessage) -> dict[str, Any]:
    calls = [
        ToolCallChunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=n, type="tool_call_chunk")
        for n, call in enumerate(answer.tool_calls)
    ]
    return {"tool_call_chunks": calls, "tool_calls": answer.tool_calls}


def _last_piece(whole: AIMessageChunk, complete: AIMessage, held_back: str) -> AIMessageChunk:
    """A last piece with the text that was held back, and what is known only at the end."""
    added = AIMessageChunk(
        content=held_back,
        id=whole.id,
        response_metadata=complete.response_metadata,
        additional_kwargs=complete.additional_kwargs,
        usage_metadata=complete.usage_metadata,
    )
    return added.model_copy(update=_call_chunks(complete)) if complete.tool_calls and not whole.tool_calls else added
