"""Messages to a model: text, quoted data, the photo, and pictures where the model or its protocol takes none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from numpy.typing import NDArray

from retrieval.photos.thumbnail import rgb_jpeg
from tools.base import jpeg_block
from tools.untrusted_text import CLOSING, OPENING, quoted

JPEG_QUALITY = 85
LEFT_OUT = (
    "[A picture is left out here: you cannot be shown pictures. Go by the data alone, and say what you cannot know.]"
)

_BLOCK = re.compile(re.escape(OPENING) + r"\n(.*?)\n" + re.escape(CLOSING), re.DOTALL)


def read_data(message: BaseMessage) -> dict[str, Any]:
    """The data of a message quoted by `tools.untrusted_text`; empty if it holds none."""
    found = _BLOCK.search(message.text)
    return json.loads(found[1]) if found else {}


def request(instruction: str, payload: Mapping[str, Any]) -> HumanMessage:
    """An instruction, then quoted data."""
    return HumanMessage(f"{instruction}\n\n{quoted(payload)}")


def image_block(rgb: NDArray[np.uint8], long_side_px: int = 1024, detail: str | None = None) -> dict[str, Any]:
    """Pixels as a JPEG content block; it carries no metadata and no name.

    Args:
        rgb: uint8 (height, width, 3).
        long_side_px: larger pictures are scaled down to it.
        detail: of OpenAI's protocol; the block is then in OpenAI's form, for LangChain's own form has none.
    """
    block = jpeg_block(rgb_jpeg(rgb, long_side_px, JPEG_QUALITY))
    if detail is None:
        return block
    url = f"data:{block['mime_type']};base64,{block['base64']}"
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def with_image(messages: Sequence[BaseMessage], image: Mapping[str, Any]) -> list[BaseMessage]:
    """The conversation with the photo put into its first human message; the messages given stay as they are."""
    shown: list[BaseMessage] = []
    pending = True
    for message in messages:
        if pending and isinstance(message, HumanMessage):
            message = HumanMessage([dict(image), {"type": "text", "text": message.text}])
            pending = False
        shown.append(message)
    return shown


def is_picture(block: object) -> bool:
    """Whether a content block is a picture."""
    return isinstance(block, dict) and block.get("type") in ("image", "image_url")


def count_pictures(messages: Sequence[BaseMessage]) -> int:
    """Number of pictures in a conversation."""
    return sum(is_picture(block) for message in messages for block in _blocks(message))


def without_pictures(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation with a text in place of each picture; the messages given stay as they are."""
    word = {"type": "text", "text": LEFT_OUT}
    return [
        _with_blocks(message, [word if is_picture(block) else block for block in _blocks(message)])
        if any(map(is_picture, _blocks(message)))
        else message
        for message in messages
    ]


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
            pictures = [block for block in _blocks(message) if is_picture(block)]
            what = "The picture" if len(pictures) == 1 else f"The {len(pictures)} pictures, in order,"
            caption = {"type": "text", "text": f"{what} that the tool call {message.tool_call_id} returned:"}
            waiting += [caption, *pictures]
            message = _with_blocks(message, [block for block in _blocks(message) if not is_picture(block)])
        moved.append(message)
    return [*moved, HumanMessage(waiting)] if waiting else moved


def _blocks(message: BaseMessage) -> list[Any]:
    return message.content if isinstance(message.content, list) else []


def _with_blocks(message: BaseMessage, blocks: list[Any]) -> BaseMessage:
    """The same message with other content; text alone as a string, which every server takes."""
    if all(isinstance(block, str) or block.get("type") == "text" for block in blocks):
        text = "\n".join(block if isinstance(block, str) else block["text"] for block in blocks)
        return message.model_copy(update={"content": text})
    return message.model_copy(update={"content": blocks})
