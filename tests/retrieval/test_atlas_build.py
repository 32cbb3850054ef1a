"""Atlases: built, cut off, finished, opened, searched, verified, refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geo.errors import UserError
from geo.point import Point
from retrieval.atlas import atlas_info, list_atlases, open_atlas
from retrieval.atlas_build import build_gps_atlas, build_photo_atlas
from retrieval.atlas_failures import FailureList, read_failures
from retrieval.atlas_manifest import MANIFEST_FILE, AtlasError, read_manifest
from retrieval.atlas_sources import PhotoColumns, PhotoItem, photos_from_folder, photos_from_table
from retrieval.candidate import AtlasKind
from retrieval.encoder import EncoderIdentity, PhotoVectors
from retrieval.photo import Photo
from retrieval.stores.base import StoreDamagedError, StoredItem, StoreLockedError
from retrieval.stores.filters import Near
from retrieval.stores.registry import StorePlace, default_store_settings, open_store
from retrieval.stores.settings import EdgeSettings

DIM = 8
COUNT = 3_000
HERE = Path(__file__).parent
WEIGHTS = np.random.default_rng(0).standard_normal((3, DIM)) * 40


class WaveEncoder:
    """Positions and mean colours as normalised sines: fast, and different for different inputs."""

    def __init__(self, revision: str = "1") -> None:
        self.identity = EncoderIdentity(name="wave", revision=revision, dim=DIM)

    def encode_points(self, lat_lon_deg: np.ndarray) -> np.ndarray:
        lat, lon = np.radians(lat_lon_deg).T
        return self._unit(np.stack([np.sin(lat), np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon)], axis=1))

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        rows = self._unit(np.stack([photo.rgb.reshape(-1, 3).mean(axis=0) / 255 for photo in photos]))
        return PhotoVectors(rows[:, ::-1].copy(), rows[:, ::-1].copy(), rows)

    def _unit(self, triples: np.ndarray) -> np.ndarray:
        rows = np.sin(triples @ WEIGHTS + np.arange(DIM))
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def gallery(count: int = COUNT) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(1)
    positions = np.stack([rng.uniform(-90, 90, count), rng.uniform(-180, 180, count)], axis=1).round(6)
    return positions, [f"place-{i}" for i in range(count)]


def write_photo(path: Path, colour: int, position: Point | None = None) -> None:
    image = Image.new("RGB", (32, 32), (colour, 255 - colour, colour // 2))
    exif = Image.Exif()
    if position:
        gps = exif.get_ifd(0x8825)
        gps.update({1: "S" if position.lat < 0 else "N", 2: dms(position.lat)})
        gps.update({3: "W" if position.lon < 0 else "E", 4: dms(position.lon)})
    image.save(path, exif=exif)


def dms(degrees: float) -> tuple[float, float, float]:
    return abs(degrees), 0.0, 0.0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished GPS atlas; tests must not change it."""
    folder = tmp_path_factory.mktemp("home") / "atlases" / "world"
    build_gps_atlas(folder, WaveEncoder(), *gallery(), source="random places")
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "world"))


def test_a_position_finds_itself(built: Path) -> None:
    positions, names = gallery()
    with open_atlas(built, WaveEncoder()) as atlas:
        assert (atlas.name, atlas.kind, len(atlas)) == ("world", AtlasKind.GPS, COUNT)
        best, *others = atlas.search(WaveEncoder().encode_points(positions[77:78])[0], 5)
    assert (best.item_id, best.atlas, best.kind, best.rank) == (names[77], "world", AtlasKind.GPS, 0)
    assert (best.point.lat, best.point.lon) == tuple(positions[77])
    assert best.similarity == pytest.approx(1.0, abs=1e-5)
    assert [candidate.rank for candidate in others] == [1, 2, 3, 4]


