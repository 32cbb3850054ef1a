"""Tiles from a real HTTP server on localhost: the cache, several requests, and servers that misbehave."""

from __future__ import annotations

import gzip
import logging
import threading
import time
from email.utils import formatdate
from pathlib import Path

import httpx
import numpy as np
import pytest

from core.errors import UserError
from geo.point import Point
from geo.tiles import Tile, TileBounds
from retrieval.atlas.failures import read_failures
from retrieval.crossview.tile_atlas import build_tile_atlas
from retrieval.crossview.tiles import tiles_of_area
from tests.fakes.tool_calls import Reply
from tests.retrieval.crossview.test_tile_atlas import MeanColours
from tests.tools.online.server import Asked, serving
from tests.tools.tiles.served_world import JPEG, PNG, WORLD, ZOOM, Open, is_cut_from_the_world, png, server_at, tiles
from tools.results import ToolError
from tools.services import tile_client
from tools.services.rate_limited_http import ServiceDownError
from tools.services.tile_client import CACHE_FILE, TileClient
from tools.services.tile_imagery import TileImagery, mosaic
from tools.services.tile_server import TileServer


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


def test_an_atlas_is_built_from_a_server_without_its_broken_tile(open_client: Open, tmp_path: Path) -> None:
    def one_broken(asked: Asked) -> Reply:
        return Reply(200, PNG, HALF) if asked.path.endswith("/3/7/4.png") else tiles(asked)

    listed = tiles_of_area(TileBounds(-30.0, 100.0, 30.0, -100.0), ZOOM)
    with serving(one_broken) as server:
        manifest = build_tile_atlas(tmp_path / "area", MeanColours(), listed, reader=open_client(server))
    assert (manifest.count, manifest.failed) == (len(listed) - 1, 1)
    (failure,) = read_failures(tmp_path / "area")
    assert failure.item_id == "3/7/4"
    assert "no usable picture" in failure.reason
