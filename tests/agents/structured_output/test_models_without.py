"""Models that call no tools or take no pictures: what is sent in their place, and what is read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage

from agents.chat_models.adapter import AdaptedChat
from agents.chat_models.spec import Capabilities
from agents.messages import LEFT_OUT, pictures_after_results, without_pictures
from agents.reply_schemas import GivePosition
from agents.structured_output.ask import ask, ask_structured
from agents.structured_output.position import ReplyStatus
from tests.agents.structured_output.scripted import Streaming, called, find_place, loaded, read_signs

PICTURE = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
ASKED = [SystemMessage("rules"), HumanMessage([PICTURE, {"type": "text", "text": "Where?"}])]


# --- models without tools


def test_tools_stand_in_the_prompt_and_calls_read_from_the_text() -> None:
    calls = [
        {"name": "find_place", "arguments": {"name": "Porto"}},
        {"name": "read_signs", "arguments": {"photo_id": "p"}},
    ]
    text = json.dumps({"calls": calls})
    model, server = loaded(text, tools=False)
    reply = ask(model, ASKED, [read_signs, find_place])
    assert reply.value is not None
    assert [(call["name"], call["args"]) for call in reply.value.tool_calls] == [
        ("find_place", {"name": "Porto"}),
        ("read_signs", {"photo_id": "p"}),
    ]
    assert len({call["id"] for call in reply.value.tool_calls}) == 2
    prompt = server.sent[0][0][-1].text
    assert "Read the signs in a photo." in prompt
    assert "tools" not in server.sent[0][1]


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "find_place", "arguments": {"name": "Porto"}}</tool_call>',
        '{"tool_calls": [{"function": {"name": "find_place", "arguments": "{\\"name\\": \\"Porto\\"}"}}]}',
        'I will call:\n```json\n{"name": "find_place", "parameters": {"name": "Porto"}}\n```',
    ],
)
def test_calls_are_read_in_the_forms_models_write_them(text: str) -> None:
    reply = ask(loaded(text, tools=False)[0], ASKED, [read_signs, find_place])
    assert reply.value is not None
    assert [(call["name"], call["args"]) for call in reply.value.tool_calls] == [("find_place", {"name": "Porto"})]


def test_one_tool_needs_only_its_arguments_and_a_server_may_be_held_to_them() -> None:
    model, server = loaded('{"lat": 48.85, "lon": 2.29}', tools=False, structured_output=True)
    assert ask_structured(model, ASKED, GivePosition).status is ReplyStatus.OK
    schema = server.sent[0][1]["extra_body"]["response_format"]["json_schema"]["schema"]
    assert {"lat", "lon"} <= schema["properties"].keys()


def test_past_calls_and_results_are_sent_as_text() -> None:
    past = [*ASKED, called("find_place", {"name": "Porto"}), ToolMessage("41.15", tool_call_id="c0", name="find_place")]
    model, server = loaded('{"calls": []}', tools=False)
    ask(model, past, [read_signs, find_place])
    sent = server.sent[0][0]
    assert not any(isinstance(message, ToolMessage) for message in sent)
    assert "Porto" in sent[2].text
    assert "41.15" in sent[3].text


def test_the_same_reply_has_the_same_call_ids() -> None:
    text = '{"calls": [{"name": "find_place", "arguments": {"name": "Porto"}}]}'
    first, second = (ask(loaded(text, tools=False)[0], ASKED, [read_signs, find_place]).value for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.tool_calls == second.tool_calls


def test_text_streams_and_the_calls_in_it_come_last() -> None:
    server = Streaming(plays=['{"calls": [{"name": "find_place", "arguments": {"name": "Porto"}}]}'])
    chat = AdaptedChat(inner=server, label="x", able=Capabilities(tools=False))
    whole: Any = None
    pieces = 0
    for piece in chat.bind_tools([read_signs, find_place]).stream(ASKED):
        whole, pieces = (piece if whole is None else whole + piece), pieces + 1
    assert pieces > 3
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("find_place", {"name": "Porto"})]
    assert whole.usage_metadata["total_tokens"] > 0


# --- pictures


def test_a_model_without_pictures_gets_a_text_instead() -> None:
    model, server = loaded("a", images=False)
    ask(model, ASKED)
    assert server.sent[0][0][1].content == f"{LEFT_OUT}\nWhere?"
    assert isinstance(ASKED[1].content, list)  # what was given stays as it is


def test_pictures_of_tools_follow_their_results_where_the_protocol_wants_text() -> None:
    results = [
        ToolMessage([{"type": "text", "text": "facts"}, PICTURE], tool_call_id=i, name="satellite_view") for i in "ab"
    ]
    shown = pictures_after_results([*ASKED, *results, HumanMessage("go on")])
    assert [type(message).__name__ for message in shown] == [
        "SystemMessage",
        "HumanMessage",
        "ToolMessage",
        "ToolMessage",
        "HumanMessage",
        "HumanMessage",
    ]
    assert [message.content for message in shown[2:4]] == ["facts", "facts"]
    assert [block["type"] for block in shown[4].content] == ["text", "image", "text", "image"]  # type: ignore[index]  # blocks are dictionaries
    assert pictures_after_results(ASKED) == ASKED
    assert without_pictures(results)[0].content == f"facts\n{LEFT_OUT}"
