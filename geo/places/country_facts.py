"""What on a sign points to a country: its names, languages, calling code and internet domain."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class CountryFacts:
    """One country, as its signs show it.

    Attributes:
        code: ISO 3166-1 alpha-2.
        calling_code: international telephone prefix, without the plus.
        languages: ISO 639-1 codes, the one most common on signs first.
        names: names and adjectives in English and in the country's own languages.
    """

    code: str
    calling_code: str
    languages: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def domain(self) -> str:
        """Its top-level internet domain; the United Kingdom's is the only one unlike its code."""
        return "uk" if self.code == "GB" else self.code.lower()


@cache
def country_facts() -> dict[str, CountryFacts]:
    """Every country of the table, by code (geo/data/countries.csv)."""
    table = resources.files("geo").joinpath("data/countries.csv").read_text(encoding="utf-8")
    return {row["country_code"]: _facts(row) for row in csv.DictReader(table.splitlines())}


def _facts(row: dict[str, str]) -> CountryFacts:
    return CountryFacts(
        code=row["country_code"],
        calling_code=row["calling_code"],
        languages=tuple(row["languages"].split()),
        names=tuple(row["names"].split(";")),
    )


@cache
def countries_of_language() -> dict[str, dict[str, float]]:
    """By language, the countries whose signs carry it and how common it is there.

    1 for a country's first language, 1/2 for its second, and so on.
    """
    shares: dict[str, dict[str, float]] = {}
    for facts in country_facts().values():
        for order, language in enumerate(facts.languages):
            shares.setdefault(language, {})[facts.code] = 1.0 / (order + 1)
    return shares


@cache
def countries_of_calling_code() -> dict[str, tuple[str, ...]]:
    """By calling code, its countries: +1 and +7 are shared.

    >>> countries_of_calling_code()["351"], countries_of_calling_code()["7"]
    (('PT',), ('KZ', 'RU'))
    """
    shared: dict[str, tuple[str, ...]] = {}
    for facts in country_facts().values():
        shared[facts.calling_code] = (*shared.get(facts.calling_code, ()), facts.code)
    return shared


@cache
def country_of_name() -> dict[str, str]:
    """By case-folded name or adjective, the country's code.

    >>> country_of_name()["deutschland"]
    'DE'
    """
    return {name.casefold(): facts.code for facts in country_facts().values() for name in facts.names}


@cache
def left_driving() -> frozenset[str]:
    """Codes of the countries that drive on the left (geo/data/left_driving.txt)."""
    lines = resources.files("geo").joinpath("data/left_driving.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(code for line in lines if not line.startswith("#") for code in line.split())
