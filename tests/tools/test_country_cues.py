"""Cues on signs: place-like strings, domains, telephone codes, postal codes, currencies, country names."""

from __future__ import annotations

import pytest

from geo.places.country_facts import countries_of_calling_code, countries_of_language, country_facts
from tools.services.country_cues import MAX_PLACE_STRINGS, CountryCueKind, country_cues, is_common, place_strings


def kinds(line: str) -> dict[CountryCueKind, tuple[str, ...]]:
    return {cue.kind: cue.countries for cue in country_cues([line])}


@pytest.mark.parametrize("word", ["Open", "Nice", "Reading", "Mobile", "Bar", "CENTRAL", "Sortie", "café"])
def test_common_words_are_not_places(word: str) -> None:
    assert is_common(word)
    assert word not in place_strings([word])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Welcome to Lisboa", "Lisboa"),
        ("SAI KUNG", "SAI KUNG"),
        ("Gare de São Bento", "São Bento"),
        ("東京駅", "東京駅"),
        ("Hôtel de Ville NICE-VILLE", "NICE-VILLE"),
        ("grand hotel of PRAGUE 2", "PRAGUE"),
    ],
)
def test_names_are_found_within_a_line(line: str, expected: str) -> None:
    assert expected in place_strings([line])


def test_lower_case_and_short_words_are_left_out() -> None:
    assert place_strings(["the quick fox", "Ob", "12:30", "a"]) == []


def test_whole_lines_come_first_and_the_number_is_bounded() -> None:
    lines = ["Porto", *(f"Alpha{chr(97 + i)} Beta{chr(97 + i)} Gamma{chr(97 + i)}x" for i in range(26))]
    found = place_strings(lines)
    assert len(found) == MAX_PLACE_STRINGS
    assert found[0].startswith("Alpha")
    assert all(text.count(" ") <= 2 for text in found)


def test_a_very_long_line_costs_a_bounded_amount() -> None:
    assert len(place_strings(["Word " * 100_000])) <= MAX_PLACE_STRINGS


@pytest.mark.parametrize(
    ("line", "country"),
    [("www.baeckerei.de", "DE"), ("info@shop.co.uk www.shop.co.uk", "GB"), ("WWW.SUSHI.JP", "JP")],
)
def test_domains(line: str, country: str) -> None:
    assert kinds(line)[CountryCueKind.DOMAIN] == (country,)


@pytest.mark.parametrize("line", ["www.shop.com", "www.radio.fm", "www.start.io", "e.g. the end", "3.50 de"])
def test_what_is_no_country_domain(line: str) -> None:
    assert CountryCueKind.DOMAIN not in kinds(line)


@pytest.mark.parametrize(
    ("line", "countries"),
    [
        ("Tel. +49 30 1234567", ("DE",)),
        ("+351 21 346 1234", ("PT",)),
        ("0044 20 7946 0958", ("GB",)),
        ("+1 (212) 555-0123", ("CA", "US")),
    ],
)
def test_telephone_codes(line: str, countries: tuple[str, ...]) -> None:
    assert kinds(line)[CountryCueKind.PHONE] == countries


@pytest.mark.parametrize("line", ["+12", "030 1234567", "2000 - 2010", "+999 12345678"])
def test_what_is_no_telephone_number(line: str) -> None:
    assert CountryCueKind.PHONE not in kinds(line)


@pytest.mark.parametrize(
    ("line", "country"),
    [
        ("London SW1A 1AA", "GB"),
        ("Ottawa K1A 0B1", "CA"),
        ("CA 94103", "US"),
        ("〒100-0001", "JP"),
        ("01310-100", "BR"),
    ],
)
def test_postal_codes(line: str, country: str) -> None:
    assert kinds(line)[CountryCueKind.POSTAL] == (country,)


def test_a_currency_sign_counts_only_beside_a_number() -> None:
    assert kinds("£3.50")[CountryCueKind.CURRENCY] == ("GB",)
    assert CountryCueKind.CURRENCY not in kinds("£")


def test_country_names_are_whole_words() -> None:
    assert kinds("Made in ITALIA")[CountryCueKind.NAME] == ("IT",)
    assert kinds("中国银行")[CountryCueKind.NAME] == ("CN",)
    assert CountryCueKind.NAME not in kinds("Germaneness and Indianapolis")


def test_the_table_is_complete_and_consistent() -> None:
    facts = country_facts()
    assert len(facts) > 140
    assert all(len(code) == 2 and one.calling_code.isdigit() and one.languages for code, one in facts.items())
    assert countries_of_calling_code()["7"] == ("KZ", "RU")
    assert countries_of_language()["de"]["DE"] == 1.0
    assert facts["GB"].domain == "uk"
