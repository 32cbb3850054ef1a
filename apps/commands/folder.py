"""Many photos, several at once and their records in order; an unusable photo becomes a failed record.

Memory stays flat however many there are: an answer is written as a row as soon as it is there, and the table and the
maps are written from the rows. Without --jsonl the rows are in a temporary file, which goes when the run ends.
"""

from __future__ import annotations

import tempfile
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from agents.schemas import Answer, Level
from apps.commands.opening import PATIENCE_S, is_pasted_to, leave_without_call, open_system
from apps.commands.photo_files import PhotoFile
from apps.console import LONG, answers, messages, progress_bar
from apps.options import Outputs
from apps.output.files import write_files, write_table
from apps.output.formatting import LocatedPhoto, printable
from apps.output.reread import Reread
from apps.output.results_file import PhotoKey, PhotoResult, RunFile, RunStatus
from apps.output.terminal import summary_line
from core.errors import UserError
from core.files import sha256_if_readable
from retrieval.photos.photo import Photo, PhotoError, load_photo
from retrieval.photos.thumbnail import strip_jpeg

if TYPE_CHECKING:
    from graphs.settings import Settings

AHEAD_PER_PHOTO = 2
"""Photos whose records are there or on their way, for each that is located at once: a slow one delays few others."""

PHOTOS_A_CORE = 2
"""Located at once where no model is asked: while one waits for tesseract, or for its turn at the encoder, another is
worked on."""

PHOTOS_TO_A_MODEL = 4
"""Located at once where a model is asked, as in evaluations. By hand."""

MAX_THUMBNAILS = 150
_SMALL_THUMBNAIL_PX = 200
_MANY = 20
_FAILURES_NAMED = 5

Locate = Callable[[Sequence[Photo]], Answer]
"""What locates a photo, or several of one place."""


def run_folder(files: Sequence[PhotoFile], locate: Locate, at_once: int = 1) -> Generator[PhotoResult, None, None]:
    """The record of each file, in order.

    Files that cannot be used become failed records. Anything else that goes wrong ends the run: what was
    yielded before stays good.

    Args:
        files: to locate.
        locate: is called by so many threads at once.
        at_once: files that are worked on at the same time.
    """
    waiting: deque[Future[PhotoResult]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="photo") as pool:
        try:
            for file in files:
                waiting.append(pool.submit(copy_context().run, _record, file, locate))
                if len(waiting) > AHEAD_PER_PHOTO * at_once:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            _wait_for_photos(waiting)
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _next(waiting: deque[Future[PhotoResult]]) -> PhotoResult:
    """The next record; its photo stays among those that are waited for until the record is there."""
    record = waiting[0].result()
    waiting.popleft()
    return record


def _wait_for_photos(started: Collection[Future[PhotoResult]]) -> None:
    """Wait for the photos under way; end the process if a call of theirs does not return.

    Closing the atlas during the call would crash. All rows so far are on disk.
    """
    if wait([one for one in started if one.running()], PATIENCE_S).not_done:
        leave_without_call()


def _record(file: PhotoFile, locate: Locate) -> PhotoResult:
    """Locate the photos of a file; with what they were, if they are several."""
    try:
        photos = [load_photo(one.path) for one in file.files]
    except PhotoError as error:
        found = PhotoResult.of_failure(file.name, file.sha256, str(error))
    else:
        found = PhotoResult.of_answer(file.name, locate(photos))
    return replace(found, photos=tuple((one.name, sha256_if_readable(one.path)) for one in file.together))


def photos_at_once(asked: int | None, settings: Settings, photos: int) -> int:
    """How many photos of a run are located at once.

    Args:
        asked: by the user; None: by the cores, or by whom the model waits for.
        settings: of the run.
        photos: that are to be located.

    Raises:
        UserError: several are asked for where a person reads and writes in the terminal.
    """
    from joblib import cpu_count

    from agents.chat_models.spec import find_jury

    asks = settings.find_strategy(settings.strategy).uses_model
    models = find_jury(settings.model) if asks else ()
    if any(model.needs_terminal for model in models) and asked not in (None, 1):
        raise UserError(f"--workers {asked}: {settings.model} asks for one photo at a time in the terminal")
    if asked is None:
        is_served = any(model.is_served for model in models)
        by_hand = any(model.is_written or model.needs_terminal for model in models)
        asked = 1 if by_hand else PHOTOS_TO_A_MODEL if is_served else PHOTOS_A_CORE * cpu_count()
    return max(1, min(asked, photos))


def locate_many(
    files: Sequence[PhotoFile],
    choose: Callable[[], Settings],
    outputs: Outputs,
    events: str | None,
    retry_failed: bool,
    workers: int | None = None,
) -> int:
    """Locate the photos that have no row yet, and write the outputs; returns the exit status: 1 if any photo failed.

    Raises:
        UserError: anything that the user can mend.
    """
    with _run_file(outputs) as run_file:
        keys = _run(files, choose(), run_file, outputs, events, retry_failed, workers)
        write_table(Reread(len(keys), lambda: run_file.records(keys)), outputs)
        _write_maps(run_file, keys, files, outputs)
        _print_counts(run_file, keys, outputs)
        return 1 if any(run_file.rows[key].status is RunStatus.FAILED for key in keys) else 0


@contextmanager
def _run_file(outputs: Outputs) -> Iterator[RunFile]:
    """The run file that was asked for, or a temporary one."""
    with ExitStack() as opened:
        file = outputs.jsonl
        if file is None:
            file = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="geosleuth-"))) / "rows.jsonl"
        with progress_bar("Reading rows", "rows") as report:
            run_file = RunFile(
                file, lambda count: report(count, None) if count > LONG else None, is_temporary=outputs.jsonl is None
            )
        yield opened.enter_context(run_file)


