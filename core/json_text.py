"""JSON that somebody else may have written: one kind of error, whatever is wrong with it."""

from __future__ import annotations

import json
from typing import Any

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


def parse_json(text: str | bytes, *, strict: bool = True) -> Any:
    """The value of a JSON text, with or without a byte order mark.

    Args:
        text: bytes are UTF-8, UTF-16 or UTF-32.
        strict: whether strings may hold no line breaks and other control characters.

    Raises:
        ValueError: it is no JSON, its encoding is broken, or it is nested deeper than Python can go.
    """
    try:
        return json.loads(text.removeprefix(_BYTE_ORDER_MARK) if isinstance(text, str) else text, strict=strict)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
