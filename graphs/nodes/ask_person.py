"""pose_question and ask_person: where two places are close, ask a person, and weigh the answer.

Two nodes, because a node that waits for a person is run again from its start when the answer comes: the question
is made and checkpointed in the first, so that it is asked of the model only once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pycountry
from langgraph.types import interrupt
from pydantic import BaseModel, ConfigDict, Field

from agents.messages import request
from agents.prompts import render
from agents.schemas import Hypothesis
from agents.structured_output.ask import Reply
from geo.places.country_facts import country_facts, left_driving
from geo.places.names import name_key
from geo.sphere import point_distance_km
from graphs.assessment.assess import assess
from graphs.assessment.hypotheses import open_hypotheses
from graphs.budgets import spent_on_asking
from graphs.context import GeolocateContext
from graphs.nodes.model_calls import ask_model_structured, model_cost
from graphs.prompt_data import belief_data
from graphs.state import GeolocateState, Opinion, PersonQuestion

CLOSE_RATIO = 3.0
"""Two hypotheses are close when the first is at most three times as likely as the second."""

MIN_PROBABILITY = 0.1
"""Less probable hypotheses are not worth a person's time."""

MIN_APART_KM = 50.0

SEEN_NATS, AGAINST_NATS, NOT_SEEN_NATS, NAMED_NATS = 2.0, -1.0, -0.7, 2.5
"""Log likelihood ratios. Seeing a language or a side of the road says more than not seeing it. Set by hand."""

YES, NO, UNKNOWN = "yes", "no", "don't know"
MAX_ANSWER_CHARACTERS = 300

_YES = re.compile(r"\b(?:yes|yeah|yep|y|true|right|correct|ja|oui|sí|si|sim|ano|да)\b", re.I)
_NO = re.compile(r"\b(?:no|nope|n|not|isn't|neither|nein|non|não|ne|нет)\b", re.I)
_UNKNOWN = re.compile(
    r"\b(?:unknown|unsure|maybe|perhaps|cannot|can't|not sure|no idea|(?:don't|do not|dunno) ?(?:know)?)\b", re.I
)


class AskPerson(BaseModel):
    """Ask the person who has the photo one question that tells the two leading places apart: a yes-or-no question
    about something concrete that can be seen in this photo, or that somebody who was there would know.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    question: str = Field(min_length=8, max_length=MAX_ANSWER_CHARACTERS, description="in one sentence")
    yes_supports: str = Field(max_length=20, description="id of the place that “yes” supports")


def close_pair(hypotheses: Sequence[Hypothesis]) -> tuple[Hypothesis, Hypothesis] | None:
    """The two leading hypotheses, if they are close in probability and far enough apart for a person to distinguish."""
    leaders = open_hypotheses(hypotheses)[:2]
    if len(leaders) < 2 or leaders[1].probability < MIN_PROBABILITY:
        return None
    first, second = leaders
    are_apart = point_distance_km(first.point, second.point) >= MIN_APART_KM
    are_close = first.probability <= CLOSE_RATIO * second.probability
    return (first, second) if are_apart and are_close else None


def question_by_rules(pair: tuple[Hypothesis, Hypothesis], countries: Sequence[str | None]) -> PersonQuestion:
    """Ask for what differs between two places: a language, the side of the road, or else which of them it is.

    `countries` holds the ISO 3166-1 alpha-2 code at each; None where it is not known.
    """
    first, second = pair
    language = _language_apart(*countries)
    if language:
        return _about_visible(f"Is any writing in the photo in {language}?", first, second)
    if None not in countries and (countries[0] in left_driving()) is not (countries[1] in left_driving()):
        side = "left" if countries[0] in left_driving() else "right"
        text = f"Do cars in the photo drive, or stand parked, on the {side} side of the road?"
        return _about_visible(text, first, second)
    text = f"Is it {first.name} rather than {second.name}? (Answer yes, no, or name the place.)"
    return _question(text, first, second, {first.id: NAMED_NATS}, {first.id: -NAMED_NATS})


def question_of_model(asked: AskPerson, pair: tuple[Hypothesis, Hypothesis]) -> PersonQuestion:
    """The model's question, with the weights of its answers set here."""
    first, second = pair if asked.yes_supports != pair[1].id else (pair[1], pair[0])
    return _about_visible(" ".join(asked.question.split()), first, second)


