"""The page over a chat model behind a real HTTP server that speaks OpenAI's protocol."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from agents.chat_models.dialects.conversations import NOTED
from agents.chat_models.registry import load_model
from agents.chat_models.spec import ModelOptions
from apps.api.app import create_app
from apps.service.access import ApiKeys
from tests.fakes.behaviours.model import turns
from tests.fakes.behaviours.replies import Json
from tests.fakes.behaviours.server import BehavingServer, Behaviour
from tests.fakes.proxy import served
from tests.fakes.services import listening, service
from tests.fakes.services.browser import Visit, expect

WAIT_S = 30.0


class ModelPage(NamedTuple):
    """A visit of the page, the server of its model, and what lets the model go on after its first tool calls."""

    visit: Visit
    server: BehavingServer
    may_go_on: threading.Event


@pytest.fixture
def scripted(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelPage]:
    pytest.importorskip("langchain_openai", reason="the extra openai is not installed")
    may_go_on = threading.Event()

    def waits_after_tool_calls(asked: Json) -> str | None:
        if any(role == "tool" and text != NOTED for role, text in turns(asked)):
            may_go_on.wait(WAIT_S)
        return None

    with served(BehavingServer(Behaviour(checks=(waits_after_tool_calls,)))) as server:
        model = load_model(f"openai_compatible:m@{server.url}", ModelOptions(timeout_s=60.0, max_output_tokens=2_000))
        server.asked.clear()  # of the probe
        home = tmp_path_factory.mktemp("scripted")
        with service(home, model=model) as opened, listening(create_app(opened, ApiKeys({}))) as url:
            visit = Visit(browser, url)
            yield ModelPage(visit, server, may_go_on)
            visit.context.close()
            may_go_on.set()


def test_the_models_steps_arrive_and_a_correction_is_taken_back(scripted: ModelPage, png: bytes) -> None:
    visit, page = scripted.visit, scripted.visit.open()
    visit.drop("bridge.png", png)
    # The model waits for its tools' results to be shown: hypotheses and calls are there, an answer is not.
    page.locator(".steps li.tool", has_text="find place").first.wait_for()
    assert page.locator(".card").count() == 0
    assert page.locator(".mark .badge").all_inner_texts()[:2] == ["1", "2"]
    for number, place in ((0, "Prague"), (1, "Madrid")):
        page.locator(".mark").nth(number).focus()
        expect(page.locator(".leaflet-tooltip.tip").last).to_contain_text(place)
        expect(page.locator(".leaflet-tooltip.tip").last).to_contain_text("% so far")
    scripted.may_go_on.set()
    page.wait_for_selector(".card")
    page.wait_for_selector("#send", state="visible")
    assert "Prague" in page.locator(".card h2").inner_text()
    page.get_by_role("tab", name="Evidence").click()
    expect(page.locator(".evidence", has_text="reverse_geocode")).to_have_count(1)
    page.get_by_role("tab", name="Chat").click()
    _correct_and_undo(page)
    assert any("image_url" in str(asked) for asked in scripted.server.asked)
    assert scripted.server.refused == []
    assert visit.outside == []
    assert visit.complaints == []


def _correct_and_undo(page: Any) -> None:
    page.fill("#say", "it is Portugal")
    page.press("#say", "Enter")
    page.locator(".card h2", has_text="Portugal").wait_for()
    page.get_by_role("tab", name="Evidence").click()
    assert page.locator(".evidence", has_text="it is Portugal").count() >= 1
    page.get_by_role("tab", name="Chat").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#say")).to_have_value("it is Portugal")
    page.locator(".card h2", has_text="Prague").wait_for()
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card h2")).to_contain_text("Prague")
