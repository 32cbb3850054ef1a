"""Every strategy through real servers: a status for every photo, whatever the model says and however it fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, Field

from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import Capabilities, ModelOptions
from agents.schemas import Answer, AnswerStatus
from agents.strategies import STRATEGIES
from agents.structured_output.ask import ask_structured
from agents.structured_output.position import ReplyStatus
from graphs.budgets import Budgets
from graphs.geolocate import build_geolocate
from tests.fakes.machine import context, given, photo
from tests.fakes.model_server import RealServer
from tests.fakes.proxy import misbehaving

SHADES = (60, 120)
WITHOUT_MODEL = {name for name, strategy in STRATEGIES.items() if not strategy.uses_model}
NO_WORDS = {AnswerStatus.REFUSED, AnswerStatus.UNPARSABLE, AnswerStatus.FAILED}


class Numbers(BaseModel):
    """Give two numbers."""

    lat: float = Field(ge=-90.0, le=90.0)
    lon: float = Field(ge=-180.0, le=180.0)


@pytest.fixture(scope="module")
def constrained_url(real_server: RealServer) -> Iterator[str]:
    pytest.importorskip("llguidance", reason="constrained decoding needs llguidance")
    from tests.fakes.constrained_server import constrained

    with constrained(real_server.random) as server:
        yield server.url


def options(able: Capabilities | None = None) -> ModelOptions:
    return ModelOptions(timeout_s=120.0, max_retries=2, backoff_s=0.05, max_output_tokens=24, capabilities=able)


def answers(strategy: str, model: LoadedModel) -> list[Answer]:
    at = replace(context(["Praha"], strategy=strategy, budgets=Budgets(rounds=2)), models=(model,))
    graph = build_geolocate(at)
    photo_store = at.photo_store
    found = []
    for shade in SHADES:
        shown = photo(shade)
        photo_store.add(shown)
        asked = given(photo_id=shown.id, photo_sha256=shown.sha256)
        found.append(cast(Answer, graph.invoke(asked)["answer"]))  # type: ignore[call-overload]  # a plain dictionary
    return found


def check(answer: Answer, strategy: str) -> None:
    """A point if and only if it is answered, and words about why there is none."""
    assert (answer.point is not None) == (answer.status is AnswerStatus.ANSWERED)
    assert answer.reasoning
    assert (answer.cost.model_calls == 0) == (strategy in WITHOUT_MODEL)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_with_a_model_that_makes_one_call_whatever_it_is_asked(real_server: RealServer, strategy: str) -> None:
    model = load_model(real_server.spec("reciter"), options(Capabilities(images=True, tools=True)))
    for answer in answers(strategy, model):
        check(answer, strategy)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_with_a_model_that_talks_noise(real_server: RealServer, strategy: str) -> None:
    model = load_model(real_server.spec("random"), options(Capabilities(images=True, tools=False)))
    for answer in answers(strategy, model):
        check(answer, strategy)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_with_noise_held_to_a_schema(real_server: RealServer, constrained_url: str, strategy: str) -> None:
    able = Capabilities(images=True, tools=False, structured_output=True)
    model = load_model(
        real_server.spec("random", constrained_url), options(able).model_copy(update={"max_output_tokens": 400})
    )
    for answer in answers(strategy, model):
        check(answer, strategy)


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - WITHOUT_MODEL))
def test_behind_a_proxy_that_misbehaves_and_then_dies(real_server: RealServer, strategy: str) -> None:
    with misbehaving(real_server.url, "die", "cut_json", "overloaded", "pass", "reset*") as proxy:
        model = load_model(real_server.spec("reciter", proxy.url), options(Capabilities(images=True, tools=True)))
        found = answers(strategy, replace(model, options=model.options.model_copy(update={"max_retries": 3})))
    for answer in found:
        check(answer, strategy)
    assert "no reply" in found[-1].reasoning


def test_the_probe_finds_the_schema_kept_and_every_reply_fits(real_server: RealServer, constrained_url: str) -> None:
    model = load_model(
        real_server.spec("random", constrained_url), options().model_copy(update={"max_output_tokens": 200})
    )
    assert model.capabilities == Capabilities(images=True, tools=False, structured_output=True, samples=True)
    reply = ask_structured(model, [HumanMessage("Two numbers, please.")], Numbers)
    assert reply.status is ReplyStatus.OK, reply.problem
    free = load_model(real_server.spec("random"), options(Capabilities(images=True, tools=False)))
    assert ask_structured(free, [HumanMessage("Two numbers, please.")], Numbers).status is ReplyStatus.UNPARSABLE
