"""Transcripts: what was said to models about each photo and what they replied, in `transcripts.jsonl` of a run.

A message that several calls send is kept once a photo. Pictures are left out. All texts of models are untrusted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from pydantic import Field, ValidationError

from agents.chat_models.dialects.replies import FINISH_REASON, REASONING
from core.errors import UserError
from core.frozen import Frozen
from core.jsonl_log import whole_lines

TRANSCRIPTS_FILE = "transcripts.jsonl"
MAX_CHARACTERS = 20_000
"""Kept of one message."""
_ROLES = {"human": "user", "ai": "assistant"}


class TranscriptMessage(Frozen):
    """One message, without its pictures."""

    role: str = Field(description="system, user, assistant or tool")
    text: str
    tool_calls: tuple[str, ...] = Field((), description="name and arguments of each call, as JSON")
    tool: str = Field("", description="of a tool's result: which one")


class TranscriptCall(Frozen):
    """One call of a model: what was sent, what came back."""

    model: str
    repeated: int = Field(description="messages sent that earlier calls about this photo have too")
    sent: tuple[TranscriptMessage, ...] = Field(description="the other ones, in order")
    reply: TranscriptMessage | None = Field(description="None: it failed")
    reasoning: str = Field("", description="what the model let see of its thinking")
    finish_reason: str = Field("", description="in OpenAI's words; empty: not known")
    tokens: dict[str, int] = Field({}, description="input, output, cached, as the provider counts them")
    error: str = Field("", description="why it failed, in one line")


class Transcript(Frozen):
    """The calls about one photo by one strategy."""

    photo: str
    strategy: str
    asked: str = Field(description="that of the record")
    calls: tuple[TranscriptCall, ...]


def read_transcripts(run: Path) -> dict[tuple[str, str], Transcript]:
    """The newest transcript of each photo and strategy; runs of earlier versions have none, nor do damaged lines.

    Raises:
        UserError: the file cannot be read.
    """
    found: dict[tuple[str, str], Transcript] = {}
    file = run / TRANSCRIPTS_FILE
    try:
        for line in whole_lines(file):
            with suppress(ValidationError):  # scores do not depend on it
                one = Transcript.model_validate_json(line)
                found[one.photo, one.strategy] = one
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"cannot read {file} ({error.strerror}): mend or remove it") from error
    return found


def as_message(message: BaseMessage) -> TranscriptMessage:
    """A message of LangChain as it is kept."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    return TranscriptMessage(
        role=_ROLES.get(message.type, message.type),
        text=_cut(_text(message)),
        tool_calls=tuple(_cut(json.dumps({"tool": c["name"], "arguments": c["args"]}, default=str)) for c in calls),
        tool=(message.name or "") if isinstance(message, ToolMessage) else "",
    )


def finish_reason(message: BaseMessage) -> str:
    """Why the model stopped, as `agents.chat_models.dialects.replies` has put it; empty where it is not known."""
    return str(message.response_metadata.get(FINISH_REASON, ""))


def reasoning_of(message: BaseMessage) -> str:
    """Reasoning beside the answer, from the same place."""
    return _cut(str(message.additional_kwargs.get(REASONING, "")))


def tokens_of(message: BaseMessage) -> dict[str, int]:
    """Tokens by input, output and cached; empty where the provider counts none."""
    usage = message.usage_metadata if isinstance(message, AIMessage) else None
    if not usage or "input_tokens" not in usage:
        return {}
    cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
    return {"input": usage["input_tokens"], "output": usage["output_tokens"], "cached": cached}


def _blocks(message: BaseMessage) -> Sequence[dict[str, Any]]:
    content = message.content if isinstance(message.content, list) else []
    return [block for block in content if isinstance(block, dict)]


def _text(message: BaseMessage) -> str:
    pictures = sum(block.get("type") in ("image", "image_url") for block in _blocks(message))
    return "\n".join([*(["[picture]"] * pictures), message.text])


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} […]"
