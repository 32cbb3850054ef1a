"""A model's record is measured from runs, found by the model's name, and used instead of the packaged ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from belief.parameters import default_parameters
from belief.records import ANY, load_records
from core.errors import UserError
from evals import model_record
from evals.benchmarks.loading import Sample
from evals.runs.recording import EvalQuery, SystemDescription, answer_record
from evals.runs.records import EvalRecord, PredictionNote, Protocol
from geo.point import Point
from geo.sphere import destination
from graphs.components import open_parameters
from graphs.settings import make_settings
from tests.fakes.machine import context, run, scripted
from tests.fakes.records import made_record, write_run

MODEL = "openai:some-model"


def seen_records(photos: int, first_right: float, reads_right: float) -> list[EvalRecord]:
    """Photos of which a model names two places, the first right at a rate, and judges a right and a wrong place."""
    rng = np.random.default_rng(3)
    return [_seen(i, rng, first_right, reads_right) for i in range(photos)]


def _seen(i: int, rng: np.random.Generator, first_right: float, reads_right: float) -> EvalRecord:
    truth = Point(lat=float(rng.uniform(-60, 60)), lon=float(rng.uniform(-180, 180)))
    near, far, other = (destination(truth, float(rng.uniform(0, 360)), km) for km in (10.0, 8000.0, 6000.0))
    places: Sequence[Point] = (near, far) if rng.random() < first_right else (other, far)
    reads = rng.random(2) < reads_right
    return made_record(
        f"{i:04d}.jpg",
        author=f"author{i // 4}",
        model=MODEL,
        truth=(truth.lat, truth.lon),
        first_reading=[{"point": (place.lat, place.lon), "confidence": None} for place in places],
        judgements=[
            {"point": (near.lat, near.lon), "tool": "satellite_view", "fits": bool(reads[0])},
            {"point": (far.lat, far.lon), "tool": "satellite_view", "fits": not reads[1]},
        ],
    )


POOLED = default_parameters().records.models[ANY]


def test_the_rates_of_a_model_are_found() -> None:
    record = model_record.measure(seen_records(200, 0.5, 0.8), "some-model", POOLED)
    # Of two places the first has two thirds of the weight: right half of the time, and the other never.
    assert record.shares[-1] == pytest.approx(0.5, abs=0.15)
    assert record.judgement_accuracy == pytest.approx(0.8, abs=0.05)
    assert (record.photos, record.answered) == (200, 200)


@pytest.mark.parametrize(("one_reading", "expected"), [(True, 1.0), (False, 0.0)])
def test_how_alike_errors_about_one_place_are_is_found(one_reading: bool, expected: float) -> None:
    def twice(record: EvalRecord) -> EvalRecord:
        first = record.judgements[0]
        other = rng.random() < 0.8
        again = first.model_copy(update={"tool": "search_photos", "fits": first.fits if one_reading else other})
        return record.model_copy(update={"judgements": (first, again)})

    rng = np.random.default_rng(5)
    record = model_record.measure([twice(r) for r in seen_records(200, 0.5, 0.8)], "some-model", POOLED)
    assert record.judgement_correlation == pytest.approx(expected, abs=0.15)


def test_a_refusal_is_counted_and_a_rate_of_few_judgements_is_not_given() -> None:
    silent = [made_record(f"s{i}.jpg", status="refused", model=MODEL) for i in range(5)]
    broken = made_record("b.jpg", status="error", model=MODEL, error="it broke")
    read = [r.model_copy(update={"judgements": r.judgements[:1] if i < 9 else ()}) for i, r in enumerate(SEEN)]
    record = model_record.measure([*read, *silent, broken], "some-model", POOLED)
    assert record.judgement_accuracy is None
    assert record.judgement_correlation is None
    assert (record.photos, record.answered) == (45, 40)


SEEN = seen_records(40, 0.5, 0.8)


def test_too_few_readings_make_no_record() -> None:
    silent = [made_record(f"s{i}.jpg", model=MODEL) for i in range(5)]
    with pytest.raises(UserError, match=r"19 of 24 photos have an initial prediction by the model, 20 are needed"):
        model_record.measure([*SEEN[:19], *silent], "some-model", POOLED)


def test_from_runs_to_a_system_that_uses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / str(i), SEEN[20 * i : 20 * i + 20], model=MODEL) for i in range(2)]
    file = tmp_path / "records.json"
    assert model_record.main([*map(str, runs), "--out", str(file)]) == 0
    assert "| some-model | 40 | 40 |" in capsys.readouterr().out
    records = open_parameters(make_settings(model_records=file)).records
    assert records.of(MODEL).source == "strategy refine, 40 photos by 10 photographers"
    assert records.of("openai:another") == POOLED
    assert {**records.models, "some-model": None} == {**default_parameters().records.models, "some-model": None}
    again = tmp_path / "again.json"
    named = ["--name", "mine", "--records", str(file), "--out", str(again)]
    assert model_record.main([*map(str, runs), *named]) == 0
    assert set(open_parameters(make_settings(model_records=again)).records.models) == {*records.models, "mine"}


def test_of_a_jury_one_model_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first model judges; the second has no judgements of its own."""
    other = "recorded:second.jsonl"
    jury = [r.model_copy(update={"model": f"{MODEL},{other}", "first_reading": _of_two(r, other)}) for r in SEEN]
    run = write_run(tmp_path / "run", jury, model=f"{MODEL},{other}")
    out = tmp_path / "records.json"
    assert model_record.main([str(run), "--out", str(out)]) == 2
    assert "say with --name which model to measure: some-model, second" in capsys.readouterr().err
    found = {}
    for name in ("some-model", "second"):
        assert model_record.main([str(run), "--out", str(out), "--name", name]) == 0
        found[name] = load_records(out).models[name]
    assert found["some-model"].judgement_accuracy is not None
    assert found["second"].judgement_accuracy is None
    assert found["second"].shares[-1] < found["some-model"].shares[-1]


