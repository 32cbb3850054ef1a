"""What a strategy asks of its model, part by part, so that a run can be bound to it.

A part has a name in words ("the prompt agents/prompts/position.md") and a text; its digest says whether it has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import BaseModel

from agents.chat_models.base import lean_tool
from agents.chat_models.spec import ModelOptions
from agents.prompts import placeholders
from agents.reply_schemas import GivePosition, NamePlace, ProposeHypotheses, ReviseHypotheses
from agents.strategies import ReplyKind, Step, Strategy
from agents.strategy_files import used_templates

FOR_EVERY_REPLY = ("repair", "call_named_tool", "call_one_tool", "call_tools")
"""Templates around any structured reply: its repair, and the tools as text for models that call none."""
NOT_ASKED = frozenset(
    {"timeout_s", "max_retries", "backoff_s", "load_s", "on_wait", "concurrency", "prices", "cache", "capabilities"}
)
"""Options of a model that change how long or how dear a reply is, not what is asked."""

_STEP_SCHEMAS: dict[Step, type[BaseModel]] = {Step.HYPOTHESISE: ProposeHypotheses, Step.REVISE: ReviseHypotheses}
_REPLY_SCHEMAS: dict[ReplyKind, type[BaseModel]] = {ReplyKind.PLACE: NamePlace, ReplyKind.POSITION: GivePosition}


def asked_parts(
    strategy: Strategy, tools: Iterable[BaseTool], options: ModelOptions, own_folder: str = ""
) -> dict[str, str]:
    """The text of every part of what a strategy asks, by the part's name.

    Args:
        strategy: whose templates, reply schemas and fields they are.
        tools: what its model is offered.
        options: of its model.
        own_folder: name of the folder of the user's own strategies, for templates that come from there.
    """
    parts = {f"the field {name} of the strategy {strategy.name}": text for name, text in _fields(strategy)}
    if not strategy.uses_model:
        return parts
    parts |= {f"the prompt {_file(strategy, name, own_folder)}": strategy.template(name) for name in _names(strategy)}
    parts |= {f"the reply schema {schema.__name__}": _as_json(lean_tool(schema)) for schema in _schemas(strategy)}
    if strategy.runs(Step.INVESTIGATE):
        parts |= {f"the tool {tool.name}": _as_json(lean_tool(tool)) for tool in tools}
    asked = options.model_dump(mode="json", exclude=set(NOT_ASKED))
    return parts | {f"the model option {name}": _as_json(value) for name, value in asked.items()}


def digests(parts: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of each part's text."""
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in parts.items()}


def combined_digest(digest_of: Mapping[str, str]) -> str:
    """One sha256 over names and digests of parts, whatever their order."""
    return hashlib.sha256(_as_json(dict(digest_of)).encode()).hexdigest()


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What has become of each part that differs, in words.

    >>> changes({"the prompt a.md": "1", "the tool x": "2"}, {"the prompt a.md": "3", "the tool y": "4"})
    ['the prompt a.md has changed', 'the tool x is gone', 'the tool y is new']
    """
    changed = [f"{name} has changed" for name in before if name in now and now[name] != before[name]]
    gone = [f"{name} is gone" for name in before if name not in now]
    return [*changed, *gone, *(f"{name} is new" for name in now if name not in before)]


def _fields(strategy: Strategy) -> Iterator[tuple[str, str]]:
    for name, value in strategy.model_dump(mode="json", exclude={"name", "summary", "templates"}).items():
        # A set has no order of its own.
        yield name, _as_json(sorted(value) if isinstance(getattr(strategy, name), frozenset) else value)


def _names(strategy: Strategy) -> list[str]:
    """Templates that the strategy uses, those that stand in them by a placeholder of their name, and shared ones."""
    used = [name for name, _ in used_templates(strategy)]
    inner = [each for name in used for each in sorted(placeholders(strategy.template(name)))]
    return list(dict.fromkeys([*used, *(name for name in inner if _is_template(strategy, name)), *FOR_EVERY_REPLY]))


def _is_template(strategy: Strategy, name: str) -> bool:
    try:
        strategy.template(name)
    except FileNotFoundError:
        return False
    return True


def _file(strategy: Strategy, name: str, own_folder: str) -> str:
    folder = (own_folder or "your strategies") if name in strategy.templates else "agents/prompts"
    return f"{folder}/{name}.md"


def _schemas(strategy: Strategy) -> list[type[BaseModel]]:
    by_step = [schema for step, schema in _STEP_SCHEMAS.items() if strategy.runs(step)]
    by_ask = [_REPLY_SCHEMAS[ask.wants] for ask in strategy.asks if ask.wants in _REPLY_SCHEMAS]
    return list(dict.fromkeys([*by_step, *by_ask]))


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False)
