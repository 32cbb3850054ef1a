"""Collections: a folder and tars give the same rows; what cannot be used is listed before training."""

import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

import numpy as np  # noqa: E402

from core.errors import UserError  # noqa: E402
from retrieval.photos.tars import index_tars  # noqa: E402
from retrieval.training.config import DataConfig  # noqa: E402
from retrieval.training.data.bad_samples import BadSample, BadSamples, read_bad_samples  # noqa: E402
from retrieval.training.data.sources import PhotoSource, open_source  # noqa: E402
from retrieval.training.data.table import TableColumns, read_photo_table  # noqa: E402
from tests.fakes.training_samples import HEADER, jpeg, rows, write_folder, write_shards, write_table  # noqa: E402

COUNT = 7


def opened(folder: Path, **given: Any) -> tuple[PhotoSource, list[BadSample]]:
    return open_source(DataConfig(cache=folder / "cache", **given))


def same(one: PhotoSource, other: PhotoSource) -> bool:
    """The same photos with the same facts, in whatever order."""

    def facts(source: PhotoSource) -> dict[tuple[float, ...], tuple[bytes, str, str]]:
        table = source.table
        return {
            tuple(table.positions_deg[row]): (source.read(row), table.authors[row], table.texts[row])
            for row in range(len(table.ids))
        }

    return facts(one) == facts(other)


def test_a_folder_tars_with_a_table_and_tars_with_sidecars_are_one_collection(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, COUNT)
    write_shards(tmp_path, COUNT)
    from_folder, bad = opened(tmp_path, photos=folder / "photos", table=folder / "table.csv")
    assert not bad
    assert len(from_folder.table.ids) == COUNT
    assert from_folder.read(2) == jpeg(2)
    pattern = str(tmp_path / "shard-*.tar")
    with_table, bad = opened(tmp_path, shards=[pattern], table=folder / "table.csv")
    assert not bad
    assert same(from_folder, with_table)
    with_sidecars, bad = opened(tmp_path, shards=[pattern])
    assert not bad
    assert same(from_folder, with_sidecars)
    assert with_table.describe(1) == "shard-001.tar:p_1.jpg"


def test_shards_of_the_webdataset_package_are_read(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="it is only needed to write shards")
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as writer:
        for i, row in enumerate(rows(3)):
            writer.write({"__key__": f"{i:06d}", "jpg": jpeg(i), "json": dict(zip(HEADER, row, strict=True))})
    source, bad = opened(tmp_path, shards=[str(tmp_path / "w.tar")])
    assert not bad
    assert [source.read(i) for i in range(3)] == [jpeg(i) for i in range(3)]
    assert source.table.texts[0] == "Paris, Île-de-France, France"


def test_the_index_is_kept_until_a_tar_changes(tmp_path: Path) -> None:
    paths, cache = write_shards(tmp_path, COUNT), tmp_path / "cache" / "index.npz"
    first, again = index_tars(paths, cache), index_tars(paths, cache)
    assert first.names == again.names
    assert np.array_equal(first.offset, again.offset)
    write_shards(tmp_path, COUNT + 3)
    assert len(index_tars(paths, cache).names) == 2 * (COUNT + 3)


@pytest.mark.parametrize("kept", [700, 1024, 2600, -10240])
def test_a_truncated_shard_is_named_with_its_last_whole_member(tmp_path: Path, kept: int) -> None:
    """Cut inside a member, between two members, inside a later one, and just before the end marker."""
    path = write_shards(tmp_path, COUNT)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:kept] if kept > 0 else whole.rstrip(b"\0") + b"\0" * (-len(whole.rstrip(b"\0")) % 512))
    with pytest.raises(UserError, match=r"shard-001\.tar is cut off"):
        opened(tmp_path, shards=[str(tmp_path / "shard-*.tar")])


def test_a_compressed_or_missing_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b" + os.urandom(2000))
    with pytest.raises(UserError, match=r"a\.tar is cut off or no uncompressed tar"):
        opened(tmp_path, shards=[str(tmp_path / "a.tar")])
    with pytest.raises(UserError, match="no tar file at"):
        opened(tmp_path, shards=[str(tmp_path / "b-*.tar")])