def _about_visible(text: str, first: Hypothesis, second: Hypothesis) -> PersonQuestion:
    """A question about something that can be seen if the first hypothesis is right."""
    on_yes = {first.id: SEEN_NATS, second.id: AGAINST_NATS}
    return _question(text, first, second, on_yes, {first.id: NOT_SEEN_NATS})


def _question(
    text: str, first: Hypothesis, second: Hypothesis, on_yes: dict[str, float], on_no: dict[str, float]
) -> PersonQuestion:
    names = (first.name, second.name)
    return PersonQuestion(text=text, first=first.id, second=second.id, names=names, on_yes=on_yes, on_no=on_no)


def _language_apart(first: str | None, second: str | None) -> str | None:
    """The first country's main language in English, if the other country does not use it."""
    known = country_facts()
    if first not in known or second not in known or not known[first].languages:
        return None
    code = known[first].languages[0]
    found = pycountry.languages.get(alpha_2=code)
    return str(found.name) if found and code not in known[second].languages else None


def opinions_of_person(question: PersonQuestion, answer: str) -> list[Opinion]:
    """The weight of a person's answer for each hypothesis; 0 if it says neither yes nor no and names no place."""
    words = " ".join(answer.split())[:MAX_ANSWER_CHARACTERS]
    claim = f"asked “{question.text}”, the person says “{words}”"
    nats = _nats(question, words) or {question.first: 0.0}
    return [
        Opinion(hypothesis_id=key, claim=claim, strength_nats=value, tool_call_id=None, of_a_person=True)
        for key, value in nats.items()
    ]


def _nats(question: PersonQuestion, words: str) -> Mapping[str, float]:
    named = _named(question, words)
    if named and not _NO.search(words):
        return {key: NAMED_NATS if key == named else AGAINST_NATS for key in (question.first, question.second)}
    if _UNKNOWN.search(words):
        return {}
    if _NO.search(words):
        return question.on_no
    return question.on_yes if _YES.search(words) else {}


def _named(question: PersonQuestion, words: str) -> str | None:
    """The id of the hypothesis that the words name, if they name exactly one."""
    spoken = name_key(words)
    first, second = ({name_key(part) for part in name.split(",")} for name in question.names)
    distinctive = {question.first: first - second, question.second: second - first}
    named = [key for key, parts in distinctive.items() if any(len(part) > 2 and part in spoken for part in parts)]
    return named[0] if len(named) == 1 else None


def pose_question(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Make a question if two places are close: the model's, or else one made by rules."""
    pair = close_pair(state["hypotheses"])
    if pair is None:
        return {"question_posed": None}
    reply = _ask_for_question(context, state, pair)
    cost = model_cost([reply] if reply else [])
    if reply and reply.value and reply.value.yes_supports in (pair[0].id, pair[1].id):
        return {"question_posed": question_of_model(reply.value, pair), **cost}
    countries = context.countries([hypothesis.point for hypothesis in pair])
    return {"question_posed": question_by_rules(pair, countries), **cost}


def _ask_for_question(
    context: GeolocateContext, state: GeolocateState, pair: tuple[Hypothesis, Hypothesis]
) -> Reply[AskPerson] | None:
    """Ask the model for a question; None if the model is no LMM, or a budget is spent."""
    if not context.model.kind.is_lmm or spent_on_asking(context.budgets, state["cost"]):
        return None
    prompt = render("ask_person", first=pair[0].id, second=pair[1].id)
    return ask_model_structured(context, state, request(prompt, belief_data(context, state)), AskPerson)


def route_after_pose(state: GeolocateState) -> Literal["ask_person", "commit"]:
    """Ask only if there is a question."""
    return "ask_person" if state.get("question_posed") else "commit"


def ask_person(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Wait for the person's answer, and weigh it by how often people are right.

    Raises:
        ValueError: there is no question.
    """
    posed: PersonQuestion | None = state["question_posed"]
    if posed is None:
        raise ValueError("nothing was posed: the route leads here only with a question")
    answer = interrupt({"question": posed.text, "answers": [YES, NO, UNKNOWN], "about": list(posed.names)})
    opinions = opinions_of_person(posed, str(answer))
    assessed = assess(context, state, opinions=[*state["opinions"], *opinions])
    return {**assessed.update(), "opinions": opinions}
