"""Arguments of a tool call as models write them, repaired to fit the schema where only their form is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from agents.structured_output.coordinates import LatLon, is_coordinate_key, pair_from_fields
from agents.structured_output.json_repair import find_object_lists, find_objects
from agents.structured_output.position import ParsedReply, parse_position, place_name, stated_confidence

Schema = Mapping[str, Any]
ALTERNATIVES = "alternatives"
FINISH_REASON = "finish_reason"
"""In a reply's metadata: why it ended, in OpenAI's words."""


def arguments_of(answer: AIMessage, schema: type[BaseModel]) -> tuple[dict[str, Any] | None, str]:
    """The arguments that a reply gives for a schema: in a call, in a broken call, or in its text.

    Returns:
        The arguments, repaired in form, and an empty text; or None and why there are none.
    """
    name = schema.__name__
    parameters = _parameters(schema)
    calls = [call["args"] for call in answer.tool_calls if call["name"] == name]
    broken = [call["args"] or "" for call in answer.invalid_tool_calls if call["name"] == name]
    found = calls or [item for text in broken for item in find_objects(text)]
    if not found:
        arguments = arguments_in_text(answer.text, parameters)
        return arguments, "" if arguments is not None else _what_is_missing(answer, name)
    read = [said for said in (_fitting(item, parameters) for item in found) if said is not None]
    if not read:
        fields = ", ".join(parameters.get("properties", {}))
        return None, f"the arguments of its call have none of the fields {fields[:200]}"
    return _one_of(read), ""


@lru_cache(maxsize=256)
def _parameters(schema: type[BaseModel]) -> Schema:
    return MappingProxyType(convert_to_openai_tool(schema)["function"]["parameters"])


def _one_of(calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several calls as one: their lists joined; of places the one of greatest confidence, or the first.

    The other places are its alternatives.
    """
    if any({"lat", "lon", "name"} & call.keys() for call in calls):
        stated = [call.get("confidence") for call in calls]
        best = max(range(len(calls)), key=lambda n: stated[n] or 0.0) if all(stated) else 0
        others = [other for call in calls if call != calls[best] for other in (call, *call.get(ALTERNATIVES, ()))]
        own = calls[best].get(ALTERNATIVES, [])
        return {**calls[best], ALTERNATIVES: [*own, *others]} if others else calls[best]
    joined = {
        key: [item for call in calls for item in call.get(key, [])]
        for key in {key: None for call in calls for key in call}
        if all(isinstance(call.get(key, []), list) for call in calls)
    }
    return {**{key: value for call in calls for key, value in call.items()}, **joined}


def _what_is_missing(answer: AIMessage, name: str) -> str:
    if answer.response_metadata.get(FINISH_REASON) == "length":
        return f"it was cut off before it held a call of {name}: be brief"
    others = sorted({call["name"] for call in answer.tool_calls})
    return f"it held no call of {name}" + (f" but of {', '.join(others)[:100]}" if others else "")


def arguments_in_text(text: str, parameters: Schema) -> dict[str, Any] | None:
    """The arguments that a text gives: its last object that shares a field with the schema, or a position in prose.

    Where hypotheses are wanted, a list of places under any name, or positions in prose, are a list of hypotheses. None
    if it gives none.
    """
    single = [objects[0] for objects in find_object_lists(text) if len(objects) == 1]
    for item in reversed(single):
        fitting = _fitting(item, parameters) if item else None
        if fitting is not None:
            return fitting
    return _places(parse_position(text), parameters) if _wants_places(parameters) else None


def _fitting(item: dict[str, Any], parameters: Schema) -> dict[str, Any] | None:
    """An object in the form of the schema, with places that it gives under another name; None if they share no field.

    One without any field fits a schema that requires none.
    """
    mended: dict[str, Any] = mend(item, parameters)
    fields: Schema = parameters.get("properties", {})
    if _wants_places(parameters) and not {"hypotheses", "lat", "lon", "name"} & fields.keys() & mended.keys():
        mended = {**mended, **(_places(parse_position(json.dumps(item, default=str)), parameters) or {})}
    is_empty = not item and not parameters.get("required")
    return mended if is_empty or fields.keys() & mended.keys() else None


def _wants_places(parameters: Schema) -> bool:
    fields = parameters.get("properties", {})
    return "hypotheses" in fields or {"lat", "lon"} <= fields.keys()


def _places(reply: ParsedReply, parameters: Schema) -> dict[str, Any] | None:
    """The places of a reply as arguments; None if it has none."""
    fields = parameters.get("properties", {})
    if "hypotheses" in fields:
        listed = [dict(place) for place in reply.places]
        return dict(mend({"hypotheses": listed}, parameters)) if listed else None
    if not reply.place:
        return None
    others = [dict(place) for place in reply.places if place != reply.place]
    place = {**reply.place, ALTERNATIVES: others} if others and ALTERNATIVES in fields else dict(reply.place)
    return dict(mend(place, parameters))


def mend(value: Any, schema: Schema, root: Schema | None = None) -> Any:
    """A value in the form of its schema, where no meaning is at stake.

    Positions under other names, as text, in degrees-minutes-seconds or exchanged beyond doubt become `lat` and `lon`;
    percentages become fractions; texts and lists that are too long are cut. What is wrong otherwise stays as it is.
    """
    root = root or schema
    schema = _resolved(schema, root)
    if isinstance(value, dict) and "properties" in schema:
        fields: Schema = schema["properties"]
        known = _with_plain_numbers(value, fields)
        return {key: mend(part, fields[key], root) if key in fields else part for key, part in known.items()}
    if isinstance(value, list) and schema.get("type") == "array":
        return [mend(item, schema.get("items", {}), root) for item in value[: schema.get("maxItems")]]
    if isinstance(value, str) and "maxLength" in schema:
        return value[: schema["maxLength"]]
    return value


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema behind a reference, or the one that is not null of a choice."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return _resolved(root.get("$defs", {}).get(name, {}), root)
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    return _resolved(choices[0], root) if len(choices) == 1 else schema


def _with_plain_numbers(value: dict[str, Any], fields: Schema) -> dict[str, Any]:
    """The object with its position as `lat` and `lon` in degrees, and its confidence as a fraction."""
    pair = pair_from_fields(value) if {"lat", "lon"} <= fields.keys() else ""
    if isinstance(pair, LatLon):
        value = {**{key: part for key, part in value.items() if not is_coordinate_key(key)}, **pair._asdict()}
    if "confidence" in fields:
        stated = stated_confidence(value)
        value = {**value, **({} if stated is None and "confidence" not in value else {"confidence": stated})}
    if {"lat", "lon", "name"} <= fields.keys() and not value.get("name"):
        name = place_name(value)
        value = {**value, "name": name} if name else value
    return value