def test_search_near_a_point_and_without_an_item(built: Path) -> None:
    positions, names = gallery()
    near = Near(Point(lat=-89.0, lon=10.0), 900.0)
    expected = {
        name for name, (lat, lon) in zip(names, positions, strict=True) if near.contains(Point(lat=lat, lon=lon))
    }
    left_out = min(expected)
    query = WaveEncoder().encode_points(positions[:1])[0]
    with open_atlas(built, WaveEncoder()) as atlas:
        assert {c.item_id for c in atlas.search(query, COUNT, near=near)} == expected
        found = atlas.search(query, COUNT, near=near, exclude={"item_id": [left_out]})
    assert {c.item_id for c in found} == expected - {left_out}


def test_manifest_info_and_listing(built: Path) -> None:
    info = atlas_info(built)
    assert info.manifest.state == "complete"
    assert (info.manifest.count, info.manifest.total, info.manifest.failed) == (COUNT, COUNT, 0)
    assert info.manifest.source == "random places"
    assert info.size_bytes > COUNT * DIM * 4
    assert list_atlases(built.parent.parent) == [built]
    assert list_atlases(built) == []


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    build_gps_atlas(tmp_path / "a", WaveEncoder(), *gallery(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2048, COUNT), (COUNT, COUNT)]


def test_a_good_atlas_verifies(built: Path) -> None:
    with open_atlas(built, WaveEncoder()) as atlas:
        verification = atlas.verify()
    assert verification.ok, verification
    assert [check.name for check in verification.checks] == ["count", "checksum", "vectors normalised", "self-search"]


def test_verify_sees_a_changed_and_a_lost_item(copy: Path) -> None:
    with open_store(EdgeSettings(), StorePlace(copy / "vectors", "world", DIM)) as store:
        page = next(store.scroll(5))
        moved = StoredItem(0, Point(lat=1, lon=1), page.items[0].item_id)
        store.upsert([moved], page.vectors[:1])
    with open_atlas(copy, WaveEncoder()) as atlas:
        assert [check.name for check in atlas.verify().checks if not check.ok] == ["checksum"]
    with open_store(EdgeSettings(), StorePlace(copy / "vectors", "world", DIM)) as store:
        store.delete([5])
    with open_atlas(copy, WaveEncoder()) as atlas:
        assert [check.name for check in atlas.verify().checks if not check.ok] == ["count", "checksum"]


KILLED_BUILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_atlas_build import WaveEncoder, gallery
from retrieval.atlas_build import build_gps_atlas
from retrieval.stores.registry import default_store_settings
def progress(done, total):
    os.kill(os.getpid(), signal.SIGKILL)
