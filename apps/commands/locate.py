"""`geosleuth locate`: parse, open, run, render."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from agents.schemas import Answer, Level
from apps.commands.answer import locate_in_thread
from apps.commands.folder import PhotoFile, photo_files, run_folder
from apps.commands.opening import open_system
from apps.console import answers, messages, progress_bar, progress_line
from apps.options import ClueOptions, Outputs, RunOptions, SystemOptions, Thread, chosen_settings, expand_options
from apps.output.files import check_outputs, render, write_files, write_table
from apps.output.formatting import LocatedPhoto, printable
from apps.output.results_file import PhotoResult, RunFile, RunStatus, answer_settings
from apps.output.terminal import summary_line
from core.errors import UserError
from core.files import sha256_if_readable
from retrieval.photos.photo import Photo, PhotoError, load_photo, photo_paths
from retrieval.photos.thumbnail import thumbnail_jpeg

if TYPE_CHECKING:
    from graphs.settings import Settings
    from graphs.state import CaptureClues
    from graphs.system import GeoSleuth

MAX_THUMBNAILS = 150
_SMALL_THUMBNAIL_PX = 200
_MANY = 20
_FAILURES_NAMED = 5


@expand_options
def locate(
    *,
    photos: Annotated[
        list[Path], typer.Argument(help="Photos, or folders of photos.", metavar="PHOTO|FOLDER...", readable=False)
    ],
    outputs: Outputs,
    system: SystemOptions,
    ask: Annotated[
        bool,
        typer.Option("--ask", help="Ask you one question when two places are close. Without a terminal: status 3."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --jsonl: also try the photos again that failed before.")
    ] = False,
    thread: Thread = None,
    clues: ClueOptions,
    run: RunOptions,
) -> int:
    """Say where photos were taken, how sure that is, and why. Environment: GEOSLEUTH_HOME and so on; options win."""
    choose = partial(chosen_settings, system, run)
    capture_clues = clues.parsed()
    if retry_failed and outputs.jsonl is None:
        raise UserError("--retry-failed goes with --jsonl FILE, where the failed photos are")
    files = photo_files(photo_paths(photos), photos)
    check_outputs(outputs, run.events, [file.path for file in files])
    if ask or thread:
        if capture_clues:
            raise UserError("--taken-at and the sun options cannot go with --ask or --thread yet")
        return locate_in_thread(photos, choose, outputs, thread, ask, run.events)
    if len(photos) == 1 and not photos[0].is_dir() and outputs.jsonl is None:
        photo = load_photo(photos[0])
        return _locate_one(photos[0].name, photo, choose(), outputs, run.events, capture_clues)
    if capture_clues is not None:
        raise UserError("--taken-at and the sun options are for one photo")
    if outputs.as_json:
        raise UserError(f"--json prints one answer and these are {len(files)} photos: use --jsonl FILE")
    if outputs.picture is not None:
        raise UserError(f"--png draws one answer and these are {len(files)} photos: use --map FILE.html")
    return _locate_many(files, choose, outputs, run.events, retry_failed)


def _locate_one(
    name: str, photo: Photo, settings: Settings, outputs: Outputs, events: str | None, clues: CaptureClues | None
) -> int:
    with open_system(settings, events, outputs.as_json) as system:
        answer = _locate_showing_steps(system, photo, clues)
    render(LocatedPhoto(name, answer, thumbnail_jpeg(photo) if outputs.shows_photos else None), outputs)
    return 0


def _locate_showing_steps(system: GeoSleuth, photo: Photo, clues: CaptureClues | None) -> Answer:
    """Locate a photo; a terminal shows each step."""
    from graphs.events.steps import Answered

    with progress_line("Looking", is_live=not _is_pasted_to(system)) as show:
        for event in system.stream(photo, clues=clues):
            if isinstance(event, Answered):
                return event.answer
            show(printable(event.text, 80))
    raise RuntimeError("the graph ended without an answer")


def _is_pasted_to(system: GeoSleuth) -> bool:
    """Whether a person reads and writes in the terminal while photos are located."""
    return any(model.needs_terminal for model in system.models)


def _locate_many(
    files: Sequence[PhotoFile], choose: Callable[[], Settings], outputs: Outputs, events: str | None, retry_failed: bool
) -> int:
    if outputs.jsonl is None:
        records = _run(files, choose(), None, events)
    else:
        with RunFile(outputs.jsonl) as run_file:
            if retry_failed:
                messages().print(f"trying {run_file.forget_failures()} failed photos again")
            records = _run(files, choose(), run_file, events)
    _write_many(records, files, outputs)
    _print_counts(records, outputs)
    return 1 if any(record.status is RunStatus.FAILED for record in records) else 0


def _run(
    files: Sequence[PhotoFile], settings: Settings, run_file: RunFile | None, events: str | None
) -> list[PhotoResult]:
    """Locate the photos that have no record yet; the records of all these files, in their order."""
    made_with = answer_settings(settings)
    if run_file:
        run_file.check_settings(made_with)
        if settings.max_precision:
            _coarsen_earlier(run_file, settings.max_precision)
    earlier = run_file.records if run_file else []
    done = _still_good(files, earlier)
    pending = [file for file in files if file.name not in done]
    if done:
        messages().print(f"{len(done)} of {len(files)} photos are done already")
    if changed := len({record.photo for record in earlier}.intersection(file.name for file in pending)):
        messages().print(f"rows of other photos of the same name: {changed}; these photos are located, too")
    if len(pending) > _MANY and settings.read_signs:
        messages().print("reading signs takes about a second a photo; --no-signs is several times faster")
    if pending:
        with (
            open_system(settings, events) as system,
            progress_bar("Locating", "photos", is_live=not _is_pasted_to(system)) as report,
        ):
            for count, located in enumerate(run_folder(pending, system.locate), 1):
                record = replace(located, settings=made_with)
                if run_file:
                    run_file.append(record)
                else:
                    answers().print(_record_line(record), soft_wrap=True)
                done[record.photo] = record
                report(len(files) - len(pending) + count, len(files))
    return [done[file.name] for file in files]


def _still_good(files: Sequence[PhotoFile], earlier: Sequence[PhotoResult]) -> dict[str, PhotoResult]:
    """The record of each of these files that has one, by name; a file that changed since has none."""
    known = {record.key: record for record in earlier}
    named = {record.photo for record in earlier}
    keys = ((file.name, sha256_if_readable(file.path)) for file in files if file.name in named)
    return {key[0]: known[key] for key in keys if key in known}


def _coarsen_earlier(run_file: RunFile, level: Level) -> None:
    """Coarsen the rows of an earlier, finer run too: they are in this run's file, table and maps."""
    from geo.places.gazetteer import Gazetteer
    from graphs.coarsening import Units, coarsen

    units = Units(Gazetteer())
    if changed := run_file.coarsen(lambda answer: coarsen(answer, level, units), level):
        messages().print(f"coarsened {changed} earlier answers in {run_file.path} to {level.value}")


