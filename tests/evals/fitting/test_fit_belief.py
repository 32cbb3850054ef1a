"""The command reads runs, joins their reports by photo, and writes parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from belief.parameters import Parameters, default_parameters
from evals import fit_belief
from evals.fitting.belief_samples import load_belief_data
from evals.runs.records import EvalRecord
from geo.point import Point
from geo.sphere import destination
from tests.fakes.records import made_record, write_run

A, B = "recorded:answers/gpt-4.1.jsonl@photos", "openai:o3"


def records(models: str, photos: int = 30, retrieves: bool = False, **chosen: Any) -> list[EvalRecord]:
    """Photos of which every model names a place 5 km off, but the first photo, of which none says anything."""
    rng = np.random.default_rng(5)
    made = []
    for i in range(photos):
        truth = Point(lat=float(rng.uniform(-50, 60)), lon=float(rng.uniform(-170, 170)))
        places = [(model, destination(truth, float(rng.uniform(0, 360)), 5.0)) for model in models.split(",")]
        said = [{"model": m, "point": (p.lat, p.lon), "confidence": None} for m, p in places if i]
        at = (truth.lat, truth.lon)
        fields = {"truth": at, "author": f"by{i}", "model": models, "strategy": "jury", "first_reading": said}
        more = {"candidates": candidates(at)} if retrieves else {}
        made.append(made_record(f"{i}.jpg", **{**fields, **more, **chosen}))
    return made


def candidates(truth: tuple[float, float]) -> list[dict[str, Any]]:
    row = {"atlas": "a", "kind": "photo", "similarity": 0.5, "point": truth, "item_id": "x"}
    return [{**row, "rank": rank} for rank in range(3)]


def test_reports_on_a_photo_in_several_runs_are_joined(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, records(model), model=model) for name, model in (("a", A), ("b", B))]
    data = load_belief_data(runs)
    assert len(data.samples) == 30
    assert all(set(sample.reports) == {"gpt-4.1", "o3"} for sample in data.samples)
    assert sum(not sample.reports["o3"] for sample in data.samples) == 1
    assert data.juries == []
    assert load_belief_data([write_run(tmp_path / "c", records(f"{A},{B}"))]).juries == [("gpt-4.1", "o3")]


def test_other_benchmarks_photos_and_errors_are_kept_apart(tmp_path: Path) -> None:
    broken = made_record("broken.jpg", status="error", strategy="jury", model=A, error="it broke")
    first = write_run(tmp_path / "a", [*records(A), broken])
    other = write_run(tmp_path / "b", records(A, benchmark="another"))
    assert len(load_belief_data([first, other]).samples) == 60


def test_answers_that_saw_more_than_the_photo_have_their_own_record(tmp_path: Path) -> None:
    data = load_belief_data([write_run(tmp_path / "a", records(A, strategy="rag"))])
    assert set(data.samples[0].reports) == {"gpt-4.1@rag"}


def test_of_a_model_that_was_asked_twice_about_a_photo_the_first_report_counts(tmp_path: Path) -> None:
    said = [{"model": A, "point": (1.0, 2.0), "confidence": None}]
    twice = [record.model_copy(update={"strategy": "refine"}) for record in records(A, first_reading=said)]
    first, second = write_run(tmp_path / "a", records(A)), write_run(tmp_path / "b", twice)
    once = load_belief_data([first])
    assert [s.reports for s in load_belief_data([first, second]).samples] == [s.reports for s in once.samples]
    assert load_belief_data([second, first]).samples[0].reports["gpt-4.1"][0][:2] == (1.0, 2.0)


def test_the_command_writes_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", records(f"{A},{B}", retrieves=True))
    out = tmp_path / "parameters.json"
    noted = ["--note", "o3=prompt of a study", "--published", "gps@geoclip=14.1,34.5,50.7,69.7,83.8"]
    assert fit_belief.main([str(run), "--out", str(out), *noted]) == 0
    said = capsys.readouterr().out
    assert "Fitted on 30 photos by 30 photographers" in said
    assert "| gpt-4.1 | 30 | 29 |" in said
    assert "| 2 together: gpt-4.1, o3 | 30 | 29 |" in said
    assert "| retrieval, photo@compact@1 | 30 | 30 |" in said
    found, packaged = Parameters.model_validate_json(out.read_text()), default_parameters()
    assert found.records.models["gpt-4.1"].shares[-1] < 0.2
    assert (found.records.models["o3"].photos, found.records.models["o3"].answered) == (30, 29)
    assert found.records.models["o3"].source == "prompt of a study; strategy jury, folder, run of 2026-11-21"
    assert {"photo", "photo@compact@1", "gps@geoclip"} <= set(found.retrieval)
    assert "derived from published accuracies" in found.retrieval["gps@geoclip"].record.source
    kept = ("useless", "place_name", "judgement_accuracy", "person_accuracy", "utility")
    assert all(getattr(found, name) == getattr(packaged, name) for name in kept)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to fit"),
        (["--published", "m=1,2"], "five rising percentages"),
        (["--published", "m"], "are given as NAME="),
        (["--published", "m=9,8,30,40,50"], "five rising percentages"),
        (["--note", "m", "--published", "m=1,2,3,4,5"], "a note is given as NAME=TEXT"),
        (["nowhere"], "cannot read"),
    ],
)
def test_what_cannot_be_fitted_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert fit_belief.main([*arguments, "--out", str(tmp_path / "p.json")]) == 2
    assert message in capsys.readouterr().err
