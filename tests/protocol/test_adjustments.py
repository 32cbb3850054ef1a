"""What servers refuse is found by the probe or at the first refusal, and then not sent again; replies have one form."""

from __future__ import annotations

import gzip
import logging
import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage

from agents.chat_models.adjustments import Unsupported, next_refusal
from agents.chat_models.http_limits import limited_hooks
from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import Capabilities, ModelOptions
from agents.reply_schemas import GivePosition, ProposeHypotheses
from agents.structured_output.ask import Reply, ask, ask_structured
from agents.structured_output.position import ReplyStatus
from agents.structured_output.samples import ask_structured_samples
from apps.console import waiting_shown
from core.errors import UserError
from graphs.geolocate import build_geolocate
from graphs.state import query_input
from tests.fakes.behaviours.model import PRAGUE, REASONING
from tests.fakes.behaviours.replies import CACHED_TOKENS, COMPLETION_TOKENS, PROMPT_TOKENS, Said
from tests.fakes.behaviours.server import BEHAVIOURS, BehavingServer, Behaviour, behaving, thinks_aside
from tests.fakes.machine import context, photo
from tests.fakes.proxy import misbehaving
from tests.protocol.test_behaviours import load

pytest.importorskip("langchain_openai")

PICTURE = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
QUESTION = [SystemMessage("You locate photos."), HumanMessage([PICTURE, {"type": "text", "text": "Where is this?"}])]
AFTER_TOOLS = [
    *QUESTION,
    AIMessage(
        "",
        tool_calls=[ToolCall(name="satellite_view", args={}, id=i) for i in ("call_a", "call_b")],
        additional_kwargs={"reasoning_content": "look from above"},
    ),
    *(ToolMessage([{"type": "text", "text": "facts"}, PICTURE], tool_call_id=i) for i in ("call_a", "call_b")),
    HumanMessage("And now?"),
]
CUT = re.compile("cut off|malformed|no reply")
ABLE = Capabilities(samples=True)


def declared(server: BehavingServer, able: Capabilities = ABLE, **chosen: Any) -> LoadedModel:
    options = ModelOptions(timeout_s=30.0, max_retries=2, backoff_s=0.01, capabilities=able, **chosen)
    return load_model(f"openai_compatible:m@{server.url}", options)


def said_by(reply: Reply[Any]) -> AIMessage:
    (message,) = (message for message in reply.messages if isinstance(message, AIMessage))
    return message


# --- what is refused


@pytest.mark.parametrize("behaviour", [name for name, one in BEHAVIOURS.items() if one.checks and "Anthr" not in name])
def test_what_is_refused_is_refused_once(behaviour: str) -> None:
    with behaving(behaviour) as server:
        model = declared(server, temperature=0.5, max_output_tokens=500)
        for _ in range(2):
            reply = ask_structured(model, AFTER_TOOLS, GivePosition)
            assert reply.status is ReplyStatus.OK, reply.problem
            refused, server.refused = server.refused, []
    assert not refused, "the second request already leaves out what the first was refused for"


def test_the_probe_finds_what_is_refused_and_gives_a_model_the_time_to_think(monkeypatch: pytest.MonkeyPatch) -> None:
    with behaving("thinks, wants it back (DeepSeek)") as server:
        model = load(server, monkeypatch)
        assert (model.capabilities.tools, model.capabilities.forced_tools) == (True, False)
        assert {asked["max_tokens"] for asked in server.asked} == {1_024}
        server.refused.clear()
        assert ask_structured(model, QUESTION, GivePosition).status is ReplyStatus.OK
        assert not server.refused
        assert "one call of the tool GivePosition" in str(server.asked[-1]["messages"][-1])
    with behaving("no temperature, other token limit") as server:
        found = load(server, monkeypatch, temperature=0.5).capabilities
    assert found.refuses == {Unsupported.TEMPERATURE, Unsupported.LENGTH_NAME}
    assert found.forced_tools


