"""Prompting strategies as data: steps, questions, data shown, commit rule. The only registry of strategies."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from pydantic import Field, model_validator

from agents.prompts import render_text, template_text
from agents.schemas import Frozen
from core.errors import UserError


class Step(StrEnum):
    """A step of the state machine that a strategy may leave out; every strategy commits."""

    LOOK = "look"
    RECALL = "recall"
    CLUSTER = "cluster"
    HYPOTHESISE = "hypothesise"
    """The model's initial prediction from the picture, as several hypotheses."""
    LOOK_CLOSER = "look_closer"
    """The parts of the photo that the model asked for are shown enlarged, and it predicts once more."""
    INVESTIGATE = "investigate"
    """The model calls tools, round after round."""
    REVISE = "revise"
    """After each round the belief takes in the results, and the model may judge them and change the list."""
    GUESS = "guess"
    """The model gives its own final answer."""


class CommitRule(StrEnum):
    """Rule by which the point is chosen."""

    TOP_CANDIDATE = "top_candidate"
    TOP_REGION = "top_region"
    POSTERIOR = "posterior"
    """The belief's point of greatest expected utility."""
    MODEL = "model"
    """The model's own answer; of several samples, the one that most others lie near."""


class Shown(StrEnum):
    """Data that the model gets beside the photo, quoted."""

    QUESTION = "question"
    SIGNS = "signs"
    SIMILAR = "similar"
    """The most similar candidates."""
    DISSIMILAR = "dissimilar"
    """The least similar items of the atlases: where the photo is not."""
    REGIONS = "regions"
    COUNTRIES = "countries"


_RETRIEVED = frozenset({Shown.SIMILAR, Shown.DISSIMILAR, Shown.REGIONS, Shown.COUNTRIES})


class ReplyKind(StrEnum):
    """Kind of reply that a question of a strategy asks for."""

    TEXT = "text"
    """Prose, which stays in the conversation for the questions that follow."""
    PLACE = "place"
    """A name of an area (`agents.reply_schemas.NamePlace`)."""
    POSITION = "position"
    """The final answer (`agents.reply_schemas.GivePosition`)."""


ASK_CLOSER = "ask_closer"
"""Template that offers to enlarge parts of the photo; it stands in the one of the initial prediction."""


class Ask(Frozen):
    """One question: a prompt template, values for its placeholders, the kind of reply."""

    prompt: str = Field(pattern="^[a-z][a-z0-9_]*$", description="name of a template, without .md")
    wants: ReplyKind = ReplyKind.POSITION
    values: dict[str, str] = Field(default_factory=dict, description="for the template's placeholders")


