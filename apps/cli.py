"""The command line: `geosleuth locate`, `chat`, `answer`, `serve`, `mcp`, `atlas`, `doctor`.

Answers go to standard output, everything else to standard error. Exit status: 0 done; 1 a folder run in
which some photos failed, or an atlas that differs from its manifest; 2 an error the user can mend, printed on
one line; 3 a run waits for a person's answer, and how to give it is printed; 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import sqlite3
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from apps.commands.answer import answer
from apps.commands.atlas import atlas_app
from apps.commands.chat import chat
from apps.commands.locate import locate
from apps.commands.mcp import mcp
from apps.commands.opening import INTERRUPTED
from apps.commands.satellite_atlas import build_tiles
from apps.commands.serve import serve
from apps.options import Home
from apps.output.formatting import printable
from core.errors import UserError
from core.redaction import redact_tracebacks, redacted

USER_ERROR = 2
_OUTPUT_CLOSED = 1
_USER_CAN_MEND = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EIO),
}
"""No permission, no space left, a name that cannot be: errors the user can mend, wherever they happened."""

app = typer.Typer(
    name="geosleuth",
    help="Where was this photo taken, how sure are we, and why?",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("locate")(locate)
app.command("answer")(answer)
app.command("chat")(chat)
app.command("serve")(serve)
app.command("mcp")(mcp)
atlas_app.command("tiles")(build_tiles)
app.add_typer(atlas_app, name="atlas")


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line.

    Raises:
        SystemExit: unless all went well.
    """
    try:
        status = run(list(sys.argv[1:] if argv is None else argv))
    finally:
        redact_tracebacks()  # afterwards, as Typer puts a printer of its own in place
    if status:
        raise SystemExit(status)


def run(argv: list[str]) -> int:
    """Run a command line; returns the exit status."""
    _replace_unprintable_letters()
    _forget_impossible_width()
    debug = "--debug" in argv
    arguments = [argument for argument in argv if argument != "--debug"]
    try:
        status = int(app(arguments or ["--help"], prog_name="geosleuth", standalone_mode=False) or 0)
    except UserError as error:
        if debug:
            raise
        return _print_error(str(error))
    except typer.TyperException as error:
        # Every error of a command line that cannot be parsed: BadParameter, an unknown option, a missing argument.
        return _print_error(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except sqlite3.DatabaseError as error:
        from graphs.checkpoints import is_passing

        if debug:
            raise
        if is_passing(error):
            return _print_error(f"a database cannot be used ({error}); make room, or wait for its other process")
        return _print_error(f"a saved file is damaged ({error}); `geosleuth chat --forget NAME` deletes a thread")
    except BrokenPipeError:
        # The reader of our output has closed it (as `| head` does): discard what is left in the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OUTPUT_CLOSED
    except OSError as error:
        if debug or error.errno not in _USER_CAN_MEND:
            raise
        return _print_error(
            f"{error.filename or 'output'}: {(error.strerror or str(error)).lower()}; choose another place"
        )
    if status == INTERRUPTED:
        sys.stderr.write("geosleuth: interrupted\n")
    return status


def _replace_unprintable_letters() -> None:
    """Print a question mark for a letter that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _forget_impossible_width() -> None:
    """A terminal 0 columns wide, as COLUMNS=0 says it, is one whose width is not known."""
    for name in ("COLUMNS", "LINES"):
        if not os.environ.get(name, "1").strip("0"):
            del os.environ[name]


def _print_error(problem: str) -> int:
    sys.stderr.write(f"geosleuth: error: {printable(redacted(problem))}\n")
    return USER_ERROR


@app.command("doctor")
def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Also try the services that could be used.")] = False,
    home: Home = None,
) -> int:
    """Say what is installed, what each missing thing would add, and how to get it."""
    from apps.doctor.checks import diagnose
    from apps.doctor.report import print_findings
    from graphs.settings import make_settings

    print_findings(diagnose(make_settings(home=home), online), as_json)
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"geosleuth {version('geosleuth')}\n")
        raise typer.Exit


@app.callback()
def _common_options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Where was this photo taken, how sure are we, and why?"""


if __name__ == "__main__":
    main()
