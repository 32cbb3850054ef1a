"""What a model named at each look, from the replies that a run keeps."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.accuracy.looks import away_km, looks_of, rows_of, table
from evals.runs.records import EvalRecord
from tests.fakes.eval_runs import made_record, queries

PARIS, LYON = {"name": "Paris", "lat": 48.86, "lon": 2.35}, {"name": "Lyon", "lat": 45.76, "lon": 4.84}


def record(*replies: str) -> EvalRecord:
    return made_record(queries(1)[0]).model_copy(
        update={"raw_replies": replies, "truth": (48.86, 2.35), "distance_km": 5.0}
    )


def test_each_look_is_read_from_text_and_from_calls_and_other_replies_are_none() -> None:
    first = json.dumps({"hypotheses": [LYON, {"name": "nowhere"}]})
    second = json.dumps({"tool": "ProposeHypotheses", "arguments": {"hypotheses": [PARIS, LYON]}})
    looked = record(first, second, "prose", json.dumps({"judgements": []}))
    assert looks_of(looked) == [[(45.76, 4.84)], [(48.86, 2.35), (45.76, 4.84)]]


def test_rows_tell_the_looks_apart_and_no_place_is_a_miss() -> None:
    looked = record(json.dumps({"hypotheses": [LYON]}), json.dumps({"hypotheses": [LYON, PARIS]}))
    rows = rows_of([looked, record("no idea")])
    assert rows["first place, last look"][0] == pytest.approx(rows["first place, first look"][0])
    assert rows["the best of its places"][0] == 0.0
    assert np.isnan(rows["first place, first look"][1])
    assert np.isnan(away_km(looked, []))
    lines = list(table(rows, ["ann", "bob"], None))
    assert [line.split(" |")[0] for line in lines[2:]] == [f"| {name}" for name in rows]
