"""`geosleuth locate`: parse, assemble, render."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from agents.schemas import Answer
from apps.commands.folder import PhotoFile, check_output, photo_files, run
from apps.console import answers, messages, progress_bar
from apps.output.event_output import events_told
from apps.output.formatting import printable
from apps.output.located_photo import LocatedPhoto
from apps.output.results_file import PhotoResult, RunFile, RunStatus
from apps.output.terminal import print_answer, summary_line
from core.errors import UserError
from retrieval.photos.photo import Photo, PhotoError, load_photo, photo_paths
from retrieval.photos.thumbnail import thumbnail_jpeg

if TYPE_CHECKING:
    from graphs.settings import Settings
    from graphs.state import CaptureClues
    from graphs.system import GeoSleuth

MAX_THUMBNAILS = 150
_SMALL_THUMBNAIL_PX = 200
_MANY = 20


@dataclass(frozen=True)
class Outputs:
    """What to write, and where."""

    as_json: bool = False
    jsonl: Path | None = None
    geojson: Path | None = None
    kml: Path | None = None
    page: Path | None = None
    picture: Path | None = None
    with_photo: bool = True

    @property
    def files(self) -> list[Path]:
        """Every file that will be written."""
        return [file for file in (self.jsonl, self.geojson, self.kml, self.page, self.picture) if file is not None]

    @property
    def shows_photos(self) -> bool:
        """Whether any output shows the photo itself."""
        return self.with_photo and (self.page is not None or self.picture is not None)


def locate(
    paths: Sequence[Path],
    choose: Callable[[], Settings],
    outputs: Outputs,
    events: str | None = None,
    clues: CaptureClues | None = None,
) -> int:
    """Locate photos and write what was asked for; returns the exit status.

    `choose` makes the settings. It is called once the photos have been found: a wrong file name need not
    wait for the libraries that settings bring in. `events` is where events go, `clues` what the user
    knows about when the one photo was taken.

    Raises:
        UserError: a single photo that cannot be used, or anything else the user can mend.
    """
    for file in outputs.files:
        check_output(file)
    if len(paths) == 1 and not paths[0].is_dir() and outputs.jsonl is None:
        photo = load_photo(paths[0])
        with events_told(events, outputs.as_json):
            return _locate_one(paths[0], photo, choose(), outputs, clues)
    if clues is not None:
        raise UserError("--taken-at and the sun options are for one photo")
    files = photo_files(photo_paths(paths), paths)
    if outputs.as_json:
        raise UserError(f"--json prints one answer and these are {len(files)} photos: use --jsonl FILE")
    if outputs.picture is not None:
        raise UserError(f"--png draws one answer and these are {len(files)} photos: use --map FILE.html")
    with events_told(events):
        return _locate_many(files, choose(), outputs)


def opened(settings: Settings) -> GeoSleuth:
    """The system, with a progress bar while the default atlas is built at first use."""
    # Here and not above: the graph's libraries take a second, which a wrong file name need not wait for.
    from graphs.system import GeoSleuth

    with progress_bar("Building the atlas of the world (once)", "places") as report:
        return GeoSleuth.open(settings, report)


def _locate_one(
    path: Path, photo: Photo, settings: Settings, outputs: Outputs, clues: CaptureClues | None = None
) -> int:
    with opened(settings) as system:
        answer = _followed(system, photo, clues)
    shown = thumbnail_jpeg(photo) if outputs.shows_photos else None
    located = LocatedPhoto(path.name, answer, shown)
    if outputs.as_json:
        answers().out(json.dumps(answer.model_dump(mode="json"), indent=2), highlight=False)
    else:
        print_answer(answers(), located)
    write_files([located], outputs)
    return 0


def _followed(system: GeoSleuth, photo: Photo, clues: CaptureClues | None) -> Answer:
    """Locate while telling on a terminal what goes on."""
    from graphs.events.steps import Answered

    with messages().status("Looking") as status:
        for event in system.stream(photo, clues=clues):
            if isinstance(event, Answered):
                return event.answer
            status.update(Text(printable(event.text, 80)))
    raise RuntimeError("the machine ended without an answer")


def _locate_many(files: Sequence[PhotoFile], settings: Settings, outputs: Outputs) -> int:
    if outputs.jsonl is None:
        records = _run(files, settings, None)
    else:
        with RunFile(outputs.jsonl) as run_file:
            records = _run(files, settings, run_file)
    _write_many(records, files, outputs)
    _summarise(records, outputs)
    return 1 if any(record.status is RunStatus.FAILED for record in records) else 0


def _run(files: Sequence[PhotoFile], settings: Settings, run_file: RunFile | None) -> list[PhotoResult]:
    """Locate what has no record yet; the records of all these files, in their order."""
    done = {record.photo: record for record in run_file.records} if run_file else {}
    pending = [file for file in files if file.name not in done]
    if len(pending) < len(files):
        messages().print(f"{len(files) - len(pending)} of {len(files)} photos are done already")
    if len(pending) > _MANY and settings.read_signs:
        messages().print("reading signs takes about a second a photo; --no-signs is several times faster")
    if pending:
        with opened(settings) as system, progress_bar("Locating", "photos") as report:
            for count, record in enumerate(run(pending, system.locate), 1):
                if run_file:
                    run_file.append(record)
                else:
                    _print_record(record)
                done[record.photo] = record
                report(len(files) - len(pending) + count, len(files))
    return [done[file.name] for file in files]


def _print_record(record: PhotoResult) -> None:
    if record.answer is None:
        line = Text(printable(record.photo, 40).ljust(40), style="dim")
        answers().print(line.append(f"  failed: {printable(record.error or '')}", style="red"), soft_wrap=True)
    else:
        answers().print(summary_line(LocatedPhoto(record.photo, record.answer)), soft_wrap=True)


def _write_many(records: Sequence[PhotoResult], files: Sequence[PhotoFile], outputs: Outputs) -> None:
    paths = {file.name: file.path for file in files}
    located = [LocatedPhoto(record.photo, record.answer) for record in records if record.answer is not None]
    if outputs.page is not None:
        shown = [
            LocatedPhoto(item.name, item.answer, _small_thumbnail(paths[item.name]))
            for item in located[:MAX_THUMBNAILS]
        ]
        located = shown + located[MAX_THUMBNAILS:]
    if located:
        write_files(located, outputs)
    elif outputs.files != [outputs.jsonl]:
        messages().print("no photo could be used: no map was written")


def _small_thumbnail(path: Path) -> bytes | None:
    try:
        return thumbnail_jpeg(load_photo(path), _SMALL_THUMBNAIL_PX, 70)
    except PhotoError:  # the file has gone since it was located; its answer is still good
        return None


def _summarise(records: Sequence[PhotoResult], outputs: Outputs) -> None:
    counts = {status: sum(record.status is status for record in records) for status in RunStatus}
    always = (RunStatus.ANSWERED, RunStatus.ABSTAINED, RunStatus.FAILED)
    parts = [f"{count} {status.value}" for status, count in counts.items() if count or status in always]
    where = f"; records in {outputs.jsonl}" if outputs.jsonl else ""
    messages().print(f"{len(records)} photos: {', '.join(parts)}{where}")


def write_files(located: Sequence[LocatedPhoto], outputs: Outputs) -> None:
    """Write the maps that were asked for, and say where they are."""
    for file in _written(located, outputs):
        messages().print(f"wrote {file}")


def _written(located: Sequence[LocatedPhoto], outputs: Outputs) -> Iterable[Path]:
    if outputs.geojson is not None:
        from apps.output.geojson import geojson_text

        yield _save(outputs.geojson, geojson_text(located))
    if outputs.kml is not None:
        from apps.output.kml import kml_text

        yield _save(outputs.kml, kml_text(located))
    if outputs.page is not None:
        from apps.maps.page import map_page

        yield _save(outputs.page, map_page(located))
    if outputs.picture is not None:
        from apps.maps.picture import save_png

        save_png(located[0], outputs.picture)
        yield outputs.picture


def _save(file: Path, text: str) -> Path:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}; choose another place") from error
    return file
