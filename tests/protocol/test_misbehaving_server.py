"""Behind a proxy that misbehaves, every request ends with a status, within its budget."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, StateGraph

from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import Capabilities, ModelOptions
from agents.reply_schemas import GivePosition
from agents.structured_output.ask import Reply, ask, ask_structured
from agents.structured_output.position import ReplyStatus
from core.errors import UserError
from tests.fakes import model_server
from tests.fakes.model_server import RealServer
from tests.fakes.proxy import TEN_MB, misbehaving

QUESTION = [HumanMessage("Where was this photo taken?")]
MENDED = [
    "reset",
    "die",
    "overloaded",
    "limited",
    "html",
    "cut_json",
    "null_choices",
    "no_choices",
    "wrong_types",
    "empty_body",
]
HOPELESS = ["no_key", "redirect", "limited_for_an_hour"]


class State(TypedDict, total=False):
    """Of a graph whose one node asks."""

    unused: str


def load(server: RealServer, url: str, **options: Any) -> LoadedModel:
    chosen: dict[str, Any] = {"timeout_s": 60.0, "max_retries": 2, "backoff_s": 0.05, "max_output_tokens": 24}
    able = Capabilities(images=True, tools=True)
    return load_model(server.spec("reciter", url), ModelOptions(**{**chosen, **options}, capabilities=able))


@pytest.mark.parametrize("fault", MENDED)
def test_a_fault_that_passes_is_retried(real_server: RealServer, fault: str) -> None:
    with misbehaving(real_server.url, fault) as proxy:
        reply = ask_structured(load(real_server, proxy.url), QUESTION, GivePosition)
    assert reply.status is ReplyStatus.OK, reply.problem
    assert proxy.asked == reply.cost.model_calls == 2


@pytest.mark.parametrize("fault", MENDED)
def test_a_fault_that_stays_is_a_failure_after_all_retries(real_server: RealServer, fault: str) -> None:
    with misbehaving(real_server.url, f"{fault}*") as proxy:
        reply = ask_structured(load(real_server, proxy.url, max_retries=1), QUESTION, GivePosition)
    assert (reply.status, reply.value) == (ReplyStatus.FAILED, None)
    assert reply.problem
    assert len(reply.problem) < 300
    assert "\n" not in reply.problem
    assert proxy.asked == reply.cost.model_calls == 2


@pytest.mark.parametrize("fault", HOPELESS)
def test_what_no_retry_can_mend_fails_at_once(real_server: RealServer, fault: str) -> None:
    with misbehaving(real_server.url, f"{fault}*") as proxy:
        reply = ask_structured(load(real_server, proxy.url), QUESTION, GivePosition)
    assert reply.status is ReplyStatus.FAILED
    assert proxy.asked == 1
    assert "sk-abcdefghijklmnop" not in reply.problem


def test_a_request_that_is_bad_without_a_word_is_put_otherwise_and_then_fails(real_server: RealServer) -> None:
    with misbehaving(real_server.url, "rejected*") as proxy:
        reply = ask_structured(load(real_server, proxy.url), QUESTION, GivePosition)
    assert reply.status is ReplyStatus.FAILED
    assert "bad request" in reply.problem
    assert proxy.asked == 3, "with a forced call, with a call asked for, with the tool in the prompt"


def test_retry_after_is_honoured(real_server: RealServer) -> None:
    with misbehaving(real_server.url, "limited") as proxy:
        started = time.monotonic()
        reply = ask_structured(load(real_server, proxy.url), QUESTION, GivePosition)
        waited_s = time.monotonic() - started
    assert reply.status is ReplyStatus.OK
    assert waited_s >= 1.0


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_server_that_never_finishes_is_given_up_in_time(real_server: RealServer, fault: str) -> None:
    with misbehaving(real_server.url, f"{fault}*") as proxy:
        reply = ask_structured(load(real_server, proxy.url, timeout_s=0.5, max_retries=1), QUESTION, GivePosition)
    assert reply.status is ReplyStatus.FAILED
    assert proxy.asked == 2


def test_the_budget_of_seconds_ends_all_attempts(real_server: RealServer) -> None:
    with misbehaving(real_server.url, "hang*") as proxy:
        reply = ask_structured(load(real_server, proxy.url, max_retries=50), QUESTION, GivePosition, seconds=1.0)
    assert reply.status is ReplyStatus.FAILED
    assert proxy.asked == 1
    assert ask(load(real_server, proxy.url), QUESTION, seconds=0.0).status is ReplyStatus.FAILED


def test_ten_megabytes_are_unparsable_and_are_not_kept(real_server: RealServer) -> None:
    with misbehaving(real_server.url, "ten_mb*") as proxy:
        reply = ask_structured(load(real_server, proxy.url), QUESTION, GivePosition)
    assert reply.status is ReplyStatus.UNPARSABLE
    assert f"{TEN_MB:,}" in reply.problem
    assert sum(len(message.text) for message in reply.messages) < 10_000


def test_more_than_anybody_asked_for_is_not_even_read(real_server: RealServer) -> None:
    with misbehaving(real_server.url, "twenty_mb*") as proxy:
        reply = ask_structured(load(real_server, proxy.url, max_retries=0), QUESTION, GivePosition)
    assert reply.status is ReplyStatus.FAILED


@pytest.mark.parametrize(
    ("fault", "status", "asked"), [("refuses", ReplyStatus.REFUSED, 1), ("says_nothing", ReplyStatus.UNPARSABLE, 2)]
)
def test_refusals_are_not_argued_with_and_silence_is_repaired_once(
    real_server: RealServer, fault: str, status: ReplyStatus, asked: int
) -> None:
    with misbehaving(real_server.url, f"{fault}*") as proxy:
        reply = ask_structured(load(real_server, proxy.url), QUESTION, GivePosition)
    assert (reply.status, proxy.asked) == (status, asked)
    assert any("estimated" in remark for remark in reply.remarks)  # this server counts no tokens
    assert reply.cost.tokens > 0


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("pass", ReplyStatus.OK),
        ("die", ReplyStatus.OK),
        ("malformed_events", ReplyStatus.OK),
        ("malformed_events*", ReplyStatus.FAILED),
    ],
)
def test_streams_that_break_are_retried_too(real_server: RealServer, fault: str, status: ReplyStatus) -> None:
    replies: list[Reply[GivePosition]] = []
    with misbehaving(real_server.url, fault) as proxy:
        model = load(real_server, proxy.url, max_retries=1)

        def node(state: State) -> State:  # noqa: ARG001 - LangGraph goes by its name
            replies.append(ask_structured(model, QUESTION, GivePosition))
            return {}

        graph = StateGraph(State)
        graph.add_node("node", node)
        graph.add_edge(START, "node")
        graph.add_edge("node", END)
        pieces = list(graph.compile().stream({}, stream_mode="messages"))
    assert replies[0].status is status, replies[0].problem
    assert pieces


def test_no_more_requests_are_under_way_than_allowed(real_server: RealServer) -> None:
    with misbehaving(real_server.url, *["slow"] * 6) as proxy, ThreadPoolExecutor(6) as pool:
        model = load(real_server, proxy.url, concurrency=2)
        replies = list(pool.map(lambda _: ask_structured(model, QUESTION, GivePosition), range(6)))
    assert {reply.status for reply in replies} == {ReplyStatus.OK}
    assert proxy.most_at_once == 2


def test_a_server_process_that_is_killed_amid_an_answer_and_comes_back(real_server: RealServer, tmp_path: Path) -> None:
    port = model_server.free_port()

    def command(*faults: str) -> list[str]:
        return [sys.executable, "-m", "tests.fakes.proxy", str(port), real_server.url, *faults]

    model = load(real_server, f"http://127.0.0.1:{port}/v1", max_retries=8, backoff_s=0.3)
    replies: list[Reply[GivePosition]] = []
    with model_server.process(command("drip*"), port, tmp_path / "first.log") as first:
        asking = threading.Thread(target=lambda: replies.append(ask_structured(model, QUESTION, GivePosition)))
        asking.start()
        time.sleep(0.5)
        assert asking.is_alive()
        first.kill()
        first.wait()
    with model_server.process(command(), port, tmp_path / "second.log"):
        asking.join(60.0)
    assert [reply.status for reply in replies] == [ReplyStatus.OK]
    assert replies[0].cost.model_calls >= 2


def test_a_server_that_is_not_there_is_said_before_any_photo_is_sent(real_server: RealServer) -> None:
    spec = real_server.spec("reciter", f"http://127.0.0.1:{model_server.free_port()}/v1")
    with pytest.raises(UserError, match=r"cannot be used.*start it") as caught:
        load_model(spec, ModelOptions(backoff_s=0.01))
    assert isinstance(caught.value.__cause__, Exception)
