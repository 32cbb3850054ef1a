"""Satellite atlases: what is stored, what a comparison in areas finds, on the engines that need no server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from geo.point import Point
from geo.tiles import TileBounds, tiles_in
from retrieval.atlas.build import build_gps_atlas
from retrieval.atlas.failures import read_failures
from retrieval.atlas.manifest import AtlasError
from retrieval.crossview.tile_atlas import (
    BACKGROUND_FILE,
    build_tile_atlas,
    open_tile_atlas,
    tiles_from_table,
)
from retrieval.crossview.tiles import SatelliteTile, TileFolder, tiles_of_area
from retrieval.encoders.base import EncoderIdentity
from retrieval.stores.base import EdgeSettings, FaissSettings, StoreSettings
from retrieval.stores.filters import Near, NearAny
from tests.fakes.atlas_items import WaveEncoder, gallery


class MeanColours:
    """Mean colours as unit vectors."""

    identity = EncoderIdentity(name="colours", revision="1", dim=3)

    def encode_tiles(self, tiles: Sequence[np.ndarray]) -> np.ndarray:
        rows = np.array([tile.reshape(-1, 3).mean(axis=0) for tile in tiles]).reshape(-1, 3)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def tiles(count: int = 300) -> list[SatelliteTile]:
    """Tiles of one colour each, in a row along the antimeridian near Fiji."""
    found = []
    for n in range(count):
        colour = np.random.default_rng(n).integers(10, 250, 3)
        west = 179.0 + 0.01 * n
        bounds = TileBounds(-18.0, (west + 180) % 360 - 180, -17.99, (west + 0.01 + 180) % 360 - 180)
        rgb = np.broadcast_to(colour, (4, 4, 3)).astype(np.uint8)
        found.append(SatelliteTile(f"17/{n}/5", bounds, "17", "somebody", "2025-06", rgb=rgb))
    return found


@pytest.mark.parametrize("store", [EdgeSettings(), FaissSettings(index="flat")])
def test_a_comparison_finds_the_best_of_each_area_with_what_is_stored_of_them(
    tmp_path: Path, store: StoreSettings
) -> None:
    encoder, listed = MeanColours(), tiles()
    if isinstance(store, FaissSettings):
        pytest.importorskip("faiss")
    build_tile_atlas(tmp_path / "fiji", encoder, listed, store=store)
    vectors = encoder.encode_tiles([tile.rgb for tile in listed if tile.rgb is not None])
    here = NearAny((Near(listed[95].bounds.centre, 8.0), Near(listed[250].bounds.centre, 3.0)))
    inside = [n for n, tile in enumerate(listed) if here.contains(tile.bounds.centre)]
    assert len({listed[n].bounds.west > 0 for n in inside}) == 2  # on both sides of the antimeridian
    with open_tile_atlas(tmp_path / "fiji", encoder) as atlas:
        wide = NearAny((Near(listed[150].bounds.centre, 500.0),))
        compared = atlas.compare(vectors[98], [here, wide], 5)
        assert compared.hits[0].tile == listed[98]._replace(rgb=None, bounds=compared.hits[0].tile.bounds)
        np.testing.assert_allclose(compared.hits[0].tile.bounds, listed[98].bounds, atol=1e-6)
        best = sorted(inside, key=lambda n: -float(vectors[n] @ vectors[98]))[:5]
        found = [hit.tile.tile_id for hit in compared.hits]
        assert {listed[n].tile_id for n in best} <= set(found)
        assert compared.zones[0].most == pytest.approx(float(vectors[best[-1]] @ vectors[98]), abs=1e-5)
        assert len(compared.background) == 300
        everything = atlas.compare(vectors[98], [here], 10_000)
        assert (len(everything.hits), everything.zones[0].most) == (len(inside), None)


@pytest.mark.parametrize("limit", [5, 40, 400])
def test_wide_areas_give_what_a_filter_gives(tmp_path: Path, limit: int) -> None:
    encoder, listed = MeanColours(), tiles()
    build_tile_atlas(tmp_path / "fiji", encoder, listed)
    # Half of the row lies in it: with a limit of 5 ten are taken, of which too few lie inside for some of the photos.
    wide = NearAny((Near(Point(lat=0.0, lon=100.0), 9000.0), Near(Point(lat=60.0, lon=20.0), 5000.0)))
    inside = [n for n, tile in enumerate(listed) if wide.contains(tile.bounds.centre)]
    assert 100 < len(inside) < 200
    vectors = encoder.encode_tiles([tile.rgb for tile in listed if tile.rgb is not None])
    with open_tile_atlas(tmp_path / "fiji", encoder) as atlas:
        for photo in range(0, 300, 30):
            compared = atlas.compare(vectors[photo], [wide], limit)
            wanted = np.sort(vectors[inside] @ vectors[photo])[::-1][:limit]
            np.testing.assert_allclose([hit.similarity for hit in compared.hits], wanted, atol=1e-4)
            assert compared.zones[0].most == (pytest.approx(wanted[-1], abs=1e-4) if len(wanted) == limit else None)


def test_bad_tiles_and_other_atlases_are_named(tmp_path: Path) -> None:
    encoder, listed = MeanColours(), tiles(3)
    listed[1] = listed[1]._replace(rgb=None, path=tmp_path / "gone.png")
    manifest = build_tile_atlas(tmp_path / "fiji", encoder, listed)
    assert (manifest.count, manifest.failed, manifest.kind.value) == (2, 1, "tile")
    positions, names = gallery(5)
    build_gps_atlas(tmp_path / "gps", WaveEncoder(), positions, names)
    with pytest.raises(AtlasError, match="is no satellite atlas"):
        open_tile_atlas(tmp_path / "gps", WaveEncoder())
    with pytest.raises(AtlasError, match="was made by encoder colours"):
        open_tile_atlas(tmp_path / "fiji", WaveEncoder())


def test_an_area_is_built_from_a_folder_and_what_it_lacks_is_listed(tmp_path: Path) -> None:
    tree, area = tmp_path / "tree", TileBounds(-80.0, -170.0, 80.0, 170.0)
    for number, tile in enumerate(tiles_in(area, 3)):
        if number % 2 or number == 10:
            (tree / f"3/{tile.x}").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (256, 256), (number, 200 - number, 60)).save(tree / f"3/{tile.x}/{tile.y}.png")
    (tree / "3/2/1.png").write_bytes(b"<html>")  # number 10
    listed = tiles_of_area(area, 3, "somebody")
    with pytest.raises(UserError, match="give a reader"):
        build_tile_atlas(tmp_path / "area", MeanColours(), listed)
    manifest = build_tile_atlas(tmp_path / "area", MeanColours(), listed, reader=TileFolder(tree))
    reasons = {failure.item_id: failure.reason for failure in read_failures(tmp_path / "area")}
    assert (manifest.count, manifest.failed) == (32, 32)
    assert reasons.pop("3/2/1").endswith("delete it, or fetch it again")
    assert set(reasons.values()) == {"the source has no such tile"}
    with open_tile_atlas(tmp_path / "area", MeanColours()) as atlas:
        compared = atlas.compare(MeanColours().encode_tiles([np.full((1, 1, 3), (63, 137, 60))])[0], None, 1)
        assert len(compared.background) == 32
        hit = compared.hits[0]
        assert (hit.tile.tile_id, hit.tile.source) == ("3/7/7", "somebody")
        assert hit.similarity == pytest.approx(1.0, abs=1e-6)


def test_another_list_takes_the_place_of_an_atlas_with_its_background(tmp_path: Path) -> None:
    encoder = MeanColours()
    build_tile_atlas(tmp_path / "fiji", encoder, tiles(30))
    first = np.load(tmp_path / "fiji" / BACKGROUND_FILE)
    with pytest.raises(AtlasError):
        build_tile_atlas(tmp_path / "fiji", encoder, tiles(20))
    build_tile_atlas(tmp_path / "fiji", encoder, tiles(20), replace=True)
    np.testing.assert_array_equal(np.load(tmp_path / "fiji" / BACKGROUND_FILE), first[:20])
    with open_tile_atlas(tmp_path / "fiji", encoder) as atlas:
        assert len(atlas) == 20


def test_a_table_of_tiles_is_checked(tmp_path: Path) -> None:
    table = tmp_path / "tiles.csv"
    table.write_text("tile,south,west,north,east,zoom,date\n1.png,10,179.9,11,-179.9,17,2024\n")
    (tile,) = tiles_from_table(table, tmp_path)
    assert (tile.zoom, tile.date, tile.path) == ("17", "2024", tmp_path / "1.png")
    assert tile.bounds.centre == Point(lat=10.5, lon=180.0)
    table.write_text("tile,south,west,north,east\n1.png,11,0,10,1\n")
    with pytest.raises(UserError, match="line 2: the edges are no positions"):
        tiles_from_table(table, tmp_path)
    table.write_text("tile,south,west,north\n")
    with pytest.raises(UserError, match="has no column east"):
        tiles_from_table(table, tmp_path)
