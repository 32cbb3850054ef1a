"""JSON objects in what a model wrote: fenced, amid prose, cut off, with the small faults that models make."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from langchain_core.utils.json import parse_partial_json

MAX_TRIES = 30
"""Brackets that are tried as the start of an object."""
MAX_CUT_OFF_CHARACTERS = 20_000
"""Repairing takes time that grows with the square of the length."""
MAX_DEPTH = 50

_OPENING = re.compile(r"[{\[]")
_TOKEN = re.compile(r'[{}\[\],]|"(?:[^"\\]|\\.)*+(?P<closed>")?', re.DOTALL)
_TRAILING_COMMA = re.compile(r",\s*(?=[}\]])")
_COMMENT = re.compile(r"/\*.*?\*/|(?<=[\s,])//[^\n]*", re.DOTALL)
_BARE_KEY = re.compile(r"(?<=[{,])\s*([A-Za-z_]\w*)\s*(?=:)")
_COMPLETE_END = ('"', "}", "]", ",", "e", "l")  # of a string, object, list, member; true, false and null


def find_objects(text: str) -> list[dict[str, Any]]:
    """Outermost JSON objects of a text, in order; a list of objects gives its first.

    One that was cut off at the end of the text keeps the members that were complete.
    """
    return list(_objects(text))


def is_cut_off(text: str) -> bool:
    """Whether a text ends inside a JSON object."""
    opening = text.find("{")
    return opening >= 0 and _end(text, opening) is None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    start = 0
    for _ in range(MAX_TRIES):
        opening = _OPENING.search(text, start)
        if opening is None:
            return
        stop = _end(text, opening.start())
        value = _parse(text[opening.start() : stop]) if stop else _parse_cut_off(text[opening.start() :])
        found = value[0] if isinstance(value, list) and value else value
        if isinstance(found, dict):
            yield found
        # A bracket that starts no object may have one inside.
        start = stop if stop and isinstance(found, dict) else opening.end()
        if stop is None and isinstance(found, dict):
            return


def _end(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one at `start`; None if the text ends first, or nests absurdly deep."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
        if depth == 0:
            return token.end()
        if depth > MAX_DEPTH:
            return None
    return None


def _parse(text: str) -> Any:
    """The value of a bracketed text, or None: strict JSON, then with the faults mended, then as a Python literal."""
    mended = _TRAILING_COMMA.sub("", _COMMENT.sub("", text))
    for candidate in (text, mended, _BARE_KEY.sub(r'"\1"', mended)):
        try:
            return json.loads(candidate, strict=False)
        except (json.JSONDecodeError, RecursionError):
            continue
    try:
        return ast.literal_eval(mended)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _parse_cut_off(text: str) -> Any:
    """The complete members of a text that ends before its last bracket closes; None if there are none."""
    if len(text) > MAX_CUT_OFF_CHARACTERS:
        return None
    try:
        return parse_partial_json(_whole_members(text), strict=False)
    except (json.JSONDecodeError, RecursionError):
        return None


def _whole_members(text: str) -> str:
    """The text without a last member that was cut short: half a number would be another number."""
    last_comma, in_string = -1, False
    for token in _TOKEN.finditer(text):
        in_string = token[0].startswith('"') and not token["closed"]
        last_comma = token.start() if token[0] == "," else last_comma
    is_complete = not in_string and text.rstrip().endswith(_COMPLETE_END)
    return text if is_complete or last_comma < 0 else text[:last_comma]
