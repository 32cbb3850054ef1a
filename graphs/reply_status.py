"""What came of asking the model, over a whole run: the status an answer reports, and a hash to check words against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage

from agents.schemas import AnswerStatus
from agents.structured_output.position import ReplyStatus

_BEST_FIRST = (ReplyStatus.OK, ReplyStatus.REFUSED, ReplyStatus.UNPARSABLE, ReplyStatus.FAILED)

_ANSWER_STATUS = {
    ReplyStatus.REFUSED: AnswerStatus.REFUSED,
    ReplyStatus.UNPARSABLE: AnswerStatus.UNPARSABLE,
    ReplyStatus.FAILED: AnswerStatus.FAILED,
}


def model_status(replies: Sequence[str]) -> ReplyStatus | None:
    """The best of the replies' statuses; None if the model was never asked for words to use."""
    return next((status for status in _BEST_FIRST if status.value in replies), None)


def status_without_words(replies: Sequence[str]) -> AnswerStatus | None:
    """How a run ended in which no reply could be used: refused, unparsable or failed; None if one could."""
    status = model_status(replies)
    return _ANSWER_STATUS.get(status) if status else None


def reply_sha256(messages: Sequence[AnyMessage]) -> str:
    """Hash of the last answer of the model in these messages: its text and tool calls as canonical JSON."""
    last = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
    calls = [{"name": call["name"], "args": call["args"]} for call in last.tool_calls] if last else []
    said = {"text": last.text if last else "", "calls": calls}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
