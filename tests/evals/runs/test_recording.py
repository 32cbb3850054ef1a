"""What a record keeps of an answer's belief: chances, sizes of areas and whether they hold the truth, information."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.schemas import Answer, Cost, CredibleArea, Evidence, EvidenceKind
from evals.runs.recording import answer_record, contains
from evals.runs.records import EvalRecord
from geo.point import Point
from tests.fakes.answers import answered
from tests.fakes.eval_runs import SYSTEM, queries


def square(share: float, west: float, south: float, side: float) -> CredibleArea:
    east, north = west + side, south + side
    ring = ((west, south), (east, south), (east, north), (west, north), (west, south))
    return CredibleArea(share=share, area_km2=side, polygons=((ring,),))


def recorded(answer: Answer, truth: Point) -> EvalRecord:
    query = queries(1)[0]
    asked = replace(query, sample=replace(query.sample, truth=truth))
    return answer_record(SYSTEM, asked, answer, 0, ())


def told(kind: EvidenceKind, nats: float) -> Evidence:
    return Evidence(id=f"{kind}{nats}", kind=kind, claim="", source=None, information_nats=nats)


def test_chances_sizes_and_whether_areas_hold_the_truth_are_kept() -> None:
    stated = answered(
        chance_within_km={1: 0.1, 25: 0.6},
        area_50_km2=4.0,
        area_90_km2=100.0,
        areas=(square(0.25, 10.0, 50.0, 1.0), square(0.5, 10.0, 50.0, 2.0), square(0.9, 10.0, 50.0, 10.0)),
        cost_by_model={"large": Cost(tokens=5)},
    )
    record = recorded(stated, Point(lat=54.0, lon=14.0))
    assert record.chance_within_km == {1: 0.1, 25: 0.6}
    assert (record.area_50_km2, record.area_90_km2) == (4.0, 100.0)
    assert (record.is_in_area_50, record.is_in_area_90) == (False, True)
    assert record.cost_by_model == {"large": Cost(tokens=5)}
    assert b"polygons" not in record.line()
    assert EvalRecord.model_validate_json(record.line()) == record


def test_an_answer_without_a_belief_says_nothing_rather_than_no() -> None:
    record = recorded(answered(evidence=(told(EvidenceKind.SIGN, 0.0),)), Point(lat=54.0, lon=14.0))
    assert (record.is_in_area_50, record.is_in_area_90, record.information_nats) == (None, None, None)
    assert record.evidence[0].information_nats is None


def test_information_is_added_up_by_kind() -> None:
    evidence = (told(EvidenceKind.SIGN, 0.5), told(EvidenceKind.SUN, 0.0), told(EvidenceKind.SIGN, 0.25))
    record = recorded(answered(evidence=evidence, chance_within_km={25: 0.5}), Point(lat=54.0, lon=14.0))
    assert record.information_nats == {"sign": 0.75, "sun": 0.0}
    assert [note.information_nats for note in record.evidence] == [0.5, 0.0, 0.25]


@pytest.mark.parametrize(("lat", "lon", "inside"), [(0.5, 0.5, False), (0.5, 2.5, True), (3.0, 3.0, True)])
def test_holes_are_not_inside_and_edges_are(lat: float, lon: float, inside: bool) -> None:
    outer, hole = square(0.5, 0.0, 0.0, 3.0).polygons[0][0], square(0.5, 0.2, 0.2, 1.0).polygons[0][0]
    area = CredibleArea(share=0.5, area_km2=1.0, polygons=((outer, hole),))
    assert contains(area, Point(lat=lat, lon=lon)) is inside


def test_an_area_split_at_the_antimeridian_holds_both_sides() -> None:
    halves = square(0.5, 178.0, 0.0, 2.0), square(0.5, -180.0, 0.0, 2.0)
    area = CredibleArea(share=0.5, area_km2=1.0, polygons=tuple(half.polygons[0] for half in halves))
    assert contains(area, Point(lat=1.0, lon=179.0))
    assert contains(area, Point(lat=1.0, lon=-179.0))
    assert contains(area, Point(lat=1.0, lon=180.0))
    assert not contains(area, Point(lat=1.0, lon=0.0))
