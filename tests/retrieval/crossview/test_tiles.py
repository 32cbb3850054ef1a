"""Tiles of an area from a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from core.errors import UserError
from geo.tiles import Tile, TileBounds, tile_bounds
from retrieval.crossview.tiles import SatelliteTile, TileFolder, tiles_of_area
from retrieval.photos.photo import PhotoError

AREA = TileBounds(-80.0, -120.0, 80.0, 120.0)


def tree(folder: Path, side_px: int = 256, ending: str = "png") -> Path:
    """A tree of zoom 2, one tile left out, whose colours tell column and row."""
    for x in range(4):
        (folder / "2" / str(x)).mkdir(parents=True)
        for y in range(4):
            if (x, y) != (1, 2):
                Image.new("RGB", (side_px, side_px), (x * 50, y * 50, 9)).save(folder / f"2/{x}/{y}.{ending}")
    return folder


@pytest.mark.parametrize("side_px", [256, 512])
def test_tiles_of_an_area_come_from_a_folder(tmp_path: Path, side_px: int) -> None:
    folder = TileFolder(tree(tmp_path, side_px))
    assert folder.zooms == [2]
    listed = tiles_of_area(AREA, 2, "somebody", "2024")
    assert len(listed) == 16
    assert listed[0] == SatelliteTile("2/0/0", tile_bounds(Tile(2, 0, 0)), "2", "somebody", "2024", tile=Tile(2, 0, 0))
    for each, rgb in zip(listed, folder.pictures(each.tile for each in listed if each.tile), strict=True):
        assert each.tile is not None
        assert (rgb is None) == (each.tile == Tile(2, 1, 2))
        if rgb is not None:
            assert rgb.shape == (256, 256, 3)
            assert tuple(rgb[128, 128]) == (each.tile.x * 50, each.tile.y * 50, 9)


def test_nothing_of_another_zoom_or_place(tmp_path: Path) -> None:
    folder = TileFolder(tree(tmp_path, ending="webp"))
    assert not any(rgb is not None for rgb in folder.pictures([Tile(3, 1, 1)]))
    [one] = tiles_of_area(TileBounds(10.0, 10.0, 11.0, 11.0), 2)
    assert one.tile == Tile(2, 2, 1)
    [rgb] = folder.pictures([one.tile])
    assert rgb is not None
    assert abs(int(rgb[0, 0, 0]) - 100) < 3


def test_folders_that_hold_no_tiles(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder of tiles"):
        TileFolder(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no tiles"):
        TileFolder(tmp_path)
    (tree(tmp_path) / "2/3/3.png").write_bytes(b"<html>")
    with pytest.raises(PhotoError, match=r"3\.png is no tile .*delete it"):
        list(TileFolder(tmp_path).pictures([Tile(2, 3, 3)]))
