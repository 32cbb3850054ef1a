"""The map page, opened in a real browser without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.maps.page import MOST_DETAILED, map_page
from apps.output.formatting import LocatedPhoto
from geo.point import Point
from tests.fakes.answers import (
    FIJI,
    HOSTILE,
    NORTH_POLE,
    abstained,
    answered,
    at,
    believed,
    believed_at,
    hostile,
    located,
)

CHROMIUM = Path("/usr/bin/chromium")
MAX_BYTES = 2_500_000


class Visit:
    """A page in the browser, with everything that went wrong on it."""

    def __init__(self, browser: Any, width: int, height: int) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, file: Path) -> Any:
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", timeout=20_000)
        return self.page

    @property
    def outside(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("data:", "file:"))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is a development extra")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as runner:
        chromium = runner.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    visitor = Visit(browser, 1280, 800)
    yield visitor
    visitor.context.close()


def saved(tmp_path: Path, *items: LocatedPhoto) -> Path:
    file = tmp_path / "map.html"
    file.write_text(map_page(items), encoding="utf-8")
    return file


def test_the_page_is_one_small_file_that_names_no_other(tmp_path: Path) -> None:
    file = saved(tmp_path, located())
    text = file.read_text(encoding="utf-8")
    assert file.stat().st_size < MAX_BYTES
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"'](?!data:)", text)
    assert not re.search(r"url\((?!data:)", text.split("<script")[0])
    assert "default-src 'none'" in text
    assert "unsafe" not in text.split("<style")[0]


def test_it_opens_without_a_network_and_without_complaint(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located(answered(metadata_position=at(40.2, 116.0)))))
    page.wait_for_selector(".leaflet-tile-loaded")
    assert visit.outside == []
    assert visit.complaints == []
    assert page.locator("h1").inner_text() == "Beijing, China"
    assert page.locator(".pin").count() == 1
    assert page.locator(".mark .badge").all_inner_texts() == ["4", "3", "2"]
    assert page.locator(".claim").count() == 1
    assert page.locator(".evidence").count() == 3
    assert page.locator("img.photo").evaluate("image => image.naturalWidth") == 480


def test_the_ground_is_drawn(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located()))
    page.wait_for_selector(".leaflet-tile-loaded")
    colours = page.evaluate(
        "() => { const tile = document.querySelector('canvas.leaflet-tile-loaded');"
        "const data = tile.getContext('2d').getImageData(0, 0, tile.width, tile.height).data;"
        "return new Set(Array.from({length: 900}, (_, i) => data[i * 280] + ',' + data[i * 280 + 1])).size; }"
    )
    assert colours > 50


def test_the_answer_and_its_evidence_show_on_hover(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located()))
    page.locator(".pin").hover()
    tip = page.locator(".leaflet-tooltip.tip")
    tip.wait_for()
    assert "50 % within 140 km, 90 % within 610 km" in tip.inner_text()
    assert "12 of 50 similar photos" in tip.inner_text()
    page.mouse.move(5, 5)
    page.locator(".hypothesis", has_text="Kyoto").hover()
    page.locator(".leaflet-tooltip.tip", has_text="Kyoto").wait_for()
    assert page.locator(".tip li.against").all_inner_texts() == ["A sign reads “颐和园”, written in Han"]


def test_hovering_evidence_lights_what_it_weighs_on(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located()))
    page.locator(".evidence", has_text="颐和园").hover()
    assert page.locator(".pin.for").count() == 1
    assert page.locator(".mark.against").all_inner_texts() == ["3"]


def test_a_legend_entry_hides_and_shows_its_layer(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located()))
    page.locator(".legend label", has_text="alternatives").click()
    assert page.locator(".mark").count() == 0
    page.locator(".legend label", has_text="alternatives").click()
    assert page.locator(".mark").count() == 3


def test_an_abstention_has_no_pin(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located(abstained())))
    assert page.locator("h1").inner_text() == "No answer: GeoSleuth abstains"
    assert page.locator(".pin").count() == 0
    assert page.locator(".mark").count() == 4
    assert visit.complaints == []


def test_hostile_text_stays_text(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located(hostile(), HOSTILE)))
    page.locator(".pin").hover()
    page.locator(".leaflet-tooltip.tip").wait_for()
    page.wait_for_timeout(200)
    assert (
        page.title() == " ".join(HOSTILE.replace("\u202e", "\ufffd").replace("\x1b", "\ufffd").split()) + " · GeoSleuth"
    )
    assert page.locator("img").count() == 1  # the photo, and nothing that a text asked for
    assert page.locator("h1 *").count() == 0
    assert "<img src=x" in page.locator("h1").inner_text()
    assert visit.outside == []
    assert visit.complaints == []


def test_an_answer_at_the_antimeridian_is_shown_in_one_piece(tmp_path: Path, visit: Visit) -> None:
    fiji = answered(point=at(-18.1, 179.6), radius_50_km=60.0, radius_90_km=300.0)
    page = visit.open(saved(tmp_path, located(fiji)))
    wide = page.locator("path.leaflet-interactive[stroke-dasharray]")
    assert wide.get_attribute("d").count("M") == 1
    box = wide.bounding_box()
    assert 0.9 < box["width"] / box["height"] < 1.1  # round: true to scale at the answer


def test_several_photos_can_be_picked(tmp_path: Path, visit: Visit) -> None:
    paris = located(answered(point=at(48.85, 2.35)), "paris.jpg")
    page = visit.open(saved(tmp_path, located(), located(abstained(), "nowhere.jpg"), paris))
    assert page.locator(".pick .name").all_inner_texts() == ["summer palace.jpg", "nowhere.jpg", "paris.jpg"]
    page.locator(".pick", has_text="nowhere").click()
    assert page.locator("h1").inner_text() == "No answer: GeoSleuth abstains"
    page.locator(".pick", has_text="paris").click()
    assert page.locator(".coordinates").inner_text() == "48.8500° N, 2.3500° E"


def test_it_works_on_a_phone(browser: Any, tmp_path: Path) -> None:
    visitor = Visit(browser, 390, 844)
    page = visitor.open(saved(tmp_path, located()))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#map").bounding_box()["y"] == 0
    page.locator("h1").scroll_into_view_if_needed()
    assert page.locator("h1").is_visible()
    visitor.context.close()


def test_a_page_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        map_page([])


def test_the_belief_is_drawn_with_outlines_and_sizes(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located(believed())))
    fills = page.locator("path.leaflet-interactive[stroke='none']")
    assert fills.count() == 4
    assert fills.first.get_attribute("d").count("M") == 3  # two places, and a hole in one of them
    assert page.locator("path[stroke='#fff3d6']").count() == 2
    assert page.locator(".legend label", has_text="50 % area").inner_text().split("\n")[-1] == "133,000 km²"
    assert "656,000 km²" in page.locator(".legend label", has_text="90 % area").inner_text()
    page.locator(".legend").get_by_text("belief", exact=True).click()
    assert fills.count() == 0
    assert visit.complaints == []
    assert visit.outside == []


def test_circles_are_drawn_where_there_are_no_areas_and_else_when_asked_for(tmp_path: Path, visit: Visit) -> None:
    circles = "path.leaflet-interactive[stroke='#ffb020']"
    page = visit.open(saved(tmp_path, located(believed())))
    assert page.locator(circles).count() == 0
    page.locator(".legend label", has_text="90 % within").click()
    assert page.locator(circles).count() == 1
    assert visit.open(saved(tmp_path, located())).locator(circles).count() == 2


def test_the_panel_tells_chances_areas_information_and_the_costs_of_a_jury(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located(believed())))
    assert page.locator(".chances b").all_inner_texts() == ["12 %", "48 %", "71 %", "88 %", "97 %"]
    heights = page.locator(".chances i").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().height)")
    assert heights == sorted(heights)
    assert heights[1] == pytest.approx(0.48 * 46, abs=1.0)
    assert page.locator(".areas").inner_text().startswith("half of such photos lie in 133,000 km²")
    assert page.locator(".told").all_inner_texts()[1] == "told much (2.4 nats)"
    assert "openai:gpt-4.1: 2 model calls" in page.locator(".foot").inner_text()


def test_a_belief_across_the_antimeridian_is_drawn_in_one_piece(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, located(believed_at(FIJI, 300.0))))
    widest = page.locator("path.leaflet-interactive[stroke='none']").first
    assert widest.get_attribute("d").count("M") == 1
    box = widest.bounding_box()
    assert 0.9 < box["width"] / box["height"] < 1.1
    assert box["y"] >= 0.0  # all of it is on the page
    assert box["y"] + box["height"] <= 800.0


@pytest.mark.parametrize("centre", [NORTH_POLE, at(-90, 0)])
def test_a_belief_around_a_pole_can_be_drawn(tmp_path: Path, visit: Visit, centre: Point) -> None:
    page = visit.open(saved(tmp_path, located(believed_at(centre, 500.0))))
    assert page.locator("path.leaflet-interactive[stroke='none']").count() == 4
    assert visit.complaints == []


def test_picking_a_photo_changes_the_sizes_and_shows_its_chances(tmp_path: Path, visit: Visit) -> None:
    fiji = located(believed_at(FIJI, 300.0), "fiji.jpg")
    page = visit.open(saved(tmp_path, located(believed()), fiji, located(name="old.jpg")))
    assert page.locator(".pick", has_text="fiji").locator(".mini i").count() == 5
    assert page.locator(".pick", has_text="old").locator(".mini").count() == 0
    sizes = page.locator(".legend .size")
    page.locator(".pick", has_text="fiji").click()
    assert [text for text in sizes.all_inner_texts() if text] == ["57,300 km²", "283,000 km²"]
    page.locator(".pick", has_text="old").click()
    assert not any(sizes.all_inner_texts())


def test_a_page_of_many_beliefs_stays_small() -> None:
    answers = [located(believed(), f"{number}.jpg") for number in range(8)]
    fewer = len(map_page(answers[:6]))
    assert (len(map_page(answers)) - fewer) / 2 < 25_000


def many(*others: LocatedPhoto) -> list[LocatedPhoto]:
    """More than are shown in detail: most in Beijing, the others where they are."""
    return [*(located(name=f"beijing {number:03}.jpg") for number in range(MOST_DETAILED)), *others]


def test_many_photos_are_clusters_that_open_and_can_be_searched(tmp_path: Path, visit: Visit) -> None:
    fiji = located(believed_at(FIJI, 300.0), "fiji.jpg")
    page = visit.open(saved(tmp_path, *many(located(hostile(), HOSTILE), located(abstained(), "nowhere.jpg"), fiji)))
    page.locator(".leaflet-tile-loaded").first.wait_for()
    assert page.locator(".cluster").all_inner_texts() == ["101"]
    assert page.locator(".pick").count() == 100
    assert page.locator(".find + .small").inner_text() == "103 photos in view; the first 100 are listed"
    page.locator(".find").fill("fiji")
    assert page.locator(".pick .name").all_inner_texts() == ["fiji.jpg"]
    page.locator(".pick").click()
    assert page.locator(".coordinates").inner_text() == "17.6000° S, 179.6000° E"
    assert page.locator(".chances b").all_inner_texts() == ["12 %", "48 %", "71 %", "88 %", "97 %"]
    page.locator(".find").fill("nowhere")
    page.locator(".pick").click()
    assert page.locator("h1").inner_text() == "No answer: GeoSleuth abstains"
    assert visit.complaints == []
    assert visit.outside == []


def test_a_cluster_of_one_place_lists_its_photos(tmp_path: Path, visit: Visit) -> None:
    page = visit.open(saved(tmp_path, *many(located(believed_at(at(39.9042, 117.2), 300.0), "east.jpg"))))
    for _ in range(20):
        before = page.locator(".find + .small").inner_text()
        if "at this place" in before:
            break
        page.locator(".cluster").first.click()
        page.wait_for_timeout(600)
    assert before == "100 photos at this place"
    assert "east.jpg" not in page.locator(".pick .name").all_inner_texts()
    assert visit.complaints == []
