"""JSON objects in what a model wrote: fenced, amid prose, cut off, with the small faults that models make."""

from __future__ import annotations

import ast
import re
from typing import Any

from langchain_core.utils.json import parse_partial_json

from core.json_text import parse_json

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
_COMPLETE_END = ('"', "}", "]", ",", "true", "false", "null")  # of a string, object, list, member, constant


def find_objects(text: str) -> list[dict[str, Any]]:
    """Outermost JSON objects of a text, in order; a list of objects gives its first.

    One that was cut off at the end of the text keeps the members that were complete.
    """
    return [objects[0] for objects in find_object_lists(text)]


def find_object_lists(text: str) -> list[list[dict[str, Any]]]:
    """Outermost JSON objects of a text, in order, each as a list of one; a list that begins with an object, whole."""
    found: list[list[dict[str, Any]]] = []
    start = 0
    for _ in range(MAX_TRIES):
        opening = _OPENING.search(text, start)
        if opening is None:
            break
        end = _end(text, opening.start())
        value = _parse(text[opening.start() : end]) if end else _parse_cut_off(text[opening.start() :])
        objects = value if isinstance(value, list) else [value]
        if begins := bool(objects) and isinstance(objects[0], dict):
            found.append([item for item in objects if isinstance(item, dict)])
            if end is None:
                break
        # A bracket that starts no object may have one inside.
        start = end if end and begins else opening.end()
    return found


def is_cut_off(text: str) -> bool:
    """Whether a text ends inside a JSON object."""
    opening = text.find("{")
    return opening >= 0 and _end(text, opening) is None


def _end(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one at `start`; None if the text ends first, or nests absurdly deep."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        depth += (token[0] in "{[") - (token[0] in "}]")
        if depth == 0:
            return token.end()
        if depth > MAX_DEPTH:
            break
    return None


def _parse(text: str) -> Any:
    """The value of a bracketed text, or None: strict JSON, then with the faults mended, then as a Python literal."""
    mended = _TRAILING_COMMA.sub("", _COMMENT.sub("", text))
    for candidate in (text, mended, _BARE_KEY.sub(r'"\1"', mended)):
        try:
            return parse_json(candidate, strict=False)
        except ValueError:
            continue
    try:
        return ast.literal_eval(mended)  # literals only: nothing of a model's text is ever executed
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _parse_cut_off(text: str) -> Any:
    """The complete members of a text that ends before its last bracket closes; None if there are none.

    A last member that was cut short is left out: half a number would be another number.
    """
    if len(text) > MAX_CUT_OFF_CHARACTERS:
        return None
    tokens = list(_TOKEN.finditer(text))
    commas = [token.start() for token in tokens if token[0] == ","]
    ends_in_string = tokens[-1][0].startswith('"') and not tokens[-1]["closed"]
    is_complete = not ends_in_string and text.rstrip().endswith(_COMPLETE_END)
    try:
        return parse_partial_json(text if is_complete or not commas else text[: commas[-1]], strict=False)
    except (ValueError, RecursionError):
        return None
