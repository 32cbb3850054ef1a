"""Facts of countries, and countries by facts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from geo.places.continents import CONTINENTS
from geo.places.country_facts import country_facts, left_driving
from geo.places.country_profiles import FACTS, SCRIPTS, country_profiles, matching_countries
from tests.fakes.tool_calls import call, shown_to_model
from tools.country_facts import country_facts_tool
from tools.results import CountriesFound, ToolError


def found(**arguments: Any) -> list[str]:
    result = call(country_facts_tool(), **arguments).artifact
    assert isinstance(result, CountriesFound)
    return [country.code for country in result.countries]


def test_the_facts_of_countries_side_by_side() -> None:
    message = call(country_facts_tool(), countries=["jp", "PT"])
    japan, portugal = shown_to_model(message)["countries"]
    assert (japan["code"], japan["drives_on"], japan["domain"], japan["calling_codes"]) == ("JP", "left", ".jp", ["81"])
    assert "Katakana" in japan["scripts"]
    assert (portugal["drives_on"], portugal["currency"], portugal["languages"][0]) == ("right", "EUR", "pt")
    assert "blue band" in portugal["plates"]


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        ({"drives_on": "left", "script": "Latin", "domain": ".au"}, ["AU"]),
        ({"drives_on": "left", "script": "thai"}, ["TH"]),
        ({"domain": "www.obchod.cz"}, ["CZ"]),
        ({"calling_code": "+351 21 343"}, ["PT"]),
        ({"calling_code": "00420"}, ["CZ"]),
        ({"script": "Hangul"}, ["KP", "KR"]),
        ({"plates": "yellow", "drives_on": "right", "continent": "Europe", "domain": "nl"}, ["NL"]),
        ({"currency": "nok", "continent": "europe"}, ["NO", "SJ"]),
        ({"drives_on": "right", "domain": ".jp"}, []),
        ({"countries": ["DE", "AT", "GB"], "drives_on": "right"}, ["AT", "DE"]),
    ],
)
def test_countries_by_what_was_seen(facts: dict[str, Any], codes: list[str]) -> None:
    assert sorted(found(**facts)) == codes


def test_of_many_countries_the_model_reads_the_codes_and_the_record_has_all() -> None:
    message = call(country_facts_tool(), drives_on="left")
    shown = shown_to_model(message)
    assert "countries" not in shown
    assert shown["countries_found"] == len(shown["codes"].split()) == len(message.artifact.countries)
    assert set(shown["codes"].split()) <= left_driving()


@pytest.mark.parametrize("given", [{}, {"countries": ["XX"]}, {"countries": ["Portugal"], "drives_on": "left"}])
def test_nothing_asked_and_unknown_countries(given: dict[str, Any]) -> None:
    with pytest.raises(ToolError, match="give"):
        found(**given)


@pytest.mark.parametrize("given", [{"script": "Klingon"}, {"drives_on": "both"}, {"capital": "Lisbon"}])
def test_unusable_facts(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        found(**given)


def test_the_tables_agree() -> None:
    known = country_profiles()
    assert set(known) == set(CONTINENTS)
    assert set(country_facts()) <= set(known)
    assert left_driving() <= set(known)
    for code, facts in country_facts().items():
        assert any(facts.calling_code.startswith(own[:1]) for own in known[code].calling_codes), code
        assert matching_countries(domain=facts.domain)[0].code == code
    assert {script for country in known.values() for script in country.scripts} <= set(SCRIPTS)
    assert sum(bool(country.plates) for country in known.values()) > 50


@pytest.mark.parametrize("code", ["PT", "JP", "GB", "RS", "NL"])
def test_every_fact_of_a_country_finds_it(code: str) -> None:
    country = country_profiles()[code].model_dump()
    names = {"script": "scripts", "language": "languages", "calling_code": "calling_codes"}
    for fact in FACTS:
        value = country[names.get(fact, fact)]
        wanted = value[0] if isinstance(value, tuple) else value
        assert code in {match.code for match in matching_countries(**{fact: wanted})}, fact
