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
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from core.errors import INTERRUPTED, UserError
from core.redaction import redact_tracebacks, redacted
from core.starting import uncollected

USER_ERROR = 2
_OUTPUT_CLOSED = 1
_USER_CAN_MEND = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EIO),
}
"""No permission, no space left, a name that cannot be: errors the user can mend, wherever they happened."""


class _Command(NamedTuple):
    """Where a command is, and what the list of commands says of it: how its own help begins.

    Attributes:
        more: modules that add commands of their own to it.
    """

    module: str
    name: str
    help: str
    more: tuple[str, ...] = ()


_COMMANDS = {
    "locate": _Command("apps.commands.locate", "locate", "Say where photos were taken, how sure that is, and why."),
    "answer": _Command(
        "apps.commands.answer",
        "answer",
        "Answer what `geosleuth locate --ask` or a chat asked; the run goes on from its checkpoint.",
    ),
    "chat": _Command("apps.commands.chat", "chat", "Talk about photos: follow-up questions on the same evidence."),
    "serve": _Command("apps.commands.serve", "serve", "Serve a page with a chat beside a map, and the HTTP API."),
    "mcp": _Command("apps.commands.mcp", "mcp", "Offer the machine and its tools to MCP clients."),
    "doctor": _Command(
        "apps.commands.doctor", "doctor", "Say what is installed, what each missing thing would add, and how to get it."
    ),
    "atlas": _Command(
        "apps.commands.atlas",
        "atlas_app",
        "Build, extend, inspect, verify and search atlases.",
        (
            "apps.commands.atlas_inspect",
            "apps.commands.satellite_atlas",
            "apps.commands.atlas_plan",
            "apps.commands.atlas_snapshot",
        ),
    ),
}


class _CommandGroup(TyperGroup):
    """The commands, each imported when it is used: the list of them needs none of their libraries."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name, help=row.help) for name, row in _COMMANDS.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """Import a command; None if there is none of the name."""
        row = _COMMANDS.get(cmd_name)
        if row is None:
            return None
        with uncollected():
            return _load_command(cmd_name, _imported(row))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        TyperGroup(name=self.name, commands=dict(self.commands)).format_commands(ctx, formatter)


def _imported(row: _Command) -> Any:
    """The function or application of a row, with all its commands."""
    found = getattr(import_module(row.module), row.name)
    for module in row.more:
        import_module(module)
    return found


def _load_command(name: str, command: Any) -> Any:
    """A Typer application or a function, as a command of another application."""
    if not isinstance(command, typer.Typer):
        one = typer.Typer(add_completion=False, rich_markup_mode=None)
        one.command(name)(command)
        return typer.main.get_command(one)
    group = typer.main.get_command(command)
    group.name = name
    return group


app = typer.Typer(
    name="geosleuth",
    cls=_CommandGroup,
    help="Where was this photo taken, how sure are we, and why?",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    from apps.output.formatting import printable  # with the schemas of answers

    sys.stderr.write(f"geosleuth: error: {printable(redacted(problem))}\n")
    return USER_ERROR


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
