"""A conversation on the page, in a real browser: a photo, its steps, the answer, what follows."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from agents.schemas import Answer
from apps.output.xmp import METHOD
from apps.service.limits import ServiceLimits
from tests.fakes.services.browser import Visit, expect

HOSTILE = "<img src=x onerror=alert(1)>.png"


NOTE_STOP = """() => {
  const stop = document.querySelector("#stop");
  window.stopWasShown = false;
  new MutationObserver(() => { window.stopWasShown ||= !stop.hidden; }).observe(stop, { attributes: true });
}"""


def ask(page: Any, text: str) -> None:
    """Say something, and wait until it is answered; "Stop" may be shown for less time than waiting for it takes."""
    page.evaluate(NOTE_STOP)
    page.fill("#say", text)
    page.press("#say", "Enter")
    page.wait_for_function("() => window.stopWasShown")
    page.wait_for_selector("#send", state="visible")


def saved(page: Any, label: str) -> bytes:
    """The file that an entry of the menu of the last answer downloads."""
    save = page.locator(".save").last
    if save.get_attribute("open") is None:
        save.locator("summary").click()
    with page.expect_download() as download:
        save.get_by_role("button", name=label, exact=True).click()
    return Path(download.value.path()).read_bytes()


def test_a_photo_is_located_step_by_step(visit: Visit, gate: Path, png: bytes) -> None:
    page = visit.open()
    assert page.locator("#leaves").inner_text() == "Nothing leaves this machine"
    visit.drop(HOSTILE, png)
    # The model waits: the belief is on the map before there is an answer.
    page.wait_for_selector(".steps li:has-text('Propose')")
    page.wait_for_selector("path[stroke='none']")
    assert page.locator("path[stroke='#fff3d6']").count() == 2  # outlines of 50 % and 90 %
    assert page.locator(".mark .badge").all_inner_texts() == ["1", "2", "3"]
    assert page.locator(".card").count() == 0
    page.click("#stop")
    gate.touch()
    page.get_by_role("button", name="Resume").click()
    page.wait_for_selector(".card")
    assert page.locator(".card h2").inner_text()
    assert page.locator(".chances b").count() == 5
    assert page.locator(".radii b").count() == 2
    assert page.locator(".pin").count() == 1
    assert page.locator("#cost").inner_text() == "$0 · 3 model calls"
    assert page.locator("img[src=x]").count() == 0
    assert page.locator(".person img").get_attribute("alt") == f"Photo {HOSTILE}"
    page.wait_for_selector("html[data-ground]")
    assert visit.outside == []
    assert visit.complaints == []


@pytest.fixture
def located(visit: Visit, gate: Path, png: bytes) -> Any:
    """A page on which a photo is located."""
    gate.touch()
    page = visit.open()
    visit.drop("holiday.png", png, paste=True)
    page.wait_for_selector(".card")
    page.wait_for_selector("#send", state="visible")
    return page


def _evidence_is_shown(located: Any) -> None:
    """Evidence and places light each other; two places are compared with their views from above."""
    located.get_by_role("tab", name="Evidence").click()
    said = located.locator(".evidence", has_text="it is Portugal").last
    said.focus()
    assert located.locator(".pin.for").count() == 1
    assert located.locator(".mark.against").count() >= 1
    located.locator(".hypothesis").first.focus()
    assert located.locator(".evidence.lit").count() == 1
    assert located.locator(".leaflet-tooltip.tip").count() >= 1
    located.get_by_role("tab", name="Evidence").press("ArrowRight")
    located.locator("figcaption", has_text="km wide").nth(1).wait_for()
    widths = located.locator("figure img").evaluate_all("images => images.map((image) => image.naturalWidth)")
    assert widths == [512, 512]
    assert located.locator(".columns h3").count() == 2
    located.get_by_role("tab", name="Chat").click()


def test_what_is_said_changes_the_answer_and_its_evidence_and_can_be_taken_back(located: Any, visit: Visit) -> None:
    before = located.locator(".card h2").inner_text()
    ask(located, "it is Portugal")
    located.locator(".card").nth(1).wait_for()
    assert "Portugal" in located.locator(".card h2").last.inner_text()
    assert "it is Portugal" in located.locator(".person").last.inner_text()
    _evidence_is_shown(located)
    ask(located, "why?")
    assert located.locator(".card").count() == 2  # a question changes nothing
    located.get_by_role("button", name="Undo").click()
    expect(located.locator("#say")).to_have_value("why?")
    located.get_by_role("button", name="Undo").click()
    expect(located.locator("#say")).to_have_value("it is Portugal")
    located.locator(".card h2", has_text=before).wait_for()
    said = located.locator(".person").count()
    located.evaluate(
        """async () => {
          const { openThread } = await import("/assets/page/thread.js");
          const thread = sessionStorage.getItem("geosleuth-thread");
          await Promise.all([openThread(thread), openThread(thread), openThread(thread)]);
        }"""
    )
    assert (located.locator(".person").count(), located.locator(".card").count()) == (said, 1)
    assert visit.outside == []
    assert visit.complaints == []


def _files_are_saved(located: Any) -> None:
    answer = Answer.model_validate_json(saved(located, "JSON"))
    assert answer.point is not None
    features = json.loads(saved(located, "GeoJSON"))["features"]
    assert features[0]["geometry"]["coordinates"] == [pytest.approx(answer.point.lon), pytest.approx(answer.point.lat)]
    assert saved(located, "KML").startswith(b"<?xml")
    report = saved(located, "HTML report").decode()
    assert "default-src 'none'" in report
    jpeg = saved(located, "Photo with XMP")
    with Image.open(io.BytesIO(jpeg)) as image:
        assert METHOD in image.info["xmp"].decode()
        assert not image.getexif()


def test_an_answer_is_saved_in_many_forms_and_its_thread_opened_again_and_deleted(located: Any, visit: Visit) -> None:
    _files_are_saved(located)
    located.reload()
    located.wait_for_selector(".card")
    assert located.locator(".person img").count() == 1
    with httpx.Client(base_url=visit.url, trust_env=False) as client:
        thread = client.get("/v1/threads?limit=1").json()[0]
        photo = client.get(f"/v1/threads/{thread['id']}").json()["history"]["photos"][0]
        located.click("#open-history")
        row = located.locator("#threads li", has_text="holiday.png").first
        erase = row.get_by_role("button", name="Delete holiday.png with its photos")
        erase.click()
        erase.click()
        located.wait_for_selector(".empty", state="visible")
        assert client.get(f"/v1/threads/{thread['id']}").status_code == 404
        assert client.get(f"/v1/threads/{thread['id']}/photos/{photo['photo_id']}").status_code == 404


def test_a_choice_of_precision_holds_from_the_next_turn_on(visit: Visit, gate: Path, png: bytes) -> None:
    gate.touch()
    page = visit.open()
    page.click("#open-settings")
    page.get_by_label("Precision").select_option("country")
    page.get_by_label("Appearance").select_option("dark")
    page.get_by_role("button", name="Done").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(11, 18, 32)"
    visit.drop("holiday.png", png)
    page.wait_for_selector(".card")
    answer = Answer.model_validate_json(saved(page, "JSON"))
    assert answer.level is None or answer.level.value in ("country", "continent")
    assert visit.complaints == []


def test_of_several_photos_the_page_asks_whether_they_are_of_one_place(visit: Visit, gate: Path, png: bytes) -> None:
    gate.touch()
    page = visit.open()
    files = [{"name": f"{name}.png", "mimeType": "image/png", "buffer": png + name.encode()} for name in "ab"]
    page.set_input_files("#file", files)
    assert page.locator("#attached span").all_inner_texts() == ["a.png", "b.png"]
    page.get_by_role("button", name="Photos of one place").click()
    page.wait_for_selector(".card")
    assert page.locator(".said.person img").count() == 2
    assert len(Answer.model_validate_json(saved(page, "JSON")).photo_sha256s) == 2
    page.reload()
    page.wait_for_selector(".card")
    assert page.locator(".said.person img").count() == 2
    page.set_input_files("#file", files)
    page.get_by_role("button", name="Remove").click()
    assert page.locator("#attached").is_hidden()
    assert visit.complaints == []


def _history(page: Any, visit: Visit) -> Any:
    """The history of the page's conversation, from the API."""
    thread = page.evaluate("sessionStorage.getItem('geosleuth-thread')")
    return httpx.get(f"{visit.url}/v1/threads/{thread}", trust_env=False).json()["history"]


