"""What keyboards, screen readers, phones and strangers meet on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.api.app import create_app
from apps.service.access import ApiKeys
from tests.fakes.services import gated, listening, service
from tests.fakes.services.browser import Visit

KEY = "k" * 24
MAX_BYTES = 3_000_000


def serious(page: Any) -> list[str]:
    """What axe-core finds serious or worse."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is a development extra"
    )
    found = axe.Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}" for one in grave for node in one["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious(browser: Any, url: str, gate: Path, png: bytes, scheme: str, width: int) -> None:
    gate.touch()
    visit = Visit(browser, url, color_scheme=scheme, reduced_motion="reduce")
    visit.page.set_viewport_size({"width": width, "height": 800})
    page = visit.open()
    assert serious(page) == []
    visit.drop("holiday.png", png)
    page.wait_for_selector(".card")
    page.wait_for_selector("html[data-ground]")
    assert serious(page) == []
    legend = page.locator("details.legend")
    legend.evaluate("one => { one.open = true; }")
    assert serious(page) == []
    box, chart = (page.locator(one).bounding_box() for one in ("details.legend", "#map"))
    assert box["height"] <= chart["height"] * (0.6 if width < 820 else 0.9), "it leaves the map in sight"
    legend.locator("input").last.focus()
    assert chart["y"] <= box["y"]
    for tab in ("Evidence", "Compare", "Batch"):
        page.get_by_role("tab", name=tab).click()
        assert serious(page) == []
    for opener in ("#open-history", "#open-settings"):
        page.click(opener)
        page.wait_for_selector("dialog[open]")
        assert serious(page) == []
        page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    visit.context.close()


def test_the_keyboard_reaches_everything(visit: Visit) -> None:
    page = visit.open()
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the message"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    names = [page.evaluate("document.activeElement.id")]
    page.locator("#new-thread").focus()
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id"))
    assert {"open-history", "open-settings", "tab-chat", "log", "file", "say", "send"} <= set(names)
    page.locator("#tab-batch").focus()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "say"


def test_the_page_is_small_and_its_policy_strict(visit: Visit) -> None:
    sizes: list[int] = []
    visit.page.on("response", lambda response: sizes.append(len(response.body())))
    page = visit.open()
    page.wait_for_selector("html[data-ground]")
    assert 300_000 < sum(sizes) < MAX_BYTES
    policy = page.request.get(visit.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert visit.outside == []


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[str]:
    """A server that asks for a key."""
    home = tmp_path_factory.mktemp("guarded")
    with service(home, model=gated(gate)) as opened, listening(create_app(opened, ApiKeys.of([f"anna:{KEY}"]))) as at:
        yield at


def test_a_server_with_keys_asks_for_one_and_the_page_sends_it(
    browser: Any, guarded: str, gate: Path, png: bytes
) -> None:
    gate.touch()
    visit = Visit(browser, guarded)
    page = visit.page
    page.goto(guarded)
    field = page.get_by_label("API key", exact=True)
    field.fill("wrong")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("#key[open]")
    field.fill(KEY)
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("html[data-ready]")
    visit.drop("holiday.png", png)
    page.wait_for_selector(".card")
    assert page.locator(".card h2").inner_text()
    assert visit.outside == []
    visit.context.close()
