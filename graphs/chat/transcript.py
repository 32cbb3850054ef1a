"""The words of a long conversation, each kept once: the last turns' in its state, those of earlier turns beside it.

A checkpoint holds the whole state, and a conversation keeps several: words that stayed in the state for ever would be
in each of them, and be read, copied and written in every step of every turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AnyMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint

from graphs.checkpoints import TRANSCRIPT, UNDONE_TURNS

STATE_TURNS = 2 * UNDONE_TURNS
"""Turns whose words stay in the state, so that none that can be taken back is in the transcript (set by hand)."""
_CHANNEL = "messages"


class ChatTranscript:
    """The words of the earlier turns of one thread, in a namespace of its checkpoints: what deletes it deletes them."""

    def __init__(self, checkpointer: BaseCheckpointSaver[str], thread_id: str) -> None:
        self._checkpointer = checkpointer
        self._config = {"thread_id": thread_id, "checkpoint_ns": TRANSCRIPT}

    def add(self, first_turn: int, messages: Sequence[AnyMessage]) -> None:
        """Save the words of some turns; to save them again changes nothing.

        Args:
            first_turn: the number of the first of these turns, from 0; the turns before it are saved.
            messages: their words.
        """
        part = {**empty_checkpoint(), "id": f"{first_turn:012}", "channel_values": {_CHANNEL: list(messages)}}
        versions: dict[str, str | int | float] = {_CHANNEL: f"{first_turn:012}"}
        part["channel_versions"] = versions
        self._checkpointer.put({"configurable": dict(self._config)}, part, {}, versions)  # type: ignore[arg-type]

    def before(self, turn: int) -> list[AnyMessage]:
        """The words of the turns before one, in order."""
        if turn == 0:
            return []
        parts = self._checkpointer.list({"configurable": dict(self._config)})
        saved = {part.checkpoint["id"]: part.checkpoint["channel_values"][_CHANNEL] for part in parts}
        return [message for number in sorted(saved) if int(number) < turn for message in saved[number]]


def earlier_turns(messages: Sequence[AnyMessage]) -> tuple[int, Sequence[AnyMessage]]:
    """How many turns leave the state, with their words: none, until it holds twice as many turns as stay."""
    begins = [number for number, message in enumerate(messages) if message.type == "human"]
    if len(begins) < 2 * STATE_TURNS:
        return 0, []
    return len(begins) - STATE_TURNS, messages[: begins[-STATE_TURNS]]
