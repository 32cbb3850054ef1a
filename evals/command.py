"""What the command lines of `python -m evals.…` share: their parsers, and how errors are reported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from core.errors import UserError
from core.redaction import redact_tracebacks


def command_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m MODULE`, whose help is the module's docstring as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Arguments of commands that read finished runs."""
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--unfinished", action="store_true", help="take runs that were cut short as they are")


def run_command(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
) -> int:
    """Parse arguments and run a command.

    Returns:
        The exit status: the command's own; 2 after an error that the user can mend, which is one line on stderr.
    """
    redact_tracebacks()
    chosen = parser.parse_args(arguments)
    try:
        return command(chosen)
    except UserError as error:
        sys.stderr.write(f"{parser.prog.removeprefix('python -m ')}: error: {error}\n")
        return 2
