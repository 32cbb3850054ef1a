"""A folder run holds a few answers at a time, shows that it works, and leaves nothing behind."""

from __future__ import annotations

import csv
import gc
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.schemas import Answer
from apps.commands import folder
from apps.commands.folder import AHEAD_PER_PHOTO, locate_many
from apps.commands.photo_files import PhotoFile
from apps.maps import page
from apps.options import Outputs
from apps.output.reread import Reread
from apps.output.results_file import PhotoResult, RunFile
from graphs.settings import Settings, make_settings
from retrieval.photos.photo import Photo
from retrieval.photos.store import PhotoStore
from tests.fakes.answers import answered, believed
from tests.fakes.photo_files import jpeg

COUNT = 101
"""One more than needs no progress bar, and than a page shows in detail."""
WORKERS = 2
FEW = AHEAD_PER_PHOTO * WORKERS + 4
"""Answers that may be there at once: those made ahead, the one that is written, and what is being let go of."""

EVERY = 40
"""Photos between two counts, each of which takes a tenth of a second."""


def alive() -> int:
    """Answers in memory."""
    return sum(isinstance(thing, Answer) for thing in gc.get_objects())


class Counting:
    """A system that locates at once and counts the answers that are still there."""

    models = ()

    def __init__(self) -> None:
        self.before = alive()
        self.most = self.located = 0
        self.photo_store = PhotoStore()

    def locate(self, photo: Photo, *, more: Sequence[Photo]) -> Answer:
        assert not more
        self.located += 1
        if self.located % EVERY == 0:
            self.count()
        return answered(photo_sha256=photo.sha256)

    def count(self) -> None:
        self.most = max(self.most, alive() - self.before)


@pytest.fixture
def files(tmp_path: Path) -> Sequence[PhotoFile]:
    return [PhotoFile(jpeg(tmp_path / "photos" / f"{n:03}.jpg", seed=n), f"{n:03}.jpg") for n in range(COUNT)]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counting:
    counting = Counting()

    @contextmanager
    def opened(_settings: Settings, _events: str | None, at_once: int) -> Iterator[Any]:
        assert at_once == WORKERS
        yield counting

    monkeypatch.setattr(folder, "open_system", opened)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return counting


def run(files: Sequence[PhotoFile], outputs: Outputs) -> int:
    return locate_many(files, make_settings, outputs, None, False, WORKERS)


def every_output(tmp_path: Path, **others: Path) -> Outputs:
    names = {"csv": "table.csv", "geojson": "map.geojson", "kml": "map.kml", "page": "map.html"}
    return Outputs(no_photo=True, **{key: tmp_path / name for key, name in names.items()}, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("with_rows", [True, False])
def test_few_answers_are_in_memory_however_many_photos_there_are(
    with_rows: bool,
    files: Sequence[PhotoFile],
    system: Counting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = RunFile.records

    def counted(run_file: RunFile, *keys: Any) -> Iterator[PhotoResult]:
        for number, record in enumerate(read(run_file, *keys)):
            if number % EVERY == 0:
                system.count()
            yield record

    monkeypatch.setattr(RunFile, "records", counted)
    outputs = every_output(tmp_path, **({"jsonl": tmp_path / "rows.jsonl"} if with_rows else {}))
    assert run(files, outputs) == 0
    assert system.most <= FEW
    shown = capsys.readouterr().err
    for name in ("map.geojson", "map.kml", "map.html"):
        assert f"Writing {name}: {COUNT}" in shown
    features = json.loads((tmp_path / "map.geojson").read_text())["features"]
    assert sum(feature["properties"]["kind"] == "answer" for feature in features) == COUNT
    with (tmp_path / "table.csv").open(encoding="utf-8") as table:
        assert len(list(csv.DictReader(table))) == COUNT
    assert (tmp_path / "map.kml").read_text().count("<name>Candidates</name>") == COUNT
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_resumed_run_says_that_it_reads_and_compares(
    files: Sequence[PhotoFile], system: Counting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = Outputs(jsonl=tmp_path / "rows.jsonl")
    run(files, outputs)
    capsys.readouterr()
    system.located = 0
    assert run(files, outputs) == 0
    shown = capsys.readouterr().err.splitlines()
    assert shown[:3] == [
        "Reading rows",
        f"Comparing photos with their rows: {COUNT}",
        f"{COUNT} of {COUNT} photos are done already",
    ]
    assert system.located == 0


@pytest.mark.usefixtures("system")
def test_rows_that_nothing_is_written_from_are_not_kept(
    files: Sequence[PhotoFile], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    append = RunFile.append

    def sized(run_file: RunFile, record: PhotoResult) -> None:
        append(run_file, record)
        sizes.append(run_file.path.stat().st_size)

    monkeypatch.setattr(RunFile, "append", sized)
    assert run(files[:10], Outputs()) == 0
    assert sizes[-1] < 10 * 2_000
    assert len(capsys.readouterr().out.splitlines()) == 10


def test_rows_are_read_again_where_they_are(tmp_path: Path) -> None:
    records = [PhotoResult.of_answer(f"{n}.jpg", believed(photo_sha256=f"{n:064}")) for n in range(5)]
    records.insert(2, PhotoResult.of_failure("bad.jpg", None, "is empty"))
    with RunFile(tmp_path / "rows.jsonl") as run_file:
        for record in records[:4]:
            run_file.append(record)
    with RunFile(tmp_path / "rows.jsonl") as run_file:
        for record in records[4:]:
            run_file.append(record)
        chosen = [records[5], records[2], records[0]]
        assert list(run_file.records([record.key for record in chosen])) == chosen
        assert run_file.forget_failures({"other.jpg"}) == 0
        assert run_file.forget_failures({"bad.jpg"}) == 1
        assert list(run_file.records()) == [record for record in records if record.error is None]


def test_many_photos_are_half_a_kilobyte_each_on_a_page() -> None:
    def items(count: int) -> Reread[Any]:
        one = SimpleNamespace(name="photo.jpg", answer=believed(), thumbnail_jpeg=None)
        return Reread(count, lambda: iter([one] * count))

    fewer, more = (len(page.map_page(items(page.MOST_DETAILED + extra))) for extra in (1, 101))
    assert 100 < (more - fewer) / 100 < 700
