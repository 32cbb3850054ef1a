"""Budgets: what a run may spend. Enforced by code, whatever the model wants."""

from __future__ import annotations

from pydantic import Field

from agents.schemas import Cost, Frozen


class Budgets(Frozen):
    """Limits of one run. The run ends by committing or abstaining with what it has, never with an error."""

    rounds: int = Field(4, ge=0, description="times the model may investigate")
    tool_calls: int = Field(64, ge=0)
    tokens: int = Field(200_000, ge=0)
    seconds: float = Field(300.0, gt=0.0, description="time spent in steps; waiting between them is free")
    usd: float = Field(1.0, ge=0.0)


def spent_budget(budgets: Budgets, cost: Cost, rounds: int) -> str | None:
    """Which budget is spent, in words; None if the run may go on."""
    limits = (
        ("rounds", rounds, budgets.rounds),
        ("tool calls", cost.tool_calls, budgets.tool_calls),
        ("tokens", cost.tokens, budgets.tokens),
        ("seconds", cost.seconds, budgets.seconds),
    )
    for name, used, limit in limits:
        if used >= limit:
            return f"the budget of {limit:g} {name} is spent"
    # A free model never spends a budget of 0 dollars.
    return f"the budget of {budgets.usd:g} US dollars is spent" if cost.usd > budgets.usd else None