def _run(
    files: Sequence[PhotoFile],
    settings: Settings,
    run_file: RunFile,
    outputs: Outputs,
    events: str | None,
    retry_failed: bool,
    workers: int | None,
) -> list[PhotoKey]:
    """Locate the photos that have no row yet; the keys of all these files' rows, in their order."""
    from graphs.settings import answering_settings

    made_with = answering_settings(settings)
    run_file.check_settings(made_with)
    if retry_failed:
        forgotten = run_file.forget_failures({file.name for file in files})
        messages().print(f"trying {forgotten} failed photos again")
    if settings.max_precision:
        _coarsen_earlier(run_file, settings.max_precision)
    named = {name for name, _ in run_file.rows}
    done = _still_good(files, run_file)
    pending = [file for file in files if file.name not in done]
    if done:
        messages().print(f"{len(done)} of {len(files)} photos are done already")
    if changed := len(named.intersection(file.name for file in pending)):
        messages().print(f"rows of other photos of the same name: {changed}; these photos are located, too")
    if len(pending) > _MANY and settings.read_signs:
        messages().print("reading signs takes about a second of CPU a photo; --no-signs is several times faster")
    if pending:
        done |= _locate_pending(pending, len(files), settings, run_file, outputs, events, workers)
    return [done[file.name] for file in files]


def _locate_pending(
    pending: Sequence[PhotoFile],
    total: int,
    settings: Settings,
    run_file: RunFile,
    outputs: Outputs,
    events: str | None,
    workers: int | None,
) -> dict[str, PhotoKey]:
    from graphs.settings import answering_settings

    made_with, done = answering_settings(settings), {}
    at_once = photos_at_once(workers, settings, len(pending))
    with (
        open_system(settings, events, at_once=at_once) as system,
        progress_bar("Locating", "photos", is_live=not is_pasted_to(system)) as report,
    ):

        def locate(photos: Sequence[Photo]) -> Answer:
            with system.photo_store.holding(*photos):
                return system.locate(photos[0], more=photos[1:])

        with closing(run_folder(pending, locate, at_once)) as records:
            for count, located in enumerate(records, 1):
                record = replace(located, settings=made_with)
                # Rows that nothing is written from need no answer.
                run_file.append(record if outputs.files else replace(record, answer=None))
                if not outputs.jsonl:
                    answers().print(_record_line(record), soft_wrap=True)
                done[record.photo] = record.key
                report(total - len(pending) + count, total)
    return done


def _still_good(files: Sequence[PhotoFile], run_file: RunFile) -> dict[str, PhotoKey]:
    """The key of each of these files that has a row, by name; a file that changed since has none."""
    named = {name for name, _ in run_file.rows}
    candidates = [file for file in files if file.name in named]
    found: dict[str, PhotoKey] = {}
    with progress_bar("Comparing photos with their rows", "photos") as report:
        for count, file in enumerate(candidates, 1):
            key = (file.name, file.sha256)
            if key in run_file.rows:
                found[file.name] = key
            if len(candidates) > LONG:
                report(count, len(candidates))
    return found


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


def _write_maps(run_file: RunFile, keys: Sequence[PhotoKey], files: Sequence[PhotoFile], outputs: Outputs) -> None:
    with_answer = [key for key in keys if run_file.rows[key].is_located]
    pictures = {file.name: [one.path for one in file.files] for file in files} if outputs.shows_photos else {}
    if with_answer:
        write_files(Reread(len(with_answer), lambda: _located(run_file, with_answer, pictures)), outputs)
    elif any(file not in (outputs.jsonl, outputs.csv) for file in outputs.files):
        messages().print("no photo could be used: no map was written")


def _located(
    run_file: RunFile, keys: Sequence[PhotoKey], pictures: Mapping[str, Sequence[Path]]
) -> Iterator[LocatedPhoto]:
    """The answers of rows, the first of them with small pictures if there are any."""
    for number, record in enumerate(run_file.records(keys)):
        if record.answer is not None:
            paths = pictures.get(record.photo) if number < MAX_THUMBNAILS else None
            yield LocatedPhoto(record.photo, record.answer, _small_thumbnail(paths) if paths else None)


def _small_thumbnail(paths: Sequence[Path]) -> bytes | None:
    try:
        return strip_jpeg([load_photo(path) for path in paths], _SMALL_THUMBNAIL_PX, 70)
    except PhotoError:  # the file has gone since it was located; its answer is still good
        return None


def _print_counts(run_file: RunFile, keys: Sequence[PhotoKey], outputs: Outputs) -> None:
    counts = Counter(run_file.rows[key].status for key in keys)
    always = (RunStatus.ANSWERED, RunStatus.ABSTAINED, RunStatus.FAILED)
    parts = [f"{counts[status]} {status.value}" for status in RunStatus if counts[status] or status in always]
    where = f"; records in {outputs.jsonl}" if outputs.jsonl else ""
    messages().print(f"{len(keys)} photos: {', '.join(parts)}{where}")
    failed = [key for key in keys if run_file.rows[key].status is RunStatus.FAILED]
    if not (failed and outputs.jsonl):  # without it, each was printed with its reason
        return
    for record in run_file.records(failed[:_FAILURES_NAMED]):
        reason = (record.error or "").removeprefix(f"{record.photo}: ")
        messages().print(f"failed: {printable(record.photo, 40)}: {printable(reason)}")
    more = f"{len(failed) - _FAILURES_NAMED} more, " if len(failed) > _FAILURES_NAMED else ""
    messages().print(f"{more}each with its `error` in {outputs.jsonl}; --retry-failed tries them again")
