"""What a person states, parsed by rules: “not Portugal”, “it is in Brno”, “the sign is Czech”, “taken in March”."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pycountry

from belief.witnesses.countries import SCRIPT_LANGUAGES, SHARED_SCRIPT_LANGUAGES
from geo.places.country_facts import countries_of_language, country_of_name

_QUESTION = re.compile(
    r"\?|^\s*(?:why|what|where|which|who|how|is|are|was|could|can|would|compare|show|zoom|look|read)\b", re.I
)
_RETRACTION = re.compile(r"\b(?:forget (?:that|it)|take (?:that|it) back|i was wrong|that was wrong|i take)\b", re.I)
_NOT = re.compile(r"\b(?:not|isn't|never|no)\b", re.I)
_WRITING = re.compile(r"\b(?:sign|signs|writing|written|text|language|letters|script|speak|spoken)\b", re.I)
_WORD = re.compile(r"[^\W\d_][\w'’.-]*")
_PLACE = re.compile(r"\b(?:in|near|at|from|around)\s+((?:[^\W\d_a-z][\w'’.-]*)(?:\s+[^\W\d_a-z][\w'’.-]*){0,2})")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH = re.compile(rf"\b(?:in|on|of|early|late|mid)[\s-]+(?:the\s+)?({'|'.join(_MONTHS)})\b(?:\s+(\d{{4}}))?", re.I)
_HOUR = re.compile(r"\bat\s+(?:(noon|midday|midnight)\b|(\d{1,2}):(\d{2})\b)", re.I)
_ANY_YEAR = 2024
"""The sun stands all but the same on a day of any year."""


def is_statement(text: str) -> bool:
    """Whether words state something instead of asking."""
    return not _QUESTION.search(text)


def is_retraction(text: str) -> bool:
    """Whether a person takes back what they stated last."""
    return bool(_RETRACTION.search(text))


def parse_facts(text: str) -> list[dict[str, Any]]:
    """Facts as arguments of the tool that notes them; empty for a question, and for words that state nothing.

    >>> parse_facts("not Portugal")
    [{'words': 'not Portugal', 'is_denied': True, 'countries': ['PT']}]
    >>> parse_facts("it is near a tram depot in Brno")[0]["place"]
    'Brno'
    >>> parse_facts("the sign is Czech")[0]["languages"]
    ['cs']
    >>> parse_facts("taken in March at noon")[0]["taken_at"]
    '2024-03-15T12:00'
    >>> parse_facts("why not Portugal?")
    []
    """
    if not is_statement(text) or is_retraction(text):
        return []
    parts = [part.strip() for part in re.split(r"[.;!]\s+|[.;!]$|,\s*(?=not\b)", text) if part.strip()]
    return [fact for part in parts for fact in _facts(part)]


def _facts(words: str) -> Iterator[dict[str, Any]]:
    fact: dict[str, Any] = {"words": words[:300], **({"is_denied": True} if _NOT.search(words) else {})}
    if time := _time(words):
        yield {**fact, "taken_at": time}
    elif languages := _languages(words) if _WRITING.search(words) else []:
        yield {**fact, "languages": languages}
    elif (countries := _countries(words)) and (_NOT.search(words) or re.search(r"\b(?:in|from|is)\b", words, re.I)):
        yield {**fact, "countries": countries}
    elif place := _PLACE.search(words):
        yield {**fact, "place": place[1].rstrip(".")}


def _time(words: str) -> str:
    """The middle of the month, at noon unless an hour is said; empty where no month is."""
    month, hour = _MONTH.search(words), _HOUR.search(words)
    if month is None:
        return ""
    at = "12:00"
    if hour:
        at = "00:00" if (hour[1] or "").casefold() == "midnight" else at
        at = f"{min(23, int(hour[2])):02d}:{min(59, int(hour[3])):02d}" if hour[2] else at
    return f"{int(month[2] or _ANY_YEAR):04d}-{_MONTHS.index(month[1].casefold()) + 1:02d}-15T{at}"


def _languages(words: str) -> list[str]:
    """Codes of the languages named; of a script, all that are written in it."""
    known = _language_of_name()
    found = [known[word] for word in map(str.casefold, _WORD.findall(words)) if word in known]
    return list(found[0]) if found else []


@cache
def _language_of_name() -> dict[str, tuple[str, ...]]:
    names = {name.casefold(): codes for name, codes in {**SCRIPT_LANGUAGES, **SHARED_SCRIPT_LANGUAGES}.items()}
    for code in countries_of_language():
        language = pycountry.languages.get(alpha_2=code)
        if language is not None:
            names[re.split(r"[ (;]", language.name)[0].casefold()] = (code,)
    return {**names, "chinese": ("zh",), "greek": ("el",)}


def _countries(words: str) -> list[str]:
    """Codes of the countries named, longest names first."""
    spoken = _WORD.findall(words)
    runs = [" ".join(spoken[i : i + n]).casefold() for n in (3, 2, 1) for i in range(len(spoken) - n + 1)]
    return list(dict.fromkeys(country_of_name()[run] for run in runs if run in country_of_name() and len(run) > 3))