class Strategy(Frozen):
    """A prompting strategy. Fields that contradict each other fail validation."""

    name: str = Field(pattern="^[a-z][a-z0-9_]{0,39}$")
    summary: str
    steps: frozenset[Step]
    commit_rule: CommitRule
    system: str | None = Field(
        None, description="template of the system prompt; null: one that speaks of tools where the strategy offers them"
    )
    hypothesise: str = Field("hypothesise", description="template of the initial prediction")
    look_again: str = Field("look_again", description="template of the prediction with enlarged parts at hand")
    investigate: str = Field("investigate", description="template that offers the tools")
    revise: str = Field("revise", description="template that asks for a revision")
    asks: tuple[Ask, ...] = Field((), description="questions of the step guess, in order; the last wants a position")
    shown: frozenset[Shown] = Field(frozenset(), description="data beside the photo in the model's first message")
    tools: frozenset[str] | None = Field(None, description="tools that the model is offered; null: all there are")
    left_out: frozenset[str] = Field(frozenset(), description="tools that the model is not offered")
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

    def offers(self, tool: str) -> bool:
        """Whether the model is offered a tool of this name."""
        return tool not in self.left_out and (self.tools is None or tool in self.tools)

    @property
    def system_prompt(self) -> str:
        """Name of the system prompt's template."""
        return self.system or ("system" if self.runs(Step.INVESTIGATE) else "system_reading")

    @property
    def clue_catalogue(self) -> str:
        """What to look for in a photo, for the templates that show it: the text of clue_catalogue.md."""
        return self.template("clue_catalogue")

    def template(self, name: str) -> str:
        """The text of a template: the strategy's own, or the package's."""
        return self.templates[name] if name in self.templates else template_text(name)

    @property
    def uses_model(self) -> bool:
        """Whether the chat model is asked anything."""
        return bool(self.steps & {Step.HYPOTHESISE, Step.INVESTIGATE, Step.GUESS})

    @property
    def needs_pixels(self) -> bool:
        """Whether a step looks at the photo itself; a model that is asked sees what it is shown."""
        return bool(self.steps - {Step.HYPOTHESISE, Step.GUESS})

    @property
    def needs_atlas(self) -> bool:
        """Whether nothing comes of it without places to retrieve: it answers with one, or shows the model some."""
        answers_with_one = self.commit_rule in (CommitRule.TOP_CANDIDATE, CommitRule.TOP_REGION)
        return self.runs(Step.RECALL) and (answers_with_one or bool(self.shown & _RETRIEVED))

    def check_atlas(self, is_open: bool) -> None:
        """Refuse to run without an atlas where nothing would come of it.

        Raises:
            UserError: this strategy answers from an atlas, and none is open.
        """
        if self.needs_atlas and not is_open:
            raise UserError(
                f"the strategy {self.name} answers from places retrieved from an atlas, and none is named: add"
                " `--atlas NAME`. `geosleuth atlas build NAME --photos FOLDER` makes one of your own geotagged photos;"
                " `--atlas world`, of 120,000 populated places, is built when it is first named"
            )

    def check_model_count(self, models: int) -> None:
        """Refuse several models where only one would be asked.

        Raises:
            UserError: this strategy asks one model, and several are named.
        """
        if models > 1 and self.uses_model and not self.runs(Step.HYPOTHESISE):
            raise UserError(
                f"the strategy {self.name} asks one model, and {models} are named: name one, or ask them all with the"
                " strategies jury (first readings only) or refine"
            )

    @property
    def commits_by_belief(self) -> bool:
        """Whether the point is the belief's own; otherwise it is the model's, or what was retrieved first."""
        return self.commit_rule is CommitRule.POSTERIOR

    @property
    def reads_blind(self) -> bool:
        """Whether the model predicts first from the photo alone, without retrieved places or signs."""
        return self.runs(Step.HYPOTHESISE) and not self.shown - {Shown.QUESTION}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [problem for wrong, problem in self._rules() if wrong]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        asks_last = bool(self.asks) and self.asks[-1].wants is ReplyKind.POSITION
        by_belief = self.commits_by_belief
        return [
            (self.runs(Step.GUESS) != bool(self.asks), "the step guess and asks come together"),
            (self.runs(Step.GUESS) and not asks_last, "the last of asks wants a position"),
            (
                self.runs(Step.GUESS) == by_belief and self.uses_model,
                "guess commits by model, hypothesise by posterior",
            ),
            (self.runs(Step.GUESS) != (self.commit_rule is CommitRule.MODEL), "the rule model needs the step guess"),
            (self.runs(Step.HYPOTHESISE) and not by_belief, "hypothesise needs the rule posterior"),
            (self.runs(Step.REVISE) and not {Step.HYPOTHESISE, Step.INVESTIGATE} <= self.steps, "revise needs both"),
            (self.runs(Step.LOOK_CLOSER) and not self.runs(Step.HYPOTHESISE), "look_closer needs hypothesise"),
            (by_belief and not self.runs(Step.HYPOTHESISE), "the rule posterior needs the step hypothesise"),
            (self.runs(Step.CLUSTER) and not self.runs(Step.RECALL), "cluster needs the step recall"),
            (self.commit_rule is CommitRule.TOP_REGION and not self.runs(Step.CLUSTER), "top_region needs cluster"),
            (self.commit_rule is CommitRule.TOP_CANDIDATE and not self.runs(Step.RECALL), "top_candidate needs recall"),
            (bool(self.shown & _RETRIEVED) and not self.runs(Step.RECALL), "showing what was retrieved needs recall"),
            (Shown.REGIONS in self.shown and not self.runs(Step.CLUSTER), "showing regions needs the step cluster"),
            (Shown.SIGNS in self.shown and not self.runs(Step.LOOK), "showing signs needs the step look"),
        ]


