"""What a server says of tokens is money: what are no counts is estimated instead, and never ends a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage

from agents.chat_models.prices import Price
from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import Capabilities, ModelOptions
from agents.structured_output.ask import ask
from agents.structured_output.position import ReplyStatus
from tests.fakes.proxy import Closable, served

pytest.importorskip("langchain_openai")

PLAIN = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
ODD: list[Any] = ["12", "many", None, -5, 1.5, 1e400, [], {}, [3], True, 10**30, {"a": 1}, {"cached_tokens": "x"}]
PLACES = (*PLAIN, "prompt_tokens_details", "completion_tokens_details", "prompt_cache_hit_tokens")
USAGES = [*ODD, *({**PLAIN, place: odd} for place in PLACES for odd in ODD), {"completion_tokens": 5}]
MOST_USD = 0.01


class Counting(Closable):
    """A server that says something and counts tokens as it is told to."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.usage: Any = None


class _Handler(BaseHTTPRequestHandler):
    server: Counting

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = {"role": "assistant", "content": "Porto"}
        choice = {"index": 0, "delta" if asked.get("stream") else "message": said, "finish_reason": "stop"}
        body = json.dumps({"choices": [choice], "usage": self.server.usage})
        kind, text = "application/json", body
        if asked.get("stream"):
            kind, text = "text/event-stream", f"data: {body}\n\ndata: [DONE]\n\n"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Counting]:
    with served(Counting()) as counting:
        yield counting


def load(server: Counting) -> LoadedModel:
    options = ModelOptions(timeout_s=30.0, max_retries=0, capabilities=Capabilities())
    return replace(load_model(f"openai_compatible:m@{server.url}", options), price=Price(input=1.0, output=1.0))


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_what_is_no_count_is_estimated(server: Counting) -> None:
    model = load(server)
    for server.usage in USAGES:
        reply = ask(model, [HumanMessage("where?")])
        assert reply.status is ReplyStatus.OK, server.usage
        assert 0 < reply.cost.tokens < 1_000, server.usage
        assert 0.0 <= reply.cost.usd < MOST_USD, server.usage


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_what_is_no_count_in_a_stream_is_estimated(server: Counting) -> None:
    model = load(server)
    for server.usage in USAGES:
        pieces = list(model.chat.stream([HumanMessage("where?")]))
        assert "".join(piece.text for piece in pieces) == "Porto", server.usage
        used = [piece.usage_metadata for piece in pieces if isinstance(piece, AIMessageChunk) and piece.usage_metadata]
        assert [0 < usage["total_tokens"] < 1_000 for usage in used] == [True], server.usage


def test_counts_are_taken_as_they_are(server: Counting) -> None:
    server.usage = {**PLAIN, "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": None}, "queue_time": "0.1 s"}
    cost = ask(load(server), [HumanMessage("where?")]).cost
    assert (cost.input_tokens, cost.output_tokens, cost.tokens, cost.cached_tokens) == (10, 5, 15, 4)


def test_more_cached_than_read_costs_nothing_less() -> None:
    usage: Any = {"input_tokens": 10, "output_tokens": 5, "input_token_details": {"cache_read": 1_000_000}}
    assert Price(input=1.0, output=1.0, cached_input=0.0).usd(usage) == pytest.approx(5e-6)
