"""On the page atlases are chosen beside model and strategy, and a conversation remembers them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.api.app import create_app
from apps.cli import main
from apps.service.access import ApiKeys
from apps.service.limits import ServiceLimits
from apps.service.service import GeolocationService
from graphs.settings import make_settings
from tests.apps.page.test_accessibility import serious
from tests.fakes.photo_files import noise
from tests.fakes.services import listening
from tests.fakes.services.browser import Visit, expect


@pytest.fixture
def offering(tmp_path: Path, encoder: Path) -> Iterator[str]:
    """A server that searches one atlas and offers another."""
    noise(7).save(tmp_path / "a.png")
    for name, place in (("near", "50.08,14.43"), ("far", "-33.9,151.2")):
        (tmp_path / f"{name}.csv").write_text(f"IMG_ID,LAT,LON\na.png,{place}\n")
        table = ("--photos", tmp_path, "--table", tmp_path / f"{name}.csv", "--encoder", encoder, "--home", tmp_path)
        main(["atlas", "build", name, *map(str, table)])
    settings = make_settings(home=tmp_path, encoder=str(encoder), atlases=("near",), read_signs=False)
    with (
        GeolocationService.open(settings, ServiceLimits(atlases=("far",))) as opened,
        listening(create_app(opened, ApiKeys({}))) as url,
    ):
        yield url


def _checked(page: Any) -> list[str]:
    return [str(value) for value in page.locator("fieldset input:checked").evaluate_all("all => all.map(b => b.value)")]


def test_the_chosen_atlases_are_searched_and_remembered(browser: Any, offering: str, tmp_path: Path) -> None:
    visit = Visit(browser, offering)
    page = visit.open()
    page.click("#open-settings")
    assert _checked(page) == ["near"]
    page.get_by_label("near").click()
    assert _checked(page) == ["near"]  # one at least
    page.get_by_label("far").check()
    page.get_by_label("near").uncheck()
    assert serious(page) == []
    page.get_by_role("button", name="Done").click()
    visit.drop("a.png", (tmp_path / "a.png").read_bytes())
    page.wait_for_selector(".card")
    page.wait_for_selector("#send", state="visible")
    expect(page.locator(".card .why")).to_contain_text("far")
    page.reload()
    page.wait_for_selector(".card")
    page.click("#open-settings")
    assert _checked(page) == ["far"]
    assert (visit.outside, visit.complaints) == ([], [])
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    visit.context.close()
