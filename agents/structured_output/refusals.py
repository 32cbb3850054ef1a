"""Replies in which a model declines to answer, as models word them in several languages."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

MAX_REFUSAL_CHARACTERS = 1_500
"""A refusal is short; a long text that says "I cannot be certain" somewhere is an answer that could not be read."""


def looks_like_a_refusal(text: str) -> bool:
    """Whether a reply declines: one of the phrases of agents/data/refusals.txt stands in it and it is short."""
    plain = " ".join(text.replace("’", "'").casefold().split())
    return len(plain) <= MAX_REFUSAL_CHARACTERS and any(phrase.search(plain) for phrase in _phrases())


@cache
def _phrases() -> tuple[re.Pattern[str], ...]:
    lines = resources.files("agents").joinpath("data/refusals.txt").read_text(encoding="utf-8").splitlines()
    return tuple(re.compile(line.strip()) for line in lines if line.strip() and not line.startswith("#"))
