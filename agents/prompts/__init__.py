"""Prompt templates, in files that a person can read and edit."""

from __future__ import annotations

from functools import cache
from importlib import resources
from string import Template


@cache
def _template(name: str) -> Template:
    return Template(resources.files("agents.prompts").joinpath(f"{name}.md").read_text(encoding="utf-8").strip())


def render(name: str, **values: object) -> str:
    """The prompt of a name with its placeholders filled.

    Raises:
        KeyError: a placeholder without a value.
        FileNotFoundError: no such prompt.
    """
    return _template(name).substitute({key: str(value) for key, value in values.items()})
