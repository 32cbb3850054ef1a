"""Every strategy in the small world: its steps, what it asks and shows, and every way for its replies to fail."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from agents.chat_models.failures import ModelFailure
from agents.schemas import AnswerStatus, EvidenceKind, Origin, PointSource
from agents.strategies import STRATEGIES, Ask, CommitRule, Shown, Step, Strategy, find_strategy
from belief.records import Records
from geo.point import Point
from geo.sphere import point_distance_km
from graphs.budgets import Budgets
from tests.fakes.machine import (
    EXIF_CAMERA,
    EXIF_POSITION,
    FILE_NAME,
    PARAMETERS,
    PLACES,
    POOLED,
    Calls,
    ScriptedModel,
    context,
    run,
    steps,
)
from tools.untrusted_text import CLOSING, OPENING

PORTO = Point(lat=41.15, lon=-8.61)
GUESSING = sorted(name for name, strategy in STRATEGIES.items() if strategy.runs(Step.GUESS))
COORDINATE = re.compile(r"-?\d{1,3}\.\d{2,}")


def answering(**said: Any) -> ScriptedModel:
    """Names areas, investigates nothing, and gives this position."""

    def policy(_: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        if "GivePosition" in offered:
            return "", [("GivePosition", said)]
        return ("", [("NamePlace", {"name": "Portugal"})]) if "NamePlace" in offered else ("It looks like the sea.", [])

    return ScriptedModel(policy=policy)


def porto(**more: Any) -> ScriptedModel:
    return answering(name="Porto", lat=PORTO.lat, lon=PORTO.lon, confidence=0.6, radius_km=10.0, why="tiles", **more)


def saying(text: str) -> ScriptedModel:
    return ScriptedModel(policy=lambda *_: (text, []))


@pytest.mark.parametrize("name", GUESSING)
def test_the_models_own_answer_is_the_answer(name: str) -> None:
    answer = run(context(model=porto(), strategy=name))
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.point == PORTO
    assert answer.point_source is PointSource.MODEL
    assert answer.model_status == "ok"
    assert 0.0 < answer.chance_within_km[1] < answer.chance_within_km[25] <= answer.confidence < 1.0
    assert answer.radius_50_km is not None
    assert answer.radius_90_km is not None
    assert answer.radius_50_km < answer.radius_90_km
    assert any("tiles" in e.claim and e.source and len(e.source.result_sha256) == 64 for e in answer.evidence)


def test_how_sure_the_models_own_answer_is_follows_its_record_and_not_its_words() -> None:
    poor = POOLED.model_copy(update={"stated": (*[0.0] * 9, 1.0)})
    doubting = PARAMETERS.model_copy(update={"records": Records(models={"any": poor})})
    trusted, doubted = (run(context(model=porto(), strategy="zero_shot", parameters=p)) for p in (PARAMETERS, doubting))
    assert trusted.point == doubted.point == PORTO
    assert trusted.chance_within_km[25] > 0.5 > 0.01 > doubted.chance_within_km[25]


@pytest.mark.parametrize("name", GUESSING)
@pytest.mark.parametrize(
    ("words", "status"),
    [("I'm sorry, but I can't help with that.", AnswerStatus.REFUSED), ("Somewhere nice.", AnswerStatus.UNPARSABLE)],
)
def test_a_reply_without_an_answer_is_a_status_and_never_a_point(name: str, words: str, status: AnswerStatus) -> None:
    answer = run(context(model=saying(words), strategy=name, found=()))
    assert (answer.status, answer.point, answer.radius_50_km) == (status, None, None)
    assert answer.model_status == status.value
    assert answer.reasoning


@pytest.mark.parametrize("name", [*GUESSING, "refine"])
def test_a_model_out_of_reach_is_a_failure_and_no_crash(name: str) -> None:
    """Where the point is the model's own there is none; the belief still says where photos are taken."""

    def unreachable(*_: Any) -> Any:
        raise ModelFailure("the server is gone", is_retryable=False)

    answer = run(context(model=ScriptedModel(policy=unreachable), strategy=name, found=()))
    assert answer.model_status == "failed"
    assert (answer.status is AnswerStatus.FAILED) is (answer.point is None) is (name != "refine")
    assert "the server is gone" in answer.reasoning


