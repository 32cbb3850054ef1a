"""Tool calling for models without it: tools are written into the prompt, and calls parsed from the text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage

from agents.chat_models.base import Tool
from agents.prompts import render
from agents.structured_output.arguments import arguments_in_text
from agents.structured_output.json_repair import find_object_lists, find_objects


def with_tools_in_prompt(messages: Sequence[BaseMessage], tools: Sequence[Tool]) -> list[BaseMessage]:
    """The conversation with past calls and results as text, and the tools at the end."""
    plain = [_without_tools(message) for message in messages]
    return [*plain, HumanMessage(_instruction(tools))] if tools else plain


def name_the_tool(tool_name: str) -> str:
    """The request to call a tool, where the server cannot be told to force a call."""
    return render("call_named_tool", tool_name=tool_name)


def _without_tools(message: BaseMessage) -> BaseMessage:
    if isinstance(message, ToolMessage):
        before = f"Result of the tool {message.name or 'called'} (tool_call_id {message.tool_call_id}):\n"
        if isinstance(message.content, str):
            return HumanMessage(before + message.content)
        return HumanMessage([{"type": "text", "text": before}, *message.content])
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [
            {"name": call["name"], "arguments": call["args"], "tool_call_id": call["id"]} for call in message.tool_calls
        ]
        return AIMessage(json.dumps({**_plan(message), "calls": calls}, ensure_ascii=False))
    return message


def _plan(message: AIMessage) -> dict[str, str]:
    """What the model wrote before its calls, if it did."""
    said = next(iter(find_objects(message.text)), {}).get("plan")
    return {"plan": said} if isinstance(said, str) else {}


def _instruction(tools: Sequence[Tool]) -> str:
    functions = [tool["function"] for tool in tools]
    if len(functions) == 1:
        only = functions[0]
        schema = json.dumps(only["parameters"], ensure_ascii=False)
        return render("call_one_tool", tool_name=only["name"], description=only.get("description", ""), schema=schema)
    described = [f"- {f['name']}: {f.get('description', '')}\n  {json.dumps(f['parameters'])}" for f in functions]
    return render("call_tools", tools="\n".join(described))


def reply_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """JSON schema of what the prompt asks for, for servers that constrain a reply to one."""
    functions = [tool["function"] for tool in tools]
    if len(functions) == 1:
        return dict(functions[0]["parameters"])
    calls = [_object_schema(name={"const": each["name"]}, arguments=each["parameters"]) for each in functions]
    listed = {"type": "array", "items": {"anyOf": calls}, "maxItems": 16}
    return _object_schema(plan={"type": "string"}, calls=listed)


def _object_schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def with_calls(answer: AIMessage, tools: Sequence[Tool], id_stem: str, by_name: bool = False) -> AIMessage:
    """The answer with the calls that its text holds; unchanged if there are none.

    Args:
        answer: what the model said.
        tools: on offer.
        id_stem: what ids derive from, so that the same reply has the same calls.
        by_name: whether only calls of tools on offer count, as of a model that can call tools and yet writes calls.
    """
    calls = calls_in_text(answer.text, tools, by_name)
    named = [ToolCall(name=name, args=args, id=f"{id_stem}-{n}") for n, (name, args) in enumerate(calls)]
    return answer.model_copy(update={"tool_calls": named}) if named else answer


def calls_in_text(text: str, tools: Sequence[Tool], by_name: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """Calls in a reply: a list of them, single ones, or, with one tool on offer, just its arguments.

    Calls of tools that are not offered are kept, unless `by_name`: the node that runs tools reports them to the model.
    """
    found = [call for objects in find_object_lists(text) for item in objects for call in _calls(item)]
    if by_name:
        names = {tool["function"]["name"] for tool in tools}
        return [(name, arguments) for name, arguments in found if name in names]
    if found or len(tools) != 1:
        return found
    function = tools[0]["function"]
    arguments = arguments_in_text(text, function["parameters"])
    return [(function["name"], arguments)] if arguments is not None else []


def _calls(item: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    for key in ("calls", "tool_calls"):
        if isinstance(item.get(key), list):
            return [call for part in item[key] if isinstance(part, dict) for call in _calls(part)]
    inner = item.get("function")
    if isinstance(inner, dict):
        return _calls(inner)
    name = item.get("name")
    arguments = next((item[key] for key in ("arguments", "args", "parameters") if key in item), None)
    if isinstance(arguments, str):
        arguments = next(iter(find_objects(arguments)), None)
    return [(name, arguments)] if isinstance(name, str) and isinstance(arguments, dict) else []
