"""Conversations as servers want them: roles that alternate, no system role, marks for the prompt cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agents.messages import is_picture

NOTED = "Noted."
_MARK = {"cache_control": {"type": "ephemeral"}}


def merge_user_turns(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation with user messages that follow each other made one."""
    merged: list[BaseMessage] = []
    for message in messages:
        if merged and isinstance(message, HumanMessage) and isinstance(merged[-1], HumanMessage):
            merged[-1] = HumanMessage(_joined(merged[-1].content, message.content), id=merged[-1].id)
        else:
            merged.append(message)
    return merged


def alternate_roles(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation with an acknowledgement between a tool's result and a user message behind it.

    Chat templates that insist on alternation count the tools' results as no turn, or as the user's.
    """
    turns: list[BaseMessage] = []
    for message in messages:
        if turns and isinstance(message, HumanMessage) and isinstance(turns[-1], ToolMessage):
            turns.append(AIMessage(NOTED))
        turns.append(message)
    return turns


def fold_system(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation with the system prompt at the start of the first user message."""
    said: list[BaseMessage] = [
        HumanMessage(message.content) if isinstance(message, SystemMessage) else message for message in messages
    ]
    return merge_user_turns(said)


def mark_for_cache(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation with Anthropic's marks behind what is sent again: system prompt, photo, newest message.

    Source: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching (at most four marks).
    """
    marked = list(messages)
    system = next((n for n, message in enumerate(marked) if isinstance(message, SystemMessage)), None)
    photo = next((n for n, message in enumerate(marked) if any(map(is_picture, _blocks(message.content)))), None)
    newest = len(marked) - 1 if marked and not isinstance(marked[-1], AIMessage) else None
    for number in {number for number in (system, photo, newest) if number is not None}:
        marked[number] = _marked(marked[number])
    return marked


def _marked(message: BaseMessage) -> BaseMessage:
    """The message with a mark on its first picture, or on its last block."""
    blocks = _blocks(message.content)
    if not blocks:
        return message
    place = next((n for n, block in enumerate(blocks) if is_picture(block)), len(blocks) - 1)
    place = len(blocks) - 1 if isinstance(message, ToolMessage) else place
    blocks[place] = {**blocks[place], **_MARK}
    return message.model_copy(update={"content": blocks})


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_blocks(first), *_blocks(second)]


def _blocks(content: Any) -> list[Any]:
    """Content as a list of blocks, none of them empty."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]