def _guessing(
    name: str,
    summary: str,
    *asks: Ask,
    after: Iterable[Step] = (),
    shown: Iterable[Shown] = (),
    **more: Any,
) -> Strategy:
    """A strategy that commits to the model's own answer, given after some steps and with some data at hand."""
    return Strategy(
        name=name,
        summary=summary,
        steps=frozenset({*after, Step.GUESS}),
        commit_rule=CommitRule.MODEL,
        asks=asks,
        shown=frozenset({Shown.QUESTION, *shown}),
        **more,
    )


_POSITION = Ask(prompt="position")
_CLUES = Ask(prompt="clues", wants=ReplyKind.TEXT)
_LEVELS = [
    Ask(prompt="level", wants=ReplyKind.PLACE, values={"level": level})
    for level in ("continent", "country", "region", "city")
]

_REGISTERED = (
    Strategy(
        name="refine",
        summary="the full loop: propose hypotheses, test them with tools, revise them, commit",
        steps=frozenset(Step) - {Step.GUESS},
        commit_rule=CommitRule.POSTERIOR,
        left_out=frozenset({"rank_regions"}),  # the machine's own step `cluster` has ranked them
        shown=frozenset({Shown.QUESTION}),
    ),
    Strategy(
        name="jury",
        summary="first readings only, of one model or of several side by side, put together",
        steps=frozenset({Step.HYPOTHESISE}),
        commit_rule=CommitRule.POSTERIOR,
        shown=frozenset({Shown.QUESTION}),
    ),
    Strategy(
        name="look_closer",
        summary="a first reading, and a second one with the parts enlarged that the model asked for",
        steps=frozenset({Step.HYPOTHESISE, Step.LOOK_CLOSER}),
        commit_rule=CommitRule.POSTERIOR,
        shown=frozenset({Shown.QUESTION}),
    ),
    _guessing("zero_shot", "one question: where is this?", _POSITION),
    _guessing("chain_of_thought", "describe the clues first, then answer", _CLUES, _POSITION),
    _guessing(
        "rag",
        "answer with the most similar retrieved places at hand (Img2Loc)",
        Ask(prompt="rag"),
        after=[Step.RECALL],
        shown=[Shown.SIMILAR],
    ),
    _guessing(
        "rag_contrast",
        "answer with the most similar and the least similar retrieved places at hand (G3)",
        Ask(prompt="rag_contrast"),
        after=[Step.RECALL],
        shown=[Shown.SIMILAR, Shown.DISSIMILAR],
    ),
    _guessing(
        "cluster_rag",
        "answer with the retrieved places' geographic clusters at hand (DualGeo)",
        Ask(prompt="cluster_rag"),
        after=[Step.RECALL, Step.CLUSTER],
        shown=[Shown.SIMILAR, Shown.REGIONS],
    ),
    _guessing("hierarchical", "continent, country, region, city, then the point", *_LEVELS, _POSITION),
    _guessing(
        "self_consistency",
        "several independent answers; the one that most others lie near",
        _POSITION,
        samples=5,
        temperature=0.7,
    ),
    _guessing(
        "tool_agent",
        "the model calls tools as it likes and gives its own final answer",
        Ask(prompt="conclude"),
        after=[Step.INVESTIGATE],
        investigate="tool_agent",
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
