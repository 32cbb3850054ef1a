"""The state machine: tools that fail, budgets of each kind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import StructuredTool
from pydantic import BaseModel

from agents.chat_models.prices import Price
from agents.schemas import AnswerStatus, Cost, Level
from graphs.budgets import Budgets, spent_budget
from tests.fakes.machine import (
    BrokenSearch,
    Calls,
    FakeReader,
    ScriptedModel,
    context,
    propose,
    run,
    scripted,
)
from tools.results import SignsRead

# --- tools that fail


def test_a_failed_search_is_told_and_the_prior_is_left() -> None:
    answer = run(context(search=BrokenSearch(())))
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.level is Level.CONTINENT
    assert answer.candidates == ()
    assert "search_photos failed: the atlas cannot be read now" in answer.reasoning


def test_lines_that_could_not_be_read_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    partly = SignsRead(signs=(), problem="lines in other scripts were not read: tesseract broke")
    monkeypatch.setattr(FakeReader, "read", lambda *_: partly)
    answer = run(context())
    assert answer.status is not AnswerStatus.ABSTAINED
    assert "read_signs: lines in other scripts were not read: tesseract broke" in answer.reasoning


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (("no_such_tool", {}), "no such tool"),
        (("reverse_geocode", {"lat": 400.0, "lon": 0.0}), "lat"),
        (("reverse_geocode", {"latitude": 1.0}), "unusable arguments"),
        (("find_place", {"name": "x" * 50_000}), "longer than"),
        (("read_signs", {"photo_id": "photo-of-somebody-else"}), "no photo"),
    ],
)
def test_the_models_mistakes_are_reported_to_it(call: tuple[str, dict[str, Any]], problem: str) -> None:
    model = scripted([call, ("reverse_geocode", {"lat": 40.42, "lon": -3.7})])
    answer = run(context(model=model))
    results = [m for m in model.seen[-1] if isinstance(m, ToolMessage) and m.name in (call[0], "reverse_geocode")]
    assert results[0].status == "error"
    assert problem in results[0].text
    assert results[1].status == "success"
    assert answer.status is AnswerStatus.ANSWERED


class Nothing(BaseModel):
    """No arguments."""


def broken_tool(error: Exception) -> StructuredTool:
    def broken() -> tuple[str, None]:
        """Break."""
        raise error

    return StructuredTool.from_function(
        broken, name="broken", args_schema=Nothing, response_format="content_and_artifact"
    )


def test_a_bug_in_a_tool_propagates() -> None:
    at = context(
        model=scripted([("broken", {})]), tools={**context().tools, "broken": broken_tool(ZeroDivisionError("x"))}
    )
    with pytest.raises(ZeroDivisionError):
        run(at)


# --- budgets


@pytest.mark.parametrize(
    ("budgets", "fields", "named"),
    [
        ({"rounds": 1}, {}, "1 rounds"),
        ({"tool_calls": 3}, {}, "3 tool calls"),
        ({"tokens": 2500}, {"tokens": 1000}, "2500 tokens"),
    ],
)
def test_each_budget_ends_the_run_with_an_answer(budgets: dict[str, Any], fields: dict[str, Any], named: str) -> None:
    def policy(messages: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        if "ProposeHypotheses" in offered:
            return "", propose(("Nowhere", -45.0, -70.0))
        if offered == {"ReviseHypotheses"}:  # always something new, so that nothing settles
            place = {"name": "New", "lat": -60.0 + len(messages), "lon": 100.0, "radius_km": 5.0}
            return "", [("ReviseHypotheses", {"add": [place]})]
        return "", [("reverse_geocode", {"lat": 40.42, "lon": -3.7})] * 2

    answer = run(context(model=ScriptedModel(policy=policy, **fields), budgets=Budgets(**budgets)))
    assert answer.status is AnswerStatus.ANSWERED
    assert f"the budget of {named} is spent" in answer.reasoning
    assert answer.cost.tool_calls <= budgets.get("tool_calls", 64)


def test_calls_beyond_the_budget_are_refused_and_the_model_is_told() -> None:
    calls: Calls = [("reverse_geocode", {"lat": float(i), "lon": 0.0}) for i in range(10)]
    model = scripted(calls)
    answer = run(context(model=model, budgets=Budgets(tool_calls=5)))
    results = [m for m in model.seen[-1] if isinstance(m, ToolMessage) and m.name == "reverse_geocode"]
    assert [m.status for m in results] == ["success"] * 3 + ["error"] * 7  # look and recall have used two
    assert answer.cost.tool_calls == 5


def test_a_budget_of_no_tool_calls_leaves_the_prior() -> None:
    answer = run(context(budgets=Budgets(tool_calls=0)))
    assert answer.level is Level.CONTINENT
    assert not any(item.information_nats for item in answer.evidence)
    assert "budget of tool calls is spent" in answer.reasoning


def test_money_is_counted_and_limited() -> None:
    model = scripted([("reverse_geocode", {"lat": 1.0, "lon": 2.0})], tokens=3)
    at = context(model=model, price=Price(input=0.2e6, output=0.0))
    answer = run(at)
    assert answer.cost.usd == pytest.approx(1.2)  # to propose, to investigate: then it is spent
    assert "US dollars is spent" in answer.reasoning


def test_time_is_limited_and_a_tool_that_hangs_cannot_hold_the_run() -> None:
    release = threading.Event()

    def hang() -> tuple[str, None]:
        """Hang."""
        release.wait(30.0)
        return "", None

    hanging = StructuredTool.from_function(
        hang, name="hang", args_schema=Nothing, response_format="content_and_artifact"
    )
    model = scripted([("hang", {})])
    answer = run(context(model=model, tools={**context().tools, "hang": hanging}, budgets=Budgets(seconds=1.5)))
    release.set()
    assert answer.status is AnswerStatus.ANSWERED
    assert "seconds is spent" in answer.reasoning
    assert 1.0 < answer.cost.seconds < 10.0


def test_ten_hanging_tools_cost_no_more_time_than_one_and_the_others_still_count() -> None:
    release = threading.Event()

    def hang() -> tuple[str, None]:
        """Hang."""
        release.wait(30.0)
        return "", None

    hanging = StructuredTool.from_function(
        hang, name="hang", args_schema=Nothing, response_format="content_and_artifact"
    )
    model = scripted([("hang", {})] * 10 + [("reverse_geocode", {"lat": 40.42, "lon": -3.7})])
    at = context(model=model, tools={**context().tools, "hang": hanging}, budgets=Budgets(tool_seconds=0.5))
    answer = run(at)
    release.set()
    assert answer.status is AnswerStatus.ANSWERED
    results = [m for m in model.seen[-1] if isinstance(m, ToolMessage) and m.name in ("hang", "reverse_geocode")]
    assert [m.status for m in results] == ["error"] * 10 + ["success"]
    assert "no result within" in results[0].text


@pytest.mark.parametrize(
    ("cost", "rounds", "spent"),
    [({}, 0, False), ({"usd": 1.0}, 0, False), ({"usd": 1.01}, 0, True), ({}, 4, True), ({"seconds": 300.0}, 0, True)],
)
def test_which_budget_is_spent(cost: dict[str, Any], rounds: int, spent: bool) -> None:
    assert (spent_budget(Budgets(), Cost(**cost), rounds) is not None) is spent
