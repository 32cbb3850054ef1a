"""What a run will cost, before it starts: from runs already made, else from assumptions that are named as such."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agents.chat_models.prices import Price
from agents.strategies import Step, Strategy
from evals.runs.records import INFO_FILE, Outcome, RecordError, read_info, read_scores

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
        if score.status is not Outcome.ERROR:
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
