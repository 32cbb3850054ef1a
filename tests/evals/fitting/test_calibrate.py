"""Fitted radii hold on photographers they were not fitted on; the fit is the conformal quantile, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from evals import calibrate
from evals.fitting.conformal import (
    CalibrationCases,
    conformal_quantile,
    cross_validated,
    fit_calibration,
    fit_levels,
    photographers_mean,
)
from evals.fitting.samples import answered_samples
from evals.scores.reliability import expected_calibration_error
from graphs.assessment.calibration import Correction, EvidenceLevel, find_calibration, load_calibration, radius_km
from tests.fakes.records import made_record, random_records, write_run
from tests.graphs.assessment.test_calibration import SUBJECT

pytest.importorskip("sklearn")


def overconfident(photographers: int, seed: int) -> CalibrationCases:
    """Albums of 1 to 30 photos whose radii are far too small; photographers differ."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 31, photographers)
    author = np.repeat([f"p{k}" for k in range(photographers)], counts)
    hardness = np.repeat(rng.normal(0.0, 1.0, photographers), counts)
    raw = rng.normal(-6.0, 1.5, len(author))
    truth = raw + 2.0 + hardness + rng.normal(0.0, 1.0, len(author))
    confidence = rng.uniform(0.3, 1.0, len(author))
    return CalibrationCases(
        author=author,
        level=np.where(rng.uniform(size=len(author)) < 0.3, "signs", "retrieval"),
        away_km=radius_km(truth),
        raw_50_km=radius_km(raw),
        raw_90_km=radius_km(raw + 1.0),
        confidence=confidence,
        right=rng.uniform(size=len(author)) < confidence**3,
    )


def test_the_quantile_by_hand() -> None:
    # Three photos share two of three weights: 2/9 each; a third photographer has the rest.
    authors = np.array(["a", "a", "b"])
    values = np.array([2.0, 1.0, 3.0])
    assert [conformal_quantile(values, authors, share) for share in (0.2, 2 / 9, 0.4, 0.6)] == [1.0, 1.0, 2.0, 3.0]
    # Beyond 2/3 nothing is sure: the greatest seen.
    assert conformal_quantile(values, authors, 0.9) == 3.0


def test_with_one_photo_each_it_is_the_split_conformal_quantile() -> None:
    values = np.random.default_rng(0).normal(size=99)
    found = conformal_quantile(values, np.arange(99).astype(str), 0.9)
    assert found == np.sort(values)[int(np.ceil(100 * 0.9)) - 1]


def test_shares_are_averaged_over_photographers() -> None:
    assert photographers_mean(np.array([True, True, False, True]), ["a", "a", "a", "b"]) == pytest.approx(5 / 6)


def test_radii_hold_what_they_promise_on_other_photographers() -> None:
    held_50, held_90 = [], []
    for seed in range(4):
        cases = overconfident(60, seed)
        assert (cases.away_km <= cases.raw_90_km).mean() < 0.5
        crossed = cross_validated(cases, lambda some: fit_calibration(some, SUBJECT))
        held_50.append((cases.away_km <= crossed.radius_50_km).mean())
        held_90.append((cases.away_km <= crossed.radius_90_km).mean())
    assert np.mean(held_50) == pytest.approx(0.5, abs=0.05)
    assert np.mean(held_90) == pytest.approx(0.9, abs=0.03)


def test_useless_radii_are_replaced_by_one_for_all() -> None:
    cases = overconfident(60, 1)
    rng = np.random.default_rng(2)
    useless = cases._replace(raw_50_km=rng.permutation(cases.raw_50_km), raw_90_km=rng.permutation(cases.raw_90_km))
    assert fit_levels(useless)[EvidenceLevel.RETRIEVAL].radius_90.slope < 0.5
    assert fit_levels(cases)[EvidenceLevel.RETRIEVAL].radius_90.slope > 0.5


def test_levels_with_few_photos_have_no_fit_of_their_own() -> None:
    cases = overconfident(60, 3)
    few = cases._replace(level=np.where(np.arange(len(cases.author)) < 5, "named place", cases.level))
    assert set(fit_levels(few)) == {EvidenceLevel.SIGNS, EvidenceLevel.RETRIEVAL}


def test_confidence_becomes_the_share_that_is_right() -> None:
    cases = overconfident(80, 4)
    crossed = cross_validated(cases, lambda some: fit_calibration(some, SUBJECT))
    before = expected_calibration_error(cases.confidence, cases.right)
    after = expected_calibration_error(crossed.confidence, cases.right)
    assert after < 0.4 * before


def test_the_command_writes_what_commit_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    retrieved = {"kind": "retrieval", "claim": "looks alike", "tool": "search_photos", "nats": 1.0}
    run = write_run(tmp_path / "run", random_records(240, seed=0, typical_km=300.0, evidence=[retrieved]))
    out = tmp_path / "calibration.json"
    assert calibrate.main([str(run), "--out", str(out), "--test", "validation"]) == 0
    said = capsys.readouterr().out
    assert "216 answered of 240 photos by 30 photographers" in said
    assert "Fitted on the rest, tested on validation" in said
    made = load_calibration(out)
    assert find_calibration(made.subject, out) == made
    assert made.subject.strategy == "refine"
    assert isinstance(made.levels[EvidenceLevel.RETRIEVAL].radius_90, Correction)


def test_what_cannot_be_calibrated_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [made_record("a"), made_record("b", status="failed")])
    assert calibrate.main([str(run), "--out", str(tmp_path / "c.json")]) == 2
    assert "answers by 1 photographers are too few" in capsys.readouterr().err
    with pytest.raises(UserError, match="--strategy: refine"):
        answered_samples([run], "clusters", [])
    with pytest.raises(UserError, match="share photos"):
        answered_samples([run, run], None, [])
    other = write_run(tmp_path / "other", [made_record("c")], encoder="compact@2")
    with pytest.raises(UserError, match=r"different systems \(encoder 'compact@2'"):
        answered_samples([run, other], None, [])
