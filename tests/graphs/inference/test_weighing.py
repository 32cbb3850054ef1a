"""From tool results to log-likelihood ratios."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from graphs.inference.country_weights import (
    CUE_CAP_NATS,
    CountryWeights,
    cue_weights,
    language_weights,
    name_nats,
    place_name_nats,
    population_nats,
    towns_and_regions,
)
from graphs.inference.ledger import CAP_NATS, PRIOR_NATS, log_odds, probabilities
from graphs.inference.weighing import SEA_NATS, Scene, scene, weigh

from agents.schemas import Evidence, EvidenceKind, Hypothesis
from geo.place import Place
from geo.point import Point
from graphs.state import Opinion, ToolRecord
from tests.fakes.machine import CANDIDATES, PARAMETERS, PLACES, candidates
from tools.results import Box, Circle, FoundPlaces, PhotoMatches, PlaceAt, Sign, SignsRead, ToolResult
from tools.services.country_cues import CountryCue, CountryCueKind, country_cues
from tools.services.language_id import dominant_script, likely_languages

MADRID, LISBON, PRAGUE, TOKYO = range(4)
CENTRES = (("Madrid", "ES", 40.42, -3.70), ("Lisbon", "PT", 38.72, -9.13), ("Prague", "CZ", 50.09, 14.42))
CANDIDATE_COUNTRIES = ["ES", "ES", "PT", "CZ", "CZ", "CZ", "JP", None]


def here(radius_km: float = 25.0) -> Scene:
    hypotheses = [
        Hypothesis(id=name, name=name, point=Point(lat=lat, lon=lon), radius_km=radius_km, probability=0.0)
        for name, _, lat, lon in CENTRES
    ]
    countries = [code for _, code, _, _ in CENTRES]
    return scene(hypotheses, countries, candidates(), CANDIDATE_COUNTRIES, PARAMETERS)


def record(tool: str, result: ToolResult, **arguments: Any) -> ToolRecord:
    return ToolRecord(
        call_id=f"{tool}-{result.sha256()[:6]}",
        tool=tool,
        arguments=arguments,
        result=result.model_dump(mode="json"),
        result_sha256=result.sha256(),
    )


def signs(*lines: str) -> ToolRecord:
    box = Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
    read = tuple(
        Sign(text=t, confidence=0.9, box=box, script=dominant_script(t), languages=likely_languages(t)) for t in lines
    )
    return record("read_signs", SignsRead(signs=read, languages=likely_languages(" ".join(lines))))


def named(query: str, *places: Place) -> ToolRecord:
    return record("find_place", FoundPlaces(query=query, places=places), name=query)


def only(items: list[Evidence], kind: EvidenceKind) -> Evidence:
    [item] = [one for one in items if one.kind is kind]
    return item


def test_retrieval_gives_each_hypothesis_its_share_of_the_weight() -> None:
    at = here()
    searched = record("search_photos", PhotoMatches(candidates=candidates()))
    chance = probabilities(at.hypotheses, weigh(at, [searched], []))
    expected = [float(at.candidate_weight[at.owner == i].sum()) for i in range(3)]
    believed = 1.0 - at.parameters.prior_share
    # Beside the candidates' weight each hypothesis holds its prior of about 1 %.
    for (name, *_), mass in zip(CENTRES, expected, strict=True):
        assert chance[name] == pytest.approx(believed * mass, abs=0.08)
    assert chance["Madrid"] > chance["Prague"] > chance["Lisbon"]


def crop_of(rows: Any, **arguments: Any) -> ToolRecord:
    return record("search_photos", PhotoMatches(candidates=candidates(rows)), box={"left": 0.1}, **arguments)


def test_a_crop_that_finds_what_the_whole_photo_found_says_nothing() -> None:
    found = only(weigh(here(), [crop_of(CANDIDATES)], []), EvidenceKind.LOOKALIKE)
    assert all(abs(nats) < 1e-9 for nats in found.log_likelihood_ratio.values())


def test_a_crop_that_finds_one_place_speaks_for_it_within_its_cap_however_often_it_is_searched() -> None:
    in_prague = [((50.09, 14.42), 0.9), ((50.10, 14.40), 0.9)]
    at = here()
    once = weigh(at, [crop_of(in_prague)], [])
    nats = only(once, EvidenceKind.LOOKALIKE).log_likelihood_ratio
    assert 0.0 < nats["Prague"] <= CAP_NATS[EvidenceKind.LOOKALIKE]
    assert nats["Madrid"] < 0.0
    often = [crop_of(in_prague).model_copy(update={"call_id": str(i)}) for i in range(20)]
    assert log_odds("Prague", weigh(at, often, [])) == pytest.approx(PRIOR_NATS + CAP_NATS[EvidenceKind.LOOKALIKE])


def test_a_search_near_a_place_counts_only_where_the_whole_photo_found_nothing() -> None:
    faro = Hypothesis(id="Faro", name="Faro", point=Point(lat=37.02, lon=-7.93), radius_km=25.0, probability=0.0)
    at = scene([*here().hypotheses, faro], ["ES", "PT", "CZ", "PT"], candidates(), CANDIDATE_COUNTRIES, PARAMETERS)
    around = Circle(centre=Point(lat=38.0, lon=-8.5), radius_km=200.0)
    found = candidates([((37.03, -7.92), 0.59), ((38.72, -9.13), 0.6)])
    searched = record("search_photos", PhotoMatches(candidates=found, near=around), near={"radius_km": 200})
    nats = only(weigh(at, [searched], []), EvidenceKind.LOOKALIKE).log_likelihood_ratio
    assert set(nats) == {"Faro"}
    assert nats["Faro"] > 0.0


def test_a_domain_supports_its_country_only() -> None:
    nats = only(weigh(here(), [signs("www.obchod.cz")], []), EvidenceKind.SIGN).log_likelihood_ratio
    assert nats == {"Madrid": 0.0, "Lisbon": 0.0, "Prague": 3.5}


def test_a_hypothesis_over_two_countries_is_supported_by_its_share() -> None:
    weights = CountryWeights({"CZ": np.log(9.0)})
    assert weights.mixed({"CZ": 0.5, "DE": 0.5}) == pytest.approx(np.log(5.0))
    assert weights.mixed({None: 1.0}) == 0.0


def test_the_language_of_signs_supports_its_countries_and_speaks_against_others() -> None:
    line = "Restaurante com comida portuguesa, peixe fresco e vinho da casa todos os dias"
    nats = only(weigh(here(), [signs(line)], []), EvidenceKind.LANGUAGE).log_likelihood_ratio
    assert nats["Lisbon"] > 1.5
    assert nats["Madrid"] < 0.0


def test_short_text_says_nothing_about_language() -> None:
    assert language_weights([], (("de", 0.9),)).nats == {}
    assert weigh(here(), [signs("BAR", "KIND")], []) == []


def test_kana_means_japan_and_a_few_ideographs_may_mean_either() -> None:
    japan = country_of(signs("ラーメンとうどんのみせ"))
    assert japan["JP"] > 2.0 > japan.get("CN", 0.0)
    either = country_of(signs("北京東路商店"))
    assert either["JP"] == pytest.approx(either["CN"])


def unread(script: str, confidence: float = 0.72) -> Sign:
    box = Box(left=0.1, top=0.1, right=0.5, bottom=0.2)
    return Sign(text="", confidence=confidence, box=box, script=script, languages=())


def test_a_script_that_could_not_be_read_points_to_where_it_is_written() -> None:
    thai = language_weights([unread("Thai")], ())
    assert thai.of("TH") > 0.5
    assert thai.of("DE") < 0.0
    cyrillic = language_weights([unread("Cyrillic")] * 2, (("en", 0.9),))
    assert cyrillic.of("BG") == cyrillic.of("RU") > 0.5
    assert cyrillic.of("KZ") > 0.0 > cyrillic.of("US")
    assert language_weights([unread("Thai", confidence=0.4)], ()).nats == {}
    assert language_weights([unread("Latin")], ()).nats == {}


def test_the_words_of_a_shared_script_say_more_than_the_script() -> None:
    bulgarian = country_of(signs("Добре дошли в нашия ресторант, всеки ден прясна храна и българско вино"))
    assert bulgarian["BG"] > 1.5 > bulgarian.get("RU", 0.0)
    short = country_of(signs("Аптека"))
    assert short["BG"] == short["RU"] > 0.5


def country_of(reading: ToolRecord) -> dict[str, float]:
    result = SignsRead.model_validate(reading.result)
    return dict(language_weights(result.signs, result.languages).nats)


def test_country_cues_are_capped_and_shared_ones_split() -> None:
    weights = cue_weights(country_cues(["www.a-shop.de +49 30 1234567 Deutschland", "+1 212 555 0123"]))
    assert weights.of("DE") == CUE_CAP_NATS
    assert weights.of("US") == pytest.approx(3.5 - np.log(2.0))
    twice = cue_weights([CountryCue(CountryCueKind.DOMAIN, t, ("DE",)) for t in ("www.a.de", "www.b.de")])
    assert twice.of("DE") == 3.5


def test_longer_names_and_more_words_weigh_more_up_to_a_limit() -> None:
    nats = [name_nats(text) for text in ("Rome", "Lisbon", "San Sebastian", "A very long name of a far place")]
    assert nats == sorted(nats)
    assert nats[-1] == name_nats("Another very long name of a far place")
    assert name_nats("東京駅") > name_nats("Rom")


def test_large_places_are_likelier_than_small_ones() -> None:
    nats = [population_nats(people) for people in (8_000_000, 100_000, 5_000, None)]
    assert nats == sorted(nats, reverse=True)
    assert nats[0] == 0.0
    assert population_nats(30_000_000) == 0.0


def test_a_former_name_stands_back_where_another_place_is_called_so() -> None:
    newport = [p for p in PLACES if p.city == "Newport"]
    alias = PLACES[0].model_copy(update={"city": "Elsewhere", "population": newport[0].population})
    own, other = place_name_nats("Newport", [newport[0], alias])
    assert own - other == pytest.approx(2.0)
    assert place_name_nats("Praha", [PLACES[4]])[0] > 0.0


def test_a_place_name_supports_the_hypothesis_that_contains_the_place() -> None:
    nats = only(
        weigh(here(), [signs("Lisbon"), named("Lisbon", PLACES[2])], []), EvidenceKind.PLACE_NAME
    ).log_likelihood_ratio
    assert set(nats) == {"Lisbon"}
    assert nats["Lisbon"] == pytest.approx(name_nats("Lisbon") + population_nats(517_802))


def test_a_small_namesake_never_speaks_against_a_wide_hypothesis() -> None:
    village = PLACES[7].model_copy(update={"point": Point(lat=40.4, lon=-3.7)})
    nats = only(
        weigh(here(500.0), [signs("Ob"), named("Ob", village)], []), EvidenceKind.PLACE_NAME
    ).log_likelihood_ratio
    assert nats["Madrid"] == 0.0


def test_a_region_with_a_town_of_its_name_is_the_town() -> None:
    region = PLACES[0].model_copy(update={"city": None})
    other = PLACES[5].model_copy(update={"city": None})
    assert towns_and_regions([region, PLACES[0], other]) == [PLACES[0], other]


def test_a_country_by_name_is_no_place() -> None:
    spain = Place(country="Spain", country_code="ES", point=Point(lat=40.42, lon=-3.70), population=46_000_000)
    told = weigh(here(), [signs("Spain", "Nothing"), named("Spain", spain), named("Nothing")], [])
    assert not any(item.kind is EvidenceKind.PLACE_NAME for item in told)


def test_a_name_weighs_once_and_only_where_it_was_read() -> None:
    said = named("Lisbon", PLACES[2])
    again = said.model_copy(update={"call_id": "again"})
    assert weigh(here(), [said], []) == []
    for other in ("Praha", "Lisbonaise"):
        assert weigh(here(), [signs(other), said], []) == weigh(here(), [signs(other)], [])
    read = weigh(here(), [said, signs("Rua de Lisbon 7"), again], [])
    assert only(read, EvidenceKind.PLACE_NAME).log_likelihood_ratio["Lisbon"] > 1.0


SHORE = Place(country="Spain", country_code="ES", city="Cadiz", point=Point(lat=36.53, lon=-6.29), distance_km=40.0)
WATERS = Place(country="Heard Island", country_code="HM", point=Point(lat=40.42, lon=-3.70), distance_km=0.0)


@pytest.mark.parametrize(
    ("surface", "nearest", "radius_km", "expected"),
    [
        ("land", None, 25.0, {}),
        ("sea", None, 25.0, {"Madrid": SEA_NATS}),
        ("sea", SHORE, 25.0, {"Madrid": SEA_NATS}),
        ("sea", SHORE, 40.0, {}),
        ("sea", None, 500.0, {}),
        ("sea", WATERS, 25.0, {"Madrid": SEA_NATS}),
    ],
)
def test_only_a_hypothesis_without_land_is_contradicted_by_the_sea(
    surface: Any, nearest: Place | None, radius_km: float, expected: dict[str, float]
) -> None:
    at = PlaceAt(point=Point(lat=40.42, lon=-3.70), place=nearest, surface=surface)
    item = only(weigh(here(radius_km), [record("reverse_geocode", at)], []), EvidenceKind.GEOCODE)
    assert item.log_likelihood_ratio == expected


@pytest.mark.parametrize(("most", "weighs"), [(math.inf, 2.0), (1.4, 1.4), (0.0, 0.0)])
def test_a_judgement_weighs_no_more_than_the_models_record_of_judging(most: float, weighs: float) -> None:
    geocoded = record("reverse_geocode", PlaceAt(point=Point(lat=0.0, lon=0.0), place=None, surface="land"))
    for sign in (1.0, -1.0):
        said = Opinion(hypothesis_id="Madrid", claim="dry", strength_nats=2.0 * sign, tool_call_id=geocoded.call_id)
        judged = only(weigh(here()._replace(judgement_nats=most), [geocoded], [said]), EvidenceKind.JUDGEMENT)
        assert judged.log_likelihood_ratio == {"Madrid": weighs * sign}


def test_a_judgement_needs_a_tool_call_that_was_made_or_it_is_opinion() -> None:
    geocoded = record("reverse_geocode", PlaceAt(point=Point(lat=0.0, lon=0.0), place=None, surface="land"))
    opinions = [
        Opinion(hypothesis_id="Madrid", claim="dry", strength_nats=2.0, tool_call_id=geocoded.call_id),
        Opinion(hypothesis_id="Madrid", claim="dry", strength_nats=2.0, tool_call_id="made-up"),
        Opinion(hypothesis_id="gone", claim="dry", strength_nats=2.0, tool_call_id=None),
    ]
    judged = weigh(here(), [geocoded], opinions)[1:]
    assert [(e.kind, e.source is not None) for e in judged] == [
        (EvidenceKind.JUDGEMENT, True),
        (EvidenceKind.OPINION, False),
    ]


def test_failed_calls_are_no_evidence() -> None:
    failed = ToolRecord(call_id="c", tool="find_place", arguments={}, result=None, result_sha256=None, error="no")
    assert weigh(here(), [failed], []) == []


def test_evidence_carries_the_hash_of_what_the_tool_returned() -> None:
    reading = signs("www.obchod.cz")
    item = only(weigh(here(), [reading], []), EvidenceKind.SIGN)
    assert item.source is not None
    assert item.source.result_sha256 == reading.result_sha256
    assert item.id == "E1"
