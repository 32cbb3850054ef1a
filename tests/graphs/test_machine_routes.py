"""The state machine: every route, and every way to have no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from agents.schemas import AnswerStatus, EvidenceKind, HypothesisStatus
from geo.point import Point
from geo.sphere import point_distance_km
from tests.fakes.machine import (
    PLACES,
    Calls,
    ScriptedModel,
    candidates,
    context,
    propose,
    run,
    scripted,
    steps,
)

LISBON = PLACES[2]


# --- routes


def test_the_whole_loop() -> None:
    assert steps(context()) == [
        "initialise",
        "look",
        "recall",
        "cluster",
        "hypothesise",
        "investigate",
        "tools",
        "revise",
        "commit",
    ]


def test_a_place_on_a_sign_starts_another_round_and_wins() -> None:
    at = context(["Lisbon"])
    assert steps(at).count("investigate") == 2
    answer = run(at)
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.point is not None
    assert point_distance_km(answer.point, LISBON.point) < 1.0
    assert answer.hypotheses[0].name == "Lisbon, Portugal"
    assert any(e.kind is EvidenceKind.PLACE_NAME for e in answer.evidence)
    assert answer.confidence > run(context()).confidence


def test_a_domain_moves_the_answer_to_its_country() -> None:
    answer = run(context(["www.obchod.cz"]))
    assert answer.place is not None
    assert answer.place.country_code == "CZ"
    assert "internet domain" in answer.reasoning


def test_a_hypothesis_at_sea_is_rejected() -> None:
    found = candidates([((30.0, -40.0), 0.9), ((30.1, -40.0), 0.9), ((40.42, -3.70), 0.6)])
    answer = run(context(found=found))
    assert answer.place is not None
    assert answer.place.country_code == "ES"
    rejected = [h for h in answer.hypotheses if h.status is HypothesisStatus.REJECTED]
    assert [h.point.lon for h in rejected] == [-40.0]
    assert all(h.probability == 0.0 for h in rejected)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("retrieval", ["initialise", "recall", "commit"]), ("clusters", ["initialise", "recall", "cluster", "commit"])],
)
def test_plain_strategies_ask_no_model(strategy: str, expected: list[str]) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("the model was asked")

    at = context(strategy=strategy, model=ScriptedModel(policy=never))
    assert steps(at) == expected
    answer = run(at)
    assert answer.point == Point(lat=40.42, lon=-3.70)
    assert answer.cost.model_calls == 0
    assert answer.hypotheses[0].probability == answer.confidence > 0.0


def test_a_model_that_calls_no_tool_goes_straight_to_commit() -> None:
    at = context(model=scripted([]))
    assert steps(at)[-2:] == ["investigate", "commit"]
    assert run(at).status is AnswerStatus.ANSWERED


def test_the_run_stops_when_nothing_changes() -> None:
    model = scripted([("reverse_geocode", {"lat": 40.42, "lon": -3.7})])
    assert steps(context(model=model)).count("revise") == 1


def test_the_model_may_merge_reject_and_judge() -> None:
    revision = {
        "reject": ["H2", "H17"],
        "judgements": [{"hypothesis_id": "H1", "claim": "arid hills", "strength": 2.0, "tool_call_id": "call-2-0"}],
    }
    answer = run(context(model=scripted([("reverse_geocode", {"lat": 40.42, "lon": -3.7})], revision)))
    # The regions that the model did not propose (Lisbon, Tokyo, the Atlantic) stand beside its own two.
    assert sorted(h.id for h in answer.hypotheses) == ["H1", "H2", "H3", "H4", "H5"]
    assert [h.id for h in answer.hypotheses if h.status is HypothesisStatus.REJECTED] == ["H2"]
    assert any(e.kind is EvidenceKind.JUDGEMENT and e.claim == "arid hills" for e in answer.evidence)
    assert "H17 is not an open hypothesis" in answer.reasoning


def test_an_invented_tool_call_makes_a_judgement_an_opinion() -> None:
    revision = {"judgements": [{"hypothesis_id": "H2", "claim": "sure", "strength": 3.0, "tool_call_id": "made-up"}]}
    calls: Calls = [("reverse_geocode", {"lat": 40.42, "lon": -3.7})]
    plain, swayed = (run(context(model=scripted(calls, r))) for r in (None, revision))
    chance = [{h.id: h.probability for h in answer.hypotheses}["H2"] for answer in (plain, swayed)]
    odds = [p / (1.0 - p) for p in chance]
    assert 1.0 < odds[1] / odds[0] < 1.7  # e^0.5 at most


# --- abstaining


def test_nothing_retrieved_is_an_abstention_not_a_point() -> None:
    answer = run(context(found=()))
    assert answer.status is AnswerStatus.ABSTAINED
    assert (answer.point, answer.place, answer.radius_50_km, answer.level) == (None, None, None, None)
    assert "no hypothesis is left open" in answer.reasoning


def test_below_the_threshold_it_abstains_and_still_lists_its_hypotheses() -> None:
    answer = run(context(min_confidence=0.99))
    assert answer.status is AnswerStatus.ABSTAINED
    assert answer.point is None
    assert len(answer.hypotheses) == 5
    assert 0.0 < answer.confidence < 0.99
    assert "below the threshold" in answer.reasoning


@pytest.mark.parametrize("strategy", ["retrieval", "clusters"])
def test_plain_strategies_abstain_too(strategy: str) -> None:
    assert run(context(strategy=strategy, found=())).status is AnswerStatus.ABSTAINED


def test_a_model_without_a_usable_word_gets_one_repair_and_the_answer_says_what_it_rests_on() -> None:
    model = ScriptedModel(policy=lambda *_: ("I think it is a nice place.", []))
    answer = run(context(model=model))
    assert "could not be used" in model.seen[1][-1].text
    assert len([m for m in model.seen if "propose" in str(m[1].content).casefold()]) == len(model.seen)
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.model_status == "unparsable"
    assert "rests on retrieval and signs alone" in answer.reasoning
    assert answer.point == run(context()).point


@pytest.mark.parametrize(
    ("words", "status"),
    [("I'm sorry, but I can't help with that.", AnswerStatus.REFUSED), ("A nice place.", AnswerStatus.UNPARSABLE)],
)
def test_with_nothing_retrieved_either_there_is_a_status_and_no_point(words: str, status: AnswerStatus) -> None:
    answer = run(context(found=(), model=ScriptedModel(policy=lambda *_: (words, []))))
    assert (answer.status, answer.point, answer.model_status) == (status, None, status.value)


def test_a_repaired_answer_is_used() -> None:
    def policy(messages: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        if "ProposeHypotheses" not in offered:
            return "done", []
        repaired = any("could not be used" in m.text for m in messages)
        return "", propose(("Madrid", 40.42 if repaired else 940.42, -3.7))

    assert run(context(model=ScriptedModel(policy=policy))).status is AnswerStatus.ANSWERED
