"""Messages to a model: text, quoted data, the photo, and pictures where the model or its protocol takes none."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from numpy.typing import NDArray
from PIL import Image

from tools.untrusted_text import CLOSING, OPENING, quoted

MODEL_LONG_SIDE_PX = 1024
JPEG_QUALITY = 85
LEFT_OUT = (
    "[A picture is left out here: you cannot be shown pictures. Go by the data alone, and say what you cannot know.]"
)
_TEXT_INSTEAD = {"type": "text", "text": LEFT_OUT}

_BLOCK = re.compile(re.escape(OPENING) + r"\n(.*?)\n" + re.escape(CLOSING), re.DOTALL)


def read_data(message: BaseMessage) -> dict[str, Any]:
    """The data of a message quoted by `tools.untrusted_text`; empty if it holds none."""
    found = _BLOCK.search(message.text)
    return json.loads(found[1]) if found else {}


def request(instruction: str, payload: Mapping[str, Any]) -> HumanMessage:
    """An instruction, then quoted data."""
    return HumanMessage(f"{instruction}\n\n{quoted(payload)}")


def image_block(rgb: NDArray[np.uint8]) -> dict[str, Any]:
    """Pixels (height, width, 3) as a JPEG content block of at most 1024 px; it carries no metadata and no name."""
    image = Image.fromarray(rgb)
    image.thumbnail((MODEL_LONG_SIDE_PX, MODEL_LONG_SIDE_PX))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "image", "base64": encoded, "mime_type": "image/jpeg"}


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
    return [
        _with_blocks(message, [_TEXT_INSTEAD if is_picture(block) else block for block in _blocks(message)])
        if any(map(is_picture, _blocks(message)))
        else message
        for message in messages
    ]


def first_picture_only(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation with a text in place of each picture but the first, which is the photo."""
    shown: list[BaseMessage] = []
    for message in messages:
        has_photo = count_pictures(shown) > 0
        blocks, seen = [], has_photo
        for block in _blocks(message):
            blocks.append(_TEXT_INSTEAD if is_picture(block) and seen else block)
            seen = seen or is_picture(block)
        shown.append(_with_blocks(message, blocks) if count_pictures([message]) > int(not has_photo) else message)
    return shown


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
            caption = {"type": "text", "text": f"The picture that the tool call {message.tool_call_id} returned:"}
            waiting += [caption, *filter(is_picture, _blocks(message))]
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
