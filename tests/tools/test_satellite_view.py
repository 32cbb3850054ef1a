"""Pictures from above: the bundled ones, a tile tree on localhost, and servers that misbehave."""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from core.errors import UserError
from geo.point import Point
from geo.tiles import Tile
from retrieval.photos.photo import decode_photo
from tests.fakes.tool_calls import Answering, Reply, Server, call, shown_to_model
from tools.results import SatelliteView, ToolError
from tools.satellite_view import satellite_view_tool
from tools.services.imagery import BundledImagery, marked
from tools.services.tile_server import TileImagery, TileServer, known_server

Serve = Callable[[Answering], Server]


def png_tile(path: str) -> Reply:
    """A tile whose colour tells its column (red) and row (green)."""
    x, y = path.removesuffix(".png").split("/")[-2:]
    stream = io.BytesIO()
    Image.new("RGB", (256, 256), (int(x) * 10, int(y) * 10, 77)).save(stream, "PNG")
    return Reply(headers={"Content-Type": "image/png"}, body=stream.getvalue())


def server_at(host: str, max_zoom: int = 5) -> TileServer:
    return TileServer("test tiles", f"http://{host}/{{z}}/{{x}}/{{y}}.png", "nobody", frozenset({host}), max_zoom)


def views_of(server: Server, folder: Path, client: httpx.Client) -> TileImagery:
    return TileImagery(server_at(server.host), folder, client, min_interval_s=0.0)


def test_the_model_sees_facts_and_a_picture() -> None:
    message = call(satellite_view_tool(BundledImagery()), lat=38.72, lon=-9.14, zoom=4)
    picture = message.content[1]
    assert isinstance(picture, dict)
    facts = shown_to_model(message)
    assert facts["source_detail_km"] == pytest.approx(7.41)
    assert "7.4 km a pixel" in facts["source"]
    assert (picture["type"], picture["mime_type"]) == ("image", "image/jpeg")
    assert message.content_blocks[1]["type"] == "image"
    rgb = decode_photo(base64.b64decode(picture["base64"]), "view.jpg").rgb
    assert rgb.shape == (512, 512, 3)
    result = message.artifact
    assert isinstance(result, SatelliteView)
    assert result.width_km == pytest.approx(result.km_per_pixel * 512)
    assert "NASA" in result.attribution
    assert len(result.sha256()) == 64


def test_land_and_sea_lie_where_they_are() -> None:
    """The Sahara is bright and sandy, the Atlantic off it dark and blue."""
    rgb = BundledImagery().view(Point(lat=24.0, lon=-16.0), 4, 256).rgb.astype(int)
    land, sea = rgb[118:138, 200:].mean(axis=(0, 1)), rgb[118:138, :56].mean(axis=(0, 1))
    assert land[0] > land[2] + 30
    assert sea[2] > sea[0] + 10


@pytest.mark.parametrize("zoom", [3, 6])
def test_views_join_across_the_antimeridian_and_at_the_poles(zoom: int) -> None:
    for point in (Point(lat=-17.0, lon=179.99), Point(lat=90.0, lon=0.0), Point(lat=-90.0, lon=0.0)):
        view = BundledImagery().view(point, zoom, 128)
        assert view.rgb.shape == (128, 128, 3)
        assert view.km_per_pixel > 0.0
    east = BundledImagery().view(Point(lat=-17.0, lon=179.99999), zoom, 64).rgb.astype(int)
    west = BundledImagery().view(Point(lat=-17.0, lon=-179.99999), zoom, 64).rgb.astype(int)
    assert np.abs(east - west).max() <= 2


def test_the_cross_leaves_the_centre_free() -> None:
    grey = np.full((64, 64, 3), 100, np.uint8)
    crossed = marked(grey)
    assert (crossed[30:34, 30:34] == 100).all()
    assert (crossed[32, 20] == 255).all()
    assert (crossed[20, 32] == 255).all()
    assert (grey == 100).all()


def test_zoom_and_position_out_of_range() -> None:
    tool = satellite_view_tool(BundledImagery())
    with pytest.raises(ToolError, match="zoom 12 is not available here; allowed: 2 to 7"):
        call(tool, lat=0.0, lon=0.0, zoom=12)
    for arguments in ({"lat": 91.0, "lon": 0.0}, {"lat": 0.0, "lon": 181.0}, {"lat": float("nan"), "lon": 0.0}):
        with pytest.raises(ValidationError):
            call(tool, zoom=3, **arguments)


def test_tiles_are_stitched_around_the_point(serve: Serve, client: httpx.Client, tmp_path: Path) -> None:
    server = serve(png_tile)
    view = views_of(server, tmp_path, client).view(Point(lat=0.0, lon=0.0), 4, 300)
    assert tuple(view.rgb[10, 10]) == (70, 70, 77)
    assert tuple(view.rgb[10, 290]) == (80, 70, 77)
    assert tuple(view.rgb[290, 10]) == (70, 80, 77)
    assert sorted(server.asked) == ["/4/7/7.png", "/4/7/8.png", "/4/8/7.png", "/4/8/8.png"]
    assert all(agent.startswith("GeoSleuth/") for agent in server.agents)
    assert view.attribution == "nobody"


def test_tiles_wrap_and_end_where_the_map_ends(serve: Serve, client: httpx.Client, tmp_path: Path) -> None:
    views = views_of(serve(png_tile), tmp_path, client)
    wrapped = views.view(Point(lat=0.0, lon=179.99), 3, 200).rgb
    assert wrapped[50, 10, 0] == 70
    assert wrapped[50, 190, 0] == 0
    north = views.view(Point(lat=85.0, lon=0.0), 3, 200).rgb
    assert tuple(north[0, 100]) == (128, 128, 128)
    with pytest.raises(ToolError, match="ends at 85"):
        views.view(Point(lat=88.0, lon=0.0), 3, 200)


