"""Tables of evaluations and atlases, and lists of ids."""

from __future__ import annotations

from pathlib import Path

from evals.benchmarks.loading import load_benchmark
from evals.benchmarks.registry import find_benchmark
from evals.runs.sample_selection import _ids
from retrieval.atlas.sources import photos_from_table
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
    Target("list-of-ids", lambda: {"ids": b'a.jpg\n{"photo": "b.jpg"}\n'}, lambda folder: _ids(folder / "ids")),
)
