"""Arguments of a call as models write them, made to fit the schema where only the form is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from agents.structured_output.coordinates import LAT_KEYS, LON_KEYS, LatLon, pair_from_fields
from agents.structured_output.json_repair import find_objects
from agents.structured_output.position import ReplyStatus, parse_confidence, parse_position

Schema = Mapping[str, Any]


def arguments_in_text(text: str, parameters: Schema) -> dict[str, Any] | None:
    """The arguments that a text gives: its last object that shares a field with the schema, or a position in prose.

    None if it gives none.
    """
    fields = parameters.get("properties", {})
    for item in reversed(find_objects(text)):
        mended: dict[str, Any] = mend(item, parameters)
        if any(key in fields for key in mended):
            return mended
    return _position_arguments(text) if {"lat", "lon"} <= fields.keys() else None


def _position_arguments(text: str) -> dict[str, Any] | None:
    read = parse_position(text)
    if read.status is not ReplyStatus.OK or read.position is None:
        return None
    said = read.position
    known = {"name": said.name, "confidence": said.confidence, "why": said.reason}
    return {"lat": said.lat, "lon": said.lon, **{key: value for key, value in known.items() if value is not None}}


def mend(value: Any, schema: Schema, root: Schema | None = None) -> Any:
    """A value in the form of its schema, where no meaning is at stake.

    Positions under other names, as text, in degrees-minutes-seconds or exchanged beyond doubt become `lat` and `lon`;
    percentages become fractions; texts and lists that are too long are cut. What is wrong otherwise stays as it is.
    """
    root = root or schema
    schema = _resolved(schema, root)
    if isinstance(value, dict) and "properties" in schema:
        return _mended_object(value, schema, root)
    if isinstance(value, list) and schema.get("type") == "array":
        items = schema.get("items", {})
        return [mend(item, items, root) for item in value[: schema.get("maxItems", len(value))]]
    if isinstance(value, str) and isinstance(schema.get("maxLength"), int):
        return value[: schema["maxLength"]]
    return value


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema behind a reference, or the one that is not null of a choice."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return _resolved(root.get("$defs", {}).get(name, {}), root)
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    return _resolved(choices[0], root) if len(choices) == 1 else schema


def _mended_object(value: Mapping[str, Any], schema: Schema, root: Schema) -> dict[str, Any]:
    fields: Schema = schema["properties"]
    mended = dict(value)
    if {"lat", "lon"} <= fields.keys():
        mended = _with_position(mended)
    if "confidence" in fields and "confidence" in mended:
        mended["confidence"] = parse_confidence(mended["confidence"])
    return {key: mend(part, fields[key], root) if key in fields else part for key, part in mended.items()}


def _with_position(value: dict[str, Any]) -> dict[str, Any]:
    pair = pair_from_fields(value)
    if not isinstance(pair, LatLon):
        return value
    taken = {*LAT_KEYS, *LON_KEYS}
    rest = {key: part for key, part in value.items() if str(key).strip().casefold() not in taken}
    return {**rest, "lat": pair.lat, "lon": pair.lon}


def arguments_of(answer: AIMessage, schema: type[BaseModel]) -> tuple[dict[str, Any] | None, str]:
    """The arguments, mended in form, or None and why there are none."""
    name = schema.__name__
    parameters = convert_to_openai_tool(schema)["function"]["parameters"]
    calls = [call for call in answer.tool_calls if call["name"] == name]
    if len(calls) > 1:
        return None, f"it held {len(calls)} calls of {name}, not one"
    found = calls[0]["args"] if calls else _in_broken_call(answer, name)
    if found is None:
        found = arguments_in_text(answer.text, parameters)
        return found, "" if found is not None else _what_is_missing(answer, name)
    mended: dict[str, Any] = mend(found, parameters)
    return mended, ""


def _in_broken_call(answer: AIMessage, name: str) -> dict[str, Any] | None:
    """Arguments of a call whose JSON is not quite JSON, or was cut off."""
    broken: list[Mapping[str, Any]] = [call for call in answer.invalid_tool_calls if call["name"] == name]
    return next((item for call in broken for item in find_objects(call["args"] or "")), None)


def _what_is_missing(answer: AIMessage, name: str) -> str:
    if answer.response_metadata.get("finish_reason") == "length":
        return f"it was cut off before it held a call of {name}: be brief"
    others = sorted({call["name"] for call in answer.tool_calls})
    return f"it held no call of {name}" + (f" but of {', '.join(others)[:100]}" if others else "")
