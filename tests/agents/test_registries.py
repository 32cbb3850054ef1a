"""Registries of models and strategies: unknown names list the valid ones."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from agents.chat_models.prices import Price
from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import find_model
from agents.prompts import placeholders, render, render_text, template_text
from agents.strategies import STRATEGIES, CommitRule, Step, find_strategy
from core.errors import UserError


def test_an_unknown_model_lists_the_valid_ones() -> None:
    with pytest.raises(UserError, match=r"unknown model 'gpt-9'.*offline"):
        find_model("gpt-9")


def test_an_unknown_strategy_lists_the_valid_ones() -> None:
    with pytest.raises(UserError, match=r"unknown strategy 'guess'.*clusters, hierarchical, jury, look_closer, rag"):
        find_strategy("guess")


def test_the_offline_model_is_a_chat_model_that_stays_here() -> None:
    model = load_model("offline")
    assert isinstance(model.chat, BaseChatModel)
    assert (model.name, model.leaves_the_machine, model.remarks) == ("offline", None, ())


def test_prices_come_from_reported_tokens() -> None:
    dear = LoadedModel(name="dear", chat=load_model("offline").chat, price=Price(input=2.0, output=10.0))
    used = {"input_tokens": 1_000_000, "output_tokens": 100_000, "total_tokens": 1_100_000}
    assert dear.usd(AIMessage("", usage_metadata=used)) == pytest.approx(3.0)
    assert dear.usd(AIMessage("")) == 0.0


def test_plain_strategies_use_no_model() -> None:
    assert [name for name, strategy in STRATEGIES.items() if not strategy.uses_model] == ["clusters", "retrieval"]
    assert find_strategy("refine").runs(Step.INVESTIGATE)
    assert find_strategy("retrieval").commit_rule is CommitRule.TOP_CANDIDATE


def test_a_prompt_without_a_value_for_a_placeholder_raises() -> None:
    with pytest.raises(KeyError, match="photo_id"):
        render("hypothesise", max_hypotheses=3)


def test_prompts_hold_no_coordinates_that_a_model_could_echo() -> None:
    values = {
        "photo_id": "P",
        "max_hypotheses": "N",
        "round": "R",
        "max_rounds": "M",
        "tool_calls_left": "T",
        "problem": "X",
        "tool_name": "Y",
    }
    for path in Path(resources.files("agents.prompts")).glob("*.md"):  # type: ignore[arg-type]  # a folder, here
        text = template_text(path.stem)
        filled = render_text(text, **{name: values.get(name, "V") for name in placeholders(text)})
        assert not any(character.isdigit() for character in filled), path
