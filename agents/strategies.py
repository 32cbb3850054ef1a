"""Prompting strategies: which steps run, and how the answer is chosen. The only registry of them."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from geo.errors import UserError


class Step(StrEnum):
    """A step of the state machine that a strategy may leave out; committing is never left out."""

    LOOK = "look"
    RECALL = "recall"
    CLUSTER = "cluster"
    HYPOTHESISE = "hypothesise"
    INVESTIGATE = "investigate"


class CommitRule(StrEnum):
    """How the point is chosen."""

    TOP_CANDIDATE = "top_candidate"
    TOP_REGION = "top_region"
    POSTERIOR = "posterior"


class Strategy(BaseModel):
    """A way to go about it, as data."""

    model_config = ConfigDict(frozen=True)

    name: str
    summary: str
    steps: frozenset[Step]
    commit_rule: CommitRule

    def runs(self, step: Step) -> bool:
        """Whether a step is part of this strategy."""
        return step in self.steps

    @property
    def uses_model(self) -> bool:
        """Whether anything is asked of the model in the LMM's seat."""
        return bool(self.steps & {Step.HYPOTHESISE, Step.INVESTIGATE})


_REGISTERED = (
    Strategy(
        name="refine",
        summary="the full loop: propose hypotheses, test them with tools, revise, commit",
        steps=frozenset(Step),
        commit_rule=CommitRule.POSTERIOR,
    ),
    Strategy(
        name="clusters",
        summary="the heaviest region of the retrieved candidates, with no LMM",
        steps=frozenset({Step.RECALL, Step.CLUSTER}),
        commit_rule=CommitRule.TOP_REGION,
    ),
    Strategy(
        name="retrieval",
        summary="the most similar candidate, with no LMM",
        steps=frozenset({Step.RECALL}),
        commit_rule=CommitRule.TOP_CANDIDATE,
    ),
)
STRATEGIES: MappingProxyType[str, Strategy] = MappingProxyType({strategy.name: strategy for strategy in _REGISTERED})


def find_strategy(name: str) -> Strategy:
    """The strategy of a name.

    Raises:
        UserError: no such strategy; the message lists the valid ones.
    """
    if name not in STRATEGIES:
        raise UserError(f"unknown strategy {name!r}: choose one of {', '.join(sorted(STRATEGIES))}")
    return STRATEGIES[name]
