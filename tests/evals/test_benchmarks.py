"""The registry of benchmarks, reading them from disk, and choosing which photos to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from evals.benchmarks.loading import BenchmarkData, load_benchmark
from evals.benchmarks.registry import BENCHMARKS, find_benchmark
from evals.runs import sample_selection
from retrieval.splits import split_by_author


def folder_with(tmp_path: Path, table: str, *photos: str) -> Path:
    (tmp_path / "images").mkdir(parents=True)
    (tmp_path / "truth.csv").write_text(table, encoding="utf-8")
    for photo in photos:
        path = tmp_path / "images" / photo
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_the_registry_has_the_counts_that_the_field_reports_on() -> None:
    counts = {name: one.expected for name, one in BENCHMARKS.items()}
    expected = {"im2gps": 237, "im2gps3k": 2997, "yfcc4k": 4536, "yfcc26k": 25_600, "mmlandmarks": 18_688}
    assert counts == {**expected, "folder": None, "answers": None}
    assert {one.thresholds_km for one in BENCHMARKS.values()} == {(1.0, 25.0, 200.0, 750.0, 2500.0)}


def test_an_unknown_benchmark_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="im2gps3k"):
        find_benchmark("im2gps5k")


def test_a_table_is_read_with_all_it_says(tmp_path: Path) -> None:
    table = "IMG_ID,AUTHOR,LAT,LON,S3_Label\na.jpg,ann,1.25,-179.5,2\nx_12@N01.jpg,,-2,3.000,0\ngone.jpg,bob,5,6,1\n"
    data = load_benchmark(BENCHMARKS["folder"], folder_with(tmp_path, table, "a.jpg", "x_12@N01.jpg"))
    first, second = data.samples
    assert (first.photo, first.author, first.truth.lon) == ("a.jpg", "ann", -179.5)
    assert first.strata == {"scene": "urban", "geotag_decimals": 1.0}
    assert second.author == "12@N01", "Flickr's names of files end in the user's id"
    assert second.strata == {"scene": "indoor", "geotag_decimals": 0.0}
    assert data.missing == ("gone.jpg",)
    assert data.expected == 3
    assert not data.is_complete
    assert "2 of 3 photos" in data.shortfall()
    assert "gone.jpg" in data.shortfall()


def test_files_with_a_place_before_the_id_are_found_if_no_two_end_alike(tmp_path: Path) -> None:
    table = "IMG_ID,LAT,LON\n231_a.jpg,1,2\n77.jpg,3,4\n"
    data = load_benchmark(
        BENCHMARKS["folder"], folder_with(tmp_path, table, "Rome_00024_231_a.jpg", "x_77.jpg", "y_77.jpg")
    )
    assert [(s.photo, s.path and s.path.name) for s in data.samples] == [("231_a.jpg", "Rome_00024_231_a.jpg")]
    assert data.missing == ("77.jpg",)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("IMG_ID,LAT\na.jpg,1\n", "no column LON"),
        ("IMG_ID,LAT,LON\na.jpg,1,2\nb.jpg,91,2\n", "row 3 .b.jpg."),
        ("IMG_ID,LAT,LON\na.jpg,nan,2\n", "no position"),
        ("IMG_ID,LAT,LON\na.jpg,1,2\na.jpg,1,2\n", "twice"),
        ("IMG_ID,LAT,LON\n../a.jpg,1,2\n", "not the name of a photo"),
        ("IMG_ID,LAT,LON\n/etc/passwd,1,2\n", "not the name of a photo"),
        ("", "no column"),
    ],
)
def test_a_table_that_cannot_be_used_is_reported_with_its_row(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_benchmark(BENCHMARKS["folder"], folder_with(tmp_path, table, "a.jpg", "b.jpg"))


EXCHANGED = "IMG_ID,LAT,LON\na.jpg,2.25,48.5\nb.jpg,139.75,35.5\n"


def test_exchanged_headers_are_named_and_can_be_read_the_right_way(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, EXCHANGED, "a.jpg", "b.jpg")
    with pytest.raises(UserError, match=r"LAT and LON look swapped: .*row 3 .*all 2 rows .*again with --swap"):
        load_benchmark(BENCHMARKS["folder"], folder)
    data = load_benchmark(BENCHMARKS["folder"], folder, swap_lat_lon=True)
    assert [(sample.truth.lat, sample.truth.lon) for sample in data.samples] == [(48.5, 2.25), (35.5, 139.75)]


def test_a_right_table_read_as_exchanged_is_named_too(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "IMG_ID,LAT,LON\na.jpg,48.5,2.25\nb.jpg,35.5,139.75\n", "a.jpg", "b.jpg")
    with pytest.raises(UserError, match="again without --swap-lat-lon"):
        load_benchmark(BENCHMARKS["folder"], folder, swap_lat_lon=True)


def test_a_row_that_is_no_position_either_way_is_not_taken_for_exchanged_headers(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, EXCHANGED + "c.jpg,139.75,139.75\n", "a.jpg", "b.jpg", "c.jpg")
    with pytest.raises(UserError, match=r"row 3 .b\.jpg.: '139\.75', '35\.5' is no position"):
        load_benchmark(BENCHMARKS["folder"], folder)


def test_a_folder_without_what_is_needed_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"evals\.fetch im2gps3k"):
        load_benchmark(BENCHMARKS["im2gps3k"], tmp_path / "nothing")
    with pytest.raises(UserError, match="one CSV"):
        load_benchmark(BENCHMARKS["im2gps3k"], tmp_path)
    (tmp_path / "im2gps3k_places365.csv").write_text("IMG_ID,LAT,LON\na.jpg,1,2\n")
    with pytest.raises(UserError, match="images or im2gps3ktest"):
        load_benchmark(BENCHMARKS["im2gps3k"], tmp_path)


def test_landmarks_give_their_position_to_their_photos(tmp_path: Path) -> None:
    query = tmp_path / "query"
    (query / "ground" / "a" / "b" / "c").mkdir(parents=True)
    (query / "ground" / "a" / "b" / "c" / "abc1.jpg").write_bytes(b"x")
    (query / "mml_query.csv").write_text("landmark_id,CommonsCategory,lat,lon\n7,Bridge,40.5,-74.25\n8,Tower,41,-75\n")
    (query / "mml_query_ground.csv").write_text("landmark_id,images\n7,abc1 abc2\n8,bcd1\n")
    data = load_benchmark(BENCHMARKS["mmlandmarks"], tmp_path)
    (found,) = data.samples
    assert (found.photo, found.truth.lat, found.truth.lon, found.strata) == (
        "abc1",
        40.5,
        -74.25,
        {"landmark": "7"},
    )
    assert data.missing == ("abc2", "bcd1")
    assert data.expected == 18_688
    (query / "mml_query.csv").write_text("landmark_id,lat,lon\n7,-120.25,40.5\n8,-75,41\n")
    with pytest.raises(UserError, match="look swapped"):
        load_benchmark(BENCHMARKS["mmlandmarks"], tmp_path)
    swapped = load_benchmark(BENCHMARKS["mmlandmarks"], tmp_path, swap_lat_lon=True)
    assert (swapped.samples[0].truth.lat, swapped.samples[0].truth.lon) == (40.5, -120.25)
    (query / "mml_query.csv").write_text("landmark_id,lat,lon\n7,40.5,-74.25\n8,41,-75\n")
    (query / "mml_query_ground.csv").write_text("landmark_id,images\n9,abc1\n")
    with pytest.raises(UserError, match="landmark '9'"):
        load_benchmark(BENCHMARKS["mmlandmarks"], tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> BenchmarkData:
    rows = [f"{i:02d}.jpg,author{i % 20},{i},{i}" for i in range(60)]
    table = "\n".join(["IMG_ID,AUTHOR,LAT,LON", *rows])
    return load_benchmark(BENCHMARKS["folder"], folder_with(tmp_path, table, *(f"{i:02d}.jpg" for i in range(60))))


def choose(data: BenchmarkData, **changed: object) -> tuple[list[str], str | None]:
    options: dict[str, object] = {"allow_partial": False}
    samples, partial = sample_selection.choose_samples(data, **{**options, **changed})  # type: ignore[arg-type]  # options of several types
    return [sample.photo for sample in samples], str(partial) if partial else None


def test_a_complete_set_is_not_partial(data: BenchmarkData) -> None:
    photos, partial = choose(data)
    assert photos == [f"{i:02d}.jpg" for i in range(60)]
    assert partial is None


def test_a_partial_set_needs_a_flag_and_every_table_says_so(data: BenchmarkData) -> None:
    for sample in data.samples[:10]:
        assert sample.path is not None
        sample.path.unlink()
    less = load_benchmark(data.benchmark, data.folder)
    with pytest.raises(UserError, match=r"50 of 60 photos.*--allow-partial"):
        choose(less)
    photos, partial = choose(less, allow_partial=True)
    assert len(photos) == 50
    assert partial == "PARTIAL: 50 of 60 photos (50 on disk)"


def test_a_limit_draws_the_same_photos_for_the_same_seed_in_the_benchmarks_order(data: BenchmarkData) -> None:
    photos, partial = choose(data, limit=7, seed=3)
    assert photos == sorted(photos)
    assert len(photos) == 7
    assert photos == choose(data, limit=7, seed=3)[0]
    assert photos != choose(data, limit=7, seed=4)[0]
    assert partial == "PARTIAL: 7 of 60 photos (7 drawn with seed 3)"


def test_parts_are_those_of_the_split_by_photographer(data: BenchmarkData) -> None:
    by_part = {part: choose(data, part=part)[0] for part in ("train", "validation", "calibration")}
    authors = {sample.photo: sample.author for sample in data.samples}
    expected = split_by_author([sample.author or "" for sample in data.samples])
    for part, photos in by_part.items():
        assert photos == [sample.photo for sample, of in zip(data.samples, expected, strict=True) if of == part]
    seen = [{authors[photo] for photo in photos} for photos in by_part.values()]
    assert not seen[0] & seen[1]
    assert not seen[1] & seen[2]


def test_a_list_of_photos_may_be_ids_or_records(data: BenchmarkData, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("03.jpg\n\n01.jpg\nelsewhere.jpg\n")
    (tmp_path / "said.jsonl").write_text('{"photo": "03.jpg", "response": ""}\n{"photo": "01.jpg"}\n')
    for name in ("ids.txt", "said.jsonl"):
        photos, partial = choose(data, listed=tmp_path / name)
        assert photos == ["01.jpg", "03.jpg"]
        assert partial == f"PARTIAL: 2 of 60 photos (listed in {name})"
    with pytest.raises(UserError, match=r"gone\.txt"):
        choose(data, listed=tmp_path / "gone.txt")


def test_nothing_left_to_run_is_reported(data: BenchmarkData) -> None:
    with pytest.raises(UserError, match="no photo to run"):
        choose(data, limit=0)


def test_the_development_photos_are_a_partial_im2gps3k(shared_data: Path) -> None:
    data = load_benchmark(BENCHMARKS["im2gps3k"], shared_data / "im2gps3k_dev")
    assert len(data.samples) == 1335
    with pytest.raises(UserError, match="1335 of 2997"):
        choose(data)
    photos, partial = choose(data, allow_partial=True, part="validation")
    assert partial == f"PARTIAL: {len(photos)} of 2997 photos (1335 on disk, the validation photographers)"
