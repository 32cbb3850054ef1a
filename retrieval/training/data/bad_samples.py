"""Samples that cannot be used: counted, listed in `bad_samples.csv`, never replaced by something else."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from core.errors import UserError

BAD_SAMPLES, DUPLICATES = "bad_samples.csv", "duplicates.csv"


class BadSample(NamedTuple):
    """One sample that cannot be used: where it is listed or stored, its name, and why."""

    where: str
    name: str
    reason: str


class BadSamples:
    """The bad samples of a run, each listed once, appended when they are found.

    Args:
        path: of the CSV; samples that it lists already are not listed again.
        max_share: of all samples; more is an error, since then something is wrong with the collection.
    """

    def __init__(self, path: Path, max_share: float) -> None:
        self.path, self.max_share = path, max_share
        self._known: dict[BadSample, None] = dict.fromkeys(read_bad_samples(path))

    def __len__(self) -> int:
        return len(self._known)

    def add(self, samples: Iterable[BadSample], total: int) -> None:
        """List samples.

        Args:
            total: of all samples of the collection, usable or not.

        Raises:
            UserError: more than `max_share` of all samples are bad.
        """
        found = dict.fromkeys(sample for sample in samples if sample not in self._known)
        if found:  # another process of the run may have listed them meanwhile
            self._known.update(dict.fromkeys(read_bad_samples(self.path)))
        new = [sample for sample in found if sample not in self._known]
        self._known.update(dict.fromkeys(new))
        self._append(new)
        if len(self) > self.max_share * total:
            first = next(iter(self._known))
            raise UserError(
                f"{len(self)} of {total} samples cannot be used, more than data.max_bad_share={self.max_share:g} "
                f"allows: first {first.where} ({first.name}: {first.reason}); all are listed in {self.path}"
            )

    def _append(self, samples: list[BadSample]) -> None:
        if not samples:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        header = [] if self.path.is_file() else [BadSample._fields]
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([*header, *samples])
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error


def read_bad_samples(path: Path) -> list[BadSample]:
    """Read a list; empty if there is none. A last line cut off by a killed run is left out."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [BadSample(*row) for row in csv.reader(file) if len(row) == 3][1:]


def write_bad_samples(path: Path, samples: Iterable[BadSample]) -> None:
    """Write a list anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([BadSample._fields, *samples])
