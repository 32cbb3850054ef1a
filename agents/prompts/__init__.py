"""Prompt templates in Markdown files: prose with `$placeholders`, never example coordinates, which models echo."""

from __future__ import annotations

from functools import cache
from importlib import resources
from string import Template


@cache
def template_text(name: str) -> str:
    """The text of a packaged template.

    Raises:
        FileNotFoundError: no such template.
    """
    return resources.files("agents.prompts").joinpath(f"{name}.md").read_text(encoding="utf-8").strip()


def render_text(text: str, **values: object) -> str:
    """A template's text with its placeholders filled.

    Raises:
        KeyError: a placeholder without a value.
    """
    return Template(text).substitute({key: str(value) for key, value in values.items()})


def placeholders(text: str) -> frozenset[str]:
    """Names of the placeholders of a template's text.

    Raises:
        ValueError: a lone dollar sign, or another malformed placeholder.
    """
    template = Template(text)
    if not template.is_valid():
        raise ValueError("a dollar sign that starts no placeholder; write $$ for a plain one")
    return frozenset(template.get_identifiers())


def render(name: str, **values: object) -> str:
    """The packaged template of a name with its placeholders filled.

    Raises:
        KeyError: a placeholder without a value.
        FileNotFoundError: no such template.
    """
    return render_text(template_text(name), **values)