def _of_two(record: EvalRecord, other: str) -> tuple[PredictionNote, ...]:
    """What was read, and the truth by the other model."""
    own = tuple(note.model_copy(update={"model": MODEL}) for note in record.first_reading)
    return (*own, PredictionNote(model=other, point=record.truth, confidence=None))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the file of model records"),
        (b"{}", "is not a file of model records (models: Field required)"),
        (b'{"models": {}}', "a record for models without one of their own is missing"),
        (b'{"models": {"any": {"shares": [0.5, 0.5]}}}', "shares must be 6 shares that sum to 1"),
    ],
)
def test_unusable_records_are_reported_in_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "records.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError) as error:
        open_parameters(make_settings(model_records=file))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_run_keeps_what_the_model_said_at_first_and_of_tools() -> None:
    judged = {"judgements": [{"hypothesis_id": "H1", "claim": "dry", "strength": -2.0, "tool_call_id": "call-2-0"}]}
    model = scripted([("reverse_geocode", {"lat": 40.42, "lon": -3.7})], judged)
    answer = run(context(model=model))
    query = EvalQuery(
        sample=Sample("a.jpg", Path("a.jpg"), Point(lat=0.0, lon=0.0), "ann"),
        strategy="refine",
        truth_place=None,
        flags=(),
    )
    record = answer_record(
        SystemDescription(benchmark="folder", protocol=Protocol.PUBLISHED, model="m", encoder="e"),
        query,
        answer,
        None,
        0,
        (),
    )
    assert [place.point for place in record.first_reading] == [(40.42, -3.7), (50.09, 14.42)]
    assert {place.model for place in record.first_reading} == {answer.versions.model}
    assert [(note.tool, note.fits) for note in record.judgements] == [("reverse_geocode", False)]
    assert EvalRecord.model_validate_json(record.line()) == record