def test_pictures_of_tools_are_one_user_turn_with_what_is_asked_next() -> None:
    with behaving("roles alternate") as server:
        assert ask_structured(declared(server), AFTER_TOOLS, GivePosition).status is ReplyStatus.OK
        sent = server.asked[-1]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "tool", "assistant", "user"]
    assert [block["type"] for block in sent[-1]["content"]] == ["text", "image_url", "text", "image_url", "text"]


def test_in_text_mode_calls_and_results_show_their_ids() -> None:
    with behaving("refuses tools") as server:
        assert ask_structured(declared(server), AFTER_TOOLS, GivePosition).status is ReplyStatus.OK
        sent = server.asked[-1]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert '"tool_call_id": "call_b"' in sent[2]["content"]
    assert "(tool_call_id call_b)" in str(sent[3]["content"])


@pytest.mark.parametrize(
    ("behaviour", "remark"),
    [
        ("no pictures", "takes no pictures"),
        ("one picture", "takes one picture a request"),
        ("no temperature, other token limit", "refuses a temperature"),
        ("no token limit", "refuses the limit of output tokens"),
    ],
)
def test_an_answer_says_what_was_left_out(behaviour: str, remark: str) -> None:
    with behaving(behaviour) as server:
        reply = ask_structured(declared(server, temperature=0.5, max_output_tokens=500), AFTER_TOOLS, GivePosition)
    assert any(remark in said for said in reply.remarks), reply.remarks


@pytest.mark.parametrize(("behaviour", "pictures"), [("no token limit", 2), ("one picture", 1)])
def test_photos_of_one_place_are_sent_in_one_message_or_the_answer_says_so(behaviour: str, pictures: int) -> None:
    photos = [replace(photo(shade), sha256=f"{shade}".ljust(64, "0")) for shade in (10, 200)]
    with behaving(behaviour) as server:
        at = replace(context(strategy="zero_shot"), models=(declared(server),))
        for shown in photos:
            at.photo_store.add(shown)
        given = query_input(photos, "", None, allow_metadata=False)
        final = build_geolocate(at).invoke(given, output_keys=["answer", "notes"])
        [user] = [message for message in server.asked[-1]["messages"] if message["role"] == "user"]
    sent = [block["image_url"]["url"] for block in user["content"] if block["type"] == "image_url"]
    assert len(set(sent)) == len(sent) == pictures
    assert any("it was shown the first photo" in note for note in final["notes"]) == (pictures == 1)
    assert final["answer"].photo_sha256s == tuple(shown.sha256 for shown in photos)


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ("Invalid value for 'content': expected a string, got an array with image_url", Unsupported.PICTURES),
        ("This model's maximum context length is 8192 tokens; 'max_tokens' is too large", Unsupported.LENGTH),
        ("Unexpected role 'user' after role 'tool'", Unsupported.REPEATED_ROLES),
        ("registry.ollama.ai/library/gemma3 does not support tools", Unsupported.FORCED_CHOICE),
        ("tool_choice 'specified' is incompatible with thinking enabled", Unsupported.FORCED_CHOICE),
        ("Bad request", Unsupported.FORCED_CHOICE),
    ],
)
def test_errors_in_the_words_of_servers_name_what_is_refused(said: str, refusal: Unsupported) -> None:
    used = set(Unsupported) - {Unsupported.RESULT_PICTURES, Unsupported.LENGTH_NAME}
    found = next_refusal(400, said, used)
    assert found is refusal or (refusal is Unsupported.FORCED_CHOICE and found is Unsupported.TOOLS)
    assert next_refusal(429, said, used) is None
    assert next_refusal(400, said, set()) is None


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ("image input is not supported - hint: you may need to provide the mmproj", Unsupported.PICTURES),
        ("failed to process image: CUDA out of memory", None),
        ("the vision worker has crashed", None),
    ],
)
def test_a_mishap_of_a_server_with_a_picture_does_not_leave_the_photo_out(said: str, refusal: object) -> None:
    used = {Unsupported.PICTURES, Unsupported.TOOLS}
    assert next_refusal(500, said, used) is refusal


