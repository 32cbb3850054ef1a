"""Mosaics from a real HTTP server on localhost: pixels, the cache, several requests, and servers that misbehave."""

from __future__ import annotations

import gzip
import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from geo.point import Point
from geo.tiles import Tile, TileBounds, km_per_pixel, pixels
from retrieval.crossview.tiles import TileFolder, tiles_of_area
from tests.fakes.tool_calls import Reply, call
from tests.tools.online.server import Asked, OnlineServer, serving
from tools.results import ToolError
from tools.satellite_view import satellite_view_tool
from tools.services import tile_client
from tools.services.imagery import BundledImagery
from tools.services.rate_limited_http import ServiceDownError
from tools.services.tile_client import CACHE_FILE, TileClient
from tools.services.tile_imagery import TileImagery, mosaic
from tools.services.tile_server import TileServer

ZOOM = 3
WORLD = np.random.default_rng(5).integers(0, 255, (256 << ZOOM, 256 << ZOOM, 3), dtype=np.uint8)
"""The whole map at zoom 3, every pixel another colour: a wrong cut by one pixel is seen."""
PNG = {"Content-Type": "image/png"}


def png(rgb: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def tile_of(path: str) -> Reply:
    zoom, x, y = map(int, path.removesuffix(".png").split("/")[-3:])
    if zoom != ZOOM:
        return Reply(404)
    return Reply(headers=PNG, body=png(WORLD[y * 256 : y * 256 + 256, x * 256 : x * 256 + 256]))


def is_cut_from_the_world(rgb: np.ndarray | None, x: int, y: int) -> bool:
    return rgb is not None and np.array_equal(rgb, WORLD[y * 256 : y * 256 + 256, x * 256 : x * 256 + 256])


def tiles(asked: Asked) -> Reply:
    return tile_of(asked.path)


def server_at(url: str, max_zoom: int = ZOOM, area: TileBounds | None = None) -> TileServer:
    host = url.removeprefix("http://")
    return TileServer("test tiles", f"{url}/{{z}}/{{x}}/{{y}}.png", "nobody", frozenset({host}), max_zoom, area=area)


@pytest.fixture
def open_client(client: httpx.Client, tmp_path: Path) -> Iterator[Callable[..., TileClient]]:
    """A client of a server; its cache is the test's folder."""
    opened: list[TileClient] = []

    def start(server: OnlineServer, area: TileBounds | None = None, **options: Any) -> TileClient:
        options = {"min_interval_s": 0.0, "attempts": 1, **options}
        opened.append(TileClient(server_at(server.url, area=area), tmp_path, client, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


Open = Callable[..., TileClient]


def cut(point: Point, size_px: int) -> np.ndarray:
    """The reference: the whole map, once more to each side, and the square around the point cut out of it."""
    left, top = np.floor(pixels((point.lat, point.lon), ZOOM) - size_px / 2).astype(int)
    wide = np.concatenate([WORLD, WORLD, WORLD], axis=1)
    left += WORLD.shape[1]
    return wide[top : top + size_px, left : left + size_px]


@pytest.mark.parametrize(
    "point", [Point(lat=lat, lon=lon) for lat, lon in ((38.7, -9.1), (0.0, 0.0), (-17.3, 179.9), (66.0, -179.0))]
)
@pytest.mark.parametrize("size_px", [100, 401])
def test_a_mosaic_is_the_map_cut_around_the_point(open_client: Open, point: Point, size_px: int) -> None:
    with serving(tiles) as server:
        rgb, missing = mosaic(open_client(server), point, ZOOM, size_px)
        assert missing == 0.0
        assert np.array_equal(rgb, cut(point, size_px))
        assert np.array_equal(TileImagery(open_client(server)).view(point, ZOOM, size_px).rgb, rgb)


def test_a_mosaic_of_a_wanted_ground_size_is_cut_and_then_scaled(open_client: Open) -> None:
    point = Point(lat=38.7, lon=-9.1)
    scale_km = km_per_pixel(point.lat, ZOOM)
    with serving(tiles) as server:
        imagery = TileImagery(open_client(server))
        exact = imagery.view_of_width(point, 300 * scale_km, 300)
        assert np.array_equal(exact.rgb, cut(point, 300))
        assert exact.km_per_pixel == scale_km
        enlarged = imagery.view_of_width(point, 150 * scale_km, 300)
        assert enlarged.rgb.shape == (300, 300, 3)
        assert enlarged.km_per_pixel * 300 == pytest.approx(150 * scale_km)
        assert enlarged.detail_km == scale_km
        for width_km in (5 * scale_km, 20_000 * scale_km):
            with pytest.raises(ToolError, match="a view here is"):
                imagery.view_of_width(point, width_km, 300)


def test_the_map_ends_and_a_source_has_an_area(open_client: Open) -> None:
    with serving(tiles) as server:
        north = TileImagery(open_client(server)).view(Point(lat=85.0, lon=0.0), ZOOM, 200).rgb
        assert tuple(north[0, 100]) == (128, 128, 128)
        asked = len(server.asked)
        with pytest.raises(ToolError, match="ends at 85"):
            TileImagery(open_client(server)).view(Point(lat=88.0, lon=0.0), ZOOM, 200)
        austria = TileImagery(open_client(server, area=TileBounds(46.4, 8.8, 49.0, 17.2)))
        with pytest.raises(ToolError, match=r"nothing here: it covers 46\.4 to 49\.0° north and 8\.8 to 17\.2° east"):
            austria.view(Point(lat=38.7, lon=-9.1), ZOOM, 64)
        assert len(server.asked) == asked


def test_missing_tiles_are_grey_and_counted(open_client: Open) -> None:
    def half(asked: Asked) -> Reply:
        return Reply(404) if asked.path.split("/")[2] == "4" else tiles(asked)

    with serving(half) as server:
        view = TileImagery(open_client(server)).view(Point(lat=0.0, lon=0.0), ZOOM, 100)
        assert view.missing_share == 0.5
        assert np.array_equal(view.rgb[:, :50], cut(Point(lat=0.0, lon=0.0), 100)[:, :50])
        assert (view.rgb[:, 50:] == 128).all()
        with pytest.raises(ToolError, match="has no picture of this place at this zoom"):
            TileImagery(open_client(server)).view(Point(lat=10.0, lon=20.0), ZOOM, 32)


def test_what_is_cached_makes_no_request(open_client: Open, tmp_path: Path) -> None:
    point = Point(lat=38.7, lon=-9.1)
    with serving(tiles) as server:
        first, _ = mosaic(open_client(server), point, ZOOM, 300)
        count = len(server.asked)
        again, _ = mosaic(open_client(server), point, ZOOM, 300)  # as another process would open it
        assert np.array_equal(first, again)
        assert len(server.asked) == count == len({asked.path for asked in server.asked})
        assert all(asked.headers["User-Agent"].startswith("GeoSleuth/") for asked in server.asked)
        assert open_client(server).picture(Tile(2, 0, 0)) is None
        assert open_client(server).picture(Tile(2, 0, 0)) is None
        assert len(server.asked) == count + 1
    assert (tmp_path / CACHE_FILE).stat().st_mode & 0o077 == 0  # it tells which places were looked at
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        TileClient(server_at("http://127.0.0.1:9"), tmp_path / "file" / "tiles")


@pytest.mark.parametrize("by_date", [False, True])
def test_a_stale_tile_is_asked_for_under_a_condition(open_client: Open, by_date: bool) -> None:
    changed = formatdate(1_700_000_000, usegmt=True)
    kept = {"Last-Modified": changed} if by_date else {"ETag": '"one"'}
    condition, value = ("If-Modified-Since", changed) if by_date else ("If-None-Match", '"one"')

    def with_validator(asked: Asked) -> Reply:
        headers = {**PNG, **kept, "Cache-Control": "no-cache"}
        if httpx.Headers(asked.headers).get(condition) == value:
            return Reply(304, headers)
        return tiles(asked)._replace(headers=headers)

    with serving(with_validator) as server:
        pictures = [open_client(server).picture(Tile(ZOOM, 1, 2)) for _ in range(3)]
        assert all(is_cut_from_the_world(picture, 1, 2) for picture in pictures)
        assert [httpx.Headers(asked.headers).get(condition) for asked in server.asked] == [None, value, value]


def test_the_cache_keeps_to_its_size(open_client: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_client, "IN_USE_S", 0.0)
    everywhere = [Tile(ZOOM, x, y) for x in range(8) for y in range(8)]
    with serving(tiles) as server:
        limited = open_client(server, max_cache_bytes=3_000_000, concurrent=1)
        assert sum(rgb is not None for rgb in limited.pictures(everywhere)) == 64  # 197 kB each
        assert (tmp_path / CACHE_FILE).stat().st_size < 3_500_000
        list(limited.pictures(everywhere[-4:]))
        assert len(server.asked) == 64  # the newest stayed
        list(limited.pictures(everywhere[:4]))
        assert len(server.asked) == 68


def test_a_damaged_cache_is_no_more_than_an_empty_one(open_client: Open, tmp_path: Path) -> None:
    (tmp_path / CACHE_FILE).write_bytes(b"no database" * 1000)
    with serving(tiles) as server:
        assert is_cut_from_the_world(open_client(server).picture(Tile(ZOOM, 1, 2)), 1, 2)


JPEG = {"Content-Type": "image/jpeg"}
HALF = png(WORLD[:256, :256])[:5000]


@pytest.mark.parametrize(
    ("reply", "message", "may_pass"),
    [
        (Reply(500), "answered 500", True),
        (Reply(503), "answered 503: it is down or too busy", True),
        (Reply(429, {"Retry-After": "900"}), "answered 429: it is asked too often", True),
        (Reply(401), "answered 401: the user must check the key", False),
        (Reply(302, {"Location": "http://127.0.0.1:1/secret"}), "answered 302, a redirect, which is refused", False),
        (Reply(200, {"Content-Type": "text/html"}, b"<p>no"), "sent 'text/html' instead of image/", False),
        (Reply(200, JPEG, b"<html><p>no"), "no usable picture", False),
        (Reply(200, JPEG, b"x" * 2_000_001), "sent more than 2 MB", False),
        (Reply(200, {**JPEG, "Content-Encoding": "gzip"}, gzip.compress(b"0" * 10**7)), "compressed body", False),
        (Reply(200, PNG, HALF), "no usable picture", False),
        (Reply(200, {**PNG, "Content-Length": "90000"}, HALF), "broke off its answer", True),
        (Reply(200, PNG, png(np.zeros((1200, 1200, 3), np.uint8))), "no usable picture", False),
    ],
)
def test_a_server_that_misbehaves_is_a_tool_error(
    open_client: Open, reply: Reply, message: str, may_pass: bool
) -> None:
    """And nothing of it is kept: once the server does better, the tile is there."""
    replies = [reply]

    def answer(asked: Asked) -> Reply:
        return replies[0] if replies else tiles(asked)

    with serving(answer) as server:
        with pytest.raises(ToolError, match=message) as failed:
            TileImagery(open_client(server)).view(Point(lat=20.0, lon=20.0), ZOOM, 16)
        assert isinstance(failed.value, ServiceDownError) == may_pass
        assert len(server.asked) == 1
        replies.clear()
        assert open_client(server).picture(Tile(ZOOM, 1, 2)) is not None
        assert is_cut_from_the_world(open_client(server).picture(Tile(ZOOM, 4, 3)), 4, 3)


def test_what_passes_is_tried_again_within_limits(open_client: Open) -> None:
    failures = [Reply(503, {"Retry-After": "0"}), Reply(200, {**PNG, "Content-Length": "90000"}, HALF)]
    with serving(lambda asked: failures.pop() if failures else tiles(asked)) as server:
        assert open_client(server, attempts=3).picture(Tile(ZOOM, 1, 2)) is not None
        assert len(server.asked) == 3
    with serving(lambda _: Reply(500)) as server:
        with pytest.raises(ServiceDownError, match="answered 500"):
            open_client(server, attempts=2).picture(Tile(ZOOM, 1, 2))
        assert len(server.asked) == 2
    with serving(lambda _: Reply(429, {"Retry-After": "60"})) as server:
        with pytest.raises(ServiceDownError, match="429"):
            open_client(server, attempts=3).picture(Tile(ZOOM, 1, 2))
        assert len(server.asked) == 1  # nobody waits a minute for a picture


def test_a_slow_server_and_one_that_is_not_there(tmp_path: Path) -> None:
    answered = threading.Event()

    def slow(asked: Asked) -> Reply:
        answered.wait(10.0)
        return tiles(asked)

    with httpx.Client(timeout=0.2, trust_env=False) as impatient:
        with (
            serving(slow) as server,
            TileClient(server_at(server.url), tmp_path, impatient, attempts=1) as client,
            pytest.raises(ServiceDownError, match="did not answer in time"),
        ):
            client.picture(Tile(ZOOM, 1, 2))
        answered.set()
        with (
            TileClient(server_at("http://127.0.0.1:9"), tmp_path, impatient, attempts=1) as client,
            pytest.raises(ServiceDownError, match="cannot be reached"),
        ):
            client.picture(Tile(ZOOM, 1, 2))


def test_few_requests_are_under_way_at_once_and_they_keep_their_distance(open_client: Open) -> None:
    under_way, most, lock, starts = [0], [0], threading.Lock(), list[float]()

    def counted(asked: Asked) -> Reply:
        with lock:
            starts.append(time.monotonic())
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.03)
        with lock:
            under_way[0] -= 1
        return tiles(asked)

    row = [Tile(ZOOM, x, 4) for x in range(8)]
    with serving(counted) as server:
        assert len(list(open_client(server, concurrent=3).pictures(row))) == 8
        assert 2 <= most[0] <= 3
        starts.clear()
        spaced = open_client(server, concurrent=3, min_interval_s=0.05)
        list(spaced.pictures([tile._replace(y=5) for tile in row[:4]]))
        assert starts[-1] - starts[0] >= 3 * 0.05 - 0.02


def test_after_a_failure_no_more_is_asked(open_client: Open) -> None:
    with serving(lambda _: Reply(500)) as server:
        everywhere = (Tile(ZOOM, x, y) for x in range(8) for y in range(8))
        with pytest.raises(ServiceDownError):
            list(open_client(server, concurrent=2).pictures(everywhere))
        assert len(server.asked) < 8


def test_another_host_than_the_allowed_ones_is_never_asked(client: httpx.Client, tmp_path: Path) -> None:
    class Elsewhere(TileServer):
        def url(self, tile: Tile) -> str:
            return super().url(tile).replace("//", "//elsewhere.")

    with pytest.raises(UserError, match="not one of the allowed hosts"):
        TileServer("mine", "http://127.0.0.1:9/{z}/{x}/{y}", "me", frozenset({"tiles.example"}))
    with serving(tiles) as server:
        base = server_at(server.url)
        wrong = Elsewhere(base.name, base.url_template, base.attribution, base.allowed_hosts)
        with (
            TileClient(wrong, tmp_path, client) as misled,
            pytest.raises(ToolError, match="another host than its own"),
        ):
            misled.picture(Tile(ZOOM, 1, 2))
        assert not server.asked


@pytest.mark.parametrize(
    "path",
    ["Zq7madeup/{z}/{x}/{y}.png", *(f"{{z}}/{{x}}/{{y}}.png?{name}=Zq7madeup" for name in ("token", "k", "appid"))],
)
def test_credentials_are_sent_but_neither_logged_nor_stored(
    client: httpx.Client, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(tiles) as server:
        host = server.url.removeprefix("http://")
        address = f"http://anna:Zq7madeup@{host}/{path}"
        secret = TileServer(host, address, "nobody", frozenset({f"anna:Zq7madeup@{host}"}), ZOOM)
        with TileClient(secret, tmp_path, client, min_interval_s=0.0) as opened:
            assert opened.picture(Tile(ZOOM, 1, 2)) is not None
        [asked] = server.asked
        assert "Zq7madeup" in f"{asked.path} {asked.query}"
        assert asked.headers["Authorization"].startswith("Basic ")
    dead = TileServer("dead", address.replace(host, "127.0.0.1:9"), "me", frozenset({"anna:Zq7madeup@127.0.0.1:9"}))
    with (
        TileClient(dead, tmp_path, client, attempts=1) as closed,
        pytest.raises(ServiceDownError, match="dead cannot be reached") as failed,
    ):
        closed.picture(Tile(ZOOM, 1, 2))
    assert "Zq7madeup" not in caplog.text + str(failed.value)
    assert f'GET {host} "HTTP/' in caplog.text
    assert not [file for file in tmp_path.iterdir() if b"Zq7madeup" in file.read_bytes()]


def test_an_area_is_read_tile_by_tile_from_a_server(open_client: Open) -> None:
    with serving(tiles) as server:
        listed = [each.tile for each in tiles_of_area(TileBounds(-30.0, 170.0, -10.0, -170.0), ZOOM) if each.tile]
        assert listed == [Tile(3, 7, 4), Tile(3, 0, 4)]
        for tile, rgb in zip(listed, open_client(server).pictures(listed), strict=True):
            assert is_cut_from_the_world(rgb, tile.x, tile.y)
        assert list(open_client(server).pictures([Tile(2, 2, 2)])) == [None]


def test_a_real_tile_tree(client: httpx.Client, tmp_path: Path, shared_data: Path) -> None:
    """NASA's tiles: pixels as in the files, read alike from the folder; the coast of the bundled picture."""
    tree = shared_data / "tiles"

    def answer(asked: Asked) -> Reply:
        file = tree / asked.path.strip("/")
        return Reply(headers=JPEG, body=file.read_bytes()) if file.is_file() else Reply(404)

    point = Point(lat=12.0, lon=44.0)
    with serving(answer) as server:
        host = server.url.removeprefix("http://")
        nasa = TileServer("NASA", f"{server.url}/{{z}}/{{x}}/{{y}}.jpeg", "NASA", frozenset({host}), 6)
        with TileClient(nasa, tmp_path, client, min_interval_s=0.0) as opened:
            imagery = TileImagery(opened)
            served = imagery.view(point, 4, 256)
            left, top = np.floor(pixels((point.lat, point.lon), 4) - 128).astype(int)
            world = Image.new("RGB", (4096, 4096))
            for x, y in ((x, y) for x in range(16) for y in range(16)):
                world.paste(Image.open(tree / "4" / str(x) / f"{y}.jpeg").convert("RGB"), (x * 256, y * 256))
            assert np.array_equal(served.rgb, np.asarray(world.crop((left, top, left + 256, top + 256))))
            assert np.array_equal(mosaic(TileFolder(tree), point, 4, 256)[0], served.rgb)
            bundled = BundledImagery().view(point, 4, 256)
            assert served.km_per_pixel == pytest.approx(bundled.km_per_pixel)
            alike = np.corrcoef(served.rgb.mean(axis=2).ravel(), bundled.rgb.mean(axis=2).ravel())[0, 1]
            assert alike > 0.9
            message = call(satellite_view_tool(imagery), lat=12.0, lon=44.0, width_m=500_000)
            assert (message.artifact.source, message.artifact.attribution) == ("NASA", "NASA")
            with pytest.raises(ToolError, match="allowed: 0 to 6"):
                call(satellite_view_tool(imagery), lat=12.0, lon=44.0, zoom=7)
