"""The cache of replies, the money limit, the recorder of replies, and the estimate."""

from __future__ import annotations

import json
import sqlite3
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
from evals.runs.cost import BudgetedReplies, CostBudget, MoneySpentError, assumed_calls, estimate, estimate_text
from evals.runs.records import RECORDS_FILE, write_info, write_records
from evals.runs.reply_cache import ReplyCache, calls_about_one_photo
from evals.runs.reply_recorder import record_replies
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
    def make(budget: CostBudget | None = None, run: str = "a", failing: int = 0) -> tuple[Counting, ReplyCache]:
        cache = ReplyCache(tmp_path / "replies.sqlite", usd, run)
        return Counting(cache=BudgetedReplies(cache, budget or CostBudget()), failing=failing), cache

    return make


def test_a_reply_is_found_again_in_another_process_and_costs_nothing(cached: Cached) -> None:
    budget = CostBudget()
    model, cache = cached(budget)
    with calls_about_one_photo():
        first = model.invoke("where is this?")
    assert (budget.spent_usd, cache.spent_usd()) == (1.0, 1.0)
    cache.close()
    again = CostBudget()
    model, cache = cached(again, "b")
    with calls_about_one_photo():
        found = model.invoke("where is this?")
    assert model.asked == 0
    assert (found.text, found.tool_calls) == (first.text, first.tool_calls)
    assert (again.spent_usd, cache.spent_usd()) == (0.0, 0.0)


def test_samples_stay_different_and_come_again_in_the_same_order(cached: Cached) -> None:
    budget = CostBudget()
    said = []
    for _ in range(2):
        model, cache = cached(budget)
        with calls_about_one_photo():
            said.append([model.invoke("where?").text for _ in range(3)])
        cache.close()
    assert said[0] == said[1] == ["reply 1", "reply 2", "reply 3"]


def test_samples_asked_side_by_side_are_a_set_that_comes_again(cached: Cached) -> None:
    budget = CostBudget()
    said = []
    for _ in range(2):
        model, cache = cached(budget)
        with calls_about_one_photo(), ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(copy_context().run, model.invoke, "where?") for _ in range(4)]
            said.append({future.result().text for future in asked})
        cache.close()
    assert said[0] == said[1]
    assert len(said[0]) == 4


def test_a_question_repeated_after_a_failure_is_still_the_first(cached: Cached) -> None:
    budget = CostBudget()
    model, cache = cached(budget, failing=1)
    with calls_about_one_photo():
        with pytest.raises(ConnectionError):
            model.invoke("where?")
        assert model.invoke("where?").text == "reply 2"
    cache.close()
    model, cache = cached(budget)
    with calls_about_one_photo():
        assert model.invoke("where?").text == "reply 2"
    assert model.asked == 0


def test_failures_in_other_threads_leave_no_gap_among_samples(cached: Cached) -> None:
    said = []
    for failing in (2, 0):
        model, cache = cached(failing=failing)
        with calls_about_one_photo(), ThreadPoolExecutor(1) as pool:
            texts = []
            for _ in range(3 + failing):
                asked = pool.submit(copy_context().run, model.invoke, "where?")
                if asked.exception() is None:
                    texts.append(asked.result().text)
        said.append(texts)
        cache.close()
    assert said[0] == said[1] == ["reply 3", "reply 4", "reply 5"]
    assert model.asked == 0


def test_replies_kept_by_earlier_versions_are_found(tmp_path: Path) -> None:
    key = "286c492e8410c7d2975eceeb702b01c89092dd6aeefb3a654b3ac6c4ff3ce8a2"
    with sqlite3.connect(tmp_path / "replies.sqlite") as old:
        old.execute(
            "CREATE TABLE replies (key TEXT, n INTEGER, reply TEXT, run TEXT, usd REAL, PRIMARY KEY (key, n))"
            " WITHOUT ROWID"
        )
        for n, text in enumerate(("first", "second")):
            reply = json.dumps([{"type": "ai", "data": {"content": text, "type": "ai", "tool_calls": []}}])
            old.execute("INSERT INTO replies VALUES (?, ?, ?, ?, ?)", (key, n, reply, "/runs/a", 0.25))
    cache = ReplyCache(tmp_path / "replies.sqlite", usd, "/runs/a")
    assert cache.spent_usd() == 0.5
    with calls_about_one_photo():
        found = [cache.lookup("prompt", "model") for _ in range(3)]
    assert [replies and replies[0].text for replies in found] == ["first", "second", None]


def test_another_question_or_another_model_is_another_key(cached: Cached) -> None:
    budget = CostBudget()
    model, _ = cached(budget)
    with calls_about_one_photo():
        assert model.invoke("where?").text != model.invoke("when?").text
        assert model.bind(temperature=1.0).invoke("where?").text == "reply 3"


