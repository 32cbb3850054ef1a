"""What a person states in a conversation is evidence of theirs, noted by rules or by a model, and can be taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.messages import count_pictures
from agents.offline.facts import parse_facts
from agents.schemas import Answer, EvidenceKind
from graphs.chat.events import Token, ToolCalled
from tests.fakes.conversations import MADRID, Calls, answering, ended, shot, talk
from tests.fakes.machine import FakeReader, ScriptedModel, context
from tests.graphs.chat.test_chat_models import Streaming
from tests.graphs.chat.test_turns import probability
from tools.look_closer import look_closer_tool
from tools.sun_check import sun_check_tool


def of_person(answer: Answer | None) -> list[str]:
    assert answer is not None
    return [item.claim for item in answer.evidence if item.kind is EvidenceKind.PERSON]


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        ("it is not Portugal", {"is_denied": True, "countries": ["PT"]}),
        ("It's in the Czech Republic.", {"countries": ["CZ"]}),
        ("the sign is Czech", {"languages": ["cs"]}),
        ("The writing is not Spanish", {"is_denied": True, "languages": ["es"]}),
        ("it is near a tram depot in Brno", {"place": "Brno"}),
        ("taken in March at noon", {"taken_at": "2024-03-15T12:00"}),
        ("taken in May 2019 at 17:30", {"taken_at": "2019-05-15T17:30"}),
    ],
)
def test_statements_are_parsed_by_rules(words: str, fact: dict[str, Any]) -> None:
    [parsed] = parse_facts(words)
    assert {key: value for key, value in parsed.items() if key != "words"} == fact
    assert parsed["words"] in words


@pytest.mark.parametrize(
    "words", ["why not Portugal?", "is it in Brno?", "compare with Porto", "hello", "", "where in Spain is it", "Osaka"]
)
def test_a_question_states_nothing(words: str) -> None:
    assert parse_facts(words) == []


def test_a_country_that_is_denied_loses_and_the_person_is_the_source() -> None:
    chat = talk(context(("Lisbon",)))
    before = ended(chat.show(shot())).answer
    reply = ended(chat.ask("it is not Portugal"))
    assert "Noted: “it is not Portugal”" in reply.text
    assert probability(reply.answer, "Lisbon") < probability(before, "Lisbon") / 2
    assert of_person(reply.answer) == ["the person says “it is not Portugal”"]
    assert reply.answer is not None
    [said] = [item for item in reply.answer.evidence if item.kind is EvidenceKind.PERSON]
    assert said.source is not None
    assert said.source.tool == "person"
    assert said.source.arguments["countries"] == ["PT"]
    assert said.log_likelihood_ratio[next(h.id for h in reply.answer.hypotheses if h.name.startswith("Lisbon"))] < 0


def test_a_fact_is_taken_back() -> None:
    chat = talk(context(("Lisbon",)))
    before = ended(chat.show(shot())).answer
    ended(chat.ask("it is not Portugal"))
    after = ended(chat.ask("forget that")).answer
    assert of_person(after) == []
    assert probability(after, "Lisbon") == pytest.approx(probability(before, "Lisbon"))


def test_a_fact_that_is_repeated_counts_once() -> None:
    chat = talk(context(("Lisbon",)))
    ended(chat.show(shot()))
    once = ended(chat.ask("it is in Spain")).answer
    twice = ended(chat.ask("It is in Spain, really")).answer
    assert len(of_person(twice)) == 1
    assert probability(twice, "Madrid") == pytest.approx(probability(once, "Madrid"))


def test_a_place_and_a_language_raise_what_fits_them() -> None:
    chat = talk()
    before = ended(chat.show(shot())).answer
    language = ended(chat.ask("the sign is Czech")).answer
    assert probability(language, "Prague") > probability(before, "Prague")
    place = ended(chat.ask("it was taken near a tram depot in Tokyo")).answer
    assert probability(place, "Tokyo") > 2 * probability(language, "Tokyo")
    assert "no place called" in ended(chat.ask("it is near a lake in Qwertyuiop")).text


def test_follow_ups_retrieve_nothing_again() -> None:
    chat = talk()
    ended(chat.show(shot()))
    called = {e.event.name for e in chat.ask("it is not Portugal") if isinstance(e, ToolCalled)}
    assert called == set()


def noting(facts: list[dict[str, Any]], retract: list[str] | None = None) -> Any:
    def react(data: dict[str, Any], offered: set[str]) -> tuple[str, Calls]:
        if "NoteFacts" in offered and not any(row["kind"] == "person" for row in data["evidence"]):
            return "", [("NoteFacts", {"facts": facts, "retract": retract or []})]
        return "I noted it.", []

    return react


def test_a_model_notes_facts_in_the_persons_own_words_alone() -> None:
    react = noting([{"words": "Not Portugal!", "is_denied": True, "countries": ["pt"]}])
    chat = talk(context(model=answering(react)))
    ended(chat.show(shot()))
    answer = ended(chat.ask("It is surely not Portugal: I never was there.")).answer
    assert of_person(answer) == ["the person says “Not Portugal!”"]

    invented = noting([{"words": "it is Tokyo", "place": "Tokyo"}])
    chat = talk(context(model=answering(invented)))
    located = ended(chat.show(shot())).answer
    answer = ended(chat.ask("what do you think?")).answer
    assert of_person(answer) == []
    assert probability(answer, "Tokyo") == pytest.approx(probability(located, "Tokyo"))


def test_a_stated_time_is_what_the_sun_check_goes_by() -> None:
    offers: list[set[str]] = []

    def react(data: dict[str, Any], offered: set[str]) -> tuple[str, Calls]:
        offers.append(offered)
        if not any(row["kind"] == "person" for row in data["evidence"]):
            fact = {"words": "21 June at noon UTC", "taken_at": "2024-06-21T12:00+00:00"}
            return "", [("NoteFacts", {"facts": [fact]})]
        if not any(row["kind"] == "sun" for row in data["evidence"]):
            return "", [("sun_check", {"taken_at": "1999-01-01T00:00", "part_of_day": "night"})]
        return "Done.", []

    work = context(model=answering(react))
    work = context(model=answering(react), tools={**work.tools, "sun_check": sun_check_tool()})
    chat = talk(work)
    ended(chat.show(shot()))
    answer = ended(chat.ask("it was 21 June at noon UTC")).answer
    assert "sun_check" not in offers[0]
    assert "sun_check" in offers[1]
    assert answer is not None
    [sun] = [item.claim for item in answer.evidence if item.kind is EvidenceKind.SUN]
    assert "2024-06-21T12:00+00:00" in sun


def test_facts_move_the_answer_of_a_strategy_that_takes_the_models_point() -> None:
    def policy(messages: Any, offered: set[str]) -> tuple[str, Calls]:
        if "GivePosition" in offered:
            return "", [("GivePosition", {"name": "Lisbon", "lat": 38.72, "lon": -9.13, "confidence": 0.5})]
        if any(getattr(message, "name", "") == "NoteFacts" for message in messages):
            return "Noted.", []
        return "", [("NoteFacts", {"facts": [{"words": "in Tokyo", "place": "Tokyo"}]})]

    chat = talk(context(model=ScriptedModel(policy=policy), strategy="zero_shot"))
    located = ended(chat.show(shot())).answer
    [case] = chat.cases.values()
    assert case["hypotheses"], "there is a table after every strategy"
    answer = ended(chat.ask("I took it in Tokyo")).answer
    assert located is not None
    assert answer is not None
    assert located.hypotheses[0].name.startswith("Lisbon")
    assert answer.hypotheses[0].name.startswith("Tokyo")


def test_after_a_refusal_the_belief_answers_and_says_so() -> None:
    def policy(*_: Any) -> tuple[str, Calls]:
        return "I'm sorry, but I can't help with identifying locations.", []

    chat = talk(context(model=ScriptedModel(policy=policy), strategy="zero_shot"))
    located = ended(chat.show(shot()))
    assert located.answer is not None
    assert located.answer.point is not None
    assert located.answer.model_status == "refused"
    assert "what the belief says without it" in located.text
    follow_up = ended(chat.ask("why?"))
    assert "declined to answer" in follow_up.text
    assert "has a probability of" in follow_up.text


def test_words_that_were_streamed_are_not_given_twice() -> None:
    def react(data: dict[str, Any], _: set[str]) -> tuple[str, Calls]:
        if any(row["kind"] == "person" for row in data["evidence"]):
            return "Then it is elsewhere.", []
        return "", [("NoteFacts", {"facts": [{"words": "in Tokyo", "place": "Tokyo"}]})]

    chat = talk(context(model=answering(react, Streaming)))
    ended(chat.show(shot()))
    events = list(chat.ask("it is in Tokyo"))
    streamed = "".join(event.text for event in events if isinstance(event, Token))
    reply = ended(events)
    assert "This changes the answer" in reply.text
    assert streamed.strip() == "Then it is elsewhere."
    assert "elsewhere" not in reply.rest
    assert reply.rest.startswith("This changes the answer")


def test_zooming_into_a_part_shows_the_model_the_picture() -> None:
    shown: list[int] = []

    def policy(messages: Any, offered: set[str]) -> tuple[str, Calls]:
        if "ProposeHypotheses" in offered:
            return "", [("ProposeHypotheses", {"hypotheses": [MADRID]})]
        results = [message for message in messages if getattr(message, "name", "") == "look_closer"]
        shown.append(count_pictures(results))
        if results or not any("zoom" in message.text for message in messages):
            return "It says Brno.", []
        photo_id = shot().id
        box = {"left": 0.0, "top": 0.25, "right": 0.5, "bottom": 0.75}
        return "", [("look_closer", {"photo_id": photo_id, "boxes": [box]})]

    work = context(model=ScriptedModel(policy=policy))
    closer = look_closer_tool(work.photo_store, FakeReader(["Brno"]))  # type: ignore[arg-type]  # has the one method
    chat = talk(replace(work, tools={**work.tools, "look_closer": closer}))
    ended(chat.show(shot()))
    assert ended(chat.ask("zoom into the sign on the left")).text == "It says Brno."
    assert shown[-2:] == [0, 1]


def test_rules_zoom_too_and_say_what_was_read() -> None:
    work = context()
    closer = look_closer_tool(work.photo_store, FakeReader(["Brno hlavní nádraží"]))  # type: ignore[arg-type]
    chat = talk(replace(work, tools={**work.tools, "look_closer": closer}))
    ended(chat.show(shot()))
    assert "Brno hlavní nádraží" in ended(chat.ask("zoom into the sign on the left")).text
