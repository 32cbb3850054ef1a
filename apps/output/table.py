"""The records of a folder run as a table (CSV), a row a photo."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from agents.schemas import LEVEL_KM, Answer
from apps.output.formatting import heading, printable
from apps.output.results_file import PhotoResult

CHANCE_COLUMNS = {int(distance_km): f"chance_within_{distance_km:.0f}_km" for distance_km in LEVEL_KM.values()}
COLUMNS = (
    *("photo", "sha256", "status", "error", "place", "level", "lat", "lon", "confidence"),
    *CHANCE_COLUMNS.values(),
    *("radius_50_km", "radius_90_km", "area_50_km2", "area_90_km2", "radius_is_calibrated", "seconds", "usd"),
)


def csv_lines(records: Iterable[PhotoResult]) -> Iterator[str]:
    """Records as the lines of a table with a header; what an answer does not have is empty.

    File names and places are untrusted: what a spreadsheet would take for a formula begins with an apostrophe.
    """
    out = io.StringIO()
    table = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    for record in records:
        table.writerow(_row(record))
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()


def _row(record: PhotoResult) -> dict[str, Any]:
    about = {
        "photo": record.photo,
        "error": record.error or "",
        "place": heading(record.answer) if record.answer else "",
    }
    fixed = {"sha256": record.sha256, "status": record.status.value}
    return {name: _no_formula(text) for name, text in about.items()} | fixed | _numbers(record.answer)


def _numbers(answer: Answer | None) -> dict[str, Any]:
    if answer is None:
        return {}
    at = {"lat": answer.point.lat, "lon": answer.point.lon} if answer.point else {}
    within = {CHANCE_COLUMNS[km]: chance for km, chance in answer.chance_within_km.items() if km in CHANCE_COLUMNS}
    spent = {"seconds": answer.cost.seconds, "usd": answer.cost.usd}
    same = {
        name: getattr(answer, name) for name in COLUMNS if name.startswith(("radius", "area")) or name == "confidence"
    }
    return same | at | within | spent | {"level": answer.level.value if answer.level else ""}


def _no_formula(text: str) -> str:
    clean = printable(text)
    return f"'{clean}" if clean.startswith(("=", "+", "-", "@")) else clean
