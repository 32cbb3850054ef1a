"""Mosaics of tiles from a real HTTP server on localhost: pixels, sizes, what is missing."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from geo.point import Point
from geo.tiles import TileBounds, km_per_pixel, pixels
from retrieval.crossview.tiles import TileFolder
from tests.fakes.tool_calls import Reply, call
from tests.tools.online.server import Asked, serving
from tests.tools.tiles.served_world import JPEG, WORLD, ZOOM, Open, tiles
from tools.results import ToolError
from tools.satellite_view import satellite_view_tool
from tools.services.imagery import BundledImagery
from tools.services.tile_client import TileClient
from tools.services.tile_imagery import TileImagery, mosaic
from tools.services.tile_server import TileServer


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
