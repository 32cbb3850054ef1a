"""Print an answer, and write the files that were asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from apps.console import answers, messages, print_json
from apps.options import Outputs
from apps.output.formatting import LocatedPhoto
from apps.output.results_file import PhotoResult, results_csv
from apps.output.terminal import print_answer
from core.errors import UserError


def check_output(file: Path) -> None:
    """Refuse an output that could not be written, before hours are spent on it.

    Raises:
        UserError: its folder is missing or closed to us, or a folder has its name.
    """
    folder = file.parent
    if not folder.is_dir():
        raise UserError(f"cannot write {file}: there is no folder {folder}; create it first")
    if file.is_dir():
        raise UserError(f"cannot write {file}: it is a folder; give a file name")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise UserError(f"cannot write {file}: no permission; choose another place")


def render(located: LocatedPhoto, outputs: Outputs) -> None:
    """Print one answer, and write the files that were asked for."""
    if outputs.as_json:
        print_json(located.answer.model_dump(mode="json"))
    else:
        print_answer(answers(), located, with_map=not outputs.no_terminal_map)
    write_table([PhotoResult.of_answer(located.name, located.answer)], outputs)
    write_files([located], outputs)


def write_table(records: Sequence[PhotoResult], outputs: Outputs) -> None:
    """Write the table of all photos, those that failed too, if it was asked for."""
    if outputs.csv is not None:
        _save(outputs.csv, results_csv(records).encode())


def write_files(located: Sequence[LocatedPhoto], outputs: Outputs) -> None:
    """Write the maps that were asked for, and say where they are."""
    # Imported when they are wanted: drawing libraries take their time.
    if outputs.geojson is not None:
        from apps.output.geojson import geojson_text

        _save(outputs.geojson, geojson_text(located).encode())
    if outputs.kml is not None:
        from apps.output.kml import kml_text

        _save(outputs.kml, kml_text(located).encode())
    if outputs.page is not None:
        from apps.maps.page import map_page

        _save(outputs.page, map_page(located).encode())
    if outputs.picture is not None:
        from apps.maps.picture import picture_png

        _save(outputs.picture, picture_png(located[0]))


def _save(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}; choose another place") from error
    messages().print(f"wrote {file}")
