"""The user's own strategies: a folder with one .json or .toml file a strategy, and .md templates beside them.

The fields are those of `agents.strategies.Strategy`; docs/models.md has an example. A template of the folder
replaces the packaged one of the same name for the strategies of this folder.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from agents.prompts import placeholders
from agents.strategies import ASK_CLOSER, ReplyKind, Step, Strategy
from core.errors import UserError, first_problem
from core.json_text import parse_json

MAX_FILE_BYTES = 200_000

ALWAYS = frozenset({"photo_id"})
_ROUND = frozenset({"round", "max_rounds", "tool_calls_left", "revise_name"})
_CATALOGUE = frozenset({"clue_catalogue"})
_COORDINATES = re.compile(r"-?\d{1,3}\.\d{2,}|\d{1,3}\s*°")


def load_strategies(folder: Path) -> MappingProxyType[str, Strategy]:
    """The strategies of a folder, by name.

    Raises:
        UserError: a folder or file that cannot be read, a field or template that cannot be used; it names the file.
    """
    if not folder.is_dir():
        raise UserError(f"strategies folder {folder} does not exist; make it, or leave the setting out")
    templates = {path.stem: _read(path) for path in sorted(folder.glob("*.md"))}
    for name, text in templates.items():
        _check_template(folder / f"{name}.md", text)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".toml"))
    found: dict[str, Strategy] = {}
    for path in files:
        strategy = _strategy(path, templates)
        if strategy.name in found:
            raise UserError(f"strategy {path}: another file of the folder is called {strategy.name!r} too; rename one")
        found[strategy.name] = strategy
    return MappingProxyType(found)


def _strategy(path: Path, templates: Mapping[str, str]) -> Strategy:
    try:
        strategy = Strategy.model_validate({"templates": dict(templates), **_parsed(path)})
    except ValidationError as error:
        raise UserError(f"strategy {path}: {first_problem(error)}; see docs/models.md") from error
    for name, allowed in used_templates(strategy):
        _check_use(path, strategy, name, allowed)
    return strategy


def _parsed(path: Path) -> dict[str, Any]:
    text = _read(path)
    try:
        data = parse_json(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib raises the latter where it is nested too deeply
        raise UserError(f"strategy {path}: {error}; mend the file") from error
    if not isinstance(data, dict):
        raise UserError(f"strategy {path}: it holds a {type(data).__name__}, not fields of a strategy; mend the file")
    return data


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes; a prompt or strategy is not")
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text: {error}; mend or remove it") from error


def _check_template(path: Path, text: str) -> None:
    if not text:
        raise UserError(f"template {path}: it is empty, so nothing would be asked; write it, or remove it")
    found = _COORDINATES.search(text)
    if found:
        raise UserError(f"template {path}: {found[0]!r} looks like a coordinate; models echo examples, so take it out")
    try:
        placeholders(text)
    except ValueError as error:
        raise UserError(f"template {path}: {error}") from error


def used_templates(strategy: Strategy) -> list[tuple[str, frozenset[str]]]:
    """Templates that the strategy's steps need, each with the placeholders that get a value."""
    used = [(strategy.system_prompt, frozenset[str]())] if strategy.uses_model else []
    if strategy.runs(Step.HYPOTHESISE):
        used.append((strategy.hypothesise, ALWAYS | _CATALOGUE | {"max_hypotheses", "tool_name", "look_closer"}))
    if strategy.runs(Step.LOOK_CLOSER):
        used += [(ASK_CLOSER, frozenset()), (strategy.look_again, ALWAYS | {"tool_name"})]
    if strategy.runs(Step.INVESTIGATE):
        used.append((strategy.investigate, ALWAYS | _ROUND))
    if strategy.runs(Step.REVISE):
        used.append((strategy.revise, frozenset({"tool_name"})))
    for question in strategy.asks:
        named = frozenset() if question.wants is ReplyKind.TEXT else frozenset({"tool_name"})
        used.append((question.prompt, ALWAYS | _CATALOGUE | named | set(question.values)))
    return used


def _check_use(path: Path, strategy: Strategy, name: str, allowed: frozenset[str]) -> None:
    try:
        wanted = placeholders(strategy.template(name))
    except FileNotFoundError as error:
        raise UserError(f"strategy {path}: there is no template {name}.md, in its folder or the package") from error
    missing = sorted(wanted - allowed)
    if missing:
        has = ", ".join(sorted(allowed)) or "none"
        problem = f"template {name}.md wants ${missing[0]}, which has no value"
        raise UserError(f"strategy {path}: {problem}; it may use: {has}")