settings = default_store_settings(sys.argv[3])
build_gps_atlas(Path(sys.argv[1]), WaveEncoder(), *gallery(), store=settings, progress=progress)
"""


@pytest.mark.parametrize("engine", ["qdrant-edge", "faiss"])
def test_a_killed_build_resumes_with_nothing_lost_or_doubled(engine: str, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    command = [sys.executable, "-c", KILLED_BUILD, str(folder), str(HERE), engine]
    killed = subprocess.run(command, capture_output=True, env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with pytest.raises(AtlasError, match="half-built: run the same build again"):
        open_atlas(folder, WaveEncoder())
    encoded: list[int] = []

    class CountingEncoder(WaveEncoder):
        def encode_points(self, lat_lon_deg: np.ndarray) -> np.ndarray:
            encoded.append(len(lat_lon_deg))
            return super().encode_points(lat_lon_deg)

    manifest = build_gps_atlas(folder, CountingEncoder(), *gallery(), store=default_store_settings(engine))
    assert encoded == [COUNT - 2048], "what was stored before the kill is not made again"
    assert manifest.count == COUNT
    with open_atlas(folder, WaveEncoder()) as atlas:
        assert atlas.verify().ok
        query = WaveEncoder().encode_points(np.zeros((1, 2)))[0]
        everything = atlas.search(query, COUNT + 1, near=Near(Point(lat=0, lon=0), 30_000.0))
    assert sorted(c.item_id for c in everything) == sorted(gallery()[1])


def test_a_build_resumed_gives_the_checksum_of_one_not_cut_off(built: Path, tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery(), progress=stop)
    resumed = build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery())
    assert resumed.checksum == read_manifest(built).checksum


@pytest.mark.parametrize("change", ["items", "store", "encoder"])
def test_only_the_same_build_resumes(change: str, tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    positions, names = gallery(100)
    with pytest.raises(KeyboardInterrupt):
        build_gps_atlas(tmp_path / "a", WaveEncoder(), positions, names, progress=stop)
    other = positions + 0.1 if change == "items" else positions
    encoder = WaveEncoder("2" if change == "encoder" else "1")
    store = default_store_settings("faiss" if change == "store" else "qdrant-edge")
    message = "made by encoder" if change == "encoder" else "other items or in another store"
    with pytest.raises(AtlasError, match=message):
        build_gps_atlas(tmp_path / "a", encoder, other.clip(-90, 90), names, store=store)


def test_a_complete_atlas_is_not_built_over(built: Path) -> None:
    with pytest.raises(AtlasError, match="there already"):
        build_gps_atlas(built, WaveEncoder(), *gallery())


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(AtlasError, match="is no atlas"):
        build_gps_atlas(tmp_path, WaveEncoder(), *gallery(10))
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_refusals_are_distinct_and_one_line(copy: Path, tmp_path: Path) -> None:
    messages = []

    def refused(kind: type[UserError], folder: Path, encoder: WaveEncoder, words: str) -> None:
        with pytest.raises(kind, match=words) as caught:
            open_atlas(folder, encoder)
        assert "\n" not in str(caught.value)
        messages.append(str(caught.value))

    refused(AtlasError, tmp_path / "nowhere", WaveEncoder(), "no atlas at")
    refused(AtlasError, tmp_path, WaveEncoder(), "is no atlas")
    refused(AtlasError, copy, WaveEncoder("2"), r"made by encoder wave@1 \(8-d\), not wave@2 \(8-d\)")
    with open_atlas(copy, WaveEncoder()):
        refused(StoreLockedError, copy, WaveEncoder(), "in use by another process")
    segments = next((copy / "vectors" / "segments").iterdir())
    (segments / "segment.json").write_text("garbage")
    refused(StoreDamagedError, copy, WaveEncoder(), "cannot read the vectors")
    shutil.rmtree(copy / "vectors")
    refused(UserError, copy, WaveEncoder(), "no vectors in")
    (copy / MANIFEST_FILE).write_text('{"name": "wor')
    refused(AtlasError, copy, WaveEncoder(), "damaged")
    (copy / MANIFEST_FILE).write_text(read_text_with_version(99))
    refused(AtlasError, copy, WaveEncoder(), "another version")
    assert len(set(messages)) == len(messages)


def read_text_with_version(version: int) -> str:
    return f'{{"format_version": {version}, "name": "world"}}'


def test_photos_with_a_table(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(5):
        write_photo(photos / f"{i}.jpg", 40 * i)
    (photos / "3.jpg").write_bytes(b"not a photo")
    rows = [
        "IMG_ID,AUTHOR,LAT,LON",
        "0.jpg,ann,10,20",
        "1.jpg,bob,-10,181",
        "2.jpg,ann,x,20",
        "3.jpg,ann,1,2",
        "gone.jpg,,1,2",
    ]
    (tmp_path / "table.csv").write_text("\n".join([*rows, "4.jpg,,0,0"]), encoding="utf-8")
    items = photos_from_table(tmp_path / "table.csv", photos)
    manifest = build_photo_atlas(tmp_path / "atlas", WaveEncoder(), items, source="table.csv")
    assert (manifest.kind, manifest.total, manifest.count, manifest.failed) == (AtlasKind.PHOTO, 6, 3, 3)
    assert [failure.item_id for failure in read_failures(tmp_path / "atlas")] == ["2.jpg", "3.jpg", "gone.jpg"]
    with open_atlas(tmp_path / "atlas", WaveEncoder()) as atlas:
        query = np.full(DIM, DIM**-0.5, dtype=np.float32)
        everyone = {c.item_id: c.point for c in atlas.search(query, 9)}
        not_ann = {c.item_id for c in atlas.search(query, 9, exclude={"author": ["ann"]})}
        assert atlas.verify().ok
    assert everyone["1.jpg"] == Point(lat=-10, lon=-179)
    assert set(everyone) == {"0.jpg", "1.jpg", "4.jpg"}
    assert not_ann == {"1.jpg", "4.jpg"}


def test_a_photo_atlas_holds_the_fused_vector(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", 77)
    items = [PhotoItem("a", tmp_path / "a.png", Point(lat=1, lon=2))]
    build_photo_atlas(tmp_path / "atlas", WaveEncoder(), items)
    rgb = np.array([[77, 178, 38]]) / 255
    with open_atlas(tmp_path / "atlas", WaveEncoder()) as atlas:
        assert atlas.search(WaveEncoder()._unit(rgb)[0], 1)[0].similarity == pytest.approx(1.0, abs=1e-4)


def test_a_folder_of_photos_that_say_where_they_were_taken(tmp_path: Path) -> None:
    (tmp_path / "p" / "more").mkdir(parents=True)
    write_photo(tmp_path / "p" / "a.jpg", 10, Point(lat=12.5, lon=-70.25))
    write_photo(tmp_path / "p" / "more" / "b.jpg", 90)
    (tmp_path / "p" / "notes.txt").write_text("no photo")
    build_photo_atlas(tmp_path / "atlas", WaveEncoder(), photos_from_folder(tmp_path / "p"))
    (failure,) = read_failures(tmp_path / "atlas")
    assert failure.item_id == "more/b.jpg"
    assert "does not say where it was taken" in failure.reason
    with open_atlas(tmp_path / "atlas", WaveEncoder()) as atlas:
        (found,) = atlas.search(np.full(DIM, DIM**-0.5, dtype=np.float32), 9)
    assert (found.item_id, found.point.lat, found.point.lon) == ("a.jpg", 12.5, -70.25)


def test_failures_are_not_tried_again_and_a_cut_line_is(tmp_path: Path) -> None:
    items = [PhotoItem(str(i), tmp_path / f"{i}.jpg", Point(lat=0, lon=0)) for i in range(3)]
    write_photo(tmp_path / "1.jpg", 5)

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_photo_atlas(tmp_path / "atlas", WaveEncoder(), items, progress=stop)
    failed = tmp_path / "atlas" / "failed.jsonl"
    failed.write_text(failed.read_text()[:-9])
    assert FailureList(tmp_path / "atlas").ids == {0}
    manifest = build_photo_atlas(tmp_path / "atlas", WaveEncoder(), items)
    assert (manifest.count, manifest.failed) == (1, 2)
    assert [failure.id for failure in read_failures(tmp_path / "atlas")] == [0, 2]


def test_other_column_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Photo,Y,X\na.jpg,1,2\n")
    columns = PhotoColumns(file="photo", lat="y", lon="x")
    (item,) = photos_from_table(tmp_path / "t.csv", tmp_path, columns)
    assert item == PhotoItem("a.jpg", tmp_path / "a.jpg", Point(lat=1, lon=2))


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b\n1,2\n", "no column IMG_ID, LAT, LON: it has a, b"), ("", "it has none"), (None, "cannot read the table")],
)
def test_a_bad_table_is_refused(text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        photos_from_table(tmp_path / "t.csv", tmp_path)


def test_a_photo_listed_twice_and_missing_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\na,1,2\na,3,4\n")
    with pytest.raises(UserError, match="lists a twice"):
        photos_from_table(tmp_path / "t.csv", tmp_path)
    with pytest.raises(UserError, match="no folder of photos"):
        photos_from_table(tmp_path / "t.csv", tmp_path / "none")
    with pytest.raises(UserError, match="no folder of photos"):
        photos_from_folder(tmp_path / "none")
    with pytest.raises(UserError, match="no photos here"):
        photos_from_folder(tmp_path)