EXPECTED = {
    "zero_shot": ["guess"],
    "chain_of_thought": ["guess"],
    "rag": ["recall", "guess"],
    "rag_contrast": ["recall", "guess"],
    "cluster_rag": ["recall", "cluster", "guess"],
    "hierarchical": ["guess"],
    "self_consistency": ["guess"],
    "tool_agent": ["investigate", "guess"],
}


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_steps(name: str, expected: list[str]) -> None:
    assert steps(context(model=porto(), strategy=name)) == ["initialise", *expected, "commit"]


@pytest.mark.parametrize(
    ("name", "calls"), [("zero_shot", 1), ("chain_of_thought", 2), ("hierarchical", 5), ("self_consistency", 5)]
)
def test_how_often_the_model_is_asked(name: str, calls: int) -> None:
    model = porto()
    assert run(context(model=model, strategy=name)).cost.model_calls == len(model.seen) == calls


def test_thoughts_and_levels_stay_in_the_conversation() -> None:
    thinking, stepping = porto(), porto()
    run(context(model=thinking, strategy="chain_of_thought"))
    assert "It looks like the sea." in [m.text for m in thinking.seen[-1]]
    run(context(model=stepping, strategy="hierarchical"))
    asked = [m.text for m in stepping.seen[-1] if isinstance(m, HumanMessage)]
    assert [
        level for text in asked for level in ("continent", "country", "region", "city") if f"which {level}" in text
    ] == [
        "continent",
        "country",
        "region",
        "city",
    ]


def test_what_is_shown_beside_the_photo() -> None:
    shown = {}
    for name in ("zero_shot", "rag", "rag_contrast", "cluster_rag"):
        model = porto()
        run(context(model=model, strategy=name))
        text = model.seen[0][1].text
        shown[name] = json.loads(text.split(OPENING)[1].split(CLOSING)[0])
    assert set(shown["zero_shot"]) == {"photo_id"}
    assert shown["rag"]["similar"][0]["lat"] == 40.42
    assert "dissimilar" not in shown["rag"]
    assert shown["rag_contrast"]["dissimilar"][0] == {"lat": -33.87, "lon": 151.21, "similarity": -0.4, "near": ANY}
    assert shown["cluster_rag"]["regions"][0]["share"] > 0.0


class _Any:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # equal to everything, so it has none


ANY = _Any()


def test_a_named_place_without_coordinates_is_looked_up() -> None:
    answer = run(context(model=answering(name="Lisbon, Portugal"), strategy="zero_shot"))
    assert answer.point == PLACES[2].point
    assert answer.point_source is PointSource.NAMED_PLACE
    assert answer.cost.tool_calls == 1


def test_the_country_that_is_named_decides_between_namesakes() -> None:
    answer = run(context(model=answering(name="Newport, Rhode Island, United States"), strategy="zero_shot"))
    assert answer.point == PLACES[6].point


def test_a_name_that_nobody_knows_is_unparsable() -> None:
    answer = run(context(model=answering(name="Atlantis"), strategy="zero_shot"))
    assert (answer.status, answer.point) == (AnswerStatus.UNPARSABLE, None)


def test_the_consensus_of_samples_is_the_one_most_others_lie_near() -> None:
    said = iter([(10.0, 10.0), (41.15, -8.61), (41.2, -8.6), (-60.0, 100.0), (41.1, -8.7)])
    lock = threading.Lock()

    def policy(*_: Any) -> tuple[str, Calls]:
        with lock:
            lat, lon = next(said)
        return "", [("GivePosition", {"name": "x", "lat": lat, "lon": lon, "confidence": 1.0})]

    answer = run(context(model=ScriptedModel(policy=policy), strategy="self_consistency"))
    assert answer.point is not None
    assert point_distance_km(answer.point, PORTO) < 20.0
    assert len([h for h in answer.hypotheses if h.origin is Origin.MODEL and h.name == "x"]) == 3
    assert answer.radius_90_km is not None
    assert answer.radius_90_km > 3000.0  # two of five lie far away


