"""The state machine: every route, and every way to have no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from agents.schemas import LEVEL_KM, AnswerStatus, EvidenceKind, HypothesisStatus, Level
from belief.decision import Aim
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


def proposing(*places: tuple[str, float, float]) -> ScriptedModel:
    """Proposes these places, looks at none, and rejects the first."""

    def policy(_: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        if offered == {"ReviseHypotheses"}:
            return "", [("ReviseHypotheses", {"reject": ["H1"]})]
        return "", propose(*places) if "ProposeHypotheses" in offered else [
            ("reverse_geocode", {"lat": 30.0, "lon": -40.0})
        ]

    return ScriptedModel(policy=policy)


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
    at = context(["Lisbon"], aim=Aim.CITY)
    assert steps(at).count("investigate") == 2
    answer = run(at)
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.point is not None
    assert point_distance_km(answer.point, LISBON.point) < 5.0
    assert answer.hypotheses[0].name == "Lisbon, Portugal"
    assert any(e.kind is EvidenceKind.PLACE_NAME for e in answer.evidence)
    assert answer.chance_within_km[25] > 0.8 > run(context()).chance_within_km[25]


def test_one_round_is_enough_where_the_country_is_sure_and_no_more_is_wanted() -> None:
    assert steps(context(["Lisbon"])).count("investigate") == 1


def test_a_domain_moves_the_answer_to_its_country() -> None:
    answer = run(context(["www.obchod.cz"]))
    assert answer.place is not None
    assert answer.place.country_code == "CZ"
    assert "internet domain" in answer.reasoning


def test_a_place_that_is_rejected_stays_in_the_answer_and_is_not_raised_again() -> None:
    found = candidates([((30.0, -40.0), 0.9), ((30.1, -40.0), 0.9), ((40.42, -3.70), 0.6)])
    policy = proposing(("Far out", 30.0, -40.0), ("Madrid", 40.42, -3.7))
    answer = run(context(found=found, model=policy))
    [rejected] = [h for h in answer.hypotheses if h.status is HypothesisStatus.REJECTED]
    assert (rejected.name, rejected.probability) == ("Far out", 0.0)
    near = [h for h in answer.hypotheses if point_distance_km(h.point, rejected.point) <= rejected.radius_km]
    assert near == [rejected], "the belief does not raise it again"


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
    assert answer.level is not None
    assert answer.confidence == answer.chance_within_km[int(LEVEL_KM[answer.level])] > 0.0


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
    assert {"H1", "H2"} <= {h.id for h in answer.hypotheses}
    assert [h.id for h in answer.hypotheses if h.status is HypothesisStatus.REJECTED] == ["H2"]
    assert any(e.kind is EvidenceKind.JUDGEMENT and e.claim == "arid hills" for e in answer.evidence)
    assert "H17 is not an open hypothesis" in answer.reasoning


def test_an_invented_tool_call_makes_a_judgement_an_opinion() -> None:
    revision = {"judgements": [{"hypothesis_id": "H2", "claim": "sure", "strength": 3.0, "tool_call_id": "made-up"}]}
    calls: Calls = [("reverse_geocode", {"lat": 40.42, "lon": -3.7})]
    plain, swayed = (run(context(model=scripted(calls, r))) for r in (None, revision))
    chance = [{h.id: h.probability for h in answer.hypotheses}["H2"] for answer in (plain, swayed)]
    assert chance[0] == chance[1]
    [opinion] = [e for e in swayed.evidence if e.kind is EvidenceKind.OPINION]
    assert (opinion.claim, opinion.source, opinion.information_nats) == ("sure", None, 0.0)


# --- abstaining


def test_with_nothing_retrieved_and_nothing_read_the_prior_is_the_answer_and_it_says_so() -> None:
    answer = run(context(found=()))
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.level is Level.CONTINENT
    assert answer.radius_50_km is not None
    assert answer.radius_50_km > 2500.0
    assert "tells next to nothing beyond where photos are taken" in answer.reasoning


def test_whoever_wants_a_chance_gets_an_abstention_instead_of_the_prior() -> None:
    answer = run(context(found=(), min_confidence=0.5))
    assert answer.status is AnswerStatus.ABSTAINED
    assert (answer.point, answer.place, answer.radius_50_km, answer.level) == (None, None, None, None)


def test_below_the_threshold_it_abstains_and_still_lists_its_hypotheses() -> None:
    sure = run(context()).chance_within_km[750]
    assert run(context(min_confidence=sure - 0.01)).status is AnswerStatus.ANSWERED
    answer = run(context(min_confidence=sure + 0.01))
    assert answer.status is AnswerStatus.ABSTAINED
    assert answer.point is None
    assert answer.hypotheses[0].name == "Madrid, Spain"
    assert f"within 750 km of the best point is only {sure:.1%}, below the threshold" in answer.reasoning


def test_the_chance_that_is_wanted_is_that_of_the_aim() -> None:
    near = run(context(aim=Aim.CITY)).chance_within_km[25]
    assert run(context(aim=Aim.CITY, min_confidence=near - 0.01)).status is AnswerStatus.ANSWERED
    assert run(context(aim=Aim.CITY, min_confidence=near + 0.01)).status is AnswerStatus.ABSTAINED


@pytest.mark.parametrize("strategy", ["retrieval", "clusters"])
def test_plain_strategies_abstain_too(strategy: str) -> None:
    assert run(context(strategy=strategy, found=())).status is AnswerStatus.ABSTAINED


def test_a_model_without_a_usable_word_gets_one_repair_and_the_answer_says_what_it_rests_on() -> None:
    model = ScriptedModel(policy=lambda *_: ("I think it is a nice place.", []))
    answer = run(context(model=model))
    assert "could not be used" in model.seen[1][-1].text
    assert [len(m) for m in model.seen[:2]] == [2, 4]  # the repair follows the reply that could not be used
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.model_status == "unparsable"
    assert "rests on retrieval and signs alone" in answer.reasoning
    assert answer.point == run(context()).point


@pytest.mark.parametrize(
    ("words", "status"),
    [("I'm sorry, but I can't help with that.", AnswerStatus.REFUSED), ("A nice place.", AnswerStatus.UNPARSABLE)],
)
def test_with_nothing_retrieved_either_the_prior_is_answered_and_the_status_stays(
    words: str, status: AnswerStatus
) -> None:
    refusing = ScriptedModel(policy=lambda *_: (words, []))
    answer = run(context(found=(), model=refusing))
    assert (answer.status, answer.model_status) == (AnswerStatus.ANSWERED, status.value)
    assert answer.chance_within_km[25] < 0.05
    assert run(context(found=(), model=refusing, min_confidence=0.5)).point is None


def test_a_repaired_answer_is_used() -> None:
    def policy(messages: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        if "ProposeHypotheses" not in offered:
            return "done", []
        repaired = any("could not be used" in m.text for m in messages)
        return "", propose(("Madrid", 40.42 if repaired else 940.42, -3.7))

    assert run(context(model=ScriptedModel(policy=policy))).status is AnswerStatus.ANSWERED
