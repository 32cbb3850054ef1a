"""Every renderer shows that there is no answer, and why."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.schemas import AnswerStatus
from apps.maps import picture
from apps.maps.page_data import photo_data
from apps.output.geojson import geojson_pieces
from apps.output.kml import kml_pieces
from apps.output.results_file import PhotoResult, RunFile, RunStatus
from apps.output.terminal import print_answer, summary_line
from tests.fakes.answers import located, unanswered

TEXTS = {
    AnswerStatus.ABSTAINED: "No answer: GeoSleuth abstains",
    AnswerStatus.REFUSED: "No answer: the model refused",
    AnswerStatus.UNPARSABLE: "No answer: the model's reply cannot be used",
    AnswerStatus.FAILED: "No answer: the model could not be reached",
}


def test_every_status_without_a_point_has_its_words() -> None:
    assert set(TEXTS) == set(AnswerStatus) - {AnswerStatus.ANSWERED}


@pytest.mark.parametrize("status", TEXTS)
def test_each_surface_says_it_and_why(status: AnswerStatus) -> None:
    item, reason = located(unanswered(status)), f"the model's replies were {status.value}"
    out = io.StringIO()
    print_answer(Console(file=out, width=110), item)
    assert TEXTS[status] in out.getvalue()
    assert reason in out.getvalue()
    assert TEXTS[status] in summary_line(item).plain
    page = photo_data(item, 0.0)
    assert (page["heading"], page["point"]) == (TEXTS[status], None)
    assert reason in page["reasoning"]
    assert TEXTS[status] in "".join(kml_pieces([item]))
    answer = json.loads("".join(geojson_pieces([item])))["features"][0]
    assert (answer["geometry"], answer["properties"]["status"]) == (None, status.value)
    assert answer["properties"]["place"] == TEXTS[status]


@pytest.mark.parametrize("status", [AnswerStatus.REFUSED, AnswerStatus.FAILED])
def test_the_picture_says_it(status: AnswerStatus, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    paragraph = picture._paragraph

    def recorded(draw: Any, y: float, text: str, *args: Any, **options: Any) -> float:
        texts.append(text)
        return paragraph(draw, y, text, *args, **options)

    monkeypatch.setattr(picture, "_paragraph", recorded)
    picture.picture_png(located(unanswered(status)))
    assert texts[:2] == [TEXTS[status], f"the model's replies were {status.value}"]


@pytest.mark.parametrize("status", TEXTS)
def test_a_row_of_a_run_keeps_the_status(status: AnswerStatus, tmp_path: Path) -> None:
    record = PhotoResult.of_answer("a.jpg", unanswered(status))
    with RunFile(tmp_path / "run.jsonl") as file:
        file.append(record)
    with RunFile(tmp_path / "run.jsonl") as file:
        assert list(file.records()) == [record]
    assert record.status.value == status.value
    assert bool(record.error) is (record.status is RunStatus.FAILED)
