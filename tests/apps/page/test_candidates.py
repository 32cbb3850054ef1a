"""Candidates on the page's map, in a real browser: dots with thumbnails, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.api.app import create_app
from apps.cli import main
from apps.service.access import ApiKeys
from apps.service.limits import ServiceLimits
from apps.service.service import GeolocationService
from graphs.settings import make_settings
from tests.apps.page.test_accessibility import serious
from tests.apps.page.test_conversation import ask
from tests.fakes.photo_files import noise, torn_between_prague_and_warsaw
from tests.fakes.services import listening
from tests.fakes.services.browser import Visit, expect

TIP_IS_IN_MAP = """() => {
  const [tip, map] = [".tip", "#map"].map((one) => document.querySelector(one)?.getBoundingClientRect());
  return tip && map.top <= tip.top && tip.bottom <= map.bottom && map.left <= tip.left && tip.right <= map.right;
}"""


@pytest.fixture
def torn(tmp_path: Path, encoder: Path) -> Iterator[str]:
    """A server with a recorded model, which wavers between Prague and Warsaw, and an atlas that does too."""
    for name in ("prague", "warsaw"):
        noise(7).save(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\nprague.png,50.08,14.43\nwarsaw.png,52.23,21.01\n")
    table = ("--photos", tmp_path, "--table", tmp_path / "t.csv", "--encoder", encoder, "--home", tmp_path)
    main(["atlas", "build", "close", *map(str, table)])
    said = torn_between_prague_and_warsaw(tmp_path / "said.jsonl", tmp_path / "prague.png")
    choices = {"encoder": str(encoder), "atlases": ("close",), "model": f"recorded:{said}", "ask": True}
    settings = make_settings(home=tmp_path, read_signs=False, atlas_photos=tmp_path, **choices)
    with GeolocationService.open(settings, ServiceLimits()) as opened, listening(create_app(opened, ApiKeys({}))) as at:
        yield at


def _candidates_are_shown_by_name_alone(url: str) -> None:
    """The API shows the photos of an answer's candidates, and no other file of the folder."""
    with httpx.Client(base_url=f"{url}/v1", trust_env=False) as client:
        thread = client.get("/threads?limit=1").json()[0]["id"]
        photo = client.get(f"/threads/{thread}").json()["history"]["photos"][0]["photo_id"]

        def asked(atlas: str, item_id: str) -> httpx.Response:
            return client.get(
                f"/threads/{thread}/photos/{photo}/candidate", params={"atlas": atlas, "item_id": item_id}
            )

        shown = asked("close", "warsaw.png")
        assert shown.headers["content-type"] == "image/jpeg"
        assert shown.content.startswith(b"\xff\xd8")
        for atlas, item_id in (("other", "warsaw.png"), ("close", "t.csv"), ("close", "../warsaw.png"), ("close", "")):
            assert asked(atlas, item_id).status_code == 404, item_id


def _candidates_are_reached_by_keyboard(page: Any) -> None:
    """One stop of Tab, arrow keys from dot to dot; the tip opens with focus or Enter, and Escape closes it."""
    dots = page.locator("path.dot")
    stops = dots.evaluate_all("all => all.map((dot) => [dot.getAttribute('role'), dot.getAttribute('tabindex')])")
    assert stops == [["button", "0"], ["button", "-1"]]
    assert "Candidate 1, similarity" in (dots.first.get_attribute("aria-label") or "")
    page.locator(".leaflet-marker-icon[tabindex='0']").first.focus()
    page.keyboard.press("Shift+Tab")
    expect(dots.first).to_be_focused()
    picture = page.get_by_alt_text("Photo of Candidate 1")
    picture.wait_for()
    page.keyboard.press("ArrowRight")
    expect(dots.nth(1)).to_be_focused()
    page.get_by_alt_text("Photo of Candidate 2").wait_for()
    expect(picture).to_have_count(0)
    page.keyboard.press("ArrowRight")
    expect(dots.first).to_be_focused()
    page.keyboard.press("Escape")
    picture.wait_for(state="detached")
    page.keyboard.press("Enter")
    picture.wait_for()
    page.set_viewport_size({"width": 390, "height": 844})
    # Open or opened again, the tip is fitted to the map's new size, which Leaflet takes in the next frame.
    page.wait_for_function(TIP_IS_IN_MAP)
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.wait_for_function(TIP_IS_IN_MAP)
    tip, chart = (page.locator(one).bounding_box() for one in (".tip", "#map"))
    assert chart["y"] <= tip["y"]
    assert tip["y"] + tip["height"] <= chart["y"] + chart["height"]
    assert chart["x"] <= tip["x"]
    assert tip["x"] + tip["width"] <= chart["width"]
    assert serious(page) == []


def test_a_question_is_answered_and_candidates_are_dots(browser: Any, torn: str, tmp_path: Path) -> None:
    visit = Visit(browser, torn)
    page = visit.open()
    visit.drop("prague.png", (tmp_path / "prague.png").read_bytes())
    page.wait_for_selector(".question")
    assert page.locator(".card").count() == 0
    page.reload()
    page.wait_for_selector(".question")  # it waits, whatever becomes of the page
    ask(page, "it is in Poland")
    page.locator(".card h2", has_text="Poland").wait_for()
    dots = page.locator("path[fill='#ff6b9d']")
    assert dots.count() == 2
    dots.first.dispatch_event("mouseover")
    picture = page.get_by_alt_text("Photo of Candidate 1")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") == noise(7).width
    dots.first.dispatch_event("mouseout")
    _candidates_are_reached_by_keyboard(page)
    _candidates_are_shown_by_name_alone(torn)
    assert visit.outside == []
    visit.context.close()
