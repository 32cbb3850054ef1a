"""Prompting strategies as data: which steps run, what is asked, how the answer is chosen. The only registry of them."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.prompts import render_text, template_text
from core.errors import UserError


class Step(StrEnum):
    """A step of the state machine that a strategy may leave out; committing is never left out."""

    LOOK = "look"
    RECALL = "recall"
    CLUSTER = "cluster"
    HYPOTHESISE = "hypothesise"
    """The model's first reading of the picture, as several hypotheses for the ledger."""
    INVESTIGATE = "investigate"
    """The model calls tools, round after round."""
    REVISE = "revise"
    """After each round the ledger is reweighed and the model may change it."""
    GUESS = "guess"
    """The model gives its own final answer."""


class CommitRule(StrEnum):
    """How the point is chosen."""

    TOP_CANDIDATE = "top_candidate"
    TOP_REGION = "top_region"
    POSTERIOR = "posterior"
    """From the ledger, by expected utility."""
    MODEL = "model"
    """The model's own answer; of several samples, the one that most others lie near."""


class Shown(StrEnum):
    """What of the scene the model is shown beside the photo, as quoted data."""

    QUESTION = "question"
    SIGNS = "signs"
    SIMILAR = "similar"
    """The most similar candidates."""
    DISSIMILAR = "dissimilar"
    """The least similar items of the atlases: where the photo is not."""
    REGIONS = "regions"
    COUNTRIES = "countries"


class Elicited(StrEnum):
    """What one question of a strategy wants to hear."""

    TEXT = "text"
    """Prose: thoughts that the following questions build on."""
    PLACE = "place"
    """A name of an area (`agents.reply_schemas.NamePlace`)."""
    POSITION = "position"
    """The final answer (`agents.reply_schemas.GivePosition`)."""


class Ask(BaseModel):
    """One question: a prompt template, values for its own placeholders, what comes back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(pattern="^[a-z][a-z0-9_]*$", description="name of a template, without .md")
    wants: Elicited = Elicited.POSITION
    values: dict[str, str] = Field(default_factory=dict, description="for the template's placeholders")


class Strategy(BaseModel):
    """A way to go about it, as data. An inconsistent one cannot be made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern="^[a-z][a-z0-9_]{0,39}$")
    summary: str
    steps: frozenset[Step]
    commit_rule: CommitRule
    system: str = Field("system", description="template of the system prompt")
    hypothesise: str = Field("hypothesise", description="template of the first reading")
    investigate: str = Field("investigate", description="template that offers the tools")
    revise: str = Field("revise", description="template that asks for a revision")
    asks: tuple[Ask, ...] = Field((), description="questions of the step guess, in order; the last wants a position")
    shown: frozenset[Shown] = Field(frozenset(), description="data beside the photo in the model's first message")
    tools: frozenset[str] | None = Field(None, description="tools that the model is offered; null: all there are")
    samples: int = Field(1, ge=1, le=32, description="how often the questions are asked, independently")
    temperature: float | None = Field(None, ge=0.0, le=2.0, description="of sampling; null: the model's default")
    templates: dict[str, str] = Field(default_factory=dict, description="texts that replace or add to the packaged")

    def runs(self, step: Step) -> bool:
        """Whether a step is part of this strategy."""
        return step in self.steps

    def render(self, template: str, **values: object) -> str:
        """A template of this strategy, or of the package, with its placeholders filled.

        Raises:
            KeyError: a placeholder without a value.
            FileNotFoundError: no such template.
        """
        return render_text(self.template(template), **values)

    def template(self, name: str) -> str:
        """The text of a template: the strategy's own, or the package's."""
        return self.templates[name] if name in self.templates else template_text(name)

    @property
    def uses_model(self) -> bool:
        """Whether anything is asked of the model in the LMM's seat."""
        return bool(self.steps & {Step.HYPOTHESISE, Step.INVESTIGATE, Step.GUESS})

    @property
    def reads_blind(self) -> bool:
        """Whether the model's first reading is its own: it was shown nothing retrieved and nothing read."""
        return self.runs(Step.HYPOTHESISE) and not self.shown - {Shown.QUESTION}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [problem for wrong, problem in self._rules() if wrong]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        asks_last = bool(self.asks) and self.asks[-1].wants is Elicited.POSITION
        ledger = self.commit_rule is CommitRule.POSTERIOR
        retrieved = {Shown.SIMILAR, Shown.DISSIMILAR, Shown.REGIONS, Shown.COUNTRIES}
        return [
            (self.runs(Step.GUESS) != bool(self.asks), "the step guess and asks come together"),
            (self.runs(Step.GUESS) and not asks_last, "the last of asks wants a position"),
            (self.runs(Step.GUESS) == ledger and self.uses_model, "guess commits by model, hypothesise by posterior"),
            (self.runs(Step.GUESS) != (self.commit_rule is CommitRule.MODEL), "the rule model needs the step guess"),
            (self.runs(Step.HYPOTHESISE) and not ledger, "hypothesise needs the rule posterior"),
            (self.runs(Step.HYPOTHESISE) and not self.runs(Step.CLUSTER), "hypothesise needs the step cluster"),
            (self.runs(Step.REVISE) and not {Step.HYPOTHESISE, Step.INVESTIGATE} <= self.steps, "revise needs both"),
            (ledger and not self.runs(Step.HYPOTHESISE), "the rule posterior needs the step hypothesise"),
            (self.runs(Step.CLUSTER) and not self.runs(Step.RECALL), "cluster needs the step recall"),
            (self.commit_rule is CommitRule.TOP_REGION and not self.runs(Step.CLUSTER), "top_region needs cluster"),
            (self.commit_rule is CommitRule.TOP_CANDIDATE and not self.runs(Step.RECALL), "top_candidate needs recall"),
            (bool(self.shown & retrieved) and not self.runs(Step.RECALL), "showing what was retrieved needs recall"),
            (Shown.REGIONS in self.shown and not self.runs(Step.CLUSTER), "showing regions needs the step cluster"),
            (Shown.SIGNS in self.shown and not self.runs(Step.LOOK), "showing signs needs the step look"),
        ]


