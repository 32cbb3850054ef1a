"""Which functions and files of the project one command passes through, by `sys.setprofile`.

    python -m benchmarks.call_path apps.cli locate PHOTO
    python -m benchmarks.call_path evals.run folder --data FOLDER --out RUN
    python -m benchmarks.call_path --list apps.cli locate PHOTO        also print every file with its functions
    python -m benchmarks.call_path photo PHOTO                         one photo through an open system, nothing else

Counted are calls into Python files below the current folder, tests and benchmarks apart, in every thread, while no
module is being imported: distinct functions, distinct files, and how often a call leads from one file back into another
that was already left.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

LEFT_OUT = ("tests", "benchmarks")


class CallRecorder:
    """Counts calls into the project's files; `record` is for `sys.setprofile`."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"
        self._outside = tuple(f"{root}/{folder}/" for folder in LEFT_OUT)
        self._thread = threading.local()
        self.functions: dict[str, set[str]] = {}
        self.returns = 0

    def record(self, frame: FrameType, event: str, _: Any) -> None:
        """One event of the profiler; only calls count."""
        code, here = frame.f_code, self._thread
        if code.co_name == "<module>":
            here.importing = getattr(here, "importing", 0) + {"call": 1, "return": -1}.get(event, 0)
        elif event == "call" and not getattr(here, "importing", 0) and self._counts(code.co_filename):
            file = code.co_filename.removeprefix(self._root)
            if file in self.functions and getattr(here, "file", file) != file:
                self.returns += 1
            self.functions.setdefault(file, set()).add(code.co_qualname)
            here.file = file

    def _counts(self, file: str) -> bool:
        return file.startswith(self._root) and not file.startswith(self._outside)

    def report(self) -> str:
        """The three counts, on one line."""
        functions = sum(map(len, self.functions.values()))
        return f"{functions} functions in {len(self.functions)} files; {self.returns} returns to a file already left"


def record(work: Callable[[], object]) -> CallRecorder:
    """Run something under the profiler."""
    recorder = CallRecorder(Path.cwd())
    threading.setprofile(recorder.record)
    sys.setprofile(recorder.record)
    try:
        work()
    except SystemExit as ended:
        sys.stderr.write(f"exit status {ended.code or 0}\n")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return recorder


def one_photo(file: Path) -> CallRecorder:
    """The way of one photo through an open system that has located it once, so that nothing is loaded on the way."""
    from graphs.settings import make_settings
    from graphs.system import GeoSleuth
    from retrieval.photos.photo import load_photo

    with GeoSleuth.open(make_settings()) as system:
        system.locate(load_photo(file))
        return record(lambda: system.locate(load_photo(file)))


def main() -> None:
    """Run a command under the profiler and print the counts on standard error."""
    listed = sys.argv[1:2] == ["--list"]
    command = sys.argv[2 if listed else 1 :]
    if not command:
        raise SystemExit(__doc__)
    if command[0] == "photo":
        recorder = one_photo(Path(command[1]))
    else:
        sys.argv = command
        recorder = record(importlib.import_module(command[0]).main)
    if listed:
        for file, functions in sorted(recorder.functions.items()):
            sys.stderr.write(f"{file}: {', '.join(sorted(functions))}\n")
    sys.stderr.write(f"{recorder.report()}\n")


if __name__ == "__main__":
    main()
