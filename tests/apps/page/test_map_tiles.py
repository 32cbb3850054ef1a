"""Tiles of the operator's sources: the route, and the layer of the page's map in a real browser."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from apps.api.app import create_app
from apps.service.access import ApiKeys
from apps.service.limits import ServiceLimits
from apps.service.service import GeolocationService
from graphs.settings import make_settings
from tests.fakes.services import listening
from tests.fakes.services.browser import Visit, expect
from tests.fakes.tool_calls import Reply
from tests.tools.online.server import Asked, OnlineServer, serving
from tests.tools.tiles.served_world import PNG, png

ORANGE = (230, 120, 20)
KEY = "k" * 24
EMPTY, BROKEN = "/5/0/0.png", "/5/1/1.png"


def orange(asked: Asked) -> Reply:
    """The same picture everywhere, but for a tile that is not there and one that fails."""
    if asked.path == EMPTY:
        return Reply(404)
    if asked.path == BROKEN:
        return Reply(headers=PNG, body=b"no picture")
    return Reply(headers=PNG, body=png(np.full((256, 256, 3), ORANGE, np.uint8)))


def failing(_: Asked) -> Reply:
    return Reply(403)


@contextmanager
def page_server(home: Path, key: str = "", **sources: Any) -> Iterator[str]:
    settings = make_settings(home=home, read_signs=False, **sources)
    with (
        GeolocationService.open(settings, ServiceLimits()) as opened,
        listening(create_app(opened, ApiKeys.of([f"anna:{key}"] if key else []))) as at,
    ):
        yield at


@pytest.fixture(scope="module")
def source() -> Iterator[OnlineServer]:
    with serving(orange) as server:
        yield server


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, source: OnlineServer) -> Iterator[str]:
    """A server with one source of satellite tiles, and none of street maps."""
    address = f"{source.url}/{{z}}/{{x}}/{{y}}.png"
    with page_server(tmp_path_factory.mktemp("tiles"), satellite_source=address) as at:
        yield at


@pytest.fixture(scope="module")
def api(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/v1", trust_env=False, timeout=60.0) as client:
        yield client


def test_a_tile_is_its_sources_pixels_encoded_anew(api: httpx.Client) -> None:
    reply = api.get("/tiles/satellite/4/3/5")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "image/jpeg"
    assert reply.headers["x-content-type-options"] == "nosniff"
    picture = Image.open(io.BytesIO(reply.content))
    assert picture.size == (256, 256)
    assert np.abs(np.asarray(picture, int) - ORANGE).max() <= 3


def test_the_cache_keeps_what_was_asked_before(api: httpx.Client, source: OnlineServer) -> None:
    for _ in range(2):
        assert api.get("/tiles/satellite/4/2/2").status_code == 200
    assert sum(asked.path == "/4/2/2.png" for asked in source.asked) == 1


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("satellite/3/8/0", 422, "0 to 7"),
        ("satellite/3/0/8", 422, "0 to 7"),
        ("satellite/23/0/0", 422, "zoom"),
        ("satellite/-1/0/0", 422, "zoom"),
        ("satellite/3/a/0", 422, "x:"),
        ("satellite/21/0/0", 404, "zoom 0 to 19"),
        ("street_map/3/0/0", 404, "GEOSLEUTH_STREET_MAP_SOURCE"),
        ("https%3A%2F%2Fexample.org/3/0/0", 404, ""),
        ("other/3/0/0", 422, "kind"),
    ],
)
def test_only_tiles_of_configured_sources_are_served(
    api: httpx.Client, source: OnlineServer, path: str, status: int, said: str
) -> None:
    before = len(source.asked)
    reply = api.get(f"/tiles/{path}")
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    assert said in reply.json()["detail"]
    assert len(source.asked) == before


def test_a_tile_that_is_not_there_is_empty_and_one_that_is_no_picture_unavailable(api: httpx.Client) -> None:
    assert api.get(f"/tiles/satellite{EMPTY.removesuffix('.png')}").status_code == 204
    reply = api.get(f"/tiles/satellite{BROKEN.removesuffix('.png')}")
    assert reply.status_code == 503
    assert "no usable picture" in reply.json()["detail"]


def test_a_tile_needs_the_key_as_other_routes_do(tmp_path: Path, source: OnlineServer) -> None:
    address = f"{source.url}/{{z}}/{{x}}/{{y}}.png"
    with page_server(tmp_path, KEY, street_map_source=address) as at:
        path = f"{at}/v1/tiles/street_map/3/1/1"
        assert httpx.get(path, trust_env=False).status_code == 401
        reply = httpx.get(path, headers={"X-API-Key": KEY}, trust_env=False)
        assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")


SHOWN = ".leaflet-tile-pane img.leaflet-tile-loaded"


CENTRE = """async () => {
  const { app } = await import("/assets/page/state.js");
  const { map } = app.map, centre = map.getCenter();
  return [centre.lat, centre.lng, map.getZoom()];
}"""


def test_the_map_shows_the_layer_when_it_is_chosen_and_only_then(browser: Any, url: str, source: OnlineServer) -> None:
    visit = Visit(browser, url)
    page = visit.open()
    page.wait_for_selector("html[data-ground]")
    leaves, credits = page.locator("#leaves"), page.locator(".leaflet-control-attribution")
    host, choice = source.url.removeprefix("http://"), page.get_by_label("Ground")
    left, before = leaves.inner_text(), page.evaluate(CENTRE)
    assert [url for url in visit.requests if "/v1/tiles/" in url] == []
    choice.select_option("satellite")
    page.locator(SHOWN).first.wait_for()
    assert page.locator(SHOWN).first.evaluate("image => image.naturalWidth") == 256
    assert leaves.inner_text() == f"{left}; the part of the map that is looked at, to {host}"
    expect(credits).to_contain_text(f"tiles of {host}")
    choice.select_option("")
    expect(page.locator(SHOWN)).to_have_count(0)
    assert leaves.inner_text() == left
    assert host not in credits.inner_text()
    assert page.evaluate(CENTRE) == pytest.approx(before, abs=0.6)
    assert visit.outside == []
    assert visit.complaints == []
    visit.context.close()


def test_a_source_that_fails_is_told_once_and_the_ground_stays(browser: Any, tmp_path: Path) -> None:
    with serving(failing) as broken:
        address = f"{broken.url}/{{z}}/{{x}}/{{y}}.png"
        with page_server(tmp_path, satellite_source=address) as at:
            visit = Visit(browser, at)
            page = visit.open()
            page.get_by_label("Ground").select_option("satellite")
            page.wait_for_function(
                "() => performance.getEntriesByType('resource').filter((e) => e.name.includes('/tiles/')).length > 3"
            )
            expect(page.locator("#log .error")).to_have_count(1)
            assert "are missing from the map" in page.locator("#log .error").inner_text()
            assert page.locator(".leaflet-tile-pane canvas").count() > 0
            assert visit.outside == []
            visit.context.close()


def test_without_a_source_there_is_no_choice(browser: Any, tmp_path: Path) -> None:
    with page_server(tmp_path) as at:
        assert httpx.get(f"{at}/v1/offer", trust_env=False).json()["map_layers"] == []
        visit = Visit(browser, at)
        assert visit.open().get_by_label("Ground").count() == 0
        visit.context.close()
