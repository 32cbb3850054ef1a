"""Recording what models are sent and reply while a photo is worked on, whichever part of the system asks them."""

from __future__ import annotations

import json
import math
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tracers.context import register_configure_hook
from typing_extensions import override

from agents.chat_models.failures import ModelFailure
from agents.chat_models.prices import Price
from evals.runs.transcripts import TranscriptCall, TranscriptMessage, as_message, finish_reason, reasoning_of, tokens_of

MAX_REPLY_CHARACTERS = 20_000


class ReplyRecorder(BaseCallbackHandler):
    """Replies by model, in the order in which the questions were asked. Safe between threads."""

    def __init__(self) -> None:
        self._texts: dict[UUID, str | None] = {}
        self._model: dict[UUID, str] = {}
        self._usages: defaultdict[str, list[UsageMetadata]] = defaultdict(list)
        self._sent: dict[UUID, list[BaseMessage]] = {}
        self._answers: dict[UUID, BaseMessage] = {}
        self._failures: dict[UUID, BaseException] = {}
        self._lock = threading.Lock()

    @override
    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        with self._lock:
            self._texts[run_id] = None
            self._sent[run_id] = [message for batch in messages for message in batch]
            self._model[run_id] = str((kwargs.get("invocation_params") or {}).get("model", ""))

    @override
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        messages = [g.message for row in response.generations for g in row if isinstance(g, ChatGeneration)]
        usages = [m.usage_metadata for m in messages if isinstance(m, AIMessage) and m.usage_metadata]
        with self._lock:
            self._texts[run_id] = "\n".join(as_text(message) for message in messages)
            if messages:
                self._answers[run_id] = messages[0]
            # A reply from a cache may carry nothing but "it cost 0".
            self._usages[self._model[run_id]] += [usage for usage in usages if "input_tokens" in usage]

    @override
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        with self._lock:
            self._failures[run_id] = error

    def unreachable(self) -> str | None:
        """Why no model could be reached, in one line; None if one replied, or failed over the question itself."""
        with self._lock:
            failures = list(self._failures.values())
            was_reached = bool(self._answers) or not failures
        failed = failures[-1] if failures else None
        is_dead = not was_reached and isinstance(failed, ModelFailure) and failed.is_unreachable
        return str(failed) if is_dead else None

    def calls(self) -> tuple[TranscriptCall, ...]:
        """All calls so far, in the order in which the questions were asked."""
        seen: set[TranscriptMessage] = set()
        with self._lock:
            return tuple([self._call(run_id, seen) for run_id in self._sent])

    def _call(self, run_id: UUID, seen: set[TranscriptMessage]) -> TranscriptCall:
        """A call as it is kept; what it sent and got joins the messages that are `seen`."""
        sent = [as_message(message) for message in self._sent[run_id]]
        new = tuple(message for message in sent if message not in seen)
        answer, failure = self._answers.get(run_id), self._failures.get(run_id)
        reply = as_message(answer) if answer else None
        seen.update(sent, [reply] if reply else [])
        return TranscriptCall(
            model=self._model[run_id],
            repeated=len(sent) - len(new),
            sent=new,
            reply=reply,
            reasoning=reasoning_of(answer) if answer else "",
            finish_reason=finish_reason(answer) if answer else "",
            tokens=tokens_of(answer) if answer else {},
            error=" ".join(str(failure).split()) if failure else "",
        )

    def texts(self, model: str | None = None) -> tuple[str, ...]:
        """The replies so far, of one model or of all; a call that failed has none."""
        with self._lock:
            wanted = [text for run_id, text in self._texts.items() if model in (None, self._model[run_id])]
        return tuple(text for text in wanted if text is not None)

    def list_usd(self, price: Price | None, model: str | None = None) -> float:
        """What replies, of one model or of all, cost at list price, whether or not they came from a cache.

        0 where no price is known.
        """
        with self._lock:
            usages = [usage for name, of in self._usages.items() if model in (None, name) for usage in of]
        return math.fsum(price.usd(usage) for usage in usages) if price else 0.0


_recorder: ContextVar[ReplyRecorder | None] = ContextVar("reply_recorder", default=None)
register_configure_hook(_recorder, inheritable=True)


@contextmanager
def record_replies() -> Iterator[ReplyRecorder]:
    """Record every reply of a chat model within, also in threads that take this context along."""
    recorder = ReplyRecorder()
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        _recorder.reset(token)


def as_text(message: BaseMessage) -> str:
    """A reply as text: its words, then its tool calls as JSON; very long ones are cut."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    written = [json.dumps({"tool": call["name"], "arguments": call["args"]}, default=str) for call in calls]
    text = "\n".join(part for part in (message.text, *written) if part)
    return text if len(text) <= MAX_REPLY_CHARACTERS else text[:MAX_REPLY_CHARACTERS] + " […]"
