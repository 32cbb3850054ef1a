"""Print an answer, and write the files that were asked for: none over a photo, another output or a strange file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apps.console import LONG, STANDARD_OUTPUT, answers, messages, print_json, progress_bar
from apps.options import Outputs
from apps.output.formatting import LocatedPhoto, printable
from apps.output.reread import Reread
from apps.output.results_file import PhotoResult
from apps.output.table import csv_lines
from apps.output.terminal import print_answer
from core.errors import UserError
from core.files import ANYBODY, write_atomic
from retrieval.photos.decoding import PHOTO_SUFFIXES


@dataclass(frozen=True)
class FileKind:
    """A kind of file that the command line writes.

    Attributes:
        option: that names such a file.
        suffixes: that it may have; a suffix that stands for another format is refused.
        mark: how a file of ours begins; None: the file's own reader checks.
    """

    option: str
    suffixes: frozenset[str]
    mark: re.Pattern[bytes] | None = None

    def check(self, file: Path) -> None:
        """Refuse a file that is there and that this option did not write; an empty one is nobody's.

        Raises:
            UserError: the file is something else, or has the suffix of something else.
        """
        suffix = file.suffix.lower()
        if suffix in _KNOWN_SUFFIXES - self.suffixes:
            raise UserError(f"cannot write {file}: {self.option} does not write {suffix} files; end its name otherwise")
        if self.mark is None or not file.is_file():
            return
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        if head and not self.mark.match(head):
            raise UserError(f"cannot write {file}: it is there and {self.option} did not write it; choose another name")


_HEAD_BYTES = 1 << 16
_LINES = frozenset({".jsonl", ".ndjson", ".json", ".txt"})
PAGE = FileKind(
    "--map",
    frozenset({".html", ".htm", ".xhtml"}),
    re.compile(rb'<!doctype html>.{0,4000}<meta name="generator" content="GeoSleuth">', re.DOTALL),
)
PICTURE = FileKind("--png", frozenset({".png"}), re.compile(rb"\x89PNG\r\n.{0,400}tEXtSoftware\0GeoSleuth", re.DOTALL))
GEOJSON = FileKind(
    "--geojson",
    frozenset({".geojson", ".json"}),
    re.compile(rb'\{\s*"type":\s*"FeatureCollection",\s*"features":\s*\[\s*(\]|.*"photo_sha256":)', re.DOTALL),
)
KML = FileKind(
    "--kml",
    frozenset({".kml", ".xml"}),
    re.compile(rb"<\?xml[^>]*>\s*<kml[^>]*>\s*<Document>\s*<name>GeoSleuth</name>"),
)
CSV = FileKind("--csv", frozenset({".csv", ".txt"}), re.compile(rb"photo,sha256,status,"))
RECORDS = FileKind("--jsonl", _LINES)
EVENTS = FileKind("--events", _LINES | {".log"})
FILE_KINDS = (PAGE, PICTURE, GEOJSON, KML, CSV, RECORDS, EVENTS)
_KNOWN_SUFFIXES = PHOTO_SUFFIXES.union(*(kind.suffixes for kind in FILE_KINDS)) | {
    ".bmp",
    ".kmz",
    ".pdf",
    ".svg",
    ".xlsx",
    ".zip",
}


def check_outputs(outputs: Outputs, events: str | None, photos: Sequence[Path]) -> None:
    """Refuse outputs that cannot be written or would destroy something, before hours are spent on them.

    Args:
        outputs: the files that were asked for.
        events: the file of events, `-` for standard output, None for none.
        photos: files that are read and must stay as they are.

    Raises:
        UserError: an output is one of the photos, another output, or a file that this option did not write; its
            folder is missing or closed to us.
    """
    wanted = [*_named(outputs), *([(EVENTS, Path(events))] if events not in (None, STANDARD_OUTPUT) else [])]
    taken: dict[FileKey, str] = {}
    for photo in photos:
        taken.setdefault(_file_key(photo), f"the photo {photo}")
    for kind, file in wanted:
        _check_place(file)
        key = _file_key(file)
        if key in taken and _is_ordinary(file):
            raise UserError(f"cannot write {kind.option} {file}: it is {taken[key]}; choose another name")
        kind.check(file)
        taken[key] = f"what {kind.option} writes, too"


def _named(outputs: Outputs) -> list[tuple[FileKind, Path]]:
    every = (
        (RECORDS, outputs.jsonl),
        (CSV, outputs.csv),
        (GEOJSON, outputs.geojson),
        (KML, outputs.kml),
        (PAGE, outputs.page),
        (PICTURE, outputs.picture),
    )
    return [(kind, file) for kind, file in every if file is not None]


FileKey = tuple[int, int] | str


def _file_key(file: Path) -> FileKey:
    """The same for two names of one file, also through links and, where the disk ignores it, upper case."""
    try:
        status = file.stat()
    except OSError:  # not there yet
        return os.path.realpath(file).casefold()
    return (status.st_dev, status.st_ino)


def _is_ordinary(file: Path) -> bool:
    """Whether it is a file or is not there yet: no device and no pipe."""
    return file.is_file() or not file.exists()


def _check_place(file: Path) -> None:
    folder = file.parent
    try:
        is_folder = stat.S_ISDIR(file.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_folder = False
    except (OSError, ValueError) as error:  # too long a name, a link to itself, a null byte
        why = str(getattr(error, "strerror", None) or error).lower()
        raise UserError(f"cannot write {file}: {why}; choose another name") from error
    if is_folder:
        raise UserError(f"cannot write {file}: it is a folder; give a file name")
    if not folder.is_dir():
        raise UserError(f"cannot write {file}: there is no folder {folder}; create it first")
    must_be_open = [part for part in (file, folder if _is_ordinary(file) else file) if part.exists()]
    if not all(os.access(part, os.W_OK) for part in must_be_open):
        raise UserError(f"cannot write {file}: no permission; choose another place")


def render(located: LocatedPhoto, outputs: Outputs) -> None:
    """Print one answer, and write the files that were asked for."""
    if outputs.as_json:
        print_json(located.answer.model_dump(mode="json"))
    else:
        print_answer(answers(), located, with_map=not outputs.no_terminal_map)
    write_table([PhotoResult.of_answer(located.name, located.answer)], outputs)
    write_files([located], outputs)


def write_table(records: Iterable[PhotoResult], outputs: Outputs) -> None:
    """Write the table of all photos, those that failed too, if it was asked for."""
    if outputs.csv is not None:
        _save(CSV, outputs.csv, csv_lines(records))


def write_files(located: Collection[LocatedPhoto], outputs: Outputs) -> None:
    """Write the maps that were asked for, and say where they are.

    Args:
        located: gone through once for each map; of many, one is in memory at a time.
    """
    # Imported when they are wanted: drawing libraries take their time.
    if outputs.geojson is not None:
        from apps.output.geojson import geojson_pieces

        with _progress_shown(outputs.geojson, located) as shown:
            _save(GEOJSON, outputs.geojson, geojson_pieces(shown))
    if outputs.kml is not None:
        from apps.output.kml import kml_pieces

        with _progress_shown(outputs.kml, located) as shown:
            _save(KML, outputs.kml, kml_pieces(shown))
    if outputs.page is not None:
        from apps.maps.page import map_page

        with _progress_shown(outputs.page, located) as shown:
            _save(PAGE, outputs.page, [map_page(shown)])
    if outputs.picture is not None:
        from apps.maps.picture import picture_png

        _save(PICTURE, outputs.picture, picture_png(next(iter(located))))


@contextmanager
def _progress_shown(file: Path, located: Collection[LocatedPhoto]) -> Iterator[Collection[LocatedPhoto]]:
    """The same, with a progress bar while a writer goes through a long one."""
    if len(located) <= LONG:
        yield located
        return
    with progress_bar(f"Writing {printable(file.name, 40)}", "photos") as report:

        def reported() -> Iterator[LocatedPhoto]:
            for done, item in enumerate(located, 1):
                yield item
                report(done, len(located))

        yield Reread(len(located), reported)


def _save(kind: FileKind, file: Path, content: bytes | Iterable[str]) -> None:
    """Write an output beside what is there and replace it, so that a full disk leaves the previous one."""
    pieces = [content] if isinstance(content, bytes) else (piece.encode() for piece in content)
    try:
        _check_place(file)
        kind.check(file)
        if _is_ordinary(file):
            target = file.resolve()  # a link stays one
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else ANYBODY
            write_atomic(target, pieces, mode, many_writers=True)
        else:
            with file.open("wb") as stream:
                stream.writelines(pieces)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}; choose another place") from error
    messages().print(f"wrote {printable(str(file))}")
