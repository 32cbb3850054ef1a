"""Tiles of an area from a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from geo.tiles import Tile, TileBounds, tile_bounds
from retrieval.crossview.tiles import TileFolder, area_tiles

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
def test_every_tile_of_an_area_comes_with_where_it_lies(tmp_path: Path, side_px: int) -> None:
    folder = TileFolder(tree(tmp_path, side_px))
    assert folder.zooms == [2]
    found = list(area_tiles(folder, AREA, 2))
    assert len(found) == 15
    for each in found:
        assert each.rgb.shape == (256, 256, 3)
        assert tuple(each.rgb[128, 128]) == (each.tile.x * 50, each.tile.y * 50, 9)
        assert (each.bounds, each.centre) == (tile_bounds(each.tile), tile_bounds(each.tile).centre)
    assert found[0].id == "2/0/0"
    assert Tile(2, 1, 2) not in {each.tile for each in found}


def test_nothing_of_another_zoom_or_place(tmp_path: Path) -> None:
    folder = TileFolder(tree(tmp_path, ending="webp"))
    assert not list(area_tiles(folder, AREA, 3))
    [one] = area_tiles(folder, TileBounds(10.0, 10.0, 11.0, 11.0), 2)
    assert np.array_equal(one.rgb[0, 0], [100, 50, 9]) or abs(int(one.rgb[0, 0, 0]) - 100) < 3


def test_folders_that_hold_no_tiles(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder of tiles"):
        TileFolder(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no tiles"):
        TileFolder(tmp_path)
    (tree(tmp_path) / "2/3/3.png").write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"3\.png is no tile .*delete it"):
        list(area_tiles(TileFolder(tmp_path), AREA, 2))
