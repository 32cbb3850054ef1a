"""Messages to the model: text, quoted data and the photo."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.messages import BaseMessage, HumanMessage
from numpy.typing import NDArray
from PIL import Image

from tools.untrusted_text import CLOSING, OPENING, quoted

MODEL_LONG_SIDE_PX = 1024
JPEG_QUALITY = 85

_BLOCK = re.compile(re.escape(OPENING) + r"\n(.*?)\n" + re.escape(CLOSING), re.DOTALL)


def read_data(message: BaseMessage) -> dict[str, Any]:
    """The data of a message quoted by `tools.untrusted_text`; empty if it holds none."""
    found = _BLOCK.search(message.text)
    return json.loads(found[1]) if found else {}


def request(instruction: str, payload: Mapping[str, Any]) -> HumanMessage:
    """An instruction of ours, then quoted data."""
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
