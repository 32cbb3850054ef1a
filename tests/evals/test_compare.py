"""Comparisons are paired, refuse what cannot be paired, and say when nothing can be distinguished."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from evals.compare import compare, main
from evals.scores import distance
from evals.scores.arrays import load_systems
from evals.scores.comparison import Comparison, as_markdown
from geo.point import Point
from geo.sphere import destination
from tests.fakes.records import calibrated_records, made_record, random_records, write_run

PARIS = Point(lat=48.8566, lon=2.3522)


def albums(folder: Path, km: list[list[float]]) -> Path:
    """A run with an album for each photographer, whose answers are so many km off."""
    records = []
    for who, distances in enumerate(km):
        for number, away in enumerate(distances):
            point = destination(PARIS, 20.0, away)
            record = made_record(f"{who}-{number}.jpg", author=f"author{who}", point=(point.lat, point.lon))
            records.append(record)
    return write_run(folder, records)


def compared(*runs: Path, **chosen: bool) -> Comparison:
    return compare(load_systems(runs), **chosen)


def test_a_comparison_by_hand(tmp_path: Path) -> None:
    first = albums(tmp_path / "a", [[0.5, 500.0], [10.0], [0.5]])
    second = albums(tmp_path / "b", [[0.5, 0.5], [3000.0], [3000.0]])
    found = compared(first, second)
    assert (found.photos, found.photographers) == (4, 3)
    pair = found.pairs[0]
    at = {each.km: each for each in pair.thresholds}
    assert (at[25.0].only_first, at[25.0].only_second, at[25.0].mcnemar_p) == (2, 1, 1.0)
    assert at[25.0].difference.estimate == pytest.approx(25.0)
    assert (at[2500.0].only_first, at[2500.0].only_second, at[2500.0].mcnemar_p) == (2, 0, 0.5)
    # Five tests, of which two of p 0.5: all are 1 after Holm's correction.
    assert at[2500.0].mcnemar_p_holm == 1.0
    ours, theirs = ([distance.geoscore(km) for km in run] for run in ([0.5, 500, 10, 0.5], [0.5, 0.5, 3000, 3000]))
    assert pair.geoscore.estimate == pytest.approx(np.mean(ours) - np.mean(theirs), rel=1e-5)
    assert set(pair.only_first) == {"1-0.jpg", "2-0.jpg"}
    assert pair.only_second == ("0-1.jpg",)
    assert pair.verdict == "not distinguishable"


def test_a_better_system_is_called_better_and_ranked_first(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", random_records(160, seed=1, typical_km=30.0))
    poor = write_run(tmp_path / "poor", random_records(160, seed=2, typical_km=3000.0))
    found = compared(poor, good)
    assert found.pairs[0].verdict == "refine (offline), good is better"
    assert [rank.system for rank in found.ranking] == ["refine (offline), good", "refine (offline), poor"]
    assert found.ranking[0].better_than == ("refine (offline), poor",)
    assert found.ranking[1].better_than == ()


def test_two_draws_of_the_same_system_are_not_distinguished(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, random_records(160, seed=s, typical_km=300.0)) for s, name in enumerate("abc", 5)
    ]
    found = compared(*runs)
    assert {pair.verdict for pair in found.pairs} == {"not distinguishable"}
    assert all(len(rank.not_distinguishable_from) == 2 for rank in found.ranking)
    assert "not distinguishable" in as_markdown(found)


def test_too_few_photographers_for_any_claim_are_said_to_be(tmp_path: Path) -> None:
    few = [albums(tmp_path / str(km), [[km]] * 3) for km in (0.5, 9000.0)]
    said = as_markdown(compared(*few))
    assert "With 3 photographers and 2 systems (1 pair) no difference can be significant" in said
    assert "the smallest possible p is 0.25. 6 photographers could" in said
    enough = [albums(tmp_path / f"more{km}", [[km]] * 6) for km in (0.5, 9000.0)]
    found = compared(*enough)
    assert found.design_note is None
    assert found.pairs[0].better is not None


def test_one_large_album_decides_nothing(tmp_path: Path) -> None:
    rest = [[5000.0] for _ in range(20)]
    found = compared(albums(tmp_path / "a", [[1.0] * 60, *rest]), albums(tmp_path / "b", [[9000.0] * 60, *rest]))
    assert found.pairs[0].thresholds[1].mcnemar_p < 1e-9
    assert found.pairs[0].verdict == "not distinguishable"


def test_other_photos_are_refused_or_left_out_loudly(tmp_path: Path) -> None:
    records = random_records(40, seed=0, typical_km=100.0)
    whole, part = write_run(tmp_path / "whole", records), write_run(tmp_path / "part", records[:30])
    with pytest.raises(UserError, match=r"10 of refine \(offline\), whole.*--intersect"):
        compared(whole, part)
    found = compared(whole, part, intersect=True)
    assert found.photos == 30
    assert "left out are 10 of refine (offline), whole" in as_markdown(found)


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [made_record("a")])
    with pytest.raises(UserError, match="two systems"):
        compared(one)
    with pytest.raises(UserError, match="share no photo"):
        compared(one, write_run(tmp_path / "two", [made_record("b")]), intersect=True)
    with pytest.raises(UserError, match="another truth for a"):
        compared(one, write_run(tmp_path / "three", [made_record("a", truth=(10.0, 10.0))]))
    with pytest.raises(UserError, match="different thresholds"):
        compared(one, write_run(tmp_path / "four", [made_record("a")], thresholds_km=(1.0, 10.0)))


def test_the_command_writes_markdown_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / name, random_records(40, seed=s, typical_km=90.0)) for s, name in enumerate("ab")]
    assert main([*map(str, runs), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert Comparison.model_validate(json.loads((tmp_path / "out" / "comparison.json").read_text())).photos == 40
    assert main([str(runs[0])]) == 2
    assert "two systems" in capsys.readouterr().err


def test_systems_that_differ_only_in_what_they_say_of_themselves(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, calibrated_records(300, seed=1, typical_km=40.0, sureness=sureness))
        for name, sureness in (("honest", 1.0), ("boastful", 5.0))
    ]
    found = compared(*runs)
    pair, ranks = found.pairs[0], {rank.system.split(", ")[-1]: rank for rank in found.ranking}
    assert pair.verdict == "not distinguishable"
    assert pair.selective_area == pytest.approx((0.0, 0.0, 0.0))
    assert pair.log_score is not None
    assert pair.log_score.low > 0.5
    errors = [ranks[name].city_chance for name in ("honest", "boastful")]
    assert errors[0] is not None
    assert errors[1] is not None
    assert errors[0].calibration_error.high < errors[1].calibration_error.low
    assert "Stated uncertainty on these photos" in as_markdown(found)


def test_uncertainty_that_one_system_does_not_state_is_not_compared(tmp_path: Path) -> None:
    stating = write_run(tmp_path / "stating", calibrated_records(60, seed=1, typical_km=40.0))
    silent = write_run(tmp_path / "silent", random_records(60, seed=1, typical_km=40.0))
    found = compared(stating, silent)
    assert found.pairs[0].log_score is None
    assert {rank.city_chance is None for rank in found.ranking} == {True, False}
    assert "| n/a |" in as_markdown(found)


def test_photo_names_cannot_leave_their_code_span(tmp_path: Path) -> None:
    records = [made_record("a`<script>`|.jpg"), made_record("b")]
    far = [record.model_copy(update={"point": (0.0, 0.0)}) for record in records]
    said = as_markdown(compared(write_run(tmp_path / "a", records), write_run(tmp_path / "b", far)))
    assert "`a<script>|.jpg`" in said
