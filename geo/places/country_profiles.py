"""What can be seen of a country in a photo: driving side, plates, scripts, languages, domain, telephone, currency.

Domains, telephone prefixes, currencies and further languages are GeoNames' countryInfo table (CC BY 4.0), written to
geo/data/country_table.csv by `geo.places.build`; the languages common on signs are those of `country_facts`; driving
sides and looks of number plates are tables by hand (geo/data/left_driving.txt, geo/data/plates.csv).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import Field

from core.frozen import Immutable
from geo.places.continents import CONTINENTS
from geo.places.country_facts import country_facts, left_driving

LATIN = "Latin"
_SCRIPTS = {
    "Arabic": "ar fa ps ur ku sd ug ckb dv",
    "Armenian": "hy",
    "Bengali": "bn as",
    "Cyrillic": "ru uk bg be sr mk kk ky mn tg",
    "Devanagari": "hi ne mr",
    "Ethiopic": "am ti",
    "Georgian": "ka",
    "Greek": "el",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Han": "zh yue ja",
    "Hangul": "ko",
    "Hebrew": "he",
    "Hiragana": "ja",
    "Kannada": "kn",
    "Katakana": "ja",
    "Khmer": "km",
    "Lao": "lo",
    "Malayalam": "ml",
    "Myanmar": "my",
    "Odia": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thai": "th",
    "Tibetan": "dz bo",
}
_ALSO_LATIN = frozenset({"sr", "ku"})
_COMMON_LANGUAGES = 3
"""Languages of GeoNames' list, the most spoken first, that count as seen on signs where the table of signs has none."""


class CountryProfile(Immutable):
    """What can be seen of one country; empty where it is not known."""

    code: str = Field(description="ISO 3166-1 alpha-2")
    name: str
    continent: str
    drives_on: Literal["left", "right"]
    plates: str = Field(description="look of most cars' number plates")
    scripts: tuple[str, ...]
    languages: tuple[str, ...] = Field(description="ISO 639 codes, those most common on signs first")
    domain: str = Field(description="with the dot")
    calling_codes: tuple[str, ...] = Field(description="digits, without the plus")
    currency: str = Field(description="ISO 4217 code")


@cache
def country_profiles() -> dict[str, CountryProfile]:
    """Every country and territory, by code."""
    return {row["country_code"]: _profile(row) for row in _rows("country_table.csv")}


def matching_countries(**wanted: str) -> list[CountryProfile]:
    """The countries that all given facts fit, by name.

    >>> [country.code for country in matching_countries(drives_on="left", script="Latin", domain="au")]
    ['AU']

    Args:
        wanted: of `FACTS`, each as a person would write it.
    """
    fits = [(FACTS[fact], value.strip().casefold()) for fact, value in wanted.items()]
    found = [c for c in country_profiles().values() if all(fit(c, value) for fit, value in fits)]
    return sorted(found, key=lambda country: country.name)


def _fits_domain(country: CountryProfile, value: str) -> bool:
    return bool(country.domain) and country.domain == f".{value.rpartition('.')[2]}"


def _fits_calling_code(country: CountryProfile, value: str) -> bool:
    """Whether a number, or the beginning of one, may be the country's."""
    digits = "".join(filter(str.isdigit, value)).removeprefix("00")
    return any(code.startswith(digits) or digits.startswith(code) for code in country.calling_codes if digits)


FACTS: dict[str, Callable[[CountryProfile, str], bool]] = {
    "drives_on": lambda country, value: country.drives_on == value,
    "script": lambda country, value: value in map(str.casefold, country.scripts),
    "language": lambda country, value: value in country.languages,
    "domain": _fits_domain,
    "calling_code": _fits_calling_code,
    "currency": lambda country, value: country.currency.casefold() == value,
    "continent": lambda country, value: country.continent.casefold() == value,
    "plates": lambda country, value: all(word in country.plates.casefold() for word in value.split()),
}
"""Facts that can be asked for, and when a case-folded value fits a country."""

SCRIPTS = (LATIN, *_SCRIPTS)


def _profile(row: dict[str, str]) -> CountryProfile:
    code, spoken = row["country_code"], row["languages"].split()
    known = country_facts().get(code)
    on_signs = list(known.languages) if known else spoken[:_COMMON_LANGUAGES]
    return CountryProfile(
        code=code,
        name=row["name"],
        continent=CONTINENTS[code],
        drives_on="left" if code in left_driving() else "right",
        plates=_plates().get(code, ""),
        scripts=tuple(dict.fromkeys(script for language in on_signs for script in _scripts_of(language))),
        languages=tuple(dict.fromkeys([*on_signs, *spoken])),
        domain=row["domain"],
        calling_codes=tuple(row["calling_codes"].split()),
        currency=row["currency"],
    )


def _scripts_of(language: str) -> Iterator[str]:
    own = [script for script, languages in _SCRIPTS.items() if language in languages.split()]
    yield from own
    if not own or language in _ALSO_LATIN:
        yield LATIN


@cache
def _plates() -> dict[str, str]:
    return {row["country_code"]: row["plates"] for row in _rows("plates.csv")}


def _rows(name: str) -> Iterator[dict[str, Any]]:
    text = resources.files("geo").joinpath("data", name).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())