def test_some_samples_that_fail_leave_the_others() -> None:
    turns = iter(range(20))
    lock = threading.Lock()

    def policy(*_: Any) -> tuple[str, Calls]:
        with lock:
            turn = next(turns)
        return ("Sorry, I cannot.", []) if turn % 2 else ("", [("GivePosition", {"name": "x", "lat": 1.0, "lon": 2.0})])

    answer = run(context(model=ScriptedModel(policy=policy), strategy="self_consistency"))
    assert answer.point == Point(lat=1.0, lon=2.0)
    assert answer.model_status == "ok"


def test_no_sample_begins_when_the_money_is_spent() -> None:
    from agents.chat_models.prices import Price

    model = ScriptedModel(policy=porto().policy, tokens=10)
    at = context(model=model, strategy="self_consistency", price=Price(input=1e5, output=0.0), budgets=Budgets(usd=0.5))
    answer = run(at)
    assert len(model.seen) == 4  # a batch of four at a dollar each; the fifth is not asked for
    assert "4 of 5 samples" in answer.reasoning


def test_a_tool_agent_uses_tools_and_its_rounds_are_limited() -> None:
    def policy(_: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        if "GivePosition" in offered:
            return "", [("GivePosition", {"name": "Porto", "lat": PORTO.lat, "lon": PORTO.lon})]
        return "", [("find_place", {"name": "Lisbon"})]

    at = context(model=ScriptedModel(policy=policy), strategy="tool_agent", budgets=Budgets(rounds=2))
    assert steps(at) == ["initialise", "investigate", "tools", "investigate", "tools", "guess", "commit"]
    answer = run(at)
    assert answer.point == PORTO
    assert answer.cost.tool_calls == 2
    assert {e.kind for e in answer.evidence} == {EvidenceKind.SIGHT}


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_prompts_hold_no_metadata_no_truth_and_no_coordinates_outside_the_data(name: str) -> None:
    model = porto()
    run(context(["Lisbon"], model=model, strategy=name), metadata_position=EXIF_POSITION)
    for messages in model.seen:
        for message in messages:
            for secret in (FILE_NAME, "lisbon_holiday", EXIF_CAMERA, str(EXIF_POSITION.lat), str(EXIF_POSITION.lon)):
                assert secret not in message.text
            outside = "".join(part.split(CLOSING)[-1] for part in message.text.split(OPENING))
            assert not COORDINATE.search(outside), outside


def test_the_first_reading_is_asked_before_anything_retrieved_is_told() -> None:
    model = porto()
    run(context(["Lisbon"], model=model, strategy="refine"))
    assert "propose" in model.seen[0][1].text.casefold()
    assert not {"regions", "signs", "similar"} & set(
        json.loads(model.seen[0][1].text.split(OPENING)[1].split(CLOSING)[0])
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"asks": ()}, "guess and asks come together"),
        ({"commit_rule": CommitRule.POSTERIOR}, "guess commits by model"),
        ({"shown": frozenset({Shown.SIMILAR})}, "needs recall"),
        ({"shown": frozenset({Shown.SIGNS})}, "needs the step look"),
        ({"asks": (Ask(prompt="clues", wants="text"),)}, "the last of asks wants a position"),
        ({"steps": frozenset({Step.GUESS, Step.REVISE})}, "revise needs both"),
        ({"samples": 0}, "greater than or equal to 1"),
    ],
)
def test_an_inconsistent_strategy_cannot_be_made(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Strategy.model_validate({**dict(find_strategy("zero_shot")), **changes})


def test_hypotheses_need_no_retrieval() -> None:
    steps_of = {Step.HYPOTHESISE, Step.INVESTIGATE, Step.REVISE}
    made = Strategy.model_validate({**dict(find_strategy("jury")), "name": "bare", "steps": frozenset(steps_of)})
    assert made.needs_pixels
    assert not find_strategy("jury").needs_pixels


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_template_of_a_strategy_is_there(name: str) -> None:
    strategy = find_strategy(name)
    named = [strategy.system_prompt, strategy.hypothesise, strategy.investigate, strategy.revise]
    for template in [*named, *(ask.prompt for ask in strategy.asks)]:
        assert strategy.template(template)
