"""The command `geosleuth`: check that our packages are ours, then run the command line."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: unless all went well; with status 2 if another distribution's package hides one of ours.
    """
    # Libraries that are interrupted while they are imported turn the interruption into errors of their own.
    on_interrupt = signal.getsignal(signal.SIGINT)
    if on_interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from geosleuth.conflicts import address_space_problem, package_conflict

    if problem := address_space_problem() or package_conflict():
        sys.stderr.write(f"geosleuth: error: {problem}\n")
        raise SystemExit(2)
    from apps.cli import import_command
    from apps.cli import main as run_command_line
    from core.deadline import leave_process

    import_command(sys.argv[1:])
    if on_interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, on_interrupt)
    try:
        run_command_line()
    except SystemExit as end:
        leave_process(end.code if isinstance(end.code, int) else 0)
        raise
    leave_process(0)


def _leave(*_: Any) -> NoReturn:
    sys.stderr.write("geosleuth: interrupted\n")
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
