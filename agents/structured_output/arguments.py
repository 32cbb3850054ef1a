"""Arguments of a tool call as models write them, repaired to fit the schema where only their form is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from agents.structured_output.coordinates import LatLon, is_coordinate_key, pair_from_fields
from agents.structured_output.json_repair import find_objects
from agents.structured_output.position import ReplyStatus, parse_confidence, parse_position

Schema = Mapping[str, Any]


def arguments_of(answer: AIMessage, schema: type[BaseModel]) -> tuple[dict[str, Any] | None, str]:
    """The arguments that a reply gives for a schema: in a call, in a broken call, or in its text.

    Returns:
        The arguments, repaired in form, and an empty text; or None and why there are none.
    """
    name = schema.__name__
    parameters = convert_to_openai_tool(schema)["function"]["parameters"]
    calls = [call["args"] for call in answer.tool_calls if call["name"] == name]
    if len(calls) > 1:
        return None, f"it held {len(calls)} calls of {name}, not one"
    broken = [call["args"] or "" for call in answer.invalid_tool_calls if call["name"] == name]
    found = calls or [item for text in broken for item in find_objects(text)]
    arguments = mend(found[0], parameters) if found else arguments_in_text(answer.text, parameters)
    return arguments, "" if arguments is not None else _what_is_missing(answer, name)


def _what_is_missing(answer: AIMessage, name: str) -> str:
    if answer.response_metadata.get("finish_reason") == "length":
        return f"it was cut off before it held a call of {name}: be brief"
    others = sorted({call["name"] for call in answer.tool_calls})
    return f"it held no call of {name}" + (f" but of {', '.join(others)[:100]}" if others else "")


def arguments_in_text(text: str, parameters: Schema) -> dict[str, Any] | None:
    """The arguments that a text gives: its last object that shares a field with the schema, or a position in prose.

    Where hypotheses are wanted, a list of places under any name, or a position in prose, is a list of hypotheses.
    None if it gives none.
    """
    fields = parameters.get("properties", {})
    for item in reversed(find_objects(text)):
        mended: dict[str, Any] = mend(item, parameters)
        if any(key in fields for key in mended):
            return mended
    wants_all = "hypotheses" in fields
    reply = parse_position(text) if wants_all or {"lat", "lon"} <= fields.keys() else None
    if reply is None or reply.status is not ReplyStatus.OK:
        return None
    return dict(mend({"hypotheses": [*map(dict, reply.places)]}, parameters)) if wants_all else dict(reply.place)


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
    if "confidence" in fields and "confidence" in value:
        value = {**value, "confidence": parse_confidence(value["confidence"])}
    return value