_POSITION = Ask(prompt="position")
_LEVELS = ("continent", "country", "region", "city")

_REGISTERED = (
    Strategy(
        name="refine",
        summary="the full loop: propose hypotheses, test them with tools, revise the ledger, commit",
        steps=frozenset(Step) - {Step.GUESS},
        commit_rule=CommitRule.POSTERIOR,
        shown=frozenset({Shown.QUESTION}),
    ),
    Strategy(
        name="zero_shot",
        summary="one question: where is this?",
        steps=frozenset({Step.GUESS}),
        commit_rule=CommitRule.MODEL,
        asks=(_POSITION,),
        shown=frozenset({Shown.QUESTION}),
    ),
    Strategy(
        name="chain_of_thought",
        summary="describe the clues first, then answer",
        steps=frozenset({Step.GUESS}),
        commit_rule=CommitRule.MODEL,
        asks=(Ask(prompt="clues", wants=Elicited.TEXT), _POSITION),
        shown=frozenset({Shown.QUESTION}),
    ),
    Strategy(
        name="rag",
        summary="answer with the most similar retrieved places at hand (Img2Loc)",
        steps=frozenset({Step.RECALL, Step.GUESS}),
        commit_rule=CommitRule.MODEL,
        asks=(Ask(prompt="rag"),),
        shown=frozenset({Shown.QUESTION, Shown.SIMILAR}),
    ),
    Strategy(
        name="rag_contrast",
        summary="answer with the most similar and the least similar retrieved places at hand (G3)",
        steps=frozenset({Step.RECALL, Step.GUESS}),
        commit_rule=CommitRule.MODEL,
        asks=(Ask(prompt="rag_contrast"),),
        shown=frozenset({Shown.QUESTION, Shown.SIMILAR, Shown.DISSIMILAR}),
    ),
    Strategy(
        name="cluster_rag",
        summary="answer with the retrieved places' geographic clusters at hand (DualGeo)",
        steps=frozenset({Step.RECALL, Step.CLUSTER, Step.GUESS}),
        commit_rule=CommitRule.MODEL,
        asks=(Ask(prompt="cluster_rag"),),
        shown=frozenset({Shown.QUESTION, Shown.SIMILAR, Shown.REGIONS}),
    ),
    Strategy(
        name="hierarchical",
        summary="continent, country, region, city, then the point",
        steps=frozenset({Step.GUESS}),
        commit_rule=CommitRule.MODEL,
        asks=(
            *(Ask(prompt="level", wants=Elicited.PLACE, values={"level": level}) for level in _LEVELS),
            _POSITION,
        ),
        shown=frozenset({Shown.QUESTION}),
    ),
    Strategy(
        name="self_consistency",
        summary="several independent answers; the one that most others lie near",
        steps=frozenset({Step.GUESS}),
        commit_rule=CommitRule.MODEL,
        asks=(_POSITION,),
        shown=frozenset({Shown.QUESTION}),
        samples=5,
        temperature=0.7,
    ),
    Strategy(
        name="tool_agent",
        summary="the model calls tools as it likes and gives its own final answer",
        steps=frozenset({Step.INVESTIGATE, Step.GUESS}),
        commit_rule=CommitRule.MODEL,
        investigate="tool_agent",
        asks=(Ask(prompt="conclude"),),
        shown=frozenset({Shown.QUESTION}),
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


def find_strategy(name: str, own: MappingProxyType[str, Strategy] | None = None) -> Strategy:
    """The strategy of a name, the user's own ones first.

    Raises:
        UserError: no such strategy; the message lists the valid ones.
    """
    known = {**STRATEGIES, **(own or {})}
    if name not in known:
        raise UserError(f"unknown strategy {name!r}: choose one of {', '.join(sorted(known))}")
    return known[name]
