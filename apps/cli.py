"""The command line: `geosleuth locate`, `chat`, `answer`, `atlas`, `doctor`.

Answers go to standard output, everything else to standard error. Exit status: 0 done; 1 a folder run in
which some photos failed, or an atlas that is not what it says; 2 something the user can mend, told in one
line; 3 a run waits for a person's answer, and how to give it is told; 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from agents.schemas import Level
from apps import options
from apps.commands.atlas import atlas_app
from apps.output.formatting import printable
from core.errors import UserError

INTERRUPTED = 130
USER_ERROR = 2
_OUTPUT_CLOSED = 1
_MENDABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
"""No permission, or no room: the user's to mend, wherever it happened."""

# What the parser raises for a wrong command line: BadParameter, UsageError, ClickException, in whichever
# module this version of typer keeps them.
_WrongCommandLine = cast(type[Exception], typer.BadParameter.__mro__[2])

app = typer.Typer(
    name="geosleuth",
    help="Where was this photo taken, how sure are we, and why?",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(atlas_app, name="atlas")


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line.

    Raises:
        SystemExit: unless all went well.
    """
    status = run(list(sys.argv[1:] if argv is None else argv))
    if status:
        raise SystemExit(status)


def run(argv: list[str]) -> int:
    """Run a command line; returns the exit status."""
    _never_fail_to_print()
    debug = "--debug" in argv
    arguments = [argument for argument in argv if argument != "--debug"]
    try:
        status = int(app(arguments or ["--help"], prog_name="geosleuth", standalone_mode=False) or 0)
    except UserError as error:
        if debug:
            raise
        return _told(str(error))
    except _WrongCommandLine as error:
        return _told(getattr(error, "format_message", error.__str__)())
    except BrokenPipeError:
        # The reader of our output has gone (as `| head` does); what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OUTPUT_CLOSED
    except OSError as error:
        if debug or error.errno not in _MENDABLE:
            raise
        return _told(f"{error.filename or 'output'}: {(error.strerror or str(error)).lower()}; choose another place")
    if status == INTERRUPTED:
        sys.stderr.write("geosleuth: interrupted\n")
    return status


def _never_fail_to_print() -> None:
    """A terminal that has no letter for what was read in a photo shows a question mark instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _told(problem: str) -> int:
    sys.stderr.write(f"geosleuth: error: {printable(problem)}\n")
    return USER_ERROR


@app.command("locate", no_args_is_help=False)
def locate_command(
    photos: Annotated[
        list[Path], typer.Argument(help="Photos, or folders of photos.", metavar="PHOTO|FOLDER...", readable=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one answer as JSON, and nothing else.")] = False,
    jsonl: Annotated[
        Path | None, typer.Option(help="Append a record a photo; a run that was cut off resumes.", metavar="FILE")
    ] = None,
    geojson: Annotated[Path | None, typer.Option(help="Write GeoJSON.", metavar="FILE")] = None,
    kml: Annotated[Path | None, typer.Option(help="Write KML, for Google Earth.", metavar="FILE")] = None,
    page: Annotated[
        Path | None, typer.Option("--map", help="Write a map as one HTML file that needs no network.", metavar="FILE")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--png", help="Write the map of one answer as a picture.", metavar="FILE")
    ] = None,
    no_photo: Annotated[bool, typer.Option("--no-photo", help="Leave the photo out of --map and --png.")] = False,
    encoder: options.Encoder = None,
    atlas: options.Atlases = None,
    model: options.Model = None,
    strategy: options.Strategy = None,
    allow_metadata: options.AllowMetadata = False,
    max_precision: options.MaxPrecision = None,
    no_signs: options.NoSigns = False,
    ask: Annotated[
        bool,
        typer.Option("--ask", help="Ask you one question when two places are close. Without a terminal: status 3."),
    ] = False,
    thread: options.Thread = None,
    taken_at: options.TakenAt = None,
    sun_height: options.SunHeight = None,
    sun_bearing: options.SunBearing = None,
    part_of_day: options.PartOfDay = None,
    events: options.Events = None,
    home: options.Home = None,
    threads: options.Threads = None,
) -> int:
    """Say where photos were taken, how sure that is, and why. Environment: GEOSLEUTH_HOME and so on; options win."""
    from apps.commands.locate import Outputs, locate

    chosen = _chosen(encoder, atlas, model, strategy, allow_metadata, max_precision, no_signs, home, threads)
    outputs = Outputs(as_json, jsonl, geojson, kml, page, picture, not no_photo)
    clues = options.capture_clues(
        taken_at=taken_at, sun_height_deg=sun_height, sun_bearing_deg=sun_bearing, part_of_day=part_of_day
    )
    if ask or thread:
        if clues:
            raise UserError("--taken-at and the sun options cannot go with --ask or --thread yet")
        from apps.commands.answer import locate_in_thread

        return locate_in_thread(
            photos, lambda kept: options.chosen_settings(chosen, kept), outputs, thread, ask, events
        )
    return locate(photos, lambda: options.chosen_settings(chosen), outputs, events, clues)


@app.command("answer")
def answer_command(
    thread: Annotated[str, typer.Argument(help="The thread that asks.")],
    said: Annotated[str, typer.Argument(help="Your answer: yes, no, don't know, or the name of a place.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else.")] = False,
    page: Annotated[
        Path | None, typer.Option("--map", help="Write a map as one HTML file that needs no network.", metavar="FILE")
    ] = None,
    events: options.Events = None,
    home: options.Home = None,
) -> int:
    """Answer what `geosleuth locate --ask` or a chat asked; the run goes on from its checkpoint."""
    from apps.commands.answer import answer
    from apps.commands.locate import Outputs

    chosen = {"home": home}
    return answer(thread, said, lambda kept: options.chosen_settings(chosen, kept), Outputs(as_json, page=page), events)


@app.command("chat")
def chat_command(
    photo: Annotated[Path | None, typer.Argument(help="A photo to begin with.", readable=False)] = None,
    thread: options.Thread = None,
    ask: Annotated[
        bool | None, typer.Option("--ask/--no-ask", help="May it ask you? By default, at a terminal.")
    ] = None,
    forget: Annotated[
        str | None, typer.Option(help="Delete a saved thread with its photos, and leave.", metavar="NAME")
    ] = None,
    list_threads: Annotated[bool, typer.Option("--list", help="Print the names of saved threads, and leave.")] = False,
    encoder: options.Encoder = None,
    atlas: options.Atlases = None,
    model: options.Model = None,
    strategy: options.Strategy = None,
    allow_metadata: options.AllowMetadata = False,
    max_precision: options.MaxPrecision = None,
    no_signs: options.NoSigns = False,
    events: options.Events = None,
    home: options.Home = None,
    threads: options.Threads = None,
) -> int:
    """Talk about photos: follow-up questions on the same evidence. Reads lines from a pipe, too."""
    from apps.commands import chat as chats

    chosen = _chosen(encoder, atlas, model, strategy, allow_metadata, max_precision, no_signs, home, threads)
    if forget is not None:
        return chats.forget(options.chosen_settings(chosen).home, forget)
    if list_threads:
        return chats.list_threads(options.chosen_settings(chosen).home)
    wanted = chats.ChatOptions(thread=thread, ask=ask, events=events)
    return chats.chat(photo, lambda kept: options.chosen_settings(chosen, kept), wanted)


def _chosen(
    encoder: str | None,
    atlas: list[str] | None,
    model: str | None,
    strategy: str | None,
    allow_metadata: bool,
    max_precision: Level | None,
    no_signs: bool,
    home: Path | None,
    threads: int | None,
) -> dict[str, Any]:
    """What was chosen on the command line, by the names of the settings; None where nothing was."""
    return {
        "encoder": encoder,
        "atlases": tuple(atlas) if atlas else None,
        "model": model,
        "strategy": strategy,
        "allow_metadata": allow_metadata or None,
        "max_precision": max_precision,
        "read_signs": False if no_signs else None,
        "home": home,
        "threads": threads,
    }


@app.command("doctor")
def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Also try the services that could be used.")] = False,
    home: options.Home = None,
) -> int:
    """Say what is installed, what each missing thing would add, and how to get it."""
    from apps.doctor.checks import diagnose
    from apps.doctor.report import print_findings
    from graphs.settings import make_settings

    print_findings(diagnose(make_settings(home=home), online), as_json)
    return 0


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Where was this photo taken, how sure are we, and why?"""


if __name__ == "__main__":
    main()
