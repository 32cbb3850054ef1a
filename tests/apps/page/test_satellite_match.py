"""The photo beside the satellite tile that it matches, on the page, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("torch", reason="the cross-view encoder needs the train extra")

from apps.api.app import create_app
from apps.cli import run
from apps.service.access import ApiKeys
from apps.service.limits import ServiceLimits
from apps.service.service import GeolocationService
from evals import fit_satellite
from evals.fitting import satellite_fit
from graphs.settings import make_settings
from tests.apps.page.test_accessibility import serious
from tests.fakes.services import listening
from tests.fakes.services.browser import Visit, expect
from tests.retrieval.crossview.tile_world import MATCHED, texture, write_crossview_encoder, write_photos, write_tiles


@pytest.fixture(scope="module")
def matching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that matches photos with the tiles of two towns; what a match is worth was measured."""
    home = tmp_path_factory.mktemp("home")
    encoder, pictures = write_crossview_encoder(home / "encoder"), home / "tiles"
    table = write_tiles(pictures)
    made = ["--satellite-encoder", encoder, "--home", home]
    assert run(list(map(str, ["atlas", "tiles", "towns", "--table", table, "--pictures", pictures, *made]))) == 0
    known = write_photos(home / "known", range(0, 24, 3))
    options = ["--photos", home / "known", "--table", known, "--satellite-atlas", "towns", *made]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(satellite_fit, "LEAST_PLACES", 8)
        assert fit_satellite.main([*map(str, options), "--strategy", "jury", "--no-signs"]) == 0
    chosen = {"satellite_atlas": "towns", "satellite_encoder": str(encoder), "satellite_pictures": pictures}
    settings = make_settings(home=home, read_signs=False, **chosen)
    with GeolocationService.open(settings, ServiceLimits()) as opened, listening(create_app(opened, ApiKeys({}))) as at:
        yield at


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A photo of the matched place."""
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(texture(MATCHED, 1)).save(file)
    return file.read_bytes()


def shown(images: Any) -> list[tuple[str, bool]]:
    """The text of each picture, and whether the browser could draw it."""
    drawn = images.evaluate_all("all => all.map((one) => [one.alt, one.naturalWidth > 0])")
    return [(text, is_drawn) for text, is_drawn in drawn]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_photo_is_shown_beside_its_tile(browser: Any, matching: str, photo: bytes, scheme: str, width: int) -> None:
    visit = Visit(browser, matching, color_scheme=scheme)
    page = visit.page
    page.set_viewport_size({"width": width, "height": 800})
    visit.open()
    visit.drop("photo.png", photo)
    page.wait_for_selector(".card", timeout=60_000)  # the encoder compares the photo with fifty tiles
    pair = [("the photo", True), (f"{MATCHED}.png (Somebody, 2021-05)", True)]
    for tab, images in (("Evidence", ".pair img"), ("Compare", ".matched img")):
        page.get_by_role("tab", name=tab).click()
        expect(page.locator(images)).to_have_count(2)
        assert shown(page.locator(images)) == pair
        left, right = (page.locator(images).nth(number).bounding_box() for number in (0, 1))
        assert (left["y"], left["width"]) == pytest.approx((right["y"], right["width"]), abs=1)
        assert left["x"] + left["width"] <= right["x"]
        assert right["x"] + right["width"] <= width
        assert serious(page) == []
    assert (visit.outside, visit.complaints) == ([], [])
    visit.context.close()
