"""The command `geosleuth`: check that our packages are ours, then run the command line."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
_AGAIN_S = 0.02


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: unless all went well; with status 2 if another distribution's package hides one of ours.
    """
    is_interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_interruptible:
        signal.signal(signal.SIGINT, _leave)
    from geosleuth.conflicts import address_space_problem, package_conflict

    if problem := address_space_problem() or package_conflict():
        sys.stderr.write(f"geosleuth: error: {problem}\n")
        raise SystemExit(2)
    from core.starting import uncollected

    with uncollected():
        from apps.cli import main as run_command_line
        from core.deadline import leave_process

    if is_interruptible:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _interrupt_again
    try:
        run_command_line()
    except SystemExit as end:
        leave_process(end.code if isinstance(end.code, int) else 0)
        raise
    leave_process(0)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but leave where a library is being imported: it would turn that into errors of its own.

    Native code that makes classes, such as pydantic's, even prints it and goes on.
    """
    inner = frame
    while inner is not None:
        if inner.f_code.co_filename == _IMPORT_SYSTEM:
            _leave()
        inner = inner.f_back
    signal.default_int_handler(signal_number, frame)


def _interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
    """Repeat an interrupt that came while Python let go of an object: what is raised there is printed and lost."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        threading.Timer(_AGAIN_S, _send_interrupt).start()
    else:
        sys.__unraisablehook__(ignored)


def _send_interrupt() -> None:
    # A real signal: it also ends the wait of a main thread.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _leave(*_: Any) -> NoReturn:
    sys.stderr.write("geosleuth: interrupted\n")
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
