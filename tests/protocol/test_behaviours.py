"""Every strategy on servers that behave as those of today do: a reply that can be used, whatever they refuse.

`python -m pytest -q -s tests/protocol/test_behaviours.py -k table` prints the table of docs/models.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from agents.chat_models import providers
from agents.chat_models.kinds import MODELS
from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import ModelOptions
from agents.schemas import Answer, AnswerStatus
from agents.strategies import STRATEGIES
from graphs.budgets import Budgets
from graphs.geolocate import build_geolocate
from tests.fakes.behaviours.server import BEHAVIOURS, BehavingServer, behaving
from tests.fakes.machine import context, given

pytest.importorskip("langchain_openai")

SAME_REQUESTS_AS_RAG = {"rag_contrast", "cluster_rag"}
ASKING = sorted(name for name, one in STRATEGIES.items() if one.uses_model and name not in SAME_REQUESTS_AS_RAG)


def options(**chosen: Any) -> ModelOptions:
    return ModelOptions(**{"timeout_s": 30.0, "max_retries": 2, "backoff_s": 0.01, **chosen})


def load(server: BehavingServer, patch: pytest.MonkeyPatch, behaviour: str = "", **chosen: Any) -> LoadedModel:
    """A model behind the server: probed, or of Anthropic's protocol, which is not."""
    if "Anthropic" not in behaviour:
        return load_model(f"openai_compatible:m@{server.url}", options(**chosen))
    pytest.importorskip("langchain_anthropic")
    patch.setenv("ANTHROPIC_API_KEY", "sk-test-0123456789abcdef")
    here = {name: row.model_copy(update={"url": server.url.removesuffix("/v1")}) for name, row in MODELS.items()}
    patch.setattr(providers, "MODELS", here)
    return load_model("anthropic:claude-m", options(**chosen))


def answer(model: LoadedModel, strategy: str) -> Answer:
    """A run's answer; its model replies in streams, as in a conversation."""
    temperature = STRATEGIES[strategy].temperature
    if temperature is not None:
        model = load_model(model.name, model.options.model_copy(update={"temperature": temperature}))
    graph = build_geolocate(replace(context(["Praha"], strategy=strategy, budgets=Budgets(rounds=2)), models=(model,)))
    parts = graph.stream(given(), stream_mode=["messages", "values"])  # type: ignore[call-overload]  # plain dictionary
    return cast(Answer, [part for mode, part in parts if mode == "values"][-1]["answer"])


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_table_of_strategies_on_each_behaviour(behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with behaving(behaviour) as server:
        model = load(server, monkeypatch, behaviour, max_output_tokens=2_000)
        answers = {strategy: answer(model, strategy) for strategy in ASKING}
    print(f"\n| {behaviour} | {' | '.join(str(one.model_status) for one in answers.values())} |", end="")
    assert {name: (one.status, one.model_status) for name, one in answers.items()} == dict.fromkeys(
        ASKING, (AnswerStatus.ANSWERED, "ok")
    ), server.refused[-3:]
    for name, one in answers.items():
        assert one.point is not None, name
        if model.capabilities.images:  # a model that was not shown the photo is no witness of what it shows
            assert one.hypotheses[0].name.startswith("Prague"), (name, one.hypotheses[0].name)
