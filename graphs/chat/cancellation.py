"""Cancellation: a run in a thread of its own, which can be left at any moment.

Cancelling does not wait for a slow call to return: the run fails at its next node, tool call or token, before
anything more is checkpointed. The thread's checkpoints stay at the last finished step.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.errors import GraphBubbleUp

from core.deadline import BackgroundIterator
from core.waiting import cancelled_by
from graphs.nodes.tool_calls import TOOL_CALL_TASK

Part = TypeVar("Part")


class RunCancelled(GraphBubbleUp):
    """The run was cancelled, which is no error.

    Of a task that ends in any other exception LangGraph keeps what it had written so far, and takes the task for
    done when the thread goes on: a step stopped between its update and its router would lose the way
    (https://github.com/langchain-ai/langgraph/issues/8834). Of one that ends in this it keeps nothing.
    """


def _not_a_stop(record: logging.LogRecord) -> bool:
    return not (isinstance(record.args, tuple) and record.args[:1] == (CancellationCallback.__name__,))


class CancellationCallback(BaseCallbackHandler):
    """Cancels a run from inside; pass it to the run among its callbacks."""

    run_inline = True
    raise_error = True

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._tool_calls: set[UUID] = set()
        # LangChain warns about every callback that raises; this one is meant to.
        logging.getLogger("langchain_core.callbacks.manager").addFilter(_not_a_stop)

    def stop(self) -> None:
        """Stop the run at its next callback."""
        self._wanted.set()

    def check(self, *_: Any, **__: Any) -> None:
        """Fail here if the run is cancelled.

        Raises:
            RunCancelled: it is.
        """
        if self._wanted.is_set():
            raise RunCancelled

    on_tool_start = check
    on_chat_model_start = check
    on_llm_new_token = check

    def on_chain_start(self, *_: Any, run_id: UUID, name: str | None = None, **__: Any) -> None:
        """A graph, a step, a route or a tool call begins."""
        self.check()
        if name == TOOL_CALL_TASK:
            self._tool_calls.add(run_id)

    def on_chain_end(self, *_: Any, run_id: UUID, **__: Any) -> None:
        """One of them ends; a tool call's outcome is kept, or the call would be made again."""
        if run_id not in self._tool_calls:
            self.check()


class CancellableRun(Generic[Part]):
    """The parts of a run, made in a thread of its own."""

    def __init__(self, stopper: CancellationCallback, run: Callable[[], Iterator[Part]]) -> None:
        self._stopper = stopper
        self._run = run
        self._parts: BackgroundIterator[Part] | None = None

    def wait(self, seconds: float) -> bool:
        """Wait for the run's thread to end; whether it has."""
        return self._parts is None or self._parts.wait(seconds)

    def __iter__(self) -> Iterator[Part]:
        """Parts as they come; leaving the loop early, also by Ctrl-C, stops the run.

        Raises:
            BaseException: whatever the run raised.
        """
        self._parts = BackgroundIterator(self._send_parts, "run")
        try:
            yield from self._parts
        finally:
            self._stopper.stop()

    def _send_parts(self, send: Callable[[Part], None]) -> None:
        with cancelled_by(self._stopper.check):
            for part in self._run():
                send(part)
