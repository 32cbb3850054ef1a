"""Photos of one place as one query of a run: grouped by a column, failures counted, named as places."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from evals import run as evals_run
from evals.benchmarks.loading import BenchmarkData, load_benchmark
from evals.benchmarks.registry import BENCHMARKS
from evals.runs.records import RecordStatus, read_info, read_records
from evals.runs.sample_selection import as_places, choose_samples
from retrieval.photos.together import MOST_TOGETHER
from tests.fakes.photo_files import jpeg

ROWS = (
    "tower-1.jpg,ann,38.6916,-9.2160,tower",
    "square.jpg,bob,48.8584,2.2945,square",
    "tower-2.jpg,cem,38.6918,-9.2161,tower",
    "alone.jpg,ann,35.6595,139.7005,",
)


def table(folder: Path, *rows: str) -> Path:
    """A benchmark with a column `spot`, and its photos."""
    (folder / "images").mkdir(parents=True)
    for seed, row in enumerate(rows):
        jpeg(folder / "images" / row.split(",")[0], seed=seed)
    (folder / "truth.csv").write_text("\n".join(["IMG_ID,AUTHOR,LAT,LON,SPOT", *rows]))
    return folder


def loaded(folder: Path, column: str | None = "spot") -> BenchmarkData:
    return load_benchmark(BENCHMARKS["folder"], folder, place_column=column)


def run(data: Path, out: Path, *more: str) -> int:
    home = out.parent / "home"
    common = ["folder", "--data", str(data), "--home", str(home), "--out", str(out), "--no-signs", "--threads", "1"]
    return evals_run.main([*common, *more])


def test_a_run_by_places_has_a_record_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = table(tmp_path / "data", *ROWS), tmp_path / "run"
    assert run(data, out, "--together", "SPOT") == 0
    records = {record.photo: record for record in read_records(out)}
    assert list(records) == ["SPOT=tower", "SPOT=square", "alone.jpg"]
    tower = records["SPOT=tower"]
    assert (tower.photos, tower.strata["photos"], tower.author) == (("tower-1.jpg", "tower-2.jpg"), 2.0, "ann + cem")
    assert tower.status is RecordStatus.ANSWERED
    info = read_info(out)
    assert (info.photos, info.together) == (3, "SPOT")
    assert "3 places (photos with the same SPOT as one query)" in info.heading()
    assert ", places by SPOT |" in capsys.readouterr().out
    assert run(data, out, "--together", "SPOT") == 0, "the same command finds the run finished"
    assert run(data, out) == 2, "another one is another run"


def test_a_place_with_a_photo_that_cannot_be_used_is_a_miss_that_stays_counted(tmp_path: Path) -> None:
    data, out = table(tmp_path / "data", *ROWS), tmp_path / "run"
    (data / "images" / "tower-2.jpg").write_bytes(b"no photo")
    assert run(data, out, "--together", "SPOT") == 0
    statuses = {record.photo: record.status for record in read_records(out)}
    assert statuses["SPOT=tower"] is RecordStatus.ERROR
    assert (len(statuses), read_info(out).photos) == (3, 3)


def test_recorded_answers_are_about_single_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(tmp_path / "data", *ROWS)
    (tmp_path / "said.jsonl").write_text('{"photo": "square.jpg", "response": "Paris"}\n')
    model = ("--model", f"recorded:{tmp_path / 'said.jsonl'}", "--strategy", "zero_shot")
    assert run(data, tmp_path / "run", "--together", "SPOT", *model) == 2
    assert "answers about one photo each" in capsys.readouterr().err


def test_no_photographer_is_in_two_parts_of_a_split(tmp_path: Path) -> None:
    rows = [f"{n:02}.jpg,author{n},{n // 4},0,spot{n // 4}" for n in range(40)]
    data = loaded(table(tmp_path, *rows))
    parts = {
        part: choose_samples(data, allow_partial=False, part=part, together="spot")[0]
        for part in ("train", "validation", "calibration")
    }
    members = {part: {photo.photo for one in samples for photo in one.photos} for part, samples in parts.items()}
    assert sum(map(len, members.values())) == len(set().union(*members.values())) == 40
    [drawn, partial] = choose_samples(data, allow_partial=False, together="spot", limit=3)
    assert len(drawn) == 3
    assert partial is not None
    assert partial.run == 12, "photos, not places"


def test_of_many_photos_of_a_place_the_first_are_shown(tmp_path: Path) -> None:
    rows = [f"{n:02}.jpg,ann,1,2,spot" for n in range(MOST_TOGETHER + 2)]
    [place] = as_places(loaded(table(tmp_path, *rows)).samples, "spot")
    assert [photo.photo for photo in place.photos] == [f"{n:02}.jpg" for n in range(MOST_TOGETHER)]


def test_photos_that_lie_apart_are_not_of_one_place(tmp_path: Path) -> None:
    data = loaded(table(tmp_path, "a.jpg,ann,1,2,spot", "b.jpg,ann,1.1,2,spot"))
    with pytest.raises(UserError, match=r"spot=spot: its photos lie 11.1 km apart"):
        as_places(data.samples, "spot")


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no column venue"):
        loaded(table(tmp_path, *ROWS), "venue")
    with pytest.raises(UserError, match="has no photos that could be shown together"):
        load_benchmark(BENCHMARKS["answers"], tmp_path / "truth.csv", place_column="spot")
