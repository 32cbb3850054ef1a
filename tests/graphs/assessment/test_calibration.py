"""The corrections an answer goes through: bounded by the sphere, monotone, and never those of another system."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.schemas import Evidence, EvidenceKind, Hypothesis, Versions
from belief.parameters import default_parameters
from core.errors import UserError
from geo.point import Point
from geo.sphere import HALF_CIRCUMFERENCE_KM
from graphs.assessment.calibration import (
    Calibration,
    Correction,
    EvidenceLevel,
    LevelFit,
    Radius,
    area_log_odds,
    calibrated,
    evidence_level,
    find_calibration,
    load_calibration,
    radius_km,
    subject_of,
)
from retrieval.candidate import AtlasKind

VERSIONS = Versions(geosleuth="0", encoder="compact@1", atlases=("world",), model="offline", strategy="refine")
SUBJECT = subject_of(VERSIONS, [AtlasKind.GPS], default_parameters())


def fit(shift_50: float, shift_90: float) -> LevelFit:
    return LevelFit(
        radius_50=Correction(slope=1.0, shift=shift_50),
        radius_90=Correction(slope=1.0, shift=shift_90),
        confidence_raw=(0.1, 0.5),
        confidence_right=(0.0, 0.2),
        photos=50,
        photographers=12,
    )


MADE = Calibration(
    subject=SUBJECT,
    fitted_on="nothing",
    measured="nothing",
    levels={EvidenceLevel.RETRIEVAL: fit(1.0, 2.0)},
)


FIT = json.loads(fit(1.0, 2.0).model_dump_json())


@given(st.floats(0.011, HALF_CIRCUMFERENCE_KM - 1.0))
def test_log_odds_and_radius_undo_each_other(km: float) -> None:
    assert float(radius_km(area_log_odds(km))) == pytest.approx(km, rel=1e-6)


def test_log_odds_of_half_the_earth_are_zero() -> None:
    assert float(area_log_odds(HALF_CIRCUMFERENCE_KM / 2)) == pytest.approx(0.0, abs=1e-12)


@given(st.floats(0.0, 30_000.0), st.floats(0.0, 1.0), st.floats(-50.0, 50.0))
def test_no_radius_leaves_the_sphere(km: float, slope: float, shift: float) -> None:
    assert 0.0 < Correction(slope=slope, shift=shift)(km) <= HALF_CIRCUMFERENCE_KM


def test_radii_are_moved_by_what_was_missing() -> None:
    assert fit(0.0, 0.0).radii(100.0, 1000.0) == pytest.approx((100.0, 1000.0))
    assert fit(1.0, 2.0).radii(100.0, 1000.0).half_km > 100.0


def test_the_wide_radius_is_never_the_smaller() -> None:
    half_km, most_km = fit(5.0, -5.0).radii(500.0, 600.0)
    assert half_km == most_km


def test_confidence_is_interpolated_and_bounded() -> None:
    assert [fit(0.0, 0.0).confidence(c) for c in (0.0, 0.3, 0.9)] == pytest.approx([0.0, 0.1, 0.2])


def answer_evidence(kind: EvidenceKind) -> list[Evidence]:
    return [Evidence(id="E1", kind=kind, claim="said", source=None, log_likelihood_ratio={"H1": 1.0})]


def test_only_levels_that_were_fitted_are_corrected() -> None:
    hypothesis = Hypothesis(id="H1", name="here", point=Point(lat=1.0, lon=2.0), radius_km=9.0, probability=0.3)
    raw = Radius(100.0, 1000.0)
    trusted = calibrated(MADE, hypothesis, answer_evidence(EvidenceKind.RETRIEVAL), raw, 0.3)
    assert trusted.radius.calibrated
    assert trusted.radius.radius_90_km > 1000.0
    assert trusted.confidence == pytest.approx(0.1)
    untouched = (raw, 0.3)
    assert calibrated(MADE, hypothesis, answer_evidence(EvidenceKind.PLACE_NAME), raw, 0.3) == untouched
    assert calibrated(None, hypothesis, answer_evidence(EvidenceKind.RETRIEVAL), raw, 0.3) == untouched


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ([(EvidenceKind.RETRIEVAL, -1.0)], EvidenceLevel.RETRIEVAL),
        ([(EvidenceKind.RETRIEVAL, 1.0), (EvidenceKind.LANGUAGE, 0.5)], EvidenceLevel.SIGNS),
        ([(EvidenceKind.RETRIEVAL, 1.0), (EvidenceKind.SIGN, -0.5)], EvidenceLevel.RETRIEVAL),
        ([(EvidenceKind.SIGN, 1.0), (EvidenceKind.PLACE_NAME, 2.0)], EvidenceLevel.NAMED_PLACE),
        ([(EvidenceKind.OPINION, 3.0)], EvidenceLevel.OPINION),
        ([], EvidenceLevel.OPINION),
    ],
)
def test_the_most_telling_evidence_that_speaks_for_the_answer_is_its_level(
    said: list[tuple[EvidenceKind, float]], level: EvidenceLevel
) -> None:
    assert evidence_level(said) is level


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(MADE.model_dump_json(), encoding="utf-8")
    assert load_calibration(file) == MADE
    assert find_calibration(SUBJECT, file) == MADE


def test_a_file_that_names_an_empty_chooser_is_still_read_and_one_that_names_some_is_not(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    written = MADE.model_dump(mode="json")
    written["subject"]["chooser"] = ""
    file.write_text(json.dumps(written), encoding="utf-8")
    assert load_calibration(file) == MADE
    written["subject"]["chooser"] = "some"
    file.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(UserError, match="chooser"):
        load_calibration(file)


@pytest.mark.parametrize(
    "changed",
    [
        {"encoder": "compact@2"},
        {"strategy": "clusters"},
        {"model": "openai:x"},
        {"atlas_kinds": (AtlasKind.PHOTO,)},
        {"posterior": "other"},
    ],
)
def test_a_calibration_of_another_system_is_refused(tmp_path: Path, changed: dict[str, str]) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(MADE.model_dump_json(), encoding="utf-8")
    with pytest.raises(UserError, match=f"fitted for {next(iter(changed))} "):
        find_calibration(SUBJECT.model_copy(update=changed), file)


def test_without_a_file_nothing_is_corrected() -> None:
    assert find_calibration(SUBJECT) is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"levels": {}}, "levels"),
        ({"levels": {"retrieval": {**FIT, "confidence_raw": [0.5, 0.1]}}}, "knots"),
        ({"levels": {"retrieval": {**FIT, "confidence_right": []}}}, "knots"),
        ({"format": 2}, "format"),
        ({"more": 1}, "more"),
    ],
)
def test_a_spoilt_file_is_refused_with_the_reason(tmp_path: Path, spoil: dict[str, object], message: str) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({**json.loads(MADE.model_dump_json()), **spoil}), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_calibration(file)


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the calibration"):
        load_calibration(tmp_path / "none.json")


def test_radii_grow_with_the_raw_ones() -> None:
    wide = [Correction(slope=0.5, shift=1.0)(km) for km in np.geomspace(1.0, 15_000.0, 20)]
    assert wide == sorted(wide)
