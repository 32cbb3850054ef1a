"""The cache of replies, the money limit, hearing replies, and the estimate."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from agents.chat_models.prices import Price
from agents.strategies import find_strategy
from core.errors import UserError
from evals.runs.cost import CostBudget, MoneySpentError, assumed_calls, estimate, told
from evals.runs.records import RECORDS_FILE, write_info, write_records
from evals.runs.reply_cache import ReplyCache, one_answer
from evals.runs.reply_recorder import listening
from tests.fakes.eval_runs import made_record, queries, run_info

PRICE = Price(input=1_000_000.0, output=0.0)  # a dollar a token
USAGE = {"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}


class Counting(BaseChatModel):
    """Says how often it was asked; never the same twice. The first answers may fail."""

    asked: int = 0
    failing: int = 0

    @property
    def _llm_type(self) -> str:
        return "counting"

    def _generate(
        self,
        messages: list[BaseMessage],  # noqa: ARG002 - they do not matter
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        self.asked += 1
        if self.asked <= self.failing:
            raise ConnectionError("no")
        calls = [{"name": "look", "args": {"n": self.asked}, "id": f"call-{self.asked}", "type": "tool_call"}]
        message = AIMessage(f"reply {self.asked}", usage_metadata=USAGE, tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])


def usd(message: AIMessage) -> float:
    assert message.usage_metadata is not None
    return PRICE.usd(message.usage_metadata)


Cached = Callable[..., tuple[Counting, ReplyCache]]


@pytest.fixture
def cached(tmp_path: Path) -> Cached:
    def make(cost_budget: CostBudget | None = None, run: str = "a", failing: int = 0) -> tuple[Counting, ReplyCache]:
        cache = ReplyCache(tmp_path / "replies.sqlite", cost_budget or CostBudget(), usd, run)
        return Counting(cache=cache, failing=failing), cache

    return make


def test_a_reply_is_found_again_in_another_process_and_costs_nothing(cached: Cached) -> None:
    cost_budget = CostBudget()
    model, cache = cached(cost_budget)
    with one_answer():
        first = model.invoke("where is this?")
    assert (cost_budget.spent_usd, cache.spent_usd(), cache.misses) == (1.0, 1.0, 1)
    cache.close()
    again = CostBudget()
    model, cache = cached(again, "b")
    with one_answer():
        found = model.invoke("where is this?")
    assert model.asked == 0
    assert (found.text, found.tool_calls) == (first.text, first.tool_calls)
    assert (again.spent_usd, cache.spent_usd(), cache.hits) == (0.0, 0.0, 1)


def test_samples_stay_different_and_come_again_in_the_same_order(cached: Cached) -> None:
    cost_budget = CostBudget()
    said = []
    for _ in range(2):
        model, cache = cached(cost_budget)
        with one_answer():
            said.append([model.invoke("where?").text for _ in range(3)])
        cache.close()
    assert said[0] == said[1] == ["reply 1", "reply 2", "reply 3"]


def test_samples_asked_side_by_side_are_a_set_that_comes_again(cached: Cached) -> None:
    cost_budget = CostBudget()
    said = []
    for _ in range(2):
        model, cache = cached(cost_budget)
        with one_answer(), ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(copy_context().run, model.invoke, "where?") for _ in range(4)]
            said.append({future.result().text for future in asked})
        cache.close()
    assert said[0] == said[1]
    assert len(said[0]) == 4


def test_a_question_repeated_after_a_failure_is_still_the_first(cached: Cached) -> None:
    cost_budget = CostBudget()
    model, cache = cached(cost_budget, failing=1)
    with one_answer():
        with pytest.raises(ConnectionError):
            model.invoke("where?")
        assert model.invoke("where?").text == "reply 2"
    cache.close()
    model, cache = cached(cost_budget)
    with one_answer():
        assert model.invoke("where?").text == "reply 2"
    assert model.asked == 0


def test_another_question_or_another_model_is_another_key(cached: Cached) -> None:
    cost_budget = CostBudget()
    model, _ = cached(cost_budget)
    with one_answer():
        assert model.invoke("where?").text != model.invoke("when?").text
        assert model.bind(temperature=1.0).invoke("where?").text == "reply 3"


def test_no_call_begins_that_the_limit_would_not_hold(cached: Cached) -> None:
    cost_budget = CostBudget(limit_usd=2.5, assumed_usd=1.0)
    model, _ = cached(cost_budget)
    with one_answer():
        model.invoke("one")
        model.invoke("two")
        with pytest.raises(MoneySpentError, match=r"2\.0000 of 2\.5"):
            model.invoke("three")
    with one_answer():
        assert model.invoke("one").text == "reply 1", "what is cached is still to be had"
    assert model.asked == 2


def test_calls_under_way_count_too_and_lost_ones_do_not() -> None:
    cost_budget = CostBudget(limit_usd=2.0, assumed_usd=1.0)
    reserved, leave = threading.Semaphore(0), threading.Event()

    def call() -> None:
        cost_budget.reserve()
        reserved.release()
        leave.wait()  # and never comes back

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert reserved.acquire(timeout=30.0)
    with pytest.raises(MoneySpentError):
        cost_budget.reserve()
    leave.set()
    for thread in threads:
        thread.join()
    cost_budget.reserve()
    cost_budget.reserve()  # the same thread again: its first call is lost
    cost_budget.charge(0.1)
    assert cost_budget.spent_usd == pytest.approx(0.1)


def test_a_limit_holds_between_threads(cached: Cached) -> None:
    cost_budget = CostBudget(limit_usd=10.0, assumed_usd=1.0)
    model, _ = cached(cost_budget)
    stopped = threading.Semaphore(0)

    def ask(number: int) -> None:
        try:
            with one_answer():
                model.invoke(f"question {number}")
        except MoneySpentError:
            stopped.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(30)))
    assert cost_budget.spent_usd <= 10.0
    assert model.asked <= 10
    assert stopped.acquire(timeout=1.0)


def test_a_limit_of_nothing_lets_free_models_work() -> None:
    cost_budget = CostBudget(limit_usd=0.0)
    for _ in range(3):
        cost_budget.reserve()
        cost_budget.charge(0.0)
    cost_budget.charge(0.01)
    with pytest.raises(MoneySpentError):
        cost_budget.reserve()


def test_a_file_that_is_no_cache_is_told(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(UserError, match="--cache"):
        ReplyCache(tmp_path / "photo.jpg", CostBudget(), usd)


def test_replies_are_heard_with_calls_and_list_price_even_from_the_cache(cached: Cached) -> None:
    cost_budget = CostBudget()
    model, _ = cached(cost_budget)
    for _ in range(2):
        with one_answer(), listening() as heard:
            model.invoke("where?")
        (text,) = heard.texts()
        words, call = text.splitlines()
        assert words == "reply 1"
        assert json.loads(call) == {"tool": "look", "arguments": {"n": 1}}
        assert heard.list_usd(PRICE) == 1.0
        assert heard.list_usd(None) == 0.0
    model.invoke("nobody listens")
    assert len(heard.texts()) == 1


def test_the_estimate_names_its_assumptions_and_prefers_what_was_seen(tmp_path: Path) -> None:
    strategies = [find_strategy(name) for name in ("retrieval", "zero_shot", "self_consistency", "refine")]
    assert [assumed_calls(one) for one in strategies] == [0, 1, 5, 5]
    price = Price(input=1.0, output=10.0)
    assumed = estimate(strategies[:3], "m", price, tmp_path)
    assert [one.usd for one in assumed] == pytest.approx([0.0, 0.0075, 0.0375])
    text = told(assumed, dict.fromkeys(("retrieval", "zero_shot", "self_consistency"), 100))
    assert "assuming 5 calls" in text
    assert "in all about US$ 4.50" in text
    assert "unknown" in told(estimate(strategies[:2], "m", None, tmp_path), {"retrieval": 1, "zero_shot": 1})
    seen = tmp_path / "earlier"
    seen.mkdir()
    write_info(seen, run_info(2, model="m", strategies=("zero_shot",)))
    records = [made_record(query).model_copy(update={"strategy": "zero_shot"}) for query in queries(2)[::2]]
    costs = [record.cost.model_copy(update={"usd": value}) for record, value in zip(records, (0.01, 0.03), strict=True)]
    made = [record.model_copy(update={"cost": cost}) for record, cost in zip(records, costs, strict=True)]
    write_records(seen / RECORDS_FILE, made)
    (found,) = estimate(strategies[1:2], "m", None, tmp_path)
    assert found.usd == pytest.approx(0.02)
    assert found.basis == "as seen on 2 photos of earlier"
