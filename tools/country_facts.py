"""The tool that knows countries: what can be seen of them, and which ones show what was seen."""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.tools import StructuredTool
from pydantic import Field, field_validator

from geo.places.country_profiles import FACTS, SCRIPTS, CountryProfile, country_profiles, matching_countries
from tools.base import Arguments, result_tool
from tools.results import CountriesFound, ToolError
from tools.untrusted_text import quoted, untrusted

MAX_COUNTRIES = 12
"""Countries shown in full; of more only the codes."""

_SHOWN = tuple(name for name in CountryProfile.model_fields if name not in ("continent",))


class CountryFactsArguments(Arguments):
    """Countries, or facts."""

    countries: list[str] = Field(
        default_factory=list, max_length=MAX_COUNTRIES, description="ISO 3166-1 alpha-2 codes, such as PT, to look up"
    )
    drives_on: Literal["left", "right"] | None = Field(None, description="side of the road")
    script: str | None = Field(None, description="of signs, such as Cyrillic or Thai")
    language: str | None = Field(None, max_length=40, description="on signs, an ISO 639-1 code such as pt")
    domain: str | None = Field(None, max_length=40, description="internet domain, such as .pt")
    calling_code: str | None = Field(None, max_length=40, description="telephone prefix, such as +351")
    currency: str | None = Field(None, max_length=40, description="ISO 4217 code, such as EUR")
    continent: str | None = Field(None, max_length=40, description="such as Europe or South America")
    plates: str | None = Field(None, max_length=40, description="words for number plates, such as yellow, or blue band")

    @field_validator("script")
    @classmethod
    def _known_script(cls, script: str | None) -> str | None:
        if script is not None and script.casefold() not in map(str.casefold, SCRIPTS):
            raise ValueError(f"no such script; known are {', '.join(SCRIPTS)}")
        return script


def country_facts_tool() -> StructuredTool:
    """The tool `country_facts(countries, drives_on, script, language, domain, calling_code, currency, ...)`."""

    def country_facts(countries: list[str] | None = None, **seen: str | None) -> CountriesFound:
        """Compare countries by what can be seen of them, or find the countries that show what was seen in the photo.

        Give `countries`, or facts that you saw, or both: then those of the countries that all facts fit come back.
        Plates are known for some countries only, and cars cross borders. None means that a fact was misread.
        """
        wanted = {fact: value for fact, value in seen.items() if value is not None and fact in FACTS}
        codes = [code.strip().upper() for code in countries or ()]
        if not codes and not wanted:
            raise ToolError(f"give countries, or at least one fact of {', '.join(FACTS)}")
        unknown = [code for code in codes if code not in country_profiles()]
        if unknown:
            raise ToolError(f"no such country {', '.join(unknown)[:60]!r}: give ISO 3166-1 alpha-2 codes, such as PT")
        found = matching_countries(**wanted)
        return CountriesFound(asked=wanted, countries=tuple(c for c in found if not codes or c.code in codes))

    return result_tool(country_facts, CountryFactsArguments, render_countries)


def render_countries(result: CountriesFound) -> str:
    """What the model reads: each country's facts, or of many their codes."""
    data: dict[str, Any] = {
        "asked": {fact: untrusted(value) for fact, value in result.asked.items()},
        "countries_found": len(result.countries),
    }
    if len(result.countries) > MAX_COUNTRIES:
        return quoted(data | {"codes": " ".join(country.code for country in result.countries)})
    return quoted(data | {"countries": [_shown(country) for country in result.countries]})


def _shown(country: CountryProfile) -> dict[str, Any]:
    known = country.model_dump(mode="json", include=set(_SHOWN))
    return {name: value for name, value in known.items() if value}
