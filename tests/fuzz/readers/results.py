"""Files that `geosleuth locate` writes and finds again: results, events, maps."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from agents.schemas import Answer, Level
from apps.maps.page import map_page
from apps.maps.picture import picture_png
from apps.output.files import FILE_KINDS
from apps.output.formatting import LocatedPhoto
from apps.output.geojson import geojson_pieces
from apps.output.kml import kml_pieces
from apps.output.results_file import PhotoResult, RunFile
from apps.output.table import csv_lines
from geo.places.gazetteer import Gazetteer
from graphs.coarsening import Units, coarsen
from graphs.events.log import EventLog, line
from graphs.events.tracing import Phase, TraceEvent, What
from graphs.settings import answering_settings, make_settings
from tests.fakes import answers
from tests.fuzz.cases import Files, Target


def _results() -> Files:
    settings = answering_settings(make_settings(home="home"))
    made = [
        PhotoResult("a.jpg", "ab" * 32, PhotoResult.of_answer("a.jpg", answers.answered()).status, None,
                    answers.answered(), settings),
        PhotoResult.of_answer("b.jpg", answers.abstained()),
        PhotoResult.of_failure("c \u2028.jpg", None, "is damaged"),
    ]  # fmt: skip
    return {"run.jsonl": "".join(row.line() for row in made).encode()}


def _read_results(folder: Path) -> object:
    """All that a run that is started again does with its rows."""
    with RunFile(folder / "run.jsonl") as opened:
        keys = set(opened.rows)
        opened.check_settings(answering_settings(make_settings(home="home", max_precision="region")))
        opened.coarsen(_coarse, Level.REGION)
        opened.forget_failures([name for name, _ in opened.rows])
        return keys, "".join(csv_lines(opened.records()))


def _coarse(answer: Answer) -> Answer:
    return coarsen(answer, Level.REGION, _units())


@cache
def _units() -> Units:
    return Units(Gazetteer())


def _events() -> Files:
    events = [
        TraceEvent(id=f"e{n}", time="-", thread=None, step=n, node="look", what=What.NODE, name="x", phase=Phase.START)
        for n in range(3)
    ]
    return {"events.jsonl": "".join(f"{line(event)}\n" for event in events).encode()}


def _read_events(folder: Path) -> object:
    with EventLog(folder / "events.jsonl") as log:
        log(TraceEvent.model_validate_json(_events()["events.jsonl"].splitlines()[0]))
    return None


def _outputs() -> Files:
    located = LocatedPhoto("a.jpg", answers.believed())
    return {
        "a.html": map_page([located]).encode(),
        "a.png": picture_png(located),
        "a.geojson": "".join(geojson_pieces([located])).encode(),
        "a.kml": "".join(kml_pieces([located])).encode(),
        "a.csv": "".join(csv_lines([PhotoResult.of_answer("a.jpg", located.answer)])).encode(),
    }


def _check_outputs(folder: Path) -> object:
    """What is there already: of ours, or refused."""
    for kind in FILE_KINDS:
        for file in sorted(folder.iterdir()):
            if file.suffix in kind.suffixes:
                kind.check(file)
    return None


TARGETS = (
    Target("results-jsonl", _results, _read_results),
    Target("events-jsonl", _events, _read_events),
    Target("outputs", _outputs, _check_outputs),
)