# --- replies in one form


@pytest.mark.parametrize("behaviour", ["thinks, no forced call (Qwen)", "thinks (Anthropic)"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_reasoning_and_finish_reason_lie_in_one_place(
    behaviour: str, is_stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with behaving(behaviour) as server:
        model = load(server, monkeypatch, behaviour)
        bound = model.chat.bind_tools([GivePosition])
        pieces = list(bound.stream(QUESTION)) if is_stream else [bound.invoke(QUESTION)]
    whole: Any = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    assert whole.additional_kwargs["reasoning_content"] == REASONING
    assert whole.response_metadata["finish_reason"] == "tool_calls"
    assert [call["args"] for call in whole.tool_calls] == [PRAGUE]
    assert whole.text == ""
    assert whole.usage_metadata["input_token_details"]["cache_read"] == CACHED_TOKENS


@pytest.mark.parametrize("behaviour", ["<think> in the text", "…</think> in the text"])
def test_no_reasoning_is_streamed_as_the_reply(behaviour: str) -> None:
    with behaving(behaviour) as server:
        model = declared(server, Capabilities(tools=False))
        for _ in range(2):  # the first reply shows whether reasoning begins without a tag
            pieces = [piece.text for piece in model.chat.stream(QUESTION)]
            assert "".join(pieces).strip() == "Nothing more would help: it is Prague, 50.09, 14.42."


def test_text_without_reasoning_streams_in_pieces_once_that_is_known() -> None:
    with behaving(Behaviour(takes_tools=False)) as server:
        model = declared(server, Capabilities(tools=False))
        ask(model, QUESTION)
        pieces = [piece.text for piece in model.chat.stream(QUESTION) if piece.text]
    assert len(pieces) > 1


def test_reasoning_is_shortened_to_what_a_record_may_hold() -> None:
    with behaving(Behaviour(says=lambda said: said._replace(reasoning="x" * 50_000 + "end"))) as server:
        message = said_by(ask_structured(declared(server), QUESTION, GivePosition))
    reasoning = message.additional_kwargs["reasoning_content"]
    assert 5_000 < len(reasoning) < 7_000
    assert reasoning.endswith("end")


def cut_off(said: Said) -> Said:
    return Said(text="Let me look at the", reasoning=said.reasoning, is_cut=True)


@pytest.mark.parametrize("behaviour", ["", "thinks (Anthropic)"])
def test_a_reply_that_was_cut_off_is_asked_for_again_in_brief(behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with behaving(Behaviour(says=cut_off)) as server:
        reply = ask_structured(load(server, monkeypatch, behaviour), QUESTION, GivePosition)
        assert "be brief" in str(server.asked[-1]["messages"][-1])
    assert reply.status is ReplyStatus.UNPARSABLE
    assert "be brief" in reply.problem


def test_a_reply_of_nothing_but_unfinished_reasoning_gives_no_place() -> None:
    with behaving(Behaviour(says=lambda _: Said(text=f"<think>{REASONING}", is_cut=True))) as server:
        reply = ask_structured(declared(server), QUESTION, GivePosition)
    assert (reply.status, reply.value) == (ReplyStatus.UNPARSABLE, None)


# --- streams, sizes, times


def test_a_stream_that_ends_early_is_asked_for_again() -> None:
    with behaving("cut streams") as server:
        model = declared(server)
        with pytest.raises(Exception, match=CUT) as caught:
            list(model.chat.stream(QUESTION))
        assert caught.value.is_retryable  # type: ignore[attr-defined]  # a ModelFailure
        with pytest.raises(Exception, match=CUT):
            list(model.chat.stream(QUESTION))
        assert "".join(piece.text for piece in model.chat.stream(QUESTION)).startswith("Nothing more")


def test_a_small_answer_that_grows_without_end_is_not_read() -> None:
    with behaving(Behaviour(is_compressed=True, says=lambda _: Said(text=" " * 40_000_000))) as server:
        reply = ask(declared(server), QUESTION)
    assert reply.status is ReplyStatus.FAILED
    assert "larger than 16,000,000 bytes" in reply.problem


def test_a_compressed_answer_that_is_cut_off_or_damaged_is_a_failure() -> None:
    import httpx

    whole = gzip.compress(b"{}" * 5_000)
    for body in (whole[:-20], b"no gzip at all"):
        client = httpx.Client(transport=_compressed(body), event_hooks=limited_hooks(9.0))
        with client, pytest.raises(httpx.HTTPError):
            client.get("http://127.0.0.1/")


def _compressed(body: bytes) -> httpx.MockTransport:
    headers = {"Content-Encoding": "gzip"}
    return httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=httpx.ByteStream(body)))


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_the_probe_ends_when_its_time_is_over(fault: str) -> None:
    with misbehaving("http://127.0.0.1:9", f"{fault}*") as server:
        with pytest.raises(UserError, match="no reply within"):
            load_model(f"openai_compatible:m@{server.url}", ModelOptions(timeout_s=60.0, load_s=0.4, backoff_s=0.01))
        assert server.asked == 1


def test_waiting_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting_shown(), behaving("plain") as upstream, misbehaving(upstream.url, "overloaded") as server:
        model = load_model(f"openai_compatible:m@{server.url}", ModelOptions(backoff_s=0.01, capabilities=ABLE))
        assert ask(model, QUESTION).status is ReplyStatus.OK
    assert "the server answers 503" in (shown := capsys.readouterr().err)
    assert "asked again in" in shown
    assert not logging.getLogger("geosleuth.waiting").handlers


# --- samples, tokens, caches


def test_samples_are_one_request_that_is_paid_once() -> None:
    with behaving("plain") as server:
        replies = ask_structured_samples(declared(server), QUESTION, GivePosition, 5)
        assert [asked.get("n") for asked in server.asked] == [5]
    assert [reply.value and reply.value.name for reply in replies] == ["Prague"] * 5
    assert sum(reply.cost.model_calls for reply in replies) == 1
    assert sum(reply.cost.output_tokens for reply in replies) == 5 * COMPLETION_TOKENS
    assert sum(reply.cost.input_tokens for reply in replies) == PROMPT_TOKENS
    assert sum(reply.cost.cached_tokens for reply in replies) == CACHED_TOKENS
    assert replies[0].cost.tokens == PROMPT_TOKENS + 5 * COMPLETION_TOKENS


@pytest.mark.parametrize(
    ("behaviour", "requests"), [("one sample a request", 1 + 1 + 5 + 5), ("fewer samples than asked", 1 + 3 + 1 + 3)]
)
def test_samples_that_are_refused_or_missing_are_asked_for_one_by_one(behaviour: str, requests: int) -> None:
    with behaving(behaviour) as server:
        model = declared(server)
        for _ in range(2):
            replies = ask_structured_samples(model, QUESTION, GivePosition, 5)
            assert [reply.status for reply in replies] == [ReplyStatus.OK] * 5
        assert len(server.asked) <= requests


def test_samples_of_places_in_text_mode() -> None:
    with behaving("refuses tools") as server:
        replies = ask_structured_samples(declared(server), QUESTION, ProposeHypotheses, 3)
        assert len(server.asked) == 3, "forced, asked for, in the prompt"
    assert [len(reply.value.hypotheses) for reply in replies if reply.value] == [2, 2, 2]


def test_prompt_caches_are_marked_where_the_provider_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with behaving(Behaviour(says=thinks_aside)) as server:
        model = load(server, monkeypatch, "Anthropic")
        assert ask(model, AFTER_TOOLS).status is ReplyStatus.OK
        sent = server.asked[-1]
        plain = declared(server)
        ask(plain, QUESTION)
        assert "cache_control" not in str(server.asked[-1])
    blocks = [*sent["system"], *(block for message in sent["messages"] for block in message["content"])]
    marked = [block["type"] for block in blocks if "cache_control" in block]
    assert marked == ["text", "image", "text"], "the system prompt, the photo, the newest message"
