"""One case of fuzzing: a target's files, one of them damaged, and what its reader makes of them.

A case is named by seed, target and number, and is the same whenever it is made. Its reader must give an answer (of a
harmlessly changed file the same as of the whole one) or one of the target's refusals, within a time and memory.
"""

from __future__ import annotations

import faulthandler
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from core.errors import UserError
from tests.fuzz.mutators import HARMLESS, damaged

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Target:
    """Something that reads files which may be damaged.

    Attributes:
        example: whole files by their path in a folder; `read` gives an answer for them.
        read: given the folder. What it returns is compared with `==` where the damage is harmless.
        refusals: exceptions that say what is wrong, in one line.
        is_text: whether harmless changes of texts are made to its files.
        changed: the files that are damaged; empty: all.
        memory_mb: that it may take for a small file.
    """

    name: str
    example: Callable[[], Files]
    read: Callable[[Path], object]
    refusals: tuple[type[Exception], ...] = (UserError,)
    is_text: bool = True
    changed: tuple[str, ...] = ()
    memory_mb: float = 300.0

    @cached_property
    def files(self) -> Files:
        """The example, made once."""
        return dict(self.example())

    @cached_property
    def answer(self) -> object:
        """What the reader says of the whole files."""
        with _folder(self.files) as folder:
            return self.read(folder)


class Case(NamedTuple):
    """A case by its name."""

    seed: int
    target: Target
    number: int

    def __str__(self) -> str:
        return f"{self.target.name}-{self.seed}-{self.number}"


class Made(NamedTuple):
    """A case's files.

    Attributes:
        special: what stands in place of a file: `folder`, `loop` (a link to itself), `missing`; empty: a file.
        is_harmless: whether the answer must be as before, if there is one.
    """

    files: Files
    changed: str
    special: str
    is_harmless: bool


@dataclass
class Limits:
    """What a case may take; None: as much as it likes."""

    seconds: float | None = None
    checks_memory: bool = False


class TooSlow(BaseException):
    """A case took longer than it may; no reader catches it."""


@dataclass
class Failed(Exception):
    """A case in which a reader failed."""

    case: Case
    made: Made
    why: str
    where: str = field(default="")

    def __str__(self) -> str:
        return f"{self.case}: {self.why} ({self.made.changed} {self.made.special or 'damaged'}) {self.where}"


def make(case: Case, others: Files) -> Made:
    """The files of a case."""
    rng = random.Random(str(case))
    files = dict(case.target.files)
    name = rng.choice(sorted(case.target.changed or files))
    if rng.random() < 0.03:
        return Made(files, name, rng.choice(("folder", "loop", "missing")), is_harmless=False)
    is_harmless = case.target.is_text and rng.random() < 0.05
    files[name] = rng.choice(HARMLESS)(files[name], rng) if is_harmless else damaged(files[name], rng, others)
    return Made(files, name, "", is_harmless)


def check(case: Case, made: Made, limits: Limits) -> None:
    """Have a case read.

    Raises:
        Failed: another exception than a refusal, another answer, too much time or memory.
    """
    target, before_mb = case.target, _peak_mb()
    with _folder(made.files) as folder:
        _put_special(folder / made.changed, made.special)
        try:
            with _timed(limits.seconds):
                answer = target.read(folder)
        except target.refusals as refusal:
            if len(str(refusal).splitlines()) > 1 or not str(refusal).strip():
                raise Failed(case, made, f"a refusal of several lines or none: {refusal!r}") from refusal
            return
        except TooSlow as slow:
            raise Failed(case, made, f"more than {limits.seconds:g} s", _innermost(slow)) from slow
        except (Exception, RecursionError) as error:
            raise Failed(case, made, f"{type(error).__name__}: {str(error)[:200]}", _innermost(error)) from error
    if limits.checks_memory and _peak_mb() - before_mb > target.memory_mb:
        raise Failed(case, made, f"{_peak_mb() - before_mb:.0f} MB more memory")
    if made.is_harmless and answer != target.answer:
        raise Failed(case, made, "another answer")


def _put_special(file: Path, special: str) -> None:
    if special:
        file.unlink()
    if special == "folder":
        file.mkdir()
    if special == "loop":
        file.symlink_to(file.name)


@contextmanager
def _folder(files: Files) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="geosleuth-fuzz-"))
    try:
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _timed(seconds: float | None) -> Iterator[None]:
    """Raise TooSlow after some seconds; a call of C code that never comes back ends the process, with its stack."""
    if seconds is None:
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(6 * seconds, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def _peak_mb() -> float:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1e6 if sys.platform == "darwin" else 1e3)


def _innermost(error: BaseException) -> str:
    """The line of ours that the error comes from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    ours = [frame for frame in frames if "/lib/python" not in frame.filename and "/fuzz/cases" not in frame.filename]
    return f"{ours[-1].filename}:{ours[-1].lineno}" if ours else ""