def test_a_further_photo_joins_the_current_place_or_begins_another(located: Any, visit: Visit, png: bytes) -> None:
    visit.drop("closer.png", png + b"closer")
    assert located.locator("#attached button").all_inner_texts() == ["Same place", "Another place", "Remove"]
    located.get_by_role("button", name="Same place").click()
    located.locator(".card").nth(1).wait_for()
    located.wait_for_selector("#send", state="visible")
    assert len(Answer.model_validate_json(saved(located, "JSON")).photo_sha256s) == 2
    assert located.locator("#photos").is_hidden()  # it is one place
    visit.drop("elsewhere.png", png + b"elsewhere")
    located.get_by_role("button", name="Another place").click()
    located.locator(".card").nth(2).wait_for()
    located.wait_for_selector("#send", state="visible")
    strip = located.locator("#photos button")
    expect(strip).to_have_count(2)
    expect(strip.nth(1)).to_have_attribute("aria-pressed", "true")
    strip.first.click()  # what is said is about the photo that is shown
    expect(strip.first).to_have_attribute("aria-pressed", "true")
    ask(located, "it is Portugal")
    located.locator(".card").nth(3).wait_for()
    expect(strip.first).to_have_attribute("aria-pressed", "true")
    answers = [photo["answer"] for photo in _history(located, visit)["photos"]]
    told = [any("it is Portugal" in one["claim"] for one in answer["evidence"]) for answer in answers]
    assert told == [True, False]
    assert (visit.outside, visit.complaints) == ([], [])


