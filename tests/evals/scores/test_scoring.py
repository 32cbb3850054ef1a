"""From records to a score: hand-computed values, failures, places, strata, and what may not be scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.schemas import Cost
from evals.runs.records import EvalRecord, RecordError, RecordStatus, write_records
from evals.scores.arrays import load_systems, score_arrays_of
from evals.scores.distance import THRESHOLDS_KM
from evals.scores.reliability import EARTH_AREA_KM2, cap_area_km2
from evals.scores.scoring import Score, score
from geo.places.continents import CONTINENTS, continent_of
from geo.places.gazetteer import Gazetteer
from geo.point import Point
from geo.sphere import destination
from tests.fakes.records import PARIS, as_earlier_version, calibrated_records, made_record, random_records, write_run

HERE = Point(lat=48.8566, lon=2.3522)


def scored(folder: Path, records: list[EvalRecord], **chosen: object) -> Score:
    return score(load_systems([write_run(folder, records, **chosen)])[0])


def away(km: float) -> tuple[float, float]:
    point = destination(HERE, 70.0, km)
    return point.lat, point.lon


def test_a_score_by_hand(tmp_path: Path) -> None:
    records = [
        made_record("a", point=away(0.5), author="x"),
        made_record("b", point=away(100.0), author="x", cost=Cost(usd=0.5, model_calls=4)),
        made_record("c", point=away(3000.0), author="y", cost=Cost(usd=1.5)),
        made_record("d", status="refused", author="y"),
    ]
    found = scored(tmp_path / "run", records)
    assert found.photos == 4
    assert [found.accuracy[km].estimate for km in THRESHOLDS_KM] == [0.25, 0.25, 0.5, 0.5, 0.5]
    assert found.median_km == pytest.approx((100.0 + 3000.0) / 2, rel=1e-6)
    assert found.mean_km == pytest.approx((0.5 + 100 + 3000 + 20015.087) / 4, rel=1e-5)
    points = [5000 * np.exp(-d / 1492.7) for d in (0.5, 100.0, 3000.0)]
    assert found.geoscore.estimate == pytest.approx(sum(points) / 4)
    assert found.outcomes == {"answered": 3, "refused": 1}
    # The 100 km radius holds two of the three that state one: 0.5 and (just) 100 km; the 1000 km radius as well.
    assert found.coverage_90 is not None
    assert found.coverage_90.photos == 3
    assert found.coverage_90.held.estimate == pytest.approx(2 / 3)
    assert found.cost_per_photo["usd"] == pytest.approx(0.5)
    assert found.cost_per_photo["model_calls"] == 1.0
    assert found.hits_per_usd == pytest.approx(1 / 2.0)
    assert Score.model_validate_json(found.model_dump_json()) == found


def test_a_run_where_everything_fails_scores_zero_with_the_denominator_intact(tmp_path: Path) -> None:
    outcomes = [outcome.value for outcome in RecordStatus if outcome is not RecordStatus.ANSWERED]
    records = [made_record(f"{i}", status=outcomes[i % 5], confidence=None) for i in range(20)]
    found = scored(tmp_path / "run", records)
    assert found.photos == 20
    assert all(interval.estimate == 0.0 and interval.high > 0.0 for interval in found.accuracy.values())
    assert found.geoscore.estimate == 0.0
    assert found.median_km is None
    assert all(share.right.estimate == 0.0 and share.photos == 20 for share in found.named.values())
    assert found.coverage_50 is None
    assert found.confidence is None
    assert found.chances == {}
    assert found.selective_area == dict.fromkeys(THRESHOLDS_KM, (0.0, 0.0, 0.0))
    assert set(found.recall_area.y) == {0.0}
    assert found.outcomes == dict.fromkeys(outcomes, 4)


def test_an_answer_of_zero_zero_is_a_place_and_not_a_failure(tmp_path: Path) -> None:
    found = scored(tmp_path / "run", [made_record("a", point=(0.0, 0.0), truth=(0.0, 0.0))])
    assert found.accuracy[1.0].estimate == 1.0


def test_distances_are_computed_again(tmp_path: Path) -> None:
    found = scored(tmp_path / "run", [made_record("a", point=away(500.0), distance_km=0.0)])
    assert found.accuracy[200.0].estimate == 0.0


def test_a_failed_answer_that_still_carries_a_point_is_a_miss() -> None:
    arrays = score_arrays_of([made_record("a", status="failed", point=(48.8566, 2.3522), distance_km=0.0)])
    assert np.isnan(arrays.distance_km).all()


def test_places_nest_and_only_named_truths_count(tmp_path: Path) -> None:
    elsewhere = {**PARIS, "region": "Paris, Texas"}
    records = [
        made_record("a", place=PARIS),
        made_record("b", place=elsewhere),
        made_record("c", place={**PARIS, "country_code": "US"}),
        made_record("d", truth_place={"country_code": "FR", "region": None, "city": None}, place=PARIS),
        made_record("e", truth_place=None, place=None),
    ]
    named = scored(tmp_path / "run", records).named
    # b names the city, but of another region; e was taken at sea.
    assert [(level, s.photos, round(s.right.estimate * s.photos)) for level, s in named.items()] == [
        ("country", 4, 3),
        ("region", 3, 1),
        ("city", 3, 1),
    ]


def test_confidence_is_about_the_committed_hypothesis() -> None:
    disc = {"name": "h", "point": away(40.0), "radius_km": 50.0, "probability": 0.7}
    arrays = score_arrays_of(
        [
            made_record("a", hypotheses=[disc], point=away(2000.0)),
            made_record("b", hypotheses=[{**disc, "radius_km": 30.0}], point=away(0.1)),
            made_record("c", hypotheses=[], point=away(20.0), level="city"),
            made_record("d", hypotheses=[], point=away(30.0), level="city"),
        ]
    )
    assert arrays.claim_right.tolist() == [True, False, True, False]


def test_confidence_beside_stated_chances_is_about_the_distance_of_the_level() -> None:
    disc = {"name": "h", "point": away(40.0), "radius_km": 50.0, "probability": 0.7}
    stated = {"hypotheses": [disc], "chance_within_km": {25: 0.5}, "level": "city"}
    arrays = score_arrays_of(
        [made_record("a", point=away(20.0), **stated), made_record("b", point=away(30.0), **stated)]
    )
    assert arrays.claim_right.tolist() == [True, False]
    assert arrays.surest.tolist() == [0.5, 0.5]


def test_a_system_that_knows_its_errors_is_reliable_and_a_boastful_one_is_not(tmp_path: Path) -> None:
    honest = scored(tmp_path / "honest", calibrated_records(600, seed=1, typical_km=40.0))
    boastful = scored(tmp_path / "boastful", calibrated_records(600, seed=1, typical_km=40.0, sureness=5.0))
    for km in THRESHOLDS_KM:
        assert honest.chances[km].photos == 540
        assert honest.chances[km].stated == pytest.approx(honest.chances[km].held, abs=0.04)
    assert honest.chances[25.0].calibration_error.estimate < 0.06
    assert boastful.chances[25.0].calibration_error.low > 0.1
    assert honest.chances[25.0].brier.estimate < boastful.chances[25.0].brier.estimate
    assert honest.area_90 is not None
    assert boastful.area_90 is not None
    assert honest.area_90.held.estimate == pytest.approx(0.9, abs=0.04)
    assert boastful.area_90.held.estimate < 0.7
    assert honest.log_score is not None
    assert boastful.log_score is not None
    assert honest.log_score.low > boastful.log_score.estimate
    # The answers are the same and ranked the same way: only what is said of them differs.
    assert honest.selective_area[25.0] == pytest.approx(boastful.selective_area[25.0])
    assert honest.selective_curve[25.0].y[-1] == pytest.approx(honest.accuracy[25.0].estimate)
    assert honest.selective_area[25.0].estimate > honest.accuracy[25.0].estimate + 0.2
    assert Score.model_validate_json(honest.model_dump_json()) == honest


def test_uncertainty_by_hand_with_failures_in_the_denominator(tmp_path: Path) -> None:
    told = {"information_nats": {"sign": 2.0, "retrieval": 0.05}, "log_density": -4.0}
    jury = {"cost_by_model": {"large": Cost(model_calls=3, usd=0.3, seconds=6.0)}}
    records = [
        made_record("a", point=away(0.5), author="x", chance_within_km={25: 0.9}, **told, **jury),
        made_record(
            "b", point=away(100.0), author="y", chance_within_km={25: 0.6}, information_nats={}, log_density=-6.0
        ),
        made_record("c", status="failed", author="z", confidence=None),
    ]
    found = scored(tmp_path / "run", records)
    assert found.chances[25.0].photos == 2
    assert found.chances[25.0].brier.estimate == pytest.approx((0.1**2 + 0.6**2) / 2)
    assert set(found.chances) == {25.0}
    assert found.selective_curve[25.0].y == pytest.approx((1.0, 1 / 2, 1 / 3), abs=1e-6)
    assert found.log_score is not None
    assert found.log_score.estimate == pytest.approx((-4.0 - 6.0 - np.log(EARTH_AREA_KM2)) / 3)
    assert found.information["sign"].nats.estimate == pytest.approx(2.0 / 3)
    assert found.information["sign"].told.estimate == pytest.approx(1 / 3)
    assert found.information["retrieval"].told.estimate == 0.0
    assert found.cost_by_model["large"]["usd"] == pytest.approx(0.1)
    assert found.cost_by_model["large"]["seconds"] == pytest.approx(2.0)


def test_records_of_earlier_versions_are_rescored_with_what_they_do_not_say_left_out(tmp_path: Path) -> None:
    records = calibrated_records(60, seed=0, typical_km=50.0)
    run = write_run(tmp_path / "run", records)
    (run / "records.jsonl").write_bytes(b"".join(map(as_earlier_version, records)))
    found, now = score(load_systems([run])[0]), scored(tmp_path / "now", records)
    assert found.accuracy == now.accuracy
    assert found.coverage_90 == now.coverage_90
    assert (found.chances, found.information, found.cost_by_model) == ({}, {}, {})
    assert (found.area_50, found.area_90, found.log_score) == (None, None, None)
    # Ranked by confidence, which these records have.
    assert found.selective_area == now.selective_area


def test_photos_of_an_earlier_version_do_not_count_as_told_nothing(tmp_path: Path) -> None:
    records = [made_record("a", information_nats={"sign": 2.0}), made_record("b")]
    assert scored(tmp_path / "run", records).information["sign"].nats.estimate == 2.0


def test_area_is_searched_hypothesis_by_hypothesis() -> None:
    near = {"name": "near", "point": away(0.0), "radius_km": 10.0, "probability": 0.2}
    far = {"name": "far", "point": away(5000.0), "radius_km": 300.0, "probability": 0.6}
    arrays = score_arrays_of(
        [
            made_record("a", hypotheses=[far, near], point=away(5000.0)),
            made_record("b", hypotheses=[far], point=away(5000.0)),
            made_record("c", hypotheses=[far, near], status="abstained"),
        ]
    )
    both = float(cap_area_km2(300.0) + cap_area_km2(10.0))
    grown = float(cap_area_km2(300.0) + cap_area_km2(5000.0))
    assert arrays.area_needed_km2[:2].tolist() == pytest.approx([both, grown])
    assert np.isnan(arrays.area_needed_km2[2])
    assert grown < EARTH_AREA_KM2


def test_strata_of_texts_and_numbers(tmp_path: Path) -> None:
    records = random_records(80, seed=1, typical_km=200.0)
    records = [r.model_copy(update={"strata": {**r.strata, "size": float(i)}}) for i, r in enumerate(records)]
    strata = scored(tmp_path / "run", records).strata
    parts: dict[str, int] = {}
    for stratum in strata:
        parts[stratum.name] = parts.get(stratum.name, 0) + stratum.photos
    assert parts == {"continent": 80, "scene": 80, "size": 80}
    assert [s.photos for s in strata if s.name == "size"] == [20] * 4


def test_every_country_of_the_gazetteer_has_one_continent() -> None:
    codes = {place.country_code for place in Gazetteer().places_at(Gazetteer().coordinates().lat_lon_deg[::50])}
    assert codes <= set(CONTINENTS)
    assert continent_of("NZ") == "Oceania"
    assert continent_of(None) == "no country"


def test_a_run_cut_short_is_not_scored_unless_asked(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", random_records(20, seed=0, typical_km=100.0), photos=25)
    with pytest.raises(Exception, match=r"20 of 25 records.*--unfinished"):
        load_systems([run])
    assert len(load_systems([run], unfinished=True)[0].arrays.photo) == 20


def test_doubled_photos_are_refused(tmp_path: Path) -> None:
    records = random_records(20, seed=0, typical_km=100.0)
    run = write_run(tmp_path / "run", records)
    write_records(run / "records.jsonl", [*records, records[0]])
    with pytest.raises(RecordError, match="twice"):
        load_systems([run])


def test_labels_tell_runs_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, random_records(10, seed=0, typical_km=9.0)) for name in ("one", "two")]
    assert [s.label for s in load_systems(runs)] == ["refine (offline), one", "refine (offline), two"]
