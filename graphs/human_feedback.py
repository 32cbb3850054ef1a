"""Asking a person: when two places are close, one question that would tell them apart, and what its answer is worth.

The answer is evidence of its own kind, from the person, and shares the ledger's cap for that kind: a person cannot
talk the ledger into anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import pycountry
from pydantic import BaseModel, ConfigDict, Field

from agents.schemas import Hypothesis
from geo.places.country_facts import country_facts
from geo.places.names import name_key
from geo.sphere import point_distance_km
from graphs.inference.ledger import open_hypotheses
from graphs.state import Opinion, PersonQuestion

CLOSE_RATIO = 3.0
"""Two hypotheses are close when the first is at most three times as likely as the second."""

MIN_PROBABILITY = 0.1
"""Below it neither is worth a person's time."""

MIN_APART_KM = 50.0

SEEN_NATS, AGAINST_NATS, NOT_SEEN_NATS, NAMED_NATS = 2.0, -1.0, -0.7, 2.5
"""Seeing a language or a side of the road says more than not seeing it. Set by hand; the ledger caps the sum."""

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
    yes_supports: str = Field(max_length=20, description="id of the place that “yes” speaks for")


def close_pair(hypotheses: Sequence[Hypothesis]) -> tuple[Hypothesis, Hypothesis] | None:
    """The two leading hypotheses if a person could tell them apart better than the ledger can."""
    leaders = open_hypotheses(hypotheses)[:2]
    if len(leaders) < 2 or leaders[1].probability < MIN_PROBABILITY:
        return None
    first, second = leaders
    apart = point_distance_km(first.point, second.point) >= MIN_APART_KM
    return (first, second) if apart and first.probability <= CLOSE_RATIO * second.probability else None


def question_by_rules(pair: tuple[Hypothesis, Hypothesis], countries: Sequence[str | None]) -> PersonQuestion:
    """What differs between two places: a language, the side of the road, or else which of them it is."""
    first, second = pair
    language = _language_apart(*countries)
    if language:
        return _seen(f"Is any writing in the photo in {language}?", first, second)
    if None not in countries and (countries[0] in left_driving()) is not (countries[1] in left_driving()):
        side = "left" if countries[0] in left_driving() else "right"
        return _seen(f"Do cars in the photo drive, or stand parked, on the {side} side of the road?", first, second)
    text = f"Is it {first.name} rather than {second.name}? (Answer yes, no, or name the place.)"
    return _which(text, first, second)


def question_of_model(said: AskPerson, pair: tuple[Hypothesis, Hypothesis]) -> PersonQuestion:
    """The model's question; what its answers are worth is set here."""
    first, second = pair if said.yes_supports != pair[1].id else (pair[1], pair[0])
    return _seen(" ".join(said.question.split()), first, second)


def _seen(text: str, first: Hypothesis, second: Hypothesis) -> PersonQuestion:
    on_yes = {first.id: SEEN_NATS, second.id: AGAINST_NATS}
    return _question(text, first, second, on_yes, {first.id: NOT_SEEN_NATS})


def _which(text: str, first: Hypothesis, second: Hypothesis) -> PersonQuestion:
    return _question(text, first, second, {first.id: NAMED_NATS}, {first.id: -NAMED_NATS})


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


@cache
def left_driving() -> frozenset[str]:
    """Countries that drive on the left (agents/data/left_driving.txt)."""
    lines = resources.files("agents").joinpath("data/left_driving.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(code for line in lines if not line.startswith("#") for code in line.split())


def opinions_of(question: PersonQuestion, said: str) -> list[Opinion]:
    """What a person's answer says about each hypothesis; an answer that says neither yes nor no weighs nothing."""
    words = " ".join(said.split())[:MAX_ANSWER_CHARACTERS]
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
    """The hypothesis that the words name, if they name just one."""
    said = name_key(words)
    keys = (question.first, question.second)
    parts = [{name_key(part) for part in name.split(",")} for name in question.names]
    own = [parts[0] - parts[1], parts[1] - parts[0]]
    meant = [key for key, mine in zip(keys, own, strict=True) if any(len(part) > 2 and part in said for part in mine)]
    return meant[0] if len(meant) == 1 else None
