"""Follow-ups with a scripted chat model: its tools, its tokens, its refusals, its attacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk

from agents.chat_models.registry import LoadedModel
from agents.schemas import EvidenceKind
from graphs.budgets import Budgets
from graphs.chat.events import Token
from tests.fakes.conversations import Calls, answering, ended, shot, talk
from tests.fakes.machine import ScriptedModel, context


def test_the_model_answers_in_its_own_words_from_the_evidence() -> None:
    def react(data: dict[str, Any], offered: set[str]) -> tuple[str, Calls]:
        leader = max(data["hypotheses"], key=lambda row: row["probability"])
        assert {"find_place", "search_photos", "ReviseHypotheses"} <= offered
        assert data["answer"]["hypothesis_id"]
        return f"I lean to {leader['name']}; you asked: {data['person_asks']}", []

    chat = talk(context(model=answering(react)))
    ended(chat.show(shot()))
    assert ended(chat.ask("why?")).text == "I lean to Madrid, Spain; you asked: why?"


def test_follow_ups_go_to_the_first_model_of_a_jury_and_are_its_cost() -> None:
    def react(data: dict[str, Any], _: set[str]) -> tuple[str, Calls]:
        if any(row["name"].startswith("Osaka") for row in data["hypotheses"]):
            return "Added.", []
        return "", [("ReviseHypotheses", {"add": [{"name": "Osaka, Japan", "lat": 34.69, "lon": 135.5}]})]

    first, second = answering(react), answering(react)
    models = tuple(LoadedModel(name=name, chat=chat) for name, chat in (("a", first), ("b", second)))
    chat = talk(context(models=models))
    before = ended(chat.show(shot())).answer
    calls = len(first.seen)
    after = ended(chat.ask("what about Osaka?")).answer
    assert before is not None
    assert after is not None
    assert len(second.seen) == 1
    assert len(first.seen) > calls
    assert after.cost_by_model["a"].model_calls == len(first.seen) > before.cost_by_model["a"].model_calls
    assert after.cost_by_model["b"] == before.cost_by_model["b"]


def test_a_place_that_the_model_adds_and_opinions_of_it_stay_capped() -> None:
    def react(data: dict[str, Any], _: set[str]) -> tuple[str, Calls]:
        if any(row["name"].startswith("Osaka") for row in data["hypotheses"]):
            return "Added.", []
        osaka = {"name": "Osaka, Japan", "lat": 34.69, "lon": 135.5, "radius_km": 20.0, "why": "I feel it"}
        strong = [{"hypothesis_id": "H1", "claim": "no", "strength": -3.0} for _ in range(20)]
        return "", [("ReviseHypotheses", {"add": [osaka], "judgements": strong})]

    chat = talk(context(model=answering(react)))
    before = ended(chat.show(shot())).answer
    after = ended(chat.ask("what about Osaka?")).answer
    assert before is not None
    assert after is not None
    chance = {h.name: h.probability for h in after.hypotheses}
    assert chance["Osaka, Japan"] < 0.05
    assert after.hypotheses[0].name == before.hypotheses[0].name
    assert len({record.call_id for record in chat.cases[chat.photo_id or ""]["records"]}) > 0


@pytest.mark.parametrize(
    "calls",
    [
        [("no_such_tool", {})],
        [("find_place", {"name": "x" * 50_000})],
        [("ReviseHypotheses", {"add": "everything"})],
        [("ReviseHypotheses", {"reject": ["H99"], "merge": [["H1", "H98"]]})],
        [("find_place", {"name": "Lisbon"})] * 200,
    ],
)
def test_a_model_that_misbehaves_is_told_and_bounded(calls: Calls) -> None:
    chat = talk(context(model=answering(lambda *_: ("", calls)), budgets=Budgets(rounds=3, tool_calls=8)))
    located = ended(chat.show(shot())).answer
    reply = ended(chat.ask("why?"))
    assert reply.text
    assert reply.answer is not None
    assert located is not None
    assert chat.cost.tool_calls - located.cost.tool_calls <= 8
    assert chat.cost.model_calls - located.cost.model_calls <= 4


def test_a_model_that_says_nothing_leaves_the_word_to_the_evidence() -> None:
    chat = talk(context(model=answering(lambda *_: ("", []))))
    ended(chat.show(shot()))
    assert "has a probability of" in ended(chat.ask("why?")).text


def test_numbers_of_calls_start_again_each_turn_and_no_record_is_lost() -> None:
    def react(data: dict[str, Any], _: set[str]) -> tuple[str, Calls]:
        asked = str(data["person_asks"])
        done = any(asked in item["claim"] for item in data["evidence"])
        return ("Done.", []) if done or asked == "stop" else ("", [("find_place", {"name": asked})])

    work = context(("Lisbon", "Prague"), model=answering(react), budgets=Budgets(rounds=2))
    chat = talk(work)
    ended(chat.show(shot()))
    for name in ("Prague", "Lisbon", "Osaka"):
        ended(chat.ask(name))
    case = chat.cases[chat.photo_id or ""]
    records = case["records"]
    looked_up = [record.arguments["name"] for record in records if record.tool == "find_place"]
    assert set(looked_up) == {"Prague", "Lisbon", "Osaka"}
    claims = [item.claim for item in case["evidence"] if item.kind is EvidenceKind.PLACE_NAME]
    assert any("Lisbon" in claim for claim in claims)
    assert not any("Osaka" in claim for claim in claims), "said by the person, read nowhere"


class Streaming(ScriptedModel):
    """Gives its words one at a time."""

    def _stream(self, messages: Any, *_: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        message = self._generate(messages, **kwargs).generations[0].message
        assert isinstance(message, AIMessage)
        chunks = [
            ToolCallChunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=index)
            for index, call in enumerate(message.tool_calls)
        ]
        yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=chunks))
        for word in message.text.split():
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))


def test_tokens_come_as_they_are_written_and_the_reply_knows() -> None:
    chat = talk(context(model=answering(lambda *_: ("It is the tower.", []), Streaming)))
    ended(chat.show(shot()))
    events = list(chat.ask("why?"))
    tokens = [event for event in events if isinstance(event, Token)]
    assert [token.text for token in tokens] == ["It ", "is ", "the ", "tower. "]
    assert {token.step for token in tokens} == {"discuss"}
    reply = ended(events)
    assert (reply.text, reply.streamed) == ("It is the tower.", True)
