"""Photo atlases: from a table or from the files themselves, with photos that cannot be used."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.errors import UserError
from geo.point import Point
from retrieval.atlas.atlas import open_atlas
from retrieval.atlas.build import build_photo_atlas
from retrieval.atlas.failures import Failure, FailureList
from retrieval.atlas.manifest import draft_of
from retrieval.atlas.sources import PhotoColumns, PhotoItem, photos_from_collection, photos_from_table
from retrieval.candidate import AtlasKind
from retrieval.training.data.table import TableColumns, read_photo_table
from tests.fakes.atlas_items import DIM, WaveEncoder


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


def read_failures(folder: Path) -> list[Failure]:
    lines = (folder / "failed.jsonl").read_bytes().split(b"\n")
    return [Failure.model_validate_json(line) for line in lines if line]


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
    build_photo_atlas(tmp_path / "atlas", WaveEncoder(), photos_from_collection(tmp_path / "p"))
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
    failed = draft_of(tmp_path / "atlas") / "failed.jsonl"
    failed.write_text(failed.read_text()[:-9])
    with FailureList(draft_of(tmp_path / "atlas")) as failures:
        assert failures.ids == {0}
    manifest = build_photo_atlas(tmp_path / "atlas", WaveEncoder(), items)
    assert (manifest.count, manifest.failed) == (1, 2)
    assert [failure.id for failure in read_failures(tmp_path / "atlas")] == [0, 2]


def test_other_column_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Photo,Y,X\na.jpg,1,2\n")
    columns = PhotoColumns(file="photo", lat="y", lon="x")
    (item,) = photos_from_table(tmp_path / "t.csv", tmp_path, columns)
    assert item == PhotoItem("a.jpg", tmp_path / "a.jpg", Point(lat=1, lon=2))


def test_a_parquet_table_is_read_as_the_same_csv(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON,AUTHOR\na.jpg,1.25,2,ann\nb.jpg,,3,\n")
    columns = {"img_id": ["a.jpg", "b.jpg"], "Lat": [1.25, None], "LON": [2, 3], "author": ["ann", None]}
    parquet.write_table(arrow.table(columns | {"image": [b"x", b"y"], "tags": [["a"], []]}), tmp_path / "t.parquet")
    items = photos_from_table(tmp_path / "t.parquet", tmp_path)
    assert items[0] == photos_from_table(tmp_path / "t.csv", tmp_path)[0]
    assert items[1].point is None
    assert items[1].problem


def test_a_bad_parquet_table_is_refused(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="no column IMG_ID, LAT, LON: it has a"):
        photos_from_table(tmp_path / "t.parquet", tmp_path)
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(UserError, match="cannot read the table"):
        photos_from_table(tmp_path / "t.parquet", tmp_path)


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
        photos_from_collection(tmp_path / "none")
    with pytest.raises(UserError, match="no photos here"):
        photos_from_collection(tmp_path)


def test_a_reason_may_hold_what_python_takes_for_the_end_of_a_line(tmp_path: Path) -> None:
    strange = Failure(id=4, item_id="a\u2028b.jpg", reason="no photo\u0085")
    with FailureList(tmp_path) as failures:
        failures.add([strange, Failure(id=5, item_id="c.jpg", reason="too small")])
    assert read_failures(tmp_path)[0] == strange
    with FailureList(tmp_path) as failures:
        assert failures.ids == {4, 5}


@given(
    separator=st.sampled_from(",;\t"),
    bom=st.booleans(),
    spaces=st.sampled_from(["", " ", "  "]),
    order=st.permutations(["IMG_ID", "LAT", "LON", "AUTHOR"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_table_is_read_however_it_is_written(
    separator: str, bom: bool, spaces: str, order: list[str], end: str
) -> None:
    row = {"IMG_ID": "a\u2028 b.jpg", "LAT": "48.5", "LON": "-120.25", "AUTHOR": "ann"}
    lines = [separator.join(f"{spaces}{cell}{spaces}" for cell in cells) for cells in (order, [row[c] for c in order])]
    with TemporaryDirectory() as made:
        table = Path(made) / "table.csv"
        table.write_text(end.join(lines) + end, encoding="utf-8-sig" if bom else "utf-8", newline="")
        (item,) = photos_from_table(table, Path(made))
        assert (item.item_id, item.author, item.point) == ("a\u2028 b.jpg", "ann", Point(lat=48.5, lon=-120.25))
        trained, bad = read_photo_table(table, TableColumns())
        assert (trained.ids, trained.positions_deg.tolist(), bad) == (["a\u2028 b.jpg"], [[48.5, -120.25]], [])


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["IMG_ID,LAT,lat ,LON", "a.jpg,1,2,3"], "2 columns lat"),
        (["IMG_ID,LAT,LON", "a.jpg,120,10", "b.jpg,10,20"], "LAT and LON look swapped"),
    ],
)
def test_a_table_that_could_mean_two_things_is_refused(lines: list[str], problem: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match=problem):
        photos_from_table(table, tmp_path)
