"""A jury in the small world: every model is asked, each with its own reply, cost and notes; the first investigates."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from langchain_core.messages import BaseMessage

from agents.chat_models.failures import ModelFailure
from agents.chat_models.prices import FREE, Price
from agents.chat_models.registry import LoadedModel
from agents.schemas import AnswerStatus, Origin
from graphs.budgets import Budgets
from graphs.context import GeolocateContext
from graphs.geolocate import build_geolocate
from graphs.state import GeolocateState
from tests.fakes.machine import Calls, Policy, ScriptedModel, context, given, propose, run, scripted

DOLLAR_A_TOKEN = Price(input=1_000_000.0, output=0.0)
MADRID, LISBON, PRAGUE = ("Madrid", 40.42, -3.7), ("Lisbon", 38.72, -9.13), ("Prague", 50.09, 14.42)


def refuses(_: Sequence[BaseMessage], __: set[str]) -> tuple[str, Calls]:
    return "I'm sorry, but I can't help with that.", []


def fails(_: Sequence[BaseMessage], __: set[str]) -> tuple[str, Calls]:
    raise ModelFailure("the server answers with status 500", is_retryable=False)


def proposing(*places: tuple[str, float, float]) -> Policy:
    return lambda *_: ("", propose(*places))


def jury(strategy: str = "jury", price: Price = FREE, **policies: Policy) -> GeolocateContext:
    """A context with a model of each name, each reply of one token."""
    models = [
        LoadedModel(name=name, chat=ScriptedModel(policy=policy, tokens=1), price=price)
        for name, policy in policies.items()
    ]
    return context(strategy=strategy, models=tuple(models))


def state_of(at: GeolocateContext) -> GeolocateState:
    """The state at the end of a run."""
    final: GeolocateState = build_geolocate(at).invoke(given(), output_keys=list(GeolocateState.__annotations__))  # type: ignore[call-overload]
    return final


def test_every_model_gives_a_first_reading_and_every_place_says_whose_it_is() -> None:
    state = state_of(jury(a=proposing(MADRID, PRAGUE), b=proposing(LISBON)))
    said = [(position.model, position.name, position.sample) for position in state["positions"]]
    assert said == [("a", "Madrid", 0), ("a", "Prague", 0), ("b", "Lisbon", 0)]
    assert state["replies"] == ["ok", "ok"]
    assert {h.name for h in state["hypotheses"] if h.origin is Origin.MODEL} == {"Madrid", "Prague", "Lisbon"}
    assert state["candidates"] == []
    assert state["records"] == []


def test_models_are_asked_side_by_side() -> None:
    everybody = threading.Barrier(3)

    def waits(_: Sequence[BaseMessage], __: set[str]) -> tuple[str, Calls]:
        everybody.wait(60.0)
        return "", propose(LISBON)

    assert run(jury(a=waits, b=waits, c=waits)).status is AnswerStatus.ANSWERED


def test_a_model_that_fails_or_refuses_costs_its_own_voice_alone() -> None:
    at = jury(a=fails, b=refuses, c=proposing(LISBON))
    answer = run(at)
    assert (answer.status, answer.model_status) == (AnswerStatus.ANSWERED, "ok")
    assert answer.hypotheses[0].name == "Lisbon"
    assert "the first reading of a is missing (failed: the server answers with status 500)" in answer.reasoning
    assert "the first reading of b is missing (refused" in answer.reasoning
    assert "the first reading of c" not in answer.reasoning
    state = state_of(at)
    assert [(reply.model, reply.status) for reply in state["model_replies"]] == [
        ("a", "failed"),
        ("b", "refused"),
        ("c", "ok"),
    ]
    assert [bool(reply.problem) for reply in state["model_replies"]] == [True, True, False]


@pytest.mark.parametrize(("others", "status"), [(fails, "failed"), (refuses, "refused")])
def test_where_all_of_a_jury_fails_the_prior_alone_is_answered_and_it_says_so(others: Policy, status: str) -> None:
    answer = run(jury(a=fails, b=others))
    assert answer.model_status == status
    assert not any(item.information_nats for item in answer.evidence)
    assert answer.chance_within_km[25] < 0.05
    assert f"gave nothing to use ({status})" in answer.reasoning


def test_costs_are_counted_by_model_and_together() -> None:
    answer = run(jury(a=proposing(MADRID), b=refuses, c=fails, price=DOLLAR_A_TOKEN))
    tokens = {name: (cost.tokens, cost.usd, cost.model_calls) for name, cost in answer.cost_by_model.items()}
    assert tokens == {"a": (1, 1.0, 1), "b": (1, 1.0, 1), "c": (0, 0.0, 1)}
    assert (answer.cost.tokens, answer.cost.usd, answer.cost.model_calls) == (2, 2.0, 3)
    assert all(cost.seconds > 0.0 for cost in answer.cost_by_model.values())
    assert run(jury(a=proposing(MADRID))).cost_by_model == {}, "one model's cost is the cost"


def test_with_refine_the_first_model_investigates_and_revises() -> None:
    first = scripted([("find_place", {"name": "Lisbon"})], {"settled": True}, tokens=1)
    second = ScriptedModel(policy=proposing(LISBON), tokens=1)
    models = tuple(LoadedModel(name=name, chat=chat) for name, chat in (("a", first), ("b", second)))
    answer = run(context(models=models))
    assert len(second.seen) == 1
    assert len(first.seen) > 2
    assert {"Madrid", "Prague", "Lisbon"} <= {h.name for h in answer.hypotheses}
    assert answer.cost_by_model["a"].model_calls == len(first.seen)
    assert answer.cost_by_model["b"].model_calls == 1
    heard = [message.text for message in first.seen[-1] if message.type == "ai"]
    assert not any("Lisbon" in text for text in heard), "the first model's conversation is its own"


def test_the_budgets_of_a_run_hold_for_all_its_models_together() -> None:
    """Two readings of a token each spend a budget of two: the first model may not go on."""
    first = scripted([("find_place", {"name": "Lisbon"})], tokens=1)
    models = tuple(
        LoadedModel(name=name, chat=chat)
        for name, chat in (("a", first), ("b", ScriptedModel(policy=proposing(LISBON), tokens=1)))
    )
    answer = run(context(models=models, budgets=Budgets(tokens=2)))
    assert len(first.seen) == 1
    assert "the budget of 2 tokens is spent" in answer.reasoning
    alone = scripted([("find_place", {"name": "Lisbon"})], tokens=1)
    run(context(model=alone, budgets=Budgets(tokens=2)))
    assert len(alone.seen) > 1


def test_samples_of_one_model_are_numbered() -> None:
    said: Calls = [("GivePosition", {"lat": 38.72, "lon": -9.13})]
    model = ScriptedModel(policy=lambda *_: ("", said))
    state = state_of(context(model=model, strategy="self_consistency"))
    assert [(position.model, position.sample) for position in state["positions"]] == [("fake", n) for n in range(5)]
    assert [reply.status for reply in state["model_replies"]] == ["ok"] * 5