def changed(line: int, column: str, value: str) -> list[list[str]]:
    table = rows(COUNT * 10)
    table[line][HEADER.index(column)] = value
    return table


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("LAT", "", "no coordinates"),
        ("LON", "nan", "not finite"),
        ("LAT", "inf", "not finite"),
        ("LAT", "95.5", "out of range"),
        ("LON", "181", "out of range"),
        ("LAT", "N48", "not coordinates"),
        ("IMG_ID", "", "no photo name"),
        ("IMG_ID", "p/1.jpg", "listed twice"),
    ],
)
def test_a_bad_row_is_listed_with_its_line_and_reason(tmp_path: Path, column: str, value: str, reason: str) -> None:
    table, bad = read_photo_table(write_table(tmp_path / "t.csv", changed(4, column, value)), TableColumns())
    assert len(table.ids) == COUNT * 10 - 1
    assert [one.where for one in bad] == ["t.csv line 6"]
    assert reason in bad[0].reason


def test_one_row_may_look_swapped_but_not_the_columns(tmp_path: Path) -> None:
    one = changed(1, "LAT", "151.2")
    one[1][HEADER.index("LON")] = "-33.9"
    _, bad = read_photo_table(write_table(tmp_path / "one.csv", one), TableColumns())
    assert [row.reason for row in bad] == ["latitude 151.2 out of range; swapped?"]
    whole = [[row[0], row[1], row[3], row[2], *row[4:]] for row in rows(COUNT)]
    with pytest.raises(UserError, match=r"LAT and LON look swapped in 3 of 7 rows \(such as lines 3, 6, 8\)"):
        read_photo_table(write_table(tmp_path / "whole.csv", whole), TableColumns())


def test_zero_zero_is_a_place(tmp_path: Path) -> None:
    table = changed(0, "LAT", "0")
    table[0][HEADER.index("LON")] = "0"
    read, bad = read_photo_table(write_table(tmp_path / "t.csv", table), TableColumns())
    assert not bad
    assert read.positions_deg[0].tolist() == [0.0, 0.0]


def test_a_missing_column_or_table_is_named(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", rows(2), ["IMG_ID", "USER", *HEADER[2:]])
    with pytest.raises(UserError, match=r"no column AUTHOR: it has IMG_ID, USER.*data\.columns\.author"):
        read_photo_table(path, TableColumns())
    with pytest.raises(UserError, match=r"data\.table: cannot read .*none\.csv"):
        read_photo_table(tmp_path / "none.csv", TableColumns())


def test_missing_photos_are_listed_and_too_many_stop_the_run(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, COUNT)
    (folder / "photos" / "p" / "3.jpg").unlink()
    source, bad = opened(tmp_path, photos=folder / "photos", table=folder / "table.csv")
    assert "p/3.jpg" not in source.table.ids
    assert bad == [BadSample("line 5", "p/3.jpg", f"no such photo in {folder / 'photos'}")]
    listed = BadSamples(tmp_path / "bad.csv", max_share=0.2)
    listed.add(bad, COUNT)
    assert read_bad_samples(tmp_path / "bad.csv") == bad
    with pytest.raises(UserError, match=r"2 of 7 samples cannot be used.*max_bad_share=0\.2.*line 5 \(p/3\.jpg"):
        listed.add([BadSample("line 6", "p/4.jpg", "gone")], COUNT)


def test_a_bad_sample_is_listed_once_also_by_a_resumed_run(tmp_path: Path) -> None:
    one = BadSample("line 5", "p/3.jpg", "gone")
    BadSamples(tmp_path / "bad.csv", 1.0).add([one, one], 10)
    again = BadSamples(tmp_path / "bad.csv", 1.0)
    again.add([one], 10)
    assert len(again) == 1
    assert (tmp_path / "bad.csv").read_text().count("p/3.jpg") == 1
