"""`geosleuth locate`: parse, open, run, render."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agents.schemas import Answer
from apps.commands.answer import locate_in_thread
from apps.commands.folder import locate_many
from apps.commands.opening import is_pasted_to, open_system
from apps.commands.photo_files import as_one_place, photo_files
from apps.console import progress_line
from apps.options import ClueOptions, Outputs, RunOptions, SystemOptions, Thread, chosen_settings, expand_options
from apps.output.files import check_outputs, render
from apps.output.formatting import LocatedPhoto, printable
from core.errors import UserError
from retrieval.photos.photo import Photo, load_photo, photo_paths
from retrieval.photos.thumbnail import strip_jpeg

if TYPE_CHECKING:
    from graphs.settings import Settings
    from graphs.state import CaptureClues
    from graphs.system import GeoSleuth

MOST_WORKERS = 256


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
    together: Annotated[
        bool, typer.Option("--together", help="All photos are of one place: locate it by all of them at once.")
    ] = False,
    workers: Annotated[
        str,
        typer.Option(
            help="Photos of a folder that are located at once; auto: by the cores, or 4 where a model is asked.",
            metavar="auto|N",
        ),
    ] = "auto",
    thread: Thread = None,
    clues: ClueOptions,
    run: RunOptions,
) -> int:
    """Say where photos were taken, how sure that is, and why. Environment: GEOSLEUTH_HOME and so on; options win."""
    choose = partial(chosen_settings, system, run)
    capture_clues = clues.parsed()
    asked_workers = parsed_workers(workers)
    if retry_failed and outputs.jsonl is None:
        raise UserError("--retry-failed goes with --jsonl FILE, where the failed photos are")
    files = photo_files(photo_paths(photos), photos)
    check_outputs(outputs, run.events, [file.path for file in files])
    if together:
        files = [as_one_place(files)]
    if ask or thread:
        if together:
            raise UserError("--together cannot go with --ask or --thread yet: geosleuth chat takes /photo A B")
        if capture_clues:
            raise UserError("--taken-at and the sun options cannot go with --ask or --thread yet")
        return locate_in_thread(photos, choose, outputs, thread, ask, run.events)
    if outputs.jsonl is None and (together or (len(photos) == 1 and not photos[0].is_dir())):
        shown = [load_photo(one.path) for one in files[0].files]
        return _locate_one(files[0].name, shown, choose(), outputs, run.events, capture_clues)
    if capture_clues is not None:
        raise UserError("--taken-at and the sun options are for one photo or place, without --jsonl")
    if outputs.as_json:
        raise UserError(f"--json prints one answer and these are {len(files)} photos: use --jsonl FILE")
    if outputs.picture is not None:
        raise UserError(f"--png draws one answer and these are {len(files)} photos: use --map FILE.html")
    return locate_many(files, choose, outputs, run.events, retry_failed, asked_workers)


def parsed_workers(text: str) -> int | None:
    """A number of photos at once; None: `auto`."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_WORKERS):
        raise UserError(f"--workers: {text!r} is neither auto nor a number from 1 to {MOST_WORKERS}")
    return int(text)


def _locate_one(
    name: str,
    photos: Sequence[Photo],
    settings: Settings,
    outputs: Outputs,
    events: str | None,
    clues: CaptureClues | None,
) -> int:
    with open_system(settings, events, outputs.as_json) as system:
        answer = _locate_showing_steps(system, photos, clues)
    render(LocatedPhoto(name, answer, strip_jpeg(photos) if outputs.shows_photos else None), outputs)
    return 0


def _locate_showing_steps(system: GeoSleuth, photos: Sequence[Photo], clues: CaptureClues | None) -> Answer:
    """Locate the photos of one place; a terminal shows each step."""
    from graphs.events.steps import Answered

    with progress_line("Looking", is_live=not is_pasted_to(system)) as show:
        for event in system.stream(photos[0], clues=clues, more=photos[1:]):
            if isinstance(event, Answered):
                return event.answer
            show(printable(event.text, 80))
    raise RuntimeError("the graph ended without an answer")
