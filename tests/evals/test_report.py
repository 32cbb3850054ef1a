"""The report in a real browser without a network: it draws, filters, and lets no text of a record act."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agents.schemas import Cost
from evals.report import main, report_page
from evals.runs.records import EvalRecord
from evals.runs.transcripts import Transcript, TranscriptCall, TranscriptMessage
from evals.scores.arrays import load_systems
from retrieval.photos.photo import load_photo
from retrieval.photos.thumbnail import rgb_jpeg
from tests.fakes.records import calibrated_records, made_record, random_records, write_run

ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script></script>"


JPEG_BASE64 = base64.b64encode(rgb_jpeg(np.zeros((8, 8, 3), np.uint8), 8, 80)).decode()


def chromium_path() -> str | None:
    return os.environ.get("GEOSLEUTH_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium_path()
    if path is None:
        pytest.skip("no chromium on this machine")
    with sync_api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def hostile_record(photo: str, **chosen: Any) -> EvalRecord:
    return made_record(
        photo,
        reasoning=ATTACK,
        raw_replies=(ATTACK,),
        hypotheses=[{"name": ATTACK, "point": (1.0, 2.0), "radius_km": 5.0, "probability": 0.5}],
        evidence=[{"kind": "sign", "claim": ATTACK, "tool": "read_signs", "nats": 1.0}],
        candidates=[
            {"atlas": ATTACK, "kind": "gps", "rank": 0, "similarity": 0.5, "point": (3.0, 4.0), "item_id": "i"}
        ],
        matches=[
            {"title": ATTACK, "point": (5.0, 6.0), "similarity": 0.5, "probability": 0.25, "jpeg_base64": JPEG_BASE64}
        ],
        strata={"scene": ATTACK},
        **chosen,
    )


def hostile_transcript(photo: str) -> Transcript:
    said = TranscriptMessage(role=ATTACK, tool=ATTACK, text=ATTACK, tool_calls=(ATTACK,))
    call = TranscriptCall(
        model=ATTACK,
        repeated=2,
        sent=(said,),
        reply=TranscriptMessage(role="assistant", text="the reply"),
        reasoning=ATTACK,
        finish_reason=ATTACK,
        tokens={"input": 1200, "output": 30, "cached": 1000},
    )
    return Transcript(photo=photo, strategy="refine", asked="", calls=(call,))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    photo = folder / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(photo)
    sha256 = load_photo(photo).sha256
    failed = made_record("failed.jpg", status="error", error=ATTACK, confidence=None, truth=(-33.0, 151.0))
    seen = hostile_record(f"hostile{ATTACK}.jpg", photo_sha256=sha256, cost=Cost(usd=0.01, model_calls=1))
    other = [hostile_record(seen.photo, point=(10.0, 10.0)), made_record("failed.jpg", truth=(-33.0, 151.0))]
    few = random_records(60, seed=1, typical_km=50.0)
    more = random_records(60, seed=2, typical_km=900.0)
    asked = {"refine": {f"the prompt {ATTACK}.md": "a" * 64, "the tool search": "b" * 64}}
    texts = {"a" * 64: f"Where? {ATTACK}", "b" * 64: "{}"}
    runs = [
        write_run(folder / "one", [seen, failed, *few], model=ATTACK, asked=asked, asked_texts=texts),
        write_run(folder / "two", [*other, *more]),
    ]
    (runs[0] / "transcripts.jsonl").write_text(hostile_transcript(seen.photo).model_dump_json() + "\n")
    file = folder / "report.html"
    files = {seen.photo: photo, "failed.jpg": photo}
    file.write_text(report_page(load_systems(runs), files), encoding="utf-8")
    return file


@pytest.fixture
def page(browser: Any, page_file: Path) -> Iterator[Any]:
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 800})
    opened = context.new_page()
    opened.asked, opened.said = [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.goto(page_file.as_uri())
    yield opened
    context.close()


def test_it_draws_without_asking_for_anything(page: Any, page_file: Path) -> None:
    assert [url for url in page.asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert page.said == []
    assert page.locator("#shown").inner_text().startswith("62 of 62 photos")
    colours = page.evaluate(
        "(() => { const c = document.getElementById('map');"
        " const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const s = new Set();"
        " for (let i = 0; i < p.length; i += 4) s.add(p[i] + ',' + p[i + 1] + ',' + p[i + 2]); return s.size; })()"
    )
    assert colours > 10


def test_no_text_of_a_record_acts(page: Any) -> None:
    page.fill("#name", "hostile")
    page.click("#list button")
    photo = page.locator("#photo")
    assert ATTACK in photo.inner_text()
    assert "owned" not in page.title()
    assert photo.locator("script").count() == 0
    # The only pictures are the thumbnail of the very photo that was answered, and the tile of each system's match.
    assert photo.locator("img").count() == 1 + 2
    assert photo.locator(".tiles img").first.evaluate("image => image.naturalWidth") == 8
    assert page.said == []


def test_what_was_said_to_the_model_is_a_click_away(page: Any) -> None:
    canvas = page.locator("#heat")
    canvas.scroll_into_view_if_needed()
    page.select_option("#heat-order", "name")
    canvas.hover(position={"x": 3, "y": 5})
    assert page.locator("#heat-said").inner_text().startswith("000000.jpg · A refine")
    page.locator("#heat").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#heat-said").inner_text().startswith("000001.jpg · A refine")
    page.fill("#name", "nothing")
    page.keyboard.press("End")
    # The photo with the transcript comes last by name; filters give way to what was chosen.
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] - 3, "y": 5})
    assert "hostile" in page.locator("#photo h3").first.inner_text()
    transcript = page.locator("#photo .transcript")
    assert transcript.count() == 1, "the other system's run has none"
    said = transcript.inner_text()
    assert "the reply" in said
    assert "1,200 tokens in (1,000 cached), 30 out" in said
    assert "2 earlier messages" in said
    assert ATTACK in said
    assert "owned" not in page.title()
    assert page.said == []


def test_every_system_is_compared_with_every_other(page: Any) -> None:
    matrix = page.locator("table.pairs").first
    assert matrix.locator("tbody tr").count() == 2
    ours, theirs = (matrix.locator("td[title]").nth(i).inner_text().split("\n") for i in (0, 1))
    assert float(ours[0]) == -float(theirs[0])
    assert [float(part) for part in ours[1].split(" to ")] == [-float(part) for part in theirs[1].split(" to ")[::-1]]
    assert matrix.locator("td.same").count() == 2
    assert "smallest possible p" not in page.locator("body").inner_text()


def test_prompts_are_shown_as_they_were_asked(page: Any) -> None:
    asked = page.locator("details.asked")
    assert asked.count() == 1
    asked.locator("summary").first.click()
    assert f"Where? {ATTACK}" in asked.inner_text()
    assert "owned" not in page.title()


def test_fourteen_systems_have_a_colour_each(browser: Any, tmp_path: Path) -> None:
    records = [
        record.model_copy(update={"cost": Cost(usd=0.001 * (number + 1), tokens=100 * number, model_calls=1)})
        for number in range(14)
        for record in calibrated_records(24, seed=number, typical_km=50.0, strategy=f"s{number}")
    ]
    file = tmp_path / "report.html"
    file.write_text(report_page(load_systems([write_run(tmp_path / "run", records)]), {}), encoding="utf-8")
    opened = browser.new_page()
    opened.goto(file.as_uri())
    for scheme in ("light", "dark"):
        opened.emulate_media(color_scheme=scheme)
        marks = "[...document.querySelectorAll('.key')][0].querySelectorAll('i')"
        colours = opened.evaluate(f"[...{marks}].map(i => getComputedStyle(i).getPropertyValue('--own'))")
        assert len(set(colours)) == 14
    assert opened.locator("figure:has-text('US dollars a photo') circle").count() == 14
    assert opened.locator("figure:has-text('radius hold') circle").count() == 28
    assert "With 8 photographers and 14 systems" in opened.locator("#comparison ~ .partial").first.inner_text()
    opened.close()


def test_a_file_that_is_not_the_photo_answered_is_not_shown(page: Any) -> None:
    page.fill("#name", "failed")
    page.click("#list button")
    assert page.locator("#photo img").count() == 0
    assert ATTACK in page.locator("#photo .partial").inner_text()


def test_filters_by_status_error_country_and_rival(page: Any) -> None:
    def kept() -> int:
        return int(page.locator("#shown").inner_text().split(" ")[0])

    page.select_option("#status", "error")
    assert kept() == 1
    page.select_option("#status", "")
    by_error = []
    for band in range(7):
        page.select_option("#error", str(band))
        by_error.append(kept())
    assert sum(by_error) == 62
    page.select_option("#error", "")
    page.select_option("#country", "FR")
    assert kept() == 62
    page.select_option("#rival", "1")
    assert 0 < kept() < 40
    assert "does not get within 25 km" in page.locator("#shown").inner_text()


def test_a_photo_has_an_address_of_its_own(page: Any) -> None:
    page.select_option("#order", "worst")
    page.click("#list li:nth-child(2) button")
    address, shown = page.evaluate("location.href"), page.locator("#photo h3").first.inner_text()
    page.goto("about:blank")
    page.goto(address)
    assert page.locator("#photo h3").first.inner_text() == shown


def test_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.click("#list button")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_uncertainty_is_drawn_and_told_of_each_photo(browser: Any, tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "stating", calibrated_records(60, seed=1, typical_km=50.0)),
        write_run(tmp_path / "silent", random_records(60, seed=1, typical_km=50.0)),
    ]
    file = tmp_path / "report.html"
    file.write_text(report_page(load_systems(runs), {}), encoding="utf-8")
    opened = browser.new_page()
    opened.goto(file.as_uri())
    assert opened.locator(".small-charts figcaption").all_inner_texts() == [
        f"Within {km:g} km" for km in (1, 25, 200, 750, 2500)
    ]
    # Only the system that states chances has a line, and a dot a bin.
    assert opened.locator(".small-charts").locator(".line.s1").count() == 0
    assert opened.locator(".small-charts figure").nth(1).locator("circle.s0").count() == 10
    assert opened.locator(".wide .bar").count() == 3
    opened.click("#list button")
    shown = opened.locator("#photo .answer").first.inner_text()
    assert "within 2500 km" in shown
    assert "90 % area" in shown
    assert "nats told" in shown
    assert "large" in shown
    opened.close()


def test_static_parts_escape_what_runs_say(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert len(re.findall(r"<script", text)) == 3


def test_the_command_writes_a_page_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", random_records(20, seed=1, typical_km=50.0))
    out = tmp_path / "deep" / "report.html"
    assert main([str(run), "--out", str(out), "--no-photo-pages"]) == 0
    assert "a comparison needs two systems" in out.read_text(encoding="utf-8")
    assert "state no chances" in out.read_text(encoding="utf-8")
    assert main([str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "the folder of a run?" in capsys.readouterr().err
