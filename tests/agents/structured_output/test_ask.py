"""Asking a model: statuses, not exceptions; one repair; text in place of calls; pictures where they may be."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ModelInvalidRequestError, ModelRateLimitError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.messages.tool import invalid_tool_call

from agents.chat_models.adapter import AdaptedChat
from agents.chat_models.prices import Price
from agents.chat_models.registry import LoadedModel
from agents.reply_schemas import GivePosition, ProposeHypotheses, ReviseHypotheses
from agents.structured_output.ask import ask, ask_structured
from agents.structured_output.position import ReplyStatus
from tests.agents.structured_output.scripted import Server, called, loaded

PICTURE = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
ASKED = [SystemMessage("rules"), HumanMessage([PICTURE, {"type": "text", "text": "Where?"}])]
LYON = {"lat": 45.76, "lon": 4.84, "name": "Lyon"}
HERE = {"lat": 48.85, "lon": 2.29, "name": "Paris"}

# --- one answer


def test_a_call_is_a_value() -> None:
    model, server = loaded(called("GivePosition", HERE))
    reply = ask_structured(model, ASKED, GivePosition)
    assert (reply.status, reply.value) == (ReplyStatus.OK, GivePosition(**HERE))
    assert [type(message) for message in reply.messages] == [AIMessage, ToolMessage]
    assert server.sent[0][1]["tool_choice"] == "GivePosition"


@pytest.mark.parametrize(
    "args",
    [
        {"latitude": "48.85° N", "longitude": "2.29° E", "name": "Paris"},
        {"lat": "48.85", "lon": "2.29", "name": "Paris", "unheard_of": 1},
        {"lat": 48.85, "lon": 2.29, "name": "Paris" + "!" * 500, "why": "w" * 5_000, "confidence": "70%"},
        {"coordinates": [48.85, 2.29]},
    ],
)
def test_arguments_of_another_form_are_mended_without_asking_again(args: dict[str, Any]) -> None:
    model, server = loaded(called("GivePosition", args))
    reply = ask_structured(model, ASKED, GivePosition)
    assert reply.status is ReplyStatus.OK, reply.problem
    assert reply.value is not None
    assert (reply.value.lat, reply.value.lon) == (48.85, 2.29)
    assert len(server.sent) == 1


@pytest.mark.parametrize(
    "text", ['```json\n{"latitude": "48.85", "longitude": "2.29"}\n```', "I'd say 48.85° N, 2.29° E."]
)
def test_text_in_place_of_a_call_is_read(text: str) -> None:
    reply = ask_structured(loaded(text)[0], ASKED, GivePosition)
    assert reply.value is not None
    assert (reply.value.lat, reply.value.lon) == (48.85, 2.29)


def test_a_list_of_hypotheses_in_text_is_read() -> None:
    said = {"hypotheses": [HERE, {"latitude": "33.86 S", "longitude": "151.2 E"}]}
    reply = ask_structured(loaded(f"Sure:\n{json.dumps(said)}")[0], ASKED, ProposeHypotheses)
    assert reply.value is not None
    assert [(h.lat, h.lon) for h in reply.value.hypotheses] == [(48.85, 2.29), (-33.86, 151.2)]


def test_a_call_whose_json_was_cut_off_keeps_its_whole_members() -> None:
    broken = invalid_tool_call(
        name="GivePosition", args='{"lat": 48.85, "lon": 2.29, "why": "beca', id="c", error="cut"
    )
    reply = ask_structured(loaded(AIMessage("", invalid_tool_calls=[broken]))[0], ASKED, GivePosition)
    assert reply.value is not None
    assert (reply.value.lat, reply.value.lon, reply.value.why) == (48.85, 2.29, "")


# --- repair, refusal, failure


def test_one_repair_names_the_problem_and_may_succeed() -> None:
    model, server = loaded(called("GivePosition", {"lat": 95.0, "lon": 200.0}), called("GivePosition", HERE))
    reply = ask_structured(model, ASKED, GivePosition)
    assert reply.status is ReplyStatus.OK
    assert [type(m).__name__ for m in reply.messages] == [
        "AIMessage",
        "ToolMessage",
        "HumanMessage",
        "AIMessage",
        "ToolMessage",
    ]
    assert "less than or equal to 90" in server.sent[1][0][-1].text
    assert reply.cost.model_calls == 2


@pytest.mark.parametrize(
    "bad", ["somewhere", "", '{"lat": null, "lon": null}', '{"lat": "<latitude>", "lon": "<longitude>"}']
)
def test_after_one_repair_it_is_unparsable_and_never_a_guess(bad: str) -> None:
    model, server = loaded(bad, bad)
    reply = ask_structured(model, ASKED, GivePosition)
    assert (reply.status, reply.value) == (ReplyStatus.UNPARSABLE, None)
    assert len(server.sent) == 2
    assert reply.problem


def test_of_two_calls_with_a_place_each_the_more_probable_one_counts() -> None:
    places = [{**HERE, "confidence": 0.3}, {"place": "Lyon", "lat": 45.76, "lon": 4.84, "probability": "60 %"}]
    two = AIMessage(
        "", tool_calls=[ToolCall(name="GivePosition", args=p, id=i) for p, i in zip(places, "ab", strict=True)]
    )
    reply = ask_structured(loaded(two)[0], ASKED, GivePosition)
    assert reply.value is not None, reply.problem
    assert (reply.value.name, reply.value.confidence) == ("Lyon", 0.6)
    assert sum(isinstance(message, ToolMessage) for message in reply.messages) == 2  # each call is acknowledged


def test_two_calls_with_hypotheses_are_one_list() -> None:
    calls = [ToolCall(name="ProposeHypotheses", args={"hypotheses": [p]}, id=str(p["name"])) for p in (HERE, LYON)]
    reply = ask_structured(loaded(AIMessage("", tool_calls=calls))[0], ASKED, ProposeHypotheses)
    assert reply.value is not None, reply.problem
    assert [h.name for h in reply.value.hypotheses] == ["Paris", "Lyon"]


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "Paris", "confidence": 0.3}, {"name": "Lyon", "confidence": 0.6}]',
        '{"places": [{"place": "Paris", "probability": 0.3}, {"place": "Lyon", "probability": "60%"}]}',
        '{"reasoning": "roofs", "places": [{"place": "Paris", "probability": 30}, {"place": "Lyon", "share": 60}]}',
        '[{"name": "ProposeHypotheses", "arguments": {"hypotheses": [{"name": "Paris", "confidence": 0.3}]}},'
        ' {"name": "ProposeHypotheses", "arguments": {"hypotheses": [{"name": "Lyon", "confidence": 0.6}]}}]',
    ],
)
@pytest.mark.parametrize("tools", [True, False])
def test_places_by_name_alone_are_read_in_the_forms_models_write_them(text: str, tools: bool) -> None:
    reply = ask_structured(loaded(text, tools=tools)[0], ASKED, ProposeHypotheses)
    assert reply.value is not None, reply.problem
    assert [(h.name, h.confidence) for h in reply.value.hypotheses] == [("Paris", 0.3), ("Lyon", 0.6)]


def test_places_under_another_name_in_a_call_are_read() -> None:
    listed = {"places": [{"place": "Paris", "lat": 48.85, "lon": 2.29, "probability": 0.3}]}
    reply = ask_structured(loaded(called("ProposeHypotheses", listed))[0], ASKED, ProposeHypotheses)
    assert reply.value is not None, reply.problem
    assert [(h.name, h.lat, h.confidence) for h in reply.value.hypotheses] == [("Paris", 48.85, 0.3)]


@pytest.mark.parametrize("garbage", [{"foo": 1}, {"answer": "yes", "notes": []}])
def test_a_revision_without_any_of_its_fields_is_no_revision(garbage: dict[str, Any]) -> None:
    model, server = loaded(called("ReviseHypotheses", garbage), json.dumps(garbage))
    reply = ask_structured(model, ASKED, ReviseHypotheses)
    assert reply.status is ReplyStatus.UNPARSABLE
    assert "judgements" in server.sent[1][0][-1].text


def test_an_empty_revision_changes_nothing() -> None:
    reply = ask_structured(loaded(called("ReviseHypotheses", {}))[0], ASKED, ReviseHypotheses)
    assert reply.value == ReviseHypotheses()


def test_a_refusal_is_not_argued_with() -> None:
    model, server = loaded("I’m sorry, but I can’t help with that.")
    assert ask_structured(model, ASKED, GivePosition).status is ReplyStatus.REFUSED
    assert len(server.sent) == 1


def test_rate_limits_are_retried_and_other_errors_are_not() -> None:
    model, server = loaded(ModelRateLimitError("slow"), ModelRateLimitError("slow"), called("GivePosition", HERE))
    reply = ask_structured(model, ASKED, GivePosition)
    assert (reply.status, reply.cost.model_calls) == (ReplyStatus.OK, 3)
    model, server = loaded(ModelInvalidRequestError("no"), called("GivePosition", HERE))
    assert ask_structured(model, ASKED, GivePosition).status is ReplyStatus.FAILED
    assert len(server.sent) == 1


def test_a_failure_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter22hunter22")
    reply = ask(loaded(ModelInvalidRequestError("bad key hunter22hunter22 or sk-abcdefghijk\nat line 2"))[0], ASKED)
    assert reply.status is ReplyStatus.FAILED
    assert "hunter22" not in reply.problem
    assert "sk-abc" not in reply.problem
    assert "\n" not in reply.problem


def test_a_bug_of_ours_is_not_a_failure_of_the_model() -> None:
    with pytest.raises(ZeroDivisionError):
        ask(loaded(ZeroDivisionError("bug"))[0], ASKED)


# --- cost


def test_tokens_that_a_server_does_not_report_are_estimated_and_said_so() -> None:
    reply = ask(loaded("x" * 400, price=Price(input=1.0, output=1.0))[0], ASKED)
    assert reply.cost.tokens > 1_100 + 100  # a picture and a hundred words
    assert reply.cost.usd == pytest.approx(reply.cost.tokens / 1e6)
    assert any("estimated" in remark for remark in reply.remarks)


def test_a_reply_from_the_cache_costs_nothing_and_is_the_same() -> None:
    server = Server(plays=[called("GivePosition", HERE)])
    chat = AdaptedChat(inner=server, label="x", cache=InMemoryCache())
    model = LoadedModel(name="x", chat=chat, price=Price(input=1.0, output=1.0))
    first, second = (ask_structured(model, ASKED, GivePosition) for _ in range(2))
    assert first.value == second.value
    assert first.cost.usd > 0.0
    assert second.cost.usd == 0.0
    assert len(server.sent) == 1


@pytest.mark.parametrize(
    "text",
    [
        '[{"lat": 1.5, "lon": 2.5}, {"lat": 48.8584, "lon": 2.2945}]',
        '{"places": [{"latitude": "1.5", "longitude": 2.5}, {"latitude": 48.8584, "longitude": 2.2945}]}',
    ],
)
def test_a_list_of_places_in_text_is_a_list_of_hypotheses(text: str) -> None:
    reply = ask_structured(loaded(text)[0], ASKED, ProposeHypotheses)
    assert reply.value is not None, reply.problem
    assert [(h.lat, h.lon) for h in reply.value.hypotheses] == [(1.5, 2.5), (48.8584, 2.2945)]


@pytest.mark.parametrize("schema", [GivePosition, ProposeHypotheses, ReviseHypotheses])
def test_whatever_a_model_says_there_is_a_status(schema: Any) -> None:
    says: Sequence[Callable[[], AIMessage]] = [
        lambda: called(schema.__name__, {}),
        lambda: called(schema.__name__, {"hypotheses": "none", "lat": {}, "add": 3, "judgements": [1]}),
        lambda: called("launch_missiles", {"lat": 0, "lon": 0}),
        lambda: AIMessage("x" * 200_000),
        lambda: called(schema.__name__, {"why": "x" * 200_000}),
        lambda: AIMessage([{"type": "text", "text": "well"}]),
    ]
    for say in says:
        reply = ask_structured(loaded(say(), say())[0], ASKED, schema)
        assert (reply.value is not None) == (reply.status is ReplyStatus.OK)
        assert sum(len(str(message.content)) for message in reply.messages) < 100_000
