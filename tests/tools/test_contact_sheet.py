"""Thumbnails of look-alikes: one numbered picture of the atlas's own photos."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from geo.point import Point
from graphs.components import open_atlas_photos
from graphs.nodes.tool_calls import _success
from graphs.settings import make_settings
from retrieval.candidate import AtlasKind, Candidate
from tests.fakes.machine import FakeSearch
from tests.fakes.tool_calls import call, shown_to_model
from tools.results import PhotoMatches
from tools.search_photos import search_photos_tool
from tools.services.contact_sheet import MAX_TILES, TILE_PX, AtlasPhotos


def candidate(item_id: str, rank: int, kind: AtlasKind = AtlasKind.PHOTO) -> Candidate:
    point = Point(lat=float(rank), lon=10.0)
    return Candidate(point=point, similarity=0.9 - rank / 100, atlas="own", kind=kind, item_id=item_id, rank=rank)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve photos, each of its own grey, in a folder of the atlas; one more outside."""
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for number in range(12):
        shade = np.full((60, 80, 3), 20 * number + 10, np.uint8)
        Image.fromarray(shade).save(photos / f"sub/{number}.png")
    (photos / "broken.jpg").write_bytes(b"not a photo")
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "secret.png")
    return photos


def matches(folder: Path | None, *found: Candidate, **arguments: Any) -> Any:
    search: Any = FakeSearch(found)
    return call(search_photos_tool(search, AtlasPhotos(folder) if folder else None), photo_id="p", **arguments)


def sheet_of(message: Any) -> Image.Image:
    [picture] = [block for block in message.content if block["type"] == "image"]
    return Image.open(io.BytesIO(base64.b64decode(picture["base64"])))


def shade_of_tile(sheet: Image.Image, number: int) -> int:
    x, y = (number - 1) % 3 * TILE_PX, (number - 1) // 3 * TILE_PX
    return int(np.asarray(sheet)[y + TILE_PX // 2, x + TILE_PX // 2, 0])


def test_the_nearest_look_alikes_are_numbered_in_the_order_of_the_data(folder: Path) -> None:
    found = [candidate("gone.png", 0), *(candidate(f"sub/{n}.png", n + 1) for n in range(12))]
    message = matches(folder, *found, thumbnails=True)
    tiles = shown_to_model(message)["tiles_of_the_picture"]
    assert [tile["tile"] for tile in tiles] == list(range(1, MAX_TILES + 1))
    assert [tile["lat"] for tile in tiles] == [float(n + 1) for n in range(9)]
    sheet = sheet_of(message)
    assert sheet.size == (3 * TILE_PX, 3 * TILE_PX)
    for number in range(1, 10):
        assert shade_of_tile(sheet, number) == pytest.approx(20 * (number - 1) + 10, abs=3)
    assert len(base64.b64decode(message.artifact.jpeg_base64)) < 60_000


def test_only_photos_in_the_folder_are_shown(folder: Path) -> None:
    odd = [candidate("../secret.png", 0), candidate("broken.jpg", 1), candidate("sub", 2)]
    odd += [candidate(str(folder.parent / "secret.png"), 3), candidate("sub/1.png", 4, AtlasKind.GPS)]
    alone = matches(folder, *odd, thumbnails=True)
    assert isinstance(alone.content, str)
    assert "tiles_of_the_picture" not in alone.content
    message = matches(folder, *odd, candidate("sub/3.png", 5), thumbnails=True)
    assert message.artifact.tiles == (5,)
    assert sheet_of(message).size == (TILE_PX, TILE_PX)


def test_nothing_is_shown_unless_the_model_asks_and_the_user_allows_it(folder: Path) -> None:
    found = candidate("sub/1.png", 0)
    assert isinstance(matches(folder, found).content, str)
    search: Any = FakeSearch([found])
    assert "thumbnails" not in search_photos_tool(search).args
    assert "thumbnails" in search_photos_tool(search, AtlasPhotos(folder)).args


def test_the_record_keeps_the_tiles_and_no_picture(folder: Path) -> None:
    message = matches(folder, candidate("sub/1.png", 0), thumbnails=True)
    made = _success({"name": "search_photos", "args": {}, "id": "c", "type": "tool_call"}, message).record
    back = PhotoMatches.model_validate(made.result)
    assert (back.tiles, back.jpeg_base64) == ((0,), "")


def test_the_folder_is_a_setting_and_has_to_be_there(folder: Path) -> None:
    assert open_atlas_photos(make_settings()) is None
    assert open_atlas_photos(make_settings(atlas_photos=str(folder))) is not None
    with pytest.raises(UserError, match="no folder of the atlas's photos"):
        open_atlas_photos(make_settings(atlas_photos=str(folder / "gone")))