def test_an_answer_that_breaks_off_is_told(visit: Visit, png: bytes) -> None:
    page = visit.open()
    assert page.locator("#say").get_attribute("maxlength") == str(ServiceLimits().text_characters)
    torn = 'id: 1\nevent: accepted\ndata: {"ahead": 0}\n\n'
    page.route("**/messages", lambda route: route.fulfill(status=200, content_type="text/event-stream", body=torn))
    visit.drop("a.png", png)
    page.get_by_text("The server ended the answer before its end").wait_for()


def test_a_zip_becomes_a_table_a_map_and_files(visit: Visit, gate: Path, png: bytes) -> None:
    gate.touch()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.png", png)
        archive.writestr("folder/b.png", png + b"more")
        archive.writestr("broken.jpg", b"no photo")
    page = visit.open()
    page.get_by_role("tab", name="Batch").click()
    many = {"name": "many.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    page.set_input_files("#batch-file", many)
    page.get_by_text("3 of 3 done").wait_for()
    expect(page.locator("#batch-table tbody tr")).to_have_count(3)
    assert page.locator("#batch-table .error").count() == 1
    assert page.locator("path[fill='#ffb020']").count() == 2
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert Path(download.value.path()).read_text().startswith("photo,sha256,status")
    assert visit.outside == []
    assert visit.complaints == []


def test_a_file_that_is_no_photo_is_refused_in_words(visit: Visit) -> None:
    page = visit.open()
    visit.drop("notes.png", b"plain text")
    assert "is not a JPEG" in page.locator(".error").inner_text()
