"""Clues to a place in the text on signs: pure functions from lines of text to strings that may name one, and countries.

The text is untrusted and often misread, so every pattern asks for more than a
stray letter or two, and common words that also name a town are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import NamedTuple

from geo.places.country_facts import countries_of_calling_code, country_facts, country_of_name

MIN_PLACE_LETTERS = 4
MAX_PLACE_WORDS = 3
MAX_PLACE_STRINGS = 32
MAX_LINE_CHARACTERS = 120

_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['’.\-](?=[^\W\d_]))*")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,8}")
_DOMAIN = re.compile(r"(?<![\w@])(www\.)?[a-z0-9][a-z0-9-]{2,}(?:\.[a-z0-9-]+)*\.([a-z]{2})(?![\w.])", re.IGNORECASE)
_PHONE = re.compile(r"(?:\+|(?<!\d)00)\s?(\d{1,4})[\s().\-/]*\d(?:[\s().\-/]*\d){5,10}")
# Domains sold to everyone say nothing about a country.
_WORLDWIDE_DOMAINS = frozenset({"tv", "co", "io", "me", "ai", "cc", "ws", "fm", "ly", "to", "gg", "st", "eu", "la"})
_ARTICLES_AND_PREPOSITIONS = "the of in and by le la les du des de der die das et und y e i o di del della a an"
_NEVER_LAST = frozenset(_ARTICLES_AND_PREPOSITIONS.split())
_NOT_WORD = re.compile(r"[^\w’.]+")
_POSTAL = {
    "GB": re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}\b"),
    "CA": re.compile(r"\b[ABCEGHJ-NPRSTVXY]\d[A-Z] ?\d[A-Z]\d\b"),
    "JP": re.compile(r"〒\s?\d{3}-\d{4}"),
    "BR": re.compile(r"\b\d{5}-\d{3}\b"),
    "US": re.compile(
        r"\b(?:AL|AK|AZ|AR|CA|CO|CT|DC|FL|GA|IL|IA|KS|KY|LA|MA|MD|MI|MN|MO|MT|NC|ND|NE|NH|NJ|NM|NV|NY|OH|OK|PA|RI|SC|SD"
        r"|TN|TX|UT|VA|VT|WA|WI|WV|WY),? \d{5}(?:-\d{4})?\b"
    ),
}
_CURRENCY = {
    "£": "GB",
    "₹": "IN",
    "₩": "KR",
    "₪": "IL",
    "฿": "TH",
    "₫": "VN",
    "₺": "TR",
    "₴": "UA",
    "₽": "RU",
    "R$": "BR",
    "Kč": "CZ",
    "zł": "PL",
}


class CountryCueKind(StrEnum):
    """What on a sign points to a country."""

    NAME = "country name"
    DOMAIN = "internet domain"
    PHONE = "telephone code"
    POSTAL = "postal code"
    CURRENCY = "currency sign"


class CountryCue(NamedTuple):
    """Text on a sign that points to one country, or to any of a few."""

    kind: CountryCueKind
    text: str
    countries: tuple[str, ...]


def folded(text: str) -> str:
    """Case-folded text without accents, for comparison."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def place_strings(lines: Sequence[str]) -> list[str]:
    """Strings of the lines that might name a place, each once, whole lines first, then the longer ones; at most 32.

    Latin and other cased scripts: runs of one to three capitalised words, of
    four letters at least, that are not common words. Chinese, Japanese and
    Korean: runs of two to eight characters.
    """
    found = dict.fromkeys(text for line in lines for text in _place_strings(line[:MAX_LINE_CHARACTERS]))
    whole = {" ".join(_words(line)) for line in lines}
    return sorted(found, key=lambda text: (text not in whole, -len(text), text))[:MAX_PLACE_STRINGS]


def _words(line: str) -> list[str]:
    return _WORD.findall(line)


def _place_strings(line: str) -> Iterator[str]:
    yield from _WIDE.findall(line)
    words = _words(line)
    for start in range(len(words)):
        for stop in range(start + 1, min(start + MAX_PLACE_WORDS, len(words)) + 1):
            run = words[start:stop]
            if _looks_like_a_name(run):
                yield " ".join(run)


def _looks_like_a_name(run: Sequence[str]) -> bool:
    if not (run[0][0].isupper() and run[-1][0].isupper()) or folded(run[-1]) in _NEVER_LAST:
        return False
    text = " ".join(run)
    if sum(c.isalpha() for c in text) < MIN_PLACE_LETTERS:
        return False
    return not all(is_common(word) for word in run)


def is_common(word: str) -> bool:
    """Whether a word stands on signs everywhere, or is too short to name a place by itself."""
    return len(word) < 3 or folded(word) in common_words()


@cache
def common_words() -> frozenset[str]:
    """Words that name no place by themselves, folded (tools/data/common_words.txt)."""
    lines = resources.files("tools").joinpath("data/common_words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(folded(word) for line in lines if not line.startswith("#") for word in line.split())


def country_cues(lines: Iterable[str]) -> list[CountryCue]:
    """Everything on the lines that points to a country, each text once."""
    cues = (cue for line in lines for cue in _country_cues(line[:MAX_LINE_CHARACTERS]))
    return list(dict.fromkeys(cues))


def _country_cues(line: str) -> Iterator[CountryCue]:
    yield from _domains(line)
    yield from _phones(line)
    yield from _postal_codes(line)
    yield from _currencies(line)
    yield from _country_names(line)


def _domains(line: str) -> Iterator[CountryCue]:
    by_domain = {facts.domain: facts.code for facts in country_facts().values()}
    for match in _DOMAIN.finditer(line):
        domain = match[2].lower()
        if domain in by_domain and domain not in _WORLDWIDE_DOMAINS:
            yield CountryCue(CountryCueKind.DOMAIN, match[0], (by_domain[domain],))


def _phones(line: str) -> Iterator[CountryCue]:
    for match in _PHONE.finditer(line):
        countries = _countries_called(match[1])
        if countries:
            yield CountryCue(CountryCueKind.PHONE, match[0].strip(), countries)


def _countries_called(digits: str) -> tuple[str, ...]:
    """Calling codes are prefix-free, so the one that starts the number is the one."""
    table = countries_of_calling_code()
    for length in (4, 3, 2, 1):
        if digits[:length] in table and len(digits) >= length:
            return table[digits[:length]]
    return ()


def _postal_codes(line: str) -> Iterator[CountryCue]:
    for country, pattern in _POSTAL.items():
        for match in pattern.finditer(line):
            yield CountryCue(CountryCueKind.POSTAL, match[0], (country,))


def _currencies(line: str) -> Iterator[CountryCue]:
    if any(c.isdigit() for c in line):
        for sign, country in _CURRENCY.items():
            if sign in line:
                yield CountryCue(CountryCueKind.CURRENCY, sign, (country,))


def _country_names(line: str) -> Iterator[CountryCue]:
    spaced = f" {_NOT_WORD.sub(' ', line.casefold())} "
    for name, country in country_of_name().items():
        if (not name.isascii() and len(name) < 4 and name in line) or f" {name} " in spaced:
            yield CountryCue(CountryCueKind.NAME, name, (country,))
