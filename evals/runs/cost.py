"""What a run costs: an estimate before it starts, and a limit that stops it in time."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from typing_extensions import override

from agents.chat_models.prices import Price
from agents.strategies import Step, Strategy
from evals.runs.records import INFO_FILE, RecordError, RecordStatus, read_info, read_scores
from evals.runs.reply_cache import ReplyCache, undo_if_call_fails

TOKENS_IN_PER_CALL = 2_500
"""A photo of 1,024 px is 800 to 1,600 tokens for most providers; the rest is the prompt and what was retrieved."""
TOKENS_OUT_PER_CALL = 500
ROUNDS = 2
"""Assumed of the strategies that investigate; each round asks twice: for tool calls and for a revision."""


class Estimate(NamedTuple):
    """What one photo costs by one strategy.

    Attributes:
        tokens: in and out.
        basis: an earlier run's folder, or what was assumed.
    """

    strategy: str
    calls: float
    tokens: float
    usd: float | None
    basis: str


def call_usd(price: Price | None) -> float | None:
    """What one call is assumed to cost."""
    if price is None:
        return None
    return (TOKENS_IN_PER_CALL * price.input + TOKENS_OUT_PER_CALL * price.output) / 1e6


def assumed_calls(strategy: Strategy) -> int:
    """How often a strategy asks its model about a photo."""
    if not strategy.uses_model:
        return 0
    questions = len(strategy.asks) if strategy.runs(Step.GUESS) else 0
    per_round = 1 + strategy.runs(Step.REVISE)
    rounds = ROUNDS * per_round if strategy.runs(Step.INVESTIGATE) else 0
    return strategy.samples * questions + strategy.runs(Step.HYPOTHESISE) + rounds


def estimate(
    strategies: Sequence[Strategy], model: str, prices: Sequence[Price | None], earlier: Path
) -> list[Estimate]:
    """One line a strategy.

    Args:
        model: as the run names it; of a jury all.
        prices: of each model, the one that investigates first.
        earlier: a folder with folders of runs, whose costs are the better guess.
    """
    known = observed(earlier, model)
    return [known.get(one.name) or _assumed(one, prices) for one in strategies]


def _assumed(strategy: Strategy, prices: Sequence[Price | None]) -> Estimate:
    """All models are asked for a first reading; the rest is asked of the first one."""
    others = len(prices) - 1 if strategy.runs(Step.HYPOTHESISE) else 0
    calls = [assumed_calls(strategy), *[1] * others]
    if not sum(calls):
        return Estimate(strategy.name, 0, 0, 0.0, "asks no model")
    tokens = sum(calls) * (TOKENS_IN_PER_CALL + TOKENS_OUT_PER_CALL)
    basis = f"assuming {sum(calls)} calls of {TOKENS_IN_PER_CALL} + {TOKENS_OUT_PER_CALL} tokens"
    sources = sorted({price.source for price in prices if price and price.source})
    if sources:
        basis += f", prices of {' and '.join(sources)}"
    usd = [call_usd(price) for price in prices[: len(calls)]]
    known = [each * count for each, count in zip(usd, calls, strict=True) if each is not None]
    return Estimate(strategy.name, sum(calls), tokens, sum(known) if len(known) == len(usd) else None, basis)


def observed(folder: Path, model: str) -> dict[str, Estimate]:
    """Mean cost of a photo by strategy, from finished and unfinished runs of the same model in a folder."""
    found: dict[str, Estimate] = {}
    for file in sorted(folder.glob(f"*/{INFO_FILE}")):
        try:
            if read_info(file.parent).model == model:
                found.update(_of_run(file.parent))
        except RecordError:
            continue  # something else's folder, or a damaged run: no basis for a guess
    return found


def _of_run(run: Path) -> dict[str, Estimate]:
    costs = defaultdict(list)
    for score in read_scores(run):
        if score.status is not RecordStatus.ERROR:
            costs[score.strategy].append(score.cost)
    return {
        strategy: Estimate(
            strategy,
            sum(cost.model_calls for cost in spent) / len(spent),
            sum(cost.tokens for cost in spent) / len(spent),
            sum(cost.usd for cost in spent) / len(spent),
            f"as seen on {len(spent)} photos of {run.name}",
        )
        for strategy, spent in costs.items()
    }


def estimate_text(estimates: Sequence[Estimate], photos: int) -> str:
    """The estimate in words, for a run of so many photos."""
    lines = [
        f"  {one.strategy}: {photos} photos × {one.calls:.1f} calls, {one.tokens:,.0f} tokens,"
        f" {_dollars(one.usd)} a photo ({one.basis})"
        for one in estimates
    ]
    known = [one.usd * photos for one in estimates if one.usd is not None]
    total = f"about US$ {sum(known):.2f}" if len(known) == len(estimates) else "unknown: this model has no known price"
    return "\n".join(["Estimate, not counting replies that are cached:", *lines, f"  in all {total}"])


def _dollars(usd: float | None) -> str:
    return "US$ unknown" if usd is None else f"US$ {usd:.4f}"


class MoneySpentError(Exception):
    """One more call could exceed the limit: the run stops here, and resumes with a higher one."""


class CostBudget:
    """What a run has spent in US dollars, and its limit. Safe between threads.

    Before each call the price of the model's most expensive call so far is set aside (at first an assumption), so
    that calls under way count too: the limit is exceeded only if a call turns out to cost more than all before it.

    Args:
        limit_usd: for all models together; None: there is none.
        spent_usd: in earlier sessions of the run.
        assumed_usd: price of one call of a model before any was made, for models that `assume` does not know.
    """

    def __init__(self, limit_usd: float | None = None, spent_usd: float = 0.0, assumed_usd: float = 0.0) -> None:
        self._limit_usd, self._spent_usd = limit_usd, spent_usd
        self._highest_usd: defaultdict[str, float] = defaultdict(lambda: assumed_usd)
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def spent_usd(self) -> float:
        """In all sessions so far."""
        with self._lock:
            return self._spent_usd

    def start_from(self, usd: float) -> None:
        """Take over what earlier sessions have spent, where it is more than was known."""
        with self._lock:
            self._spent_usd = max(self._spent_usd, usd)

    def assume(self, model: str, usd: float) -> None:
        """Take a price for one call of a model before any was made."""
        with self._lock:
            self._highest_usd[model] = usd

    def reserve(self, model: str = "") -> None:
        """Set money aside for a call of a model that begins.

        Raises:
            MoneySpentError: the limit does not allow it.
        """
        with self._lock:
            under_way = sum(calls * self._highest_usd[name] for name, calls in self._under_way.items())
            due = self._spent_usd + under_way + self._highest_usd[model]
            if self._limit_usd is not None and (due > self._limit_usd or 0.0 < self._spent_usd >= self._limit_usd):
                raise MoneySpentError(f"US$ {self._spent_usd:.4f} of {self._limit_usd:g} are spent")
            self._under_way[model] += 1

    def charge(self, usd: float, model: str = "") -> None:
        """End a call of a model, which cost `usd`: 0 if it failed."""
        with self._lock:
            self._under_way[model] -= 1
            self._spent_usd += usd
            self._highest_usd[model] = max(self._highest_usd[model], usd)


class BudgetedReplies(BaseCache):
    """A cache of replies whose misses are calls that a budget has to allow.

    Give it to a model as its cache: LangChain asks it before each call and hands it each new reply.

    Args:
        cache: knows the price of this model's replies.
        budget: which the models of a run share.
        model: the name of the model it is given to.
    """

    def __init__(self, cache: ReplyCache, budget: CostBudget, model: str = "") -> None:
        self._cache, self._budget, self._model = cache, budget, model

    @override
    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The reply to this asking; None if it is new and the model may be called.

        Raises:
            MoneySpentError: it is new, and the limit does not allow one more call.
        """
        found = self._cache.lookup(prompt, llm_string)
        if found is None:
            self._budget.reserve(self._model)
            undo_if_call_fails(lambda: self._budget.charge(0.0, self._model))
        return found

    @override
    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep a new reply, and charge it."""
        try:
            self._cache.update(prompt, llm_string, return_val)
        finally:
            self._budget.charge(self._cache.usd(return_val), self._model)

    @override
    def clear(self, **kwargs: Any) -> None:
        self._cache.clear(**kwargs)
