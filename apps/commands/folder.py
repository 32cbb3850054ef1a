"""Many photos, one after another: each is decoded ahead and located; an unusable one becomes a failed record.

Memory stays flat however many there are: an answer is written as a row as soon as it is there, and the table and the
maps are written from the rows. Without --jsonl the rows are in a temporary file, which goes when the run ends.
"""

from __future__ import annotations

import tempfile
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from agents.schemas import Answer, Level
from apps.commands.opening import is_pasted_to, open_system
from apps.commands.photo_files import PhotoFile
from apps.console import LONG, answers, messages, progress_bar
from apps.options import Outputs
from apps.output.files import write_files, write_table
from apps.output.formatting import LocatedPhoto, printable
from apps.output.reread import Reread
from apps.output.results_file import PhotoKey, PhotoResult, RunFile, RunStatus
from apps.output.terminal import summary_line
from core.files import sha256_if_readable
from retrieval.photos.photo import Photo, PhotoError, load_photo
from retrieval.photos.thumbnail import strip_jpeg

if TYPE_CHECKING:
    from graphs.settings import Settings

AHEAD = 8
"""Photos decoded and not yet located: a photo is at most 8 MB of pixels."""

MAX_THUMBNAILS = 150
_SMALL_THUMBNAIL_PX = 200
_MANY = 20
_FAILURES_NAMED = 5


Locate = Callable[[Sequence[Photo]], Answer]
"""What locates a photo, or several of one place."""


@dataclass(frozen=True)
class _Decoded:
    file: PhotoFile
    photos: Sequence[Photo] = ()
    sha256: str | None = None
    error: str | None = None


def run_folder(files: Sequence[PhotoFile], locate: Locate) -> Generator[PhotoResult, None, None]:
    """The record of each file, in order.

    Files that cannot be used become failed records. Anything else that goes wrong ends the run: what was
    yielded before stays good.
    """
    for decoded in _decoded_ahead(files):
        if not decoded.photos:
            failed = PhotoResult.of_failure(decoded.file.name, decoded.sha256, decoded.error or "cannot be used")
            yield replace(failed, photos=_listed(decoded.file))
        else:
            listed = _listed(decoded.file)
            yield replace(PhotoResult.of_answer(decoded.file.name, locate(decoded.photos)), photos=listed)


def _listed(file: PhotoFile) -> tuple[PhotoKey, ...]:
    return tuple((one.name, sha256_if_readable(one.path)) for one in file.together)


def _decoded_ahead(files: Sequence[PhotoFile]) -> Iterator[_Decoded]:
    """Decode in a thread while the caller locates: Pillow releases the interpreter's lock while it decodes."""
    waiting: deque[Future[_Decoded]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode") as pool:
        try:
            for file in files:
                waiting.append(pool.submit(_decode, file))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _decode(file: PhotoFile) -> _Decoded:
    try:
        return _Decoded(file, [load_photo(one.path) for one in file.files])
    except PhotoError as error:
        return _Decoded(file, (), file.sha256, str(error))


def locate_many(
    files: Sequence[PhotoFile], choose: Callable[[], Settings], outputs: Outputs, events: str | None, retry_failed: bool
) -> int:
    """Locate the photos that have no row yet, and write the outputs; returns the exit status: 1 if any photo failed.

    Raises:
        UserError: anything that the user can mend.
    """
    with _run_file(outputs) as run_file:
        keys = _run(files, choose(), run_file, outputs, events, retry_failed)
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
        messages().print("reading signs takes about a second a photo; --no-signs is several times faster")
    if pending:
        done |= _locate_pending(pending, len(files), settings, run_file, outputs, events)
    return [done[file.name] for file in files]


def _locate_pending(
    pending: Sequence[PhotoFile],
    total: int,
    settings: Settings,
    run_file: RunFile,
    outputs: Outputs,
    events: str | None,
) -> dict[str, PhotoKey]:
    from graphs.settings import answering_settings

    made_with, done = answering_settings(settings), {}
    with (
        open_system(settings, events) as system,
        progress_bar("Locating", "photos", is_live=not is_pasted_to(system)) as report,
    ):
        for count, located in enumerate(run_folder(pending, lambda shown: system.locate(shown[0], more=shown[1:])), 1):
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