def test_tiles_are_kept_on_disk_and_damaged_ones_fetched_again(
    serve: Serve, client: httpx.Client, tmp_path: Path
) -> None:
    server, point = serve(png_tile), Point(lat=10.0, lon=10.0)
    first = views_of(server, tmp_path, client).view(point, 2, 100).rgb
    count = len(server.asked)
    again = views_of(server, tmp_path, client).view(point, 2, 100).rgb
    assert np.array_equal(first, again)
    assert len(server.asked) == count
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == count
    files[0].write_bytes(b"half a tile")
    assert np.array_equal(views_of(server, tmp_path, client).view(point, 2, 100).rgb, first)
    assert len(server.asked) == count + 1


def test_requests_keep_their_distance(serve: Serve, client: httpx.Client, tmp_path: Path) -> None:
    import time

    views = TileImagery(server_at(serve(png_tile).host), tmp_path, client, min_interval_s=0.05)
    started = time.monotonic()
    views.view(Point(lat=0.0, lon=0.0), 4, 300)
    assert time.monotonic() - started >= 3 * 0.05


JPEG = {"Content-Type": "image/jpeg"}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(404), "has no picture of this place at this zoom"),
        (Reply(500), "answered 500"),
        (Reply(302, {"Location": "http://127.0.0.1:1/secret"}), "answered 302"),
        (Reply(200, {"Content-Type": "text/html"}, b"<p>no"), "sent 'text/html' instead of image/"),
        (Reply(200, JPEG, b"x" * 2_000_001), "sent more than 2 MB"),
        (Reply(200, {**JPEG, "Content-Encoding": "gzip"}, gzip.compress(b"0" * 10**7)), "compressed body"),
        (Reply(200, JPEG, b"not a picture"), "no usable picture"),
    ],
)
def test_a_server_that_misbehaves_is_a_tool_error(
    serve: Serve, client: httpx.Client, tmp_path: Path, reply: Reply, message: str
) -> None:
    server = serve(lambda _: reply)
    with pytest.raises(ToolError, match=message):
        views_of(server, tmp_path, client).view(Point(lat=0.1, lon=0.1), 1, 64)
    assert len(server.asked) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_unreachable_server_is_a_tool_error(client: httpx.Client, tmp_path: Path) -> None:
    views = TileImagery(server_at("127.0.0.1:9"), tmp_path, client, min_interval_s=0.0)
    with pytest.raises(ToolError, match="cannot be reached"):
        views.view(Point(lat=0.0, lon=0.0), 1, 64)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("file:///etc/{z}/{x}/{y}", "must begin with http"),
        ("http://evil.example/{z}/{x}/{y}", "not one of the allowed hosts"),
        ("http://tiles.example@evil.example/{z}/{x}/{y}", "not one of the allowed hosts"),
        ("http://tiles.example:8080/{z}/{x}/{y}", "not one of the allowed hosts"),
        ("http://{x}.tiles.example/{z}/{x}/{y}", "once each"),
        ("http://tiles.example/{z}/{x}/{y.__class__}", "once each"),
        ("http://tiles.example/{z}/{x}/{y:>99999999}", "once each"),
        ("http://tiles.example/{z}/{x}", "once each"),
        ("http://tiles.example/{z}/{x}/{y", "cannot be used"),
    ],
)
def test_only_allowed_addresses(template: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TileServer("mine", template, "me", frozenset({"tiles.example"}))


def test_known_servers_are_a_short_list() -> None:
    server = known_server("NASAGIBS.BlueMarble")
    assert server.url(Tile(3, 1, 2)).endswith("/3/2/1.jpeg")
    assert server.allowed_hosts == {"gibs.earthdata.nasa.gov"}
    assert server.attribution
    with pytest.raises(UserError, match=r"unknown tile source 'Stamen.Toner'; the known ones are Esri.WorldImagery"):
        known_server("Stamen.Toner")


def test_a_real_tile_tree(serve: Serve, client: httpx.Client, tmp_path: Path, shared_data: Path) -> None:
    """The same coast in NASA's tiles and in the bundled picture."""
    tree = shared_data / "tiles"

    def answer(path: str) -> Reply:
        file = tree / path.strip("/")
        return Reply(headers=JPEG, body=file.read_bytes()) if file.is_file() else Reply(404)

    host = serve(answer).host
    tiles = TileServer("NASA", f"http://{host}/{{z}}/{{x}}/{{y}}.jpeg", "NASA", frozenset({host}), 6)
    views = TileImagery(tiles, tmp_path, client, min_interval_s=0.0)
    point = Point(lat=12.0, lon=44.0)
    served = views.view(point, 4, 256)
    bundled = BundledImagery().view(point, 4, 256)
    assert served.km_per_pixel == pytest.approx(bundled.km_per_pixel)
    alike = np.corrcoef(served.rgb.mean(axis=2).ravel(), bundled.rgb.mean(axis=2).ravel())[0, 1]
    assert alike > 0.9
    message = call(satellite_view_tool(views), lat=12.0, lon=44.0, zoom=6)
    assert message.artifact.source == "NASA"
    with pytest.raises(ToolError, match="allowed: 0 to 6"):
        call(satellite_view_tool(views), lat=12.0, lon=44.0, zoom=7)