def _record_line(record: PhotoResult) -> Text:
    if record.answer is not None:
        return summary_line(LocatedPhoto(record.photo, record.answer))
    line = Text(printable(record.photo, 40).ljust(40), style="dim")
    return line.append(f"  failed: {printable(record.error or '')}", style="red")


def _write_many(records: Sequence[PhotoResult], files: Sequence[PhotoFile], outputs: Outputs) -> None:
    write_table(records, outputs)
    located = [LocatedPhoto(record.photo, record.answer) for record in records if record.answer is not None]
    if outputs.shows_photos:
        paths = {file.name: file.path for file in files}
        for index, item in enumerate(located[:MAX_THUMBNAILS]):
            located[index] = LocatedPhoto(item.name, item.answer, _small_thumbnail(paths[item.name]))
    if located:
        write_files(located, outputs)
    elif any(file not in (outputs.jsonl, outputs.csv) for file in outputs.files):
        messages().print("no photo could be used: no map was written")


def _small_thumbnail(path: Path) -> bytes | None:
    try:
        return thumbnail_jpeg(load_photo(path), _SMALL_THUMBNAIL_PX, 70)
    except PhotoError:  # the file has gone since it was located; its answer is still good
        return None


def _print_counts(records: Sequence[PhotoResult], outputs: Outputs) -> None:
    counts = {status: sum(record.status is status for record in records) for status in RunStatus}
    always = (RunStatus.ANSWERED, RunStatus.ABSTAINED, RunStatus.FAILED)
    parts = [f"{count} {status.value}" for status, count in counts.items() if count or status in always]
    where = f"; records in {outputs.jsonl}" if outputs.jsonl else ""
    messages().print(f"{len(records)} photos: {', '.join(parts)}{where}")
    failed = [record for record in records if record.status is RunStatus.FAILED]
    if outputs.jsonl:  # without it, each was printed with its reason
        for record in failed[:_FAILURES_NAMED]:
            reason = (record.error or "").removeprefix(f"{record.photo}: ")
            messages().print(f"failed: {printable(record.photo, 40)}: {printable(reason)}")
    if failed and outputs.jsonl:
        more = f"{len(failed) - _FAILURES_NAMED} more, " if len(failed) > _FAILURES_NAMED else ""
        messages().print(f"{more}each with its `error` in {outputs.jsonl}; --retry-failed tries them again")
