"""What a run will cost, before it starts: from runs already made, else from assumptions that are named as such."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agents.chat_models.prices import Price
from agents.strategies import Step, Strategy
from evals.runs.records import INFO_FILE, RecordError, RecordStatus, read_info, read_scores

TOKENS_IN_PER_CALL = 2_500
"""A photo of 1,024 px is 800 to 1,600 tokens for most providers; the rest is the prompt and what was retrieved."""
TOKENS_OUT_PER_CALL = 500
ROUNDS = 2
"""Assumed of the strategies that investigate; each round asks twice: for tool calls and for a revision."""


class Estimate(NamedTuple):
    """Of one strategy, a photo.

    Attributes:
        strategy: its name.
        calls: of the model.
        tokens: in and out.
        usd: None: no price is known.
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


def estimate(strategies: Sequence[Strategy], model: str, price: Price | None, earlier: Path) -> list[Estimate]:
    """One line a strategy.

    Args:
        strategies: of the run.
        model: its spec.
        price: of its tokens; None: not known.
        earlier: a folder with folders of runs, whose costs are the better guess.
    """
    seen = observed(earlier, model)
    return [seen.get(one.name) or _assumed(one, price) for one in strategies]


def _assumed(strategy: Strategy, price: Price | None) -> Estimate:
    calls, usd = assumed_calls(strategy), call_usd(price)
    tokens = calls * (TOKENS_IN_PER_CALL + TOKENS_OUT_PER_CALL)
    basis = f"assuming {calls} calls of {TOKENS_IN_PER_CALL} + {TOKENS_OUT_PER_CALL} tokens"
    if price and price.source:
        basis += f", prices of {price.source}"
    if not calls:
        return Estimate(strategy.name, 0, 0, 0.0, "asks no model")
    return Estimate(strategy.name, calls, tokens, None if usd is None else calls * usd, basis)


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


def told(estimates: Sequence[Estimate], photos: dict[str, int]) -> str:
    """The estimate in words; `photos`: how many are still to be done, by strategy."""
    lines = [
        f"  {one.strategy}: {photos[one.strategy]} photos × {one.calls:.1f} calls, {one.tokens:,.0f} tokens,"
        f" {_dollars(one.usd)} a photo ({one.basis})"
        for one in estimates
    ]
    known = [one.usd * photos[one.strategy] for one in estimates if one.usd is not None]
    total = f"about US$ {sum(known):.2f}" if len(known) == len(estimates) else "unknown: this model has no known price"
    return "\n".join(["Estimate, not counting replies that are cached:", *lines, f"  in all {total}"])


def _dollars(usd: float | None) -> str:
    return "US$ unknown" if usd is None else f"US$ {usd:.4f}"


class MoneySpentError(Exception):
    """One more call could exceed the limit: the run stops here, and resumes with a higher one."""


class CostBudget:
    """What a run has spent in US dollars. Safe between threads.

    Before each call the price of the dearest call so far is set aside (at first an assumption), so that calls under
    way count too: the limit is exceeded only if a call turns out dearer than all before it. A call belongs to its
    thread; one that never came back is forgotten when its thread ends or calls again.

    Args:
        limit_usd: None: no limit.
        spent_usd: by earlier sittings of the run.
        assumed_usd: of one call, before one was seen.
    """

    def __init__(self, limit_usd: float | None = None, spent_usd: float = 0.0, assumed_usd: float = 0.0) -> None:
        self._limit_usd, self._spent_usd, self._dearest_usd = limit_usd, spent_usd, assumed_usd
        self._under_way: set[threading.Thread] = set()
        self._lock = threading.Lock()

    @property
    def spent_usd(self) -> float:
        """By all sittings so far."""
        with self._lock:
            return self._spent_usd

    def start_from(self, usd: float) -> None:
        """What earlier sittings have spent, where more than was known."""
        with self._lock:
            self._spent_usd = max(self._spent_usd, usd)

    def reserve(self) -> None:
        """Set money aside for a call of this thread.

        Raises:
            MoneySpentError: the limit would not hold it.
        """
        with self._lock:
            me = threading.current_thread()
            self._under_way = {thread for thread in self._under_way if thread.is_alive() and thread is not me}
            due = self._spent_usd + (len(self._under_way) + 1) * self._dearest_usd
            if self._limit_usd is not None and (due > self._limit_usd or 0.0 < self._spent_usd >= self._limit_usd):
                raise MoneySpentError(f"US$ {self._spent_usd:.4f} of {self._limit_usd:g} are spent")
            self._under_way.add(me)

    def charge(self, usd: float) -> None:
        """This thread's call came back, and what it cost."""
        with self._lock:
            self._under_way.discard(threading.current_thread())
            self._spent_usd += usd
            self._dearest_usd = max(self._dearest_usd, usd)