def test_no_call_begins_that_the_limit_would_not_hold(cached: Cached) -> None:
    budget = CostBudget(limit_usd=2.5, assumed_usd=1.0)
    model, _ = cached(budget)
    with calls_about_one_photo():
        model.invoke("one")
        model.invoke("two")
        with pytest.raises(MoneySpentError, match=r"2\.0000 of 2\.5"):
            model.invoke("three")
    with calls_about_one_photo():
        assert model.invoke("one").text == "reply 1", "what is cached is still to be had"
    assert model.asked == 2


def test_calls_under_way_count_too_and_failed_ones_do_not(cached: Cached) -> None:
    budget = CostBudget(limit_usd=2.0, assumed_usd=1.0)
    budget.reserve()
    budget.reserve()
    with pytest.raises(MoneySpentError):
        budget.reserve()
    budget.charge(0.0)  # it failed
    budget.reserve()
    for _ in range(2):
        budget.charge(0.1)
    assert budget.spent_usd == pytest.approx(0.2)
    model, _ = cached(CostBudget(limit_usd=1.0, assumed_usd=1.0), failing=3)
    for _ in range(3):
        with calls_about_one_photo(), pytest.raises(ConnectionError):
            model.invoke("where?")
    with calls_about_one_photo():
        assert model.invoke("where?").text == "reply 4"


def test_a_limit_holds_between_threads(cached: Cached) -> None:
    budget = CostBudget(limit_usd=10.0, assumed_usd=1.0)
    model, _ = cached(budget)
    stopped = threading.Semaphore(0)

    def ask(number: int) -> None:
        try:
            with calls_about_one_photo():
                model.invoke(f"question {number}")
        except MoneySpentError:
            stopped.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(30)))
    assert budget.spent_usd <= 10.0
    assert model.asked <= 10
    assert stopped.acquire(timeout=1.0)


def test_money_is_set_aside_at_the_price_of_the_model_that_is_called() -> None:
    budget = CostBudget(limit_usd=1.5)
    budget.assume("dear", 1.0)
    budget.assume("cheap", 0.1)
    budget.reserve("dear")
    for _ in range(5):
        budget.reserve("cheap")
    with pytest.raises(MoneySpentError):
        budget.reserve("cheap")
    budget.charge(0.2, "dear")
    budget.reserve("cheap")
    with pytest.raises(MoneySpentError):
        budget.reserve("dear")


def test_a_limit_of_nothing_lets_free_models_work() -> None:
    budget = CostBudget(limit_usd=0.0)
    for _ in range(3):
        budget.reserve()
        budget.charge(0.0)
    budget.charge(0.01)
    with pytest.raises(MoneySpentError):
        budget.reserve()


def test_a_file_that_is_no_cache_is_reported(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(UserError, match="--cache"):
        ReplyCache(tmp_path / "photo.jpg", usd)


def test_replies_are_recorded_with_calls_and_list_price_even_from_the_cache(cached: Cached) -> None:
    budget = CostBudget()
    model, _ = cached(budget)
    for _ in range(2):
        with calls_about_one_photo(), record_replies() as recorder:
            model.invoke("where?")
        (text,) = recorder.texts()
        words, call = text.splitlines()
        assert words == "reply 1"
        assert json.loads(call) == {"tool": "look", "arguments": {"n": 1}}
        assert recorder.list_usd(PRICE) == 1.0
        assert recorder.list_usd(None) == 0.0
    model.invoke("nobody records")
    assert len(recorder.texts()) == 1


def test_the_estimate_names_its_assumptions_and_prefers_what_was_seen(tmp_path: Path) -> None:
    strategies = [find_strategy(name) for name in ("retrieval", "zero_shot", "self_consistency", "refine")]
    assert [assumed_calls(one) for one in strategies] == [0, 1, 5, 5]
    price = Price(input=1.0, output=10.0)
    assumed = estimate(strategies[:3], "m", [price], tmp_path)
    assert [one.usd for one in assumed] == pytest.approx([0.0, 0.0075, 0.0375])
    text = estimate_text(assumed, 100)
    assert "assuming 5 calls" in text
    assert "in all about US$ 4.50" in text
    assert "unknown" in estimate_text(estimate(strategies[:2], "m", [None], tmp_path), 1)
    seen = tmp_path / "earlier"
    seen.mkdir()
    write_info(seen, run_info(2, model="m", strategies=("zero_shot",)))
    records = [made_record(query).model_copy(update={"strategy": "zero_shot"}) for query in queries(2)[::2]]
    costs = [record.cost.model_copy(update={"usd": value}) for record, value in zip(records, (0.01, 0.03), strict=True)]
    made = [record.model_copy(update={"cost": cost}) for record, cost in zip(records, costs, strict=True)]
    write_records(seen / RECORDS_FILE, made)
    (found,) = estimate(strategies[1:2], "m", [None], tmp_path)
    assert found.usd == pytest.approx(0.02)
    assert found.basis == "as seen on 2 photos of earlier"
