"""The photos of a command line: each one a query, or all of them, if they are of one place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.files import sha256_if_readable
from retrieval.photos.together import check_together, joined_name, joined_sha256


@dataclass(frozen=True)
class PhotoFile:
    """A photo of a run: its file, and its path relative to the run's folder.

    Attributes:
        path: of the file.
        name: of the photo; where there are more, of the set.
        together: where several photos of one place are one query, all of them.
    """

    path: Path
    name: str
    together: tuple[PhotoFile, ...] = ()

    @property
    def files(self) -> tuple[PhotoFile, ...]:
        """Every photo of the query."""
        return self.together or (self,)

    @property
    def sha256(self) -> str | None:
        """Of the file, or what stands for the set; None if one cannot be read."""
        hashes = [sha256_if_readable(file.path) for file in self.files]
        known = [sha256 for sha256 in hashes if sha256 is not None]
        return joined_sha256(known) if len(known) == len(hashes) else None


def as_one_place(files: Sequence[PhotoFile]) -> PhotoFile:
    """All photos as one query.

    Raises:
        UserError: fewer than two, too many, or one of them twice.
    """
    if len(files) < 2:
        raise UserError("--together takes two photos of one place, or more")
    check_together([file.name for file in files], [file.sha256 for file in files])
    return PhotoFile(files[0].path, joined_name([file.name for file in files]), tuple(files))


def photo_files(paths: Sequence[Path], arguments: Sequence[Path]) -> list[PhotoFile]:
    """Files with names relative to what the command line named: a folder itself, or the deepest folder of all."""
    base = Path(os.path.commonpath([_folder(argument) for argument in arguments]))
    return [PhotoFile(path, Path(os.path.relpath(path, base)).as_posix()) for path in paths]


def _folder(argument: Path) -> str:
    return os.path.abspath(argument if argument.is_dir() else argument.parent)
