"""Calling a tool as a model does, and what a test server is asked and answers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from PIL import Image

from retrieval.photos.photo import Photo, decode_photo


class Reply(NamedTuple):
    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Server(NamedTuple):
    host: str
    asked: list[str]
    agents: list[str]


Answering = Callable[[str], Reply]


def call(tool: BaseTool, **arguments: Any) -> ToolMessage:
    """Call a tool as an executor does with a model's tool call."""
    message = tool.invoke({"type": "tool_call", "id": "call-1", "name": tool.name, "args": arguments})
    assert isinstance(message, ToolMessage)
    return message


def as_photo(rgb: np.ndarray) -> Photo:
    stream = io.BytesIO()
    Image.fromarray(rgb.astype(np.uint8)).save(stream, "PNG")
    return decode_photo(stream.getvalue(), "photo.png")


def shown_to_model(message: ToolMessage) -> dict[str, Any]:
    """The data in a tool's message, as the model reads it."""
    found: dict[str, Any] = json.loads(message.text.splitlines()[1])
    return found
