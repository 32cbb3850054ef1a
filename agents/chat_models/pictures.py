"""Pictures in a conversation: counted, moved, or left out with a word in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage

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
