"""The arguments that an answer gives for a schema: in a tool call, in a broken one, or in its text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from agents.structured_output.arguments import arguments_in_text, mend
from agents.structured_output.json_repair import find_objects


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
