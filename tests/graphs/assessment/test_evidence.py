"""From what a run knows to pieces of evidence: their kind, their source, and which way they point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.chat_models.registry import LoadedModel
from agents.chat_models.spec import Capabilities
from agents.schemas import EvidenceKind, Hypothesis
from agents.strategies import Shown
from belief.decision import decide
from belief.support import make_support
from geo.point import Point
from geo.sphere import point_distance_km
from graphs.assessment.assess import believe
from graphs.assessment.evidence import model_report, statements
from graphs.assessment.statement import Statement
from graphs.context import GeolocateContext
from graphs.state import GeolocateState, Opinion, ToolRecord
from tests.fakes.machine import GOOD_JUDGE, PARAMETERS, PLACES, ScriptedModel, candidates, context
from tests.graphs.assessment.run_states import hypothesis, named, position, record, searched, signs, state
from tools.results import FoundPlaces, PlaceAt

TOKYO, _, LISBON, MADRID, PRAGUE = PLACES[:5]
HERE = [hypothesis("Madrid", 40.42, -3.70), hypothesis("Lisbon", 38.72, -9.13), hypothesis("Prague", 50.09, 14.42)]
ON_LAND = record("reverse_geocode", PlaceAt(point=LISBON.point, place=LISBON, surface="land"), call_id="call-1")
AGAIN = ON_LAND.model_copy(update={"call_id": "call-2"})
PORTUGUESE = "Restaurante com comida portuguesa, peixe fresco e vinho da casa todos os dias"


def told(
    known: GeolocateState | None = None, hypotheses: Sequence[Hypothesis] = HERE, at: GeolocateContext | None = None
) -> list[Statement]:
    known = known or state()
    return statements(at or context(model=seeing()), known, hypotheses, known["records"], known["opinions"])


def told_by(*records: ToolRecord, **known: Any) -> list[Statement]:
    return told(state(records=list(records), **known))


def seeing() -> ScriptedModel:
    return ScriptedModel(policy=lambda *_: ("", []))


def only(found: Sequence[Statement], kind: EvidenceKind) -> Statement:
    [statement] = [one for one in found if one.evidence.kind is kind]
    return statement


def nats_at(statement: Statement, *points: Point) -> list[float]:
    """What a statement says of some positions."""
    assert statement.log_ratio is not None
    support = make_support([(point.lat, point.lon) for point in points])
    return statement.log_ratio(support)[: len(points)].tolist()  # type: ignore[no-any-return]  # an array of floats


def averages_to_one(statement: Statement) -> bool:
    assert statement.log_ratio is not None
    support = make_support(statement.pins)
    return bool(np.isclose(support.prior_mass @ np.exp(statement.log_ratio(support)), 1.0, atol=1e-6))


# --- tools


def test_the_whole_photos_search_points_to_the_candidates() -> None:
    found = only(told_by(searched(), candidates=list(candidates())), EvidenceKind.RETRIEVAL)
    madrid, prague, newport = nats_at(found, MADRID.point, PRAGUE.point, PLACES[6].point)
    assert madrid > 0.0 > newport
    assert prague > newport >= math.log(0.29), "three tenths of such searches know nothing"
    assert averages_to_one(found)
    assert found.evidence.source is not None
    assert found.evidence.source.tool == "search_photos"


def test_of_a_search_that_failed_nothing_is_said() -> None:
    failed = ToolRecord(call_id="c", tool="search_photos", arguments={}, result=None, result_sha256=None, error="no")
    assert told_by(failed, candidates=list(candidates())) == []


@pytest.mark.parametrize("arguments", [{"box": {"left": 0.1}}, {"near": {"radius_km": 200}}])
def test_a_crop_or_a_search_near_a_point_weighs_nothing(arguments: dict[str, Any]) -> None:
    found = only(told_by(searched(**arguments), candidates=list(candidates())), EvidenceKind.LOOKALIKE)
    assert (found.log_ratio, list(found.pins)) == (None, [])
    assert found.evidence.source is not None


def test_what_lies_at_a_position_weighs_nothing() -> None:
    at_sea = record("reverse_geocode", PlaceAt(point=Point(lat=30.0, lon=-40.0), place=None, surface="sea"))
    for reading, words in ((ON_LAND, "on land, near Lisbon"), (at_sea, "at sea")):
        found = only(told_by(reading), EvidenceKind.GEOCODE)
        assert found.log_ratio is None
        assert words in found.evidence.claim


def test_a_name_on_a_sign_points_to_the_place_and_raises_it() -> None:
    found = only(told_by(signs("Rua de Lisbon 7"), named("Lisbon", LISBON)), EvidenceKind.PLACE_NAME)
    lisbon, madrid = nats_at(found, LISBON.point, MADRID.point)
    assert lisbon > 1.0 > 0.0 > madrid
    assert list(found.pins) == [(LISBON.point.lat, LISBON.point.lon)]
    assert averages_to_one(found)


def test_a_name_that_somebody_only_said_is_no_evidence() -> None:
    said = named("Lisbon", LISBON)
    assert told_by(said) == []
    for other in ("Praha", "Lisbonaise"):
        assert not [s for s in told_by(signs(other), said) if s.evidence.kind is EvidenceKind.PLACE_NAME]


def test_a_name_counts_once_however_often_it_is_looked_up() -> None:
    said = named("Lisbon", LISBON)
    twice = told_by(said, signs("Lisbon"), said.model_copy(update={"call_id": "again"}))
    assert only(twice, EvidenceKind.PLACE_NAME)


def test_of_namesakes_the_larger_gains_more() -> None:
    wales, rhode_island = PLACES[5:7]
    found = only(told_by(signs("Newport"), named("Newport", wales, rhode_island)), EvidenceKind.PLACE_NAME)
    assert len(found.pins) == 2
    assert "2 known place(s)" in found.evidence.claim


def test_a_country_by_name_is_no_place() -> None:
    spain = MADRID.model_copy(update={"city": None, "region": None})
    unknown = record("find_place", FoundPlaces(query="Nothing", places=()), name="Nothing")
    found = told_by(signs("Spain", "Nothing"), named("Spain", spain), unknown)
    assert not [s for s in found if s.evidence.kind is EvidenceKind.PLACE_NAME]


def test_a_domain_points_to_its_country_and_the_language_to_where_it_is_spoken() -> None:
    domain = only(told_by(signs("www.obchod.cz")), EvidenceKind.SIGN)
    prague, madrid = nats_at(domain, PRAGUE.point, MADRID.point)
    assert prague > 1.0 > 0.0 > madrid
    language = only(told_by(signs(PORTUGUESE)), EvidenceKind.LANGUAGE)
    lisbon, tokyo = nats_at(language, LISBON.point, TOKYO.point)
    assert lisbon > 0.5 > 0.0 > tokyo


def test_no_sign_rules_a_country_out() -> None:
    """One sign of ten says nothing about where the photo was taken: the floor of `useless`."""
    for line, kind in (("www.obchod.cz", EvidenceKind.SIGN), (PORTUGUESE, EvidenceKind.LANGUAGE)):
        assert min(nats_at(only(told_by(signs(line)), kind), MADRID.point, TOKYO.point)) >= math.log(0.1)


def test_signs_read_again_in_a_crop_count_once() -> None:
    whole, crop = signs("www.obchod.cz", PORTUGUESE), signs("www.obchod.cz")
    assert [s.evidence.kind for s in told_by(whole, crop)] == [EvidenceKind.LANGUAGE, EvidenceKind.SIGN]
    once, twice = (only(told_by(*r), EvidenceKind.SIGN) for r in ([whole], [whole, crop]))
    assert nats_at(once, PRAGUE.point) == nats_at(twice, PRAGUE.point)


def test_evidence_carries_the_hash_of_what_the_tool_returned() -> None:
    reading = signs("www.obchod.cz")
    source = only(told_by(reading), EvidenceKind.SIGN).evidence.source
    assert source is not None
    assert source.result_sha256 == reading.result_sha256


def test_evidence_is_numbered() -> None:
    found = told_by(searched(), signs("www.obchod.cz"), ON_LAND, candidates=list(candidates()))
    assert [s.evidence.id for s in found] == ["E1", "E2", "E3"]


# --- models


def test_what_a_model_reports_is_worth_its_record_and_names_the_reply() -> None:
    said = [position(38.72, -9.13, name="Lisbon", why="tiles"), position(41.15, -8.61)]
    found = only(told(state(positions=said)), EvidenceKind.SIGHT)
    lisbon, tokyo = nats_at(found, LISBON.point, TOKYO.point)
    assert lisbon > 1.0
    assert tokyo == pytest.approx(math.log(0.2), abs=0.1), "two of ten of its answers are anywhere"
    assert found.by_model == "fake"
    assert found.evidence.claim == "fake says Lisbon and 1 other place(s): tiles"
    assert found.evidence.source is not None
    assert found.evidence.source.result_sha256 == "0" * 64
    assert averages_to_one(found)


def test_samples_of_one_model_are_one_report_and_share_its_weight() -> None:
    said = [position(38.72, -9.13, sample=number) for number in range(5)]
    assert len(told(state(positions=said))) == 1
    report = model_report(said, PARAMETERS.records.models["any"])
    assert report.shares == pytest.approx([0.2] * 5)
    one, five = (only(told(state(positions=p)), EvidenceKind.SIGHT) for p in (said[:1], said))
    assert nats_at(one, LISBON.point) == pytest.approx(nats_at(five, LISBON.point))


def test_several_models_are_separate_witnesses() -> None:
    said = [position(38.72, -9.13, model=name) for name in ("a", "b")]
    models = tuple(LoadedModel(name=name, chat=seeing()) for name in ("a", "b"))
    found = told(state(positions=said), at=context(models=models))
    assert [statement.by_model for statement in found] == ["a", "b"]


def test_only_a_stated_radius_scales_the_record() -> None:
    by_kind, stated = (
        only(told(state(positions=[position(38.72, -9.13, stated_radius_km=km)])), EvidenceKind.SIGHT)
        for km in (None, 0.2)
    )
    assert nats_at(stated, LISBON.point)[0] > nats_at(by_kind, LISBON.point)[0]


def test_a_first_reading_that_was_not_blind_is_no_report() -> None:
    said = state(positions=[position(38.72, -9.13)])
    shown_regions = context(model=seeing()).strategy.model_copy(update={"shown": frozenset({Shown.REGIONS})})
    assert told(said, at=context(model=seeing())) != []
    assert told(said, at=replace(context(model=seeing()), strategy=shown_regions)) == []


def test_a_model_that_sees_no_pictures_reports_nothing() -> None:
    said = state(positions=[position(38.72, -9.13)])
    sightless = LoadedModel(name="fake", chat=seeing(), capabilities=Capabilities(images=False))
    assert told(said, at=context(models=(sightless,))) == []


# --- judgements and people


def judged(strength: float, call_id: str | None = "call-1", key: str = "Lisbon", claim: str = "tiles") -> Opinion:
    return Opinion(hypothesis_id=key, claim=claim, strength_nats=strength, tool_call_id=call_id)


def judgements(*opinions: Opinion, model: str = "fake", hypotheses: Sequence[Hypothesis] = HERE) -> list[Statement]:
    models = (LoadedModel(name=model, chat=seeing()),)
    known = state(records=[ON_LAND, AGAIN], opinions=list(opinions))
    found = told(known, hypotheses, context(models=models))
    return [s for s in found if s.evidence.kind in (EvidenceKind.JUDGEMENT, EvidenceKind.OPINION, EvidenceKind.PERSON)]


def inside(statement: Statement) -> float:
    return nats_at(statement, LISBON.point)[0]


@pytest.mark.parametrize(("model", "most"), [("fake", math.log(0.7 / 0.3)), (GOOD_JUDGE, math.log(9.0))])
def test_a_judgement_weighs_no_more_than_its_makers_record(model: str, most: float) -> None:
    for said in (3.0, -3.0):
        [found] = judgements(judged(said), model=model)
        assert inside(found) == pytest.approx(math.copysign(most, said))
        assert nats_at(found, PLACES[0].point)[0] == pytest.approx(0.0, abs=1e-6)
    [modest] = judgements(judged(0.3), model=model)
    assert inside(modest) == pytest.approx(0.3)


def test_a_judgement_acts_on_an_area_and_cites_the_call_that_was_judged() -> None:
    [found] = judgements(judged(2.0))
    assert found.evidence.kind is EvidenceKind.JUDGEMENT
    assert found.evidence.source is not None
    assert found.evidence.source.tool == "reverse_geocode"
    near, far = nats_at(found, Point(lat=38.8, lon=-9.2), Point(lat=39.6, lon=-9.1))
    assert near > far > 0.0


def test_judgements_of_several_results_about_one_place_are_discounted() -> None:
    once, both = judgements(judged(3.0)), judgements(judged(3.0), judged(3.0, "call-2"))
    assert len(both) == 2
    # With a correlation of one half two count 4/3 of one.
    assert sum(map(inside, both)) == pytest.approx(inside(once[0]) * 4 / 3)


def test_a_judge_whose_errors_were_found_independent_counts_in_full() -> None:
    once = judgements(judged(3.0), model=GOOD_JUDGE)
    both = judgements(judged(3.0), judged(3.0, "call-2"), model=GOOD_JUDGE)
    assert sum(map(inside, both)) == pytest.approx(2 * inside(once[0]))


@pytest.mark.parametrize(("model", "answer"), [(GOOD_JUDGE, LISBON.point), ("fake", MADRID.point)])
def test_judgements_overturn_a_certain_report_as_far_as_they_are_reliable(model: str, answer: Point) -> None:
    certain = [position(MADRID.point.lat, MADRID.point.lon, confidence=0.95, stated_radius_km=5.0, model=model)]
    known = state(
        records=[ON_LAND, AGAIN, *(searched(call_id=call) for call in ("call-3", "call-4"))],
        positions=certain,
        opinions=[
            judged(3.0),
            judged(3.0, "call-2"),
            judged(-3.0, "call-3", "Madrid"),
            judged(-3.0, "call-4", "Madrid"),
        ],
    )
    at = context(models=(LoadedModel(name=model, chat=seeing(), capabilities=Capabilities(images=True)),))
    found = statements(at, known, HERE, known["records"], known["opinions"])
    best = decide(believe(at, found), {200.0: 1.0})
    assert point_distance_km(Point(lat=best.lat_deg, lon=best.lon_deg), answer) < 50.0


def test_a_later_judgement_of_the_same_call_replaces_the_earlier() -> None:
    [found] = judgements(judged(3.0, claim="tiles"), judged(-3.0, claim="no tiles after all"))
    assert inside(found) < 0.0
    assert found.evidence.claim == "no tiles after all"


@pytest.mark.parametrize("call_id", [None, "made-up"])
def test_an_opinion_without_a_tool_call_weighs_nothing(call_id: str | None) -> None:
    [found] = judgements(judged(3.0, call_id))
    assert found.evidence.kind is EvidenceKind.OPINION
    assert (found.log_ratio, found.evidence.source) == (None, None)


def test_a_judgement_of_a_place_that_is_not_listed_is_dropped() -> None:
    assert judgements(judged(3.0, key="H99")) == []


def test_a_persons_answer_weighs_as_much_as_people_are_right() -> None:
    said = Opinion(hypothesis_id="Lisbon", claim="yes", strength_nats=2.5, tool_call_id=None, of_a_person=True)
    [found] = judgements(said)
    assert found.evidence.kind is EvidenceKind.PERSON
    assert inside(found) == pytest.approx(math.log(9.0))
    assert found.evidence.source is not None
    assert found.evidence.source.tool == "person"
    [again] = judgements(said, said)
    assert inside(again) == inside(found)
