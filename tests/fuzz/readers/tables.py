"""Tables of evaluations and atlases, and lists of ids."""

from __future__ import annotations

from pathlib import Path

from evals.benchmarks.loading import load_benchmark
from evals.benchmarks.registry import find_benchmark
from evals.runs.sample_selection import _ids
from retrieval.atlas.sources import photos_from_table
from retrieval.crossview.mmlandmarks import first_sentence, read_index_tiles, read_landmarks
from tests.fuzz.cases import Target

_TRUTH = (
    "IMG_ID,AUTHOR,LAT,LON,S3_Label,ACCURACY\n"
    "a.jpg,ann,1.25,-179.5,2,16\nx_12@N01.jpg,,-2,3.000,0,14\n"
    '"gone, away.jpg",bob,5,6,1,\nété.jpg,zoë,-33.9,151.2,1,1\n'
).encode()
_PHOTOS = {f"images/{name}": b"x" for name in ("a.jpg", "x_12@N01.jpg", "été.jpg")}


def _benchmark(folder: Path) -> object:
    data = load_benchmark(find_benchmark("folder"), folder)
    data.shortfall()
    assert all(s.path is not None and s.path.resolve().is_relative_to(folder.resolve()) for s in data.samples)
    return [(sample.photo, sample.truth, sample.photographer, dict(sample.strata)) for sample in data.samples]


def _names(folder: Path) -> object:
    return [s.photo for s in load_benchmark(find_benchmark("answers"), folder / "truth.csv").samples]


def _landmarks(folder: Path) -> object:
    samples = load_benchmark(find_benchmark("mmlandmarks"), folder).samples
    assert all(s.path is not None and s.path.resolve().is_relative_to(folder.resolve()) for s in samples)
    return [(sample.photo, sample.truth) for sample in samples]


def _places_of_landmarks(folder: Path) -> object:
    landmarks = read_landmarks(folder, "train")
    files = [name for one in landmarks for name in (*one.photos, *one.tiles, one.text)]
    files += [tile.name for tile in read_index_tiles(folder)]
    assert all((folder / name).resolve().is_relative_to(folder.resolve()) for name in files)
    return landmarks, [first_sentence(folder / one.text) for one in landmarks]


def _atlas_photos(folder: Path) -> object:
    items = photos_from_table(folder / "truth.csv", folder / "images")
    return [(item.item_id, item.point, item.author, item.problem) for item in items]


TARGETS = (
    Target("table-benchmark", lambda: {"truth.csv": _TRUTH, **_PHOTOS}, _benchmark, changed=("truth.csv",)),
    Target("table-names", lambda: {"truth.csv": _TRUTH}, _names),
    Target("table-atlas", lambda: {"truth.csv": _TRUTH, **_PHOTOS}, _atlas_photos, changed=("truth.csv",)),
    Target(
        "table-landmarks",
        lambda: {
            "query/mml_query.csv": b"landmark_id,lat,lon\n1,48.85,2.29\n2,-33.9,151.2\n",
            "query/mml_query_ground.csv": b"landmark_id,images\n1,0a1b2c 0a1b2d\n2,1a1b2c\n",
            "query/ground/0/a/1/0a1b2c.jpg": b"x",
        },
        _landmarks,
        changed=("query/mml_query.csv", "query/mml_query_ground.csv"),
    ),
    Target(
        "table-mmlandmarks",
        lambda: {
            "train/mml_train.csv": b"landmark_id,CommonsCategory,lat,lon\n1,A,48.85,2.29\n2,B,-33.9,151.2\n",
            "train/mml_train_ground.csv": b"landmark_id,images\n1,0a1b2c 0a1b2d\n2,1a1b2c\n",
            "train/mml_train_satellite.csv": b"landmark_id,images\n1,3a1b2c 3a1b2d\n2,4a1b2c\n",
            "train/mml_train_text.csv": b"landmark_id,json\n1,5a1b2c\n2,6a1b2c\n",
            "index/mml_index_satellite.csv": b"images,lat,lon,year\n7a1b2c,1,2,2020\n",
            "train/text/5/a/1/5a1b2c.json": b'{"Lead": "A bridge. Old."}',
        },
        _places_of_landmarks,
    ),
    Target("list-of-ids", lambda: {"ids": b'a.jpg\n{"photo": "b.jpg"}\n'}, lambda folder: _ids(folder / "ids")),
)
