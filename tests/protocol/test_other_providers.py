"""Anthropic's, Google's and Ollama's libraries raise errors of their own: they too become statuses, and are retried."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from agents.chat_models import providers
from agents.chat_models.kinds import MODELS
from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import Capabilities, ModelOptions
from agents.structured_output.ask import ask
from agents.structured_output.position import ReplyStatus
from tests.fakes import model_server
from tests.fakes.proxy import misbehaving

KEY = "sk-test-0123456789abcdef"
PACKAGES = {
    "anthropic": "langchain_anthropic",
    "google_genai": "langchain_google_genai",
    "ollama": "langchain_ollama",
    "openai": "langchain_openai",
}


def load(monkeypatch: pytest.MonkeyPatch, kind: str, url: str, timeout_s: float = 30.0) -> LoadedModel:
    """A model of a kind whose address is a server of ours."""
    pytest.importorskip(PACKAGES[kind], reason=f"pip install 'geosleuth[dev]' brings {PACKAGES[kind]}")
    for name in ("ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    here = {name: row.model_copy(update={"url": url}) for name, row in MODELS.items()}
    monkeypatch.setattr(providers, "MODELS", here)
    options = ModelOptions(timeout_s=timeout_s, max_retries=1, backoff_s=0.01, capabilities=Capabilities())
    return load_model(f"ollama:m@{url}" if kind == "ollama" else f"{kind}:m", options)


@pytest.mark.parametrize("kind", sorted(PACKAGES))
@pytest.mark.parametrize(
    ("fault", "asked"), [("overloaded", 2), ("no_key", 1), ("rejected", 1), ("limited_for_an_hour", 1), ("html", 2)]
)
def test_errors_become_failures(monkeypatch: pytest.MonkeyPatch, kind: str, fault: str, asked: int) -> None:
    with misbehaving("http://127.0.0.1:9", f"{fault}*") as server:
        reply = ask(load(monkeypatch, kind, server.url.removesuffix("/v1")), [HumanMessage("Where?")])
    assert (reply.status, server.asked) == (ReplyStatus.FAILED, asked), reply.problem
    assert KEY not in reply.problem
    assert "\n" not in reply.problem


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_a_small_answer_that_grows_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with misbehaving("http://127.0.0.1:9", "bomb*") as server:
        reply = ask(load(monkeypatch, kind, server.url.removesuffix("/v1")), [HumanMessage("Where?")])
    assert reply.status is ReplyStatus.FAILED
    assert "larger than 16,000,000 bytes" in reply.problem


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_an_answer_that_drips_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Each read succeeds, so that a limit of each would never end it."""
    with misbehaving("http://127.0.0.1:9", "drip*") as server:
        reply = ask(load(monkeypatch, kind, server.url.removesuffix("/v1"), timeout_s=0.5), [HumanMessage("Where?")])
    assert (reply.status, server.asked) == (ReplyStatus.FAILED, 2)


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_a_server_that_is_not_there_is_a_failure(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    reply = ask(load(monkeypatch, kind, f"http://127.0.0.1:{model_server.free_port()}"), [HumanMessage("Where?")])
    assert reply.status is ReplyStatus.FAILED
    assert reply.cost.model_calls == 2
