"""`--max-precision` coarsens what finer runs left behind too: rows, threads, and what a chat says of them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from agents.schemas import Answer
from tests.apps.conftest import Run, command, environment
from tests.fakes.photo_files import jpeg

COUNTRY = ("--max-precision", "country")


def _fine(answer: Answer) -> set[str]:
    """Texts that only the finer answer holds."""
    assert answer.point
    assert answer.place
    points = (answer.point, *(candidate.point for candidate in answer.candidates))
    return {f"{number:.4f}" for point in points for number in (point.lat, point.lon)} | {str(answer.place.city)}


def _content(file: Path) -> str:
    """What it says, without the names of cities that every map has."""
    return re.sub(r'\{"name":"[^"]*","at":\[[^\]]*\]\}', "", file.read_text())


def test_rows_of_a_finer_run_are_coarsened_with_their_map(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    for seed in (1, 2):
        jpeg(tmp_path / f"{seed}.jpg", seed)
    rows, page, table = tmp_path / "run.jsonl", tmp_path / "map.html", tmp_path / "run.csv"
    again = ("locate", tmp_path, "--jsonl", rows, "--map", page, "--csv", table, *system)
    assert geosleuth(*again).returncode == 0
    answers = [Answer.model_validate(json.loads(line)["answer"]) for line in rows.read_text().splitlines()]
    coarser = geosleuth(*again, *COUNTRY)
    assert coarser.returncode == 0, coarser.stderr
    assert "coarsened 2 earlier answers" in coarser.stderr
    for answer in answers:
        for text in _fine(answer):
            assert not [file.name for file in (rows, page, table) if text in _content(file)], text
    kept = rows.read_bytes()
    assert "coarsened" not in geosleuth(*again, *COUNTRY).stderr
    assert rows.read_bytes() == kept


def test_a_thread_of_a_finer_run_is_coarsened_wherever_it_is_shown(
    geosleuth: Run, home: Path, system: Any, tmp_path: Path
) -> None:
    photo, page = jpeg(tmp_path / "photo.jpg", 5), tmp_path / "map.html"
    fine = geosleuth("locate", photo, "--thread", "finer", "--json", *system)
    answer = Answer.model_validate_json(fine.stdout)
    coarse = geosleuth("locate", photo, "--thread", "finer", "--json", *COUNTRY, *system)
    shown = Answer.model_validate_json(coarse.stdout)
    assert (shown.candidates, shown.areas) == ((), ())
    chat = subprocess.run(
        command("chat", "--thread", "finer", *COUNTRY, *system),
        input=f"/why\n/table\n/photos\nwhy?\n/map {page}\n",
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "wrote" in chat.stderr
    for text in _fine(answer):
        for said in (coarse.stdout, coarse.stderr, chat.stdout, chat.stderr, _content(page)):
            assert text not in said, text
