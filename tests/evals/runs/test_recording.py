"""What a record keeps of an answer's belief: chances, sizes of areas and whether they hold the truth, information."""

from __future__ import annotations

from dataclasses import replace

from agents.schemas import Answer, Cost, CredibleArea, Evidence, EvidenceKind
from belief.posterior import Belief
from evals.runs.recording import answer_record
from evals.runs.records import EvalRecord
from geo.point import Point
from tests.belief.beliefs import PARIS, belief_in
from tests.belief.beliefs import record as shares
from tests.fakes.answers import answered
from tests.fakes.eval_runs import SYSTEM, queries


def recorded(answer: Answer, truth: Point, belief: Belief | None = None) -> EvalRecord:
    query = queries(1)[0]
    asked = replace(query, sample=replace(query.sample, truth=truth))
    return answer_record(SYSTEM, asked, answer, belief, 0, ())


def told(kind: EvidenceKind, nats: float) -> Evidence:
    return Evidence(id=f"{kind}{nats}", kind=kind, claim="", source=None, information_nats=nats)


def test_chances_sizes_and_whether_areas_hold_the_truth_are_kept() -> None:
    stated = answered(
        chance_within_km={1: 0.1, 25: 0.6},
        area_50_km2=4.0,
        area_90_km2=100.0,
        areas=(CredibleArea(share=0.5, area_km2=4.0, polygons=()),),
        cost_by_model={"large": Cost(tokens=5)},
    )
    belief = belief_in({PARIS: 1.0}, shares(s3=0.3, s25=0.7))
    record = recorded(stated, Point(lat=48.83, lon=2.35), belief)
    assert record.chance_within_km == {1: 0.1, 25: 0.6}
    assert (record.area_50_km2, record.area_90_km2) == (4.0, 100.0)
    assert (record.is_in_area_50, record.is_in_area_90) == (False, True)
    assert record.log_density == belief.log_density((48.83, 2.35))
    assert record.cost_by_model == {"large": Cost(tokens=5)}
    assert b"polygons" not in record.line()
    assert EvalRecord.model_validate_json(record.line()) == record


def test_an_answer_without_a_belief_says_nothing_rather_than_no() -> None:
    record = recorded(answered(evidence=(told(EvidenceKind.SIGN, 0.0),)), Point(lat=54.0, lon=14.0))
    assert (record.is_in_area_50, record.is_in_area_90, record.log_density) == (None, None, None)
    assert record.information_nats is None
    assert record.evidence[0].information_nats is None


def test_information_is_added_up_by_kind() -> None:
    evidence = (told(EvidenceKind.SIGN, 0.5), told(EvidenceKind.SUN, 0.0), told(EvidenceKind.SIGN, 0.25))
    record = recorded(answered(evidence=evidence, chance_within_km={25: 0.5}), Point(lat=54.0, lon=14.0))
    assert record.information_nats == {"sign": 0.75, "sun": 0.0}
    assert [note.information_nats for note in record.evidence] == [0.5, 0.0, 0.25]
