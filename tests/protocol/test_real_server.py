"""A real OpenAI-compatible server process with tiny vision-language models: pictures, tool calls, streaming."""

from __future__ import annotations

import numpy as np
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage

from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import Capabilities, ModelOptions
from agents.messages import image_block
from agents.reply_schemas import GivePosition, ProposeHypotheses
from agents.structured_output.ask import ask, ask_structured
from agents.structured_output.position import ReplyStatus
from tests.fakes.model_server import RealServer

OPTIONS = ModelOptions(timeout_s=120.0, max_output_tokens=24, backoff_s=0.1)
QUESTION = "Where was this photo taken?"


def shown(side_px: int = 64) -> HumanMessage:
    return HumanMessage([image_block(np.full((side_px, side_px, 3), 90, np.uint8)), {"type": "text", "text": QUESTION}])


@pytest.fixture(scope="session")
def random(real_server: RealServer) -> LoadedModel:
    return load_model(real_server.spec("random"), OPTIONS)


@pytest.fixture(scope="session")
def reciter(real_server: RealServer) -> LoadedModel:
    return load_model(real_server.spec("reciter"), OPTIONS)


def test_the_probe_finds_out_what_each_model_can_do(random: LoadedModel, reciter: LoadedModel) -> None:
    assert random.capabilities == Capabilities(images=True, tools=False, samples=True)
    assert reciter.capabilities == Capabilities(images=True, tools=True, samples=True)
    assert random.leaves_the_machine is None
    assert random.remarks == ()


def test_a_tool_call_of_a_real_model_is_a_position(reciter: LoadedModel) -> None:
    reply = ask_structured(reciter, [shown()], GivePosition)
    assert reply.status is ReplyStatus.OK, reply.problem
    assert reply.value is not None
    assert (reply.value.lat, reply.value.lon, reply.value.name) == (48.85, 2.29, "Paris")
    assert reply.cost.model_calls == 1


def test_the_picture_reaches_the_model(reciter: LoadedModel) -> None:
    with_picture = ask(reciter, [shown()]).cost.tokens
    without = ask(reciter, [HumanMessage(QUESTION)]).cost.tokens
    assert with_picture == without + 4  # 28 px in patches of 14


def test_a_call_of_another_tool_is_repaired_once_and_then_unparsable(reciter: LoadedModel) -> None:
    reply = ask_structured(reciter, [shown()], ProposeHypotheses)
    assert reply.status is ReplyStatus.UNPARSABLE
    assert "ProposeHypotheses" in reply.problem
    assert reply.cost.model_calls == 2


def test_noise_has_a_status_and_no_position(random: LoadedModel) -> None:
    reply = ask_structured(random, [shown()], GivePosition)
    assert (reply.status, reply.value) == (ReplyStatus.UNPARSABLE, None), reply.problem
    assert reply.cost.model_calls == 2
    assert reply.cost.tokens > 0


def test_text_streams_in_pieces(random: LoadedModel) -> None:
    pieces = list(random.chat.stream([shown()]))
    assert len(pieces) > 5
    assert "".join(piece.text for piece in pieces)


def test_a_tool_call_streams_whole(reciter: LoadedModel) -> None:
    whole: AIMessageChunk | None = None
    for piece in reciter.chat.bind_tools([GivePosition]).stream([shown()]):
        assert isinstance(piece, AIMessageChunk)
        whole = piece if whole is None else whole + piece
    assert whole is not None
    assert [call["args"]["name"] for call in whole.tool_calls] == ["Paris"]
    assert whole.usage_metadata is not None


def test_a_model_declared_blind_is_informed_and_the_photo_stays_out(real_server: RealServer) -> None:
    declared = OPTIONS.model_copy(update={"capabilities": Capabilities(images=False)})
    blind = load_model(real_server.spec("reciter"), declared)
    seeing = load_model(real_server.spec("reciter"), OPTIONS.model_copy(update={"capabilities": Capabilities()}))
    assert "takes no pictures" in blind.remarks[0]
    reply = ask_structured(blind, [shown()], GivePosition)
    assert reply.status is ReplyStatus.OK
    assert reply.remarks == blind.remarks
    assert (
        reply.cost.tokens > ask_structured(seeing, [shown()], GivePosition).cost.tokens
    )  # a sentence is longer than 4 tokens
