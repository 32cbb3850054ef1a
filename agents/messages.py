"""Messages to a model: text, quoted data, the photo, and pictures where the model or its protocol takes none.

A conversation keeps what its later turns need. What is of use once, a table that the next turn replaces or the words
of a question that has been answered, passes: it is sent at the end of the newest message and never again. So requests
stay short, and each begins with what was sent before, which servers keep in their caches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from numpy.typing import NDArray

from retrieval.photos.thumbnail import rgb_jpeg
from tools.base import jpeg_block
from tools.untrusted_text import CLOSING, OPENING, quoted

JPEG_QUALITY = 85
LEFT_OUT = (
    "[A picture is left out here: you cannot be shown pictures. Go by the data alone, and say what you cannot know.]"
)
_TEXT_INSTEAD = {"type": "text", "text": LEFT_OUT}

_BLOCK = re.compile(re.escape(OPENING) + r"\n(.*?)\n" + re.escape(CLOSING), re.DOTALL)


PASSING = "passing"
"""Key of the part of a message that is sent once, among its additional arguments: transcripts show it, models do not
get it again."""
PASSED_PICTURE = "[A picture that you were shown before your last reply.]"


def read_data(message: BaseMessage) -> dict[str, Any]:
    """The data of a message quoted by `tools.untrusted_text`, blocks merged in their order; empty if it holds none."""
    data: dict[str, Any] = {}
    for block in _BLOCK.finditer(message.text):
        data.update(json.loads(block[1]))
    return data


def request(instruction: str, payload: Mapping[str, Any]) -> HumanMessage:
    """An instruction, then quoted data; all of it stays in the conversation."""
    return HumanMessage(f"{instruction}\n\n{quoted(payload)}")


def passing_request(kept: HumanMessage | str, instruction: str, payload: Mapping[str, Any]) -> HumanMessage:
    """A message of which only `kept` stays in the conversation; instruction and quoted data are sent once."""
    message = HumanMessage(kept) if isinstance(kept, str) else kept
    return message.model_copy(update={"additional_kwargs": {PASSING: f"{instruction}\n\n{quoted(payload)}"}})


def as_sent(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation as it is sent: the newest message with what passes of it."""
    if not messages or PASSING not in messages[-1].additional_kwargs:
        return list(messages)
    last = messages[-1]
    passing = {"type": "text", "text": str(last.additional_kwargs[PASSING])}
    if isinstance(last.content, str):
        return [*messages[:-1], HumanMessage(f"{last.content}\n\n{passing['text']}")]
    return [*messages[:-1], HumanMessage([*last.content, passing])]


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


def with_images(messages: Sequence[BaseMessage], images: Mapping[str, Mapping[str, Any]]) -> list[BaseMessage]:
    """The conversation with the photo put into its first human message; the messages given stay as they are.

    Args:
        messages: the conversation.
        images: content blocks by photo id; of several, each is put behind a line with its id.
    """
    blocks: list[str | dict[str, Any]] = []
    for photo_id, image in images.items():
        blocks += [{"type": "text", "text": f"{photo_id}:"}, dict(image)] if len(images) > 1 else [dict(image)]
    shown: list[BaseMessage] = []
    pending = True
    for message in messages:
        if pending and isinstance(message, HumanMessage):
            message = HumanMessage([*blocks, {"type": "text", "text": message.text}])
            pending = False
        shown.append(message)
    return shown


def without_earlier_pictures(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation with a text in place of each picture that the model has replied to since it was shown."""
    replied = max((n for n, message in enumerate(messages) if isinstance(message, AIMessage)), default=0)
    return [*without_pictures(messages[:replied], PASSED_PICTURE), *messages[replied:]]


def is_picture(block: object) -> bool:
    """Whether a content block is a picture."""
    return isinstance(block, dict) and block.get("type") in ("image", "image_url")


def count_pictures(messages: Sequence[BaseMessage]) -> int:
    """Number of pictures in a conversation."""
    return sum(is_picture(block) for message in messages for block in _blocks(message))


def without_pictures(messages: Sequence[BaseMessage], instead: str = LEFT_OUT) -> list[BaseMessage]:
    """The conversation with a text in place of each picture; the messages given stay as they are."""
    word = {"type": "text", "text": instead}
    return [
        _with_blocks(message, [word if is_picture(block) else block for block in _blocks(message)])
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
