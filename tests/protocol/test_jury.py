"""A jury over HTTP: three servers of OpenAI's protocol, one broken, one that refuses, one that is slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import Capabilities, ModelOptions
from agents.schemas import AnswerStatus
from tests.fakes.machine import context, run
from tests.fakes.proxy import Misbehaving, misbehaving

pytest.importorskip("langchain_openai")


@pytest.fixture
def servers() -> Iterator[dict[str, Misbehaving]]:
    """By name: the slow one proposes only after the others were asked."""
    faults = {"broken": "broken*", "refusing": "refuses*", "slow": "proposes_last*"}
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(misbehaving("http://127.0.0.1:9", fault)) for name, fault in faults.items()
        }
        started["slow"].others = [started["broken"], started["refusing"]]
        yield started


def loaded(name: str, server: Misbehaving, prices: Path | None = None) -> LoadedModel:
    options = ModelOptions(
        timeout_s=60.0, max_retries=1, backoff_s=0.01, capabilities=Capabilities(images=True, tools=True), prices=prices
    )
    return load_model(f"openai_compatible:{name}@{server.url}", options)


def test_one_that_answers_is_enough_and_the_others_are_named(servers: dict[str, Misbehaving], tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"openai_compatible:slow": {"input": 1000.0, "output": 0.0}}')
    # The slow one is the first: asked alone it would wait for the others for ever.
    models = tuple(loaded(name, servers[name], prices) for name in ("slow", "broken", "refusing"))
    answer = run(context(models=models, strategy="jury"))
    assert (answer.status, answer.model_status) == (AnswerStatus.ANSWERED, "ok")
    assert {h.name for h in answer.hypotheses} >= {"Lisbon", "Madrid"}
    assert [server.asked for server in servers.values()] == [2, 1, 1], "a broken server is tried again"
    slow, broken, refusing = (answer.cost_by_model[model.name] for model in models)
    assert (slow.tokens, slow.model_calls) == (1_100, 1)
    assert slow.usd == pytest.approx(1.0)
    assert (broken.tokens, broken.model_calls) == (0, 2)
    assert refusing.model_calls == 1
    assert answer.cost.usd == pytest.approx(1.0)
    assert answer.cost.model_calls == 4
    assert f"the first reading of {models[1].name} is missing (failed" in answer.reasoning
    assert f"the first reading of {models[2].name} is missing (refused" in answer.reasoning


def test_if_none_answers_the_run_says_so(servers: dict[str, Misbehaving]) -> None:
    models = tuple(loaded(name, servers[name]) for name in ("broken", "refusing"))
    answer = run(context(models=models, strategy="jury"))
    assert answer.model_status == "refused"
    assert "gave nothing to use (refused)" in answer.reasoning
    assert answer.chance_within_km[25] < 0.05, "where photos are taken, and no more"
