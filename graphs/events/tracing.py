"""Structured events of every node, tool call and model call: when, how long, on what, with what outcome.

LangChain's callbacks report them, so every graph of this project is traced without doing anything for it.
An event's id is made from the checkpoint that its step started from: a step that is run again after a crash or
an interrupt reports its events under the same ids, so that a log that knows ids holds each event once. Events are
reported inside the step, before its checkpoint is written: a step that counts as done has reported all of them.

Hashes stand for what went in and came out; an event holds no photo, no question and no answer.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import register_configure_hook
from langgraph.config import get_stream_writer
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel, Field

from agents.schemas import Frozen
from core.redaction import redacted

MAX_ERROR_CHARACTERS = 300


class What(StrEnum):
    """Subject of an event."""

    NODE = "node"
    TOOL = "tool"
    MODEL = "model"


class Phase(StrEnum):
    """Phase of an event's subject."""

    START = "start"
    END = "end"


class TraceEvent(Frozen):
    """The start or the end of a node, a tool call or a model call."""

    id: str = Field(description="the same for the same event of a step that is run again; unique otherwise")
    time: str = Field(description="UTC, ISO 8601")
    thread: str | None = Field(description="the run's name in the checkpoints")
    step: int = Field(description="the graph's step, counted by its checkpoints")
    node: str = Field(description="the node it happened in")
    what: What
    name: str = Field(description="of the node, the tool or the model's class")
    phase: Phase
    call_id: str | None = Field(None, description="of a tool call")
    seconds: float | None = Field(None, description="how long it took; at the end only")
    arguments_sha256: str | None = Field(None, description="of what went in")
    result_sha256: str | None = Field(None, description="of what came out; at the end only")
    tokens: int | None = Field(None, description="of a model call that reports them")
    error: str | None = Field(None, description="why it failed, on one line")
    paused: bool = Field(False, description="a node that waits for a person; its end follows when it is resumed")


Emit = Callable[[TraceEvent], None]


class _Started(NamedTuple):
    event: TraceEvent
    at: float


class Recorder(BaseCallbackHandler):
    """Passes events to a function, from whichever thread they happen in."""

    run_inline = True
    raise_error = True

    def __init__(self, emit: Emit, kinds: Sequence[What] = tuple(What)) -> None:
        self._emit = emit
        self._kinds = frozenset(kinds)
        self._running: dict[UUID, _Started] = {}
        self._model_calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,  # noqa: ARG002 - the base class's signature
        inputs: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A node starts; other chains are parts of nodes."""
        name, about = kwargs.get("name"), metadata or {}
        if name == about.get("langgraph_node") and any(tag.startswith("graph:step:") for tag in tags or ()):
            with self._lock:
                self._model_calls.pop(_task_path(about), None)
            self._start(run_id, What.NODE, str(name), about, inputs)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """A node ends."""
        self._end(run_id, lambda: {"result_sha256": digest(outputs)})

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A node fails, or waits for a person."""
        if isinstance(error, GraphBubbleUp):
            self._end(run_id, lambda: {"paused": True}, suffix="/paused")
        else:
            self._end(run_id, lambda: {"error": _one_line(error)}, suffix="/failed")

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool is called."""
        name = str((serialized or {}).get("name") or kwargs.get("name"))
        self._start(run_id, What.TOOL, name, metadata or {}, inputs or input_str, call_id=kwargs.get("tool_call_id"))

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """A tool returns; the hash is the one that evidence cites."""
        self._end(run_id, lambda: {"result_sha256": _tool_digest(output)})

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A tool fails."""
        self._end(run_id, lambda: {"error": _one_line(error)})

    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The model is asked."""
        about = metadata or {}
        name = str(kwargs.get("name") or (serialized or {}).get("name") or about.get("ls_model_name") or "model")
        with self._lock:
            self._model_calls[_task_path(about)] += 1
            number = self._model_calls[_task_path(about)]
        self._start(run_id, What.MODEL, name, about, messages, call_id=str(number))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """The model has answered."""
        self._end(run_id, lambda: {"result_sha256": digest(_texts(response)), "tokens": _tokens(response)})

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """The model could not be reached, or broke off."""
        self._end(run_id, lambda: {"error": _one_line(error)})

    def _start(
        self, run_id: UUID, what: What, name: str, about: Mapping[str, Any], inputs: Any, call_id: str | None = None
    ) -> None:
        if what not in self._kinds:
            return
        key = f"{_task_path(about)}/{what.value}:{name}" + (f":{call_id}" if call_id else "")
        event = TraceEvent(
            id=f"{key}/start",
            time=_now(),
            thread=about.get("thread_id"),
            step=int(about.get("langgraph_step", 0)),
            node=str(about.get("langgraph_node", "")),
            what=what,
            name=name,
            phase=Phase.START,
            call_id=call_id,
            arguments_sha256=digest(inputs),
        )
        with self._lock:
            self._running[run_id] = _Started(event, time.perf_counter())
        self._emit(event)

    def _end(self, run_id: UUID, outcome: Callable[[], dict[str, Any]], suffix: str = "/end") -> None:
        """Report the end of what was started under this id, if anything was; only then is the outcome computed."""
        with self._lock:
            started = self._running.pop(run_id, None)
        if started is None:
            return
        ended = {
            "id": started.event.id.removesuffix("/start") + suffix,
            "time": _now(),
            "phase": Phase.END,
            "seconds": round(time.perf_counter() - started.at, 6),
        }
        self._emit(started.event.model_copy(update=ended | outcome()))


_recorder: ContextVar[Recorder | None] = ContextVar("geosleuth_recorder", default=None)
register_configure_hook(_recorder, inheritable=True)


@contextmanager
def recording(emit: Emit) -> Iterator[None]:
    """Pass the events of every run that is started inside to `emit`, whatever graph it is of."""
    token = _recorder.set(Recorder(emit))
    try:
        yield
    finally:
        _recorder.reset(token)


def to_stream(event: TraceEvent) -> None:
    """Send an event through the `custom` stream of the graph it happens in."""
    get_stream_writer()({"event": event.model_dump(mode="json", exclude_defaults=True)})


STREAMED = Recorder(to_stream, kinds=(What.TOOL, What.MODEL))
"""For graphs that stream tool and model calls while they happen; nodes are in LangGraph's own `updates` stream."""


def digest(value: Any) -> str:
    """A hash of a value by its content: models as JSON, mappings in the order of their keys."""
    text = json.dumps(value, default=_plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return [value.type, value.content, getattr(value, "tool_calls", None)]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else repr(value)


def _tool_digest(output: Any) -> str:
    result = getattr(output, "artifact", None)
    own = getattr(result, "sha256", None)
    return str(own()) if callable(own) else digest(output)


def _task_path(about: Mapping[str, Any]) -> str:
    """The ids of the tasks that lead to a node: made from checkpoints, so the same when it is run again."""
    return str(about.get("langgraph_checkpoint_ns") or about.get("langgraph_node") or "outside")


def _texts(response: LLMResult) -> list[Any]:
    return [getattr(g, "message", g.text) for answers in response.generations for g in answers]


def _tokens(response: LLMResult) -> int | None:
    used = (getattr(getattr(g, "message", None), "usage_metadata", None) for gs in response.generations for g in gs)
    counts = [usage["total_tokens"] for usage in used if usage]
    return sum(counts) if counts else None


def _one_line(error: BaseException) -> str:
    text = " ".join(redacted(f"{type(error).__name__}: {error}").split())
    return text[:MAX_ERROR_CHARACTERS]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
