"""Fitting finds the numbers that reports were made with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from belief.areas import AREA_SHARES
from belief.kernels import SCALES_KM
from belief.parameters import default_parameters
from belief.prior import default_prior
from belief.records import ANY, Record, Records
from belief.support import make_support
from belief.witnesses.reports import ReportedPlace
from evals.fitting.area_fit import LEAST_PHOTOS, with_area_shares
from evals.fitting.at_truth import report_at_truth
from evals.fitting.belief_fit import LEAST_REPORTS, UNFITTED_CAUTION, Fitter, fold_of, maker_of
from evals.fitting.belief_samples import BeliefSample
from evals.fitting.belief_worth import cross_validated, fit_parameters, juries_to_fit, worth_table
from evals.fitting.published import record_from_accuracies, shares_within
from geo.point import Point
from geo.sphere import destination

SHARES = (0.0, 0.0, 0.5, 0.0, 0.0, 0.5)
"""Half of the answers are of a city's kernel, half from anywhere."""


def truths(photos: int) -> list[tuple[float, float]]:
    """Positions spread as photos are, in random order."""
    at = default_prior().sample(photos)
    return [(float(lat), float(lon)) for lat, lon in np.random.default_rng(0).permutation(at)]


def near(truth: tuple[float, float], rng: np.random.Generator, scale_km: float = 25.0) -> ReportedPlace:
    """A report whose distance is that of an exponential kernel in the plane."""
    at = destination(Point(lat=truth[0], lon=truth[1]), float(rng.uniform(0, 360)), float(rng.gamma(2.0, scale_km)))
    return ReportedPlace(at.lat, at.lon)


def anywhere(rng: np.random.Generator, places: Sequence[tuple[float, float]]) -> ReportedPlace:
    return ReportedPlace(*places[int(rng.integers(len(places)))])


def report(truth: tuple[float, float], right: bool, rng: np.random.Generator) -> list[ReportedPlace]:
    return [near(truth, rng) if right else anywhere(rng, PLACES)]


PLACES = truths(240)


def made(photos: int, right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[BeliefSample]:
    """Photos with the reports of as many models as `right` (photos, models) has columns."""
    rng = np.random.default_rng(1)
    return [
        BeliefSample(truth, f"by{i // 3}", {f"m{k}": report(truth, bool(ok), rng) for k, ok in enumerate(right[i])}, {})
        for i, truth in enumerate(PLACES[:photos])
    ]


def independent(photos: int, models: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.random.default_rng(2).random((photos, models)) < 0.5


def test_areas_that_are_too_small_are_made_larger() -> None:
    """Reports that are wrong more often than their record says; of the prior alone nothing has to be mended."""
    start = default_parameters()
    mute = [sample._replace(reports={}) for sample in made(240, independent(240, 1))]
    as_stated = with_area_shares(Fitter(mute, start), start, range(240)).area_shares
    assert as_stated == pytest.approx({held: held for held in AREA_SHARES}, abs=0.08)
    wrong = Fitter(made(240, np.zeros((240, 1), dtype=np.bool_)), start)
    says_half = start.records.models[ANY].model_copy(update={"shares": SHARES})
    parameters = start.model_copy(update={"records": Records(models={ANY: says_half})})
    fitted = with_area_shares(wrong, parameters, range(240))
    assert fitted.area_shares[0.5] > 0.6
    assert fitted.area_shares[0.9] > 0.9
    beliefs = [wrong.belief(fitted, row, ["m0"]) for row in range(240)]
    held = [belief.is_in_area(sample.truth_deg, 0.9) for belief, sample in zip(beliefs, wrong.samples, strict=True)]
    assert 0.8 < np.mean(held) < 0.95


def test_a_few_photos_change_no_areas() -> None:
    start = default_parameters()
    few = Fitter(made(LEAST_PHOTOS - 1, independent(LEAST_PHOTOS - 1, 1)), start)
    assert with_area_shares(few, start, range(LEAST_PHOTOS - 1)) == start


def test_the_record_of_a_model_is_recovered() -> None:
    fitter = Fitter(made(200, independent(200, 1)), default_parameters())
    pooled = default_parameters().records.models[ANY]
    record = fitter.fit_record("m0", range(200), pooled, "made")
    assert record.shares[-1] == pytest.approx(0.5, abs=0.1)
    # A kernel under the prior is narrower than in the plane: its mass may go to the next scales.
    assert sum(record.shares[1:4]) == pytest.approx(0.5, abs=0.1)
    assert record.shares[2] == max(record.shares[:-1])
    assert (record.photos, record.answered, record.source) == (200, 200, "made")


def test_a_record_of_few_photos_stays_near_the_pooled_one() -> None:
    fitter = Fitter(made(40, np.ones((40, 1), dtype=np.bool_)), default_parameters())
    pooled = default_parameters().records.models[ANY].model_copy(update={"shares": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)})
    few, many = (fitter.fit_record("m0", range(count), pooled).shares[-1] for count in (5, 40))
    assert many < few


def test_what_a_model_did_not_answer_is_counted() -> None:
    samples = made(LEAST_REPORTS + 5, independent(LEAST_REPORTS + 5, 1))
    silent = [s._replace(reports={"m0": []}) if i < 5 else s for i, s in enumerate(samples)]
    record = Fitter(silent, default_parameters()).fit_records(range(len(silent))).models["m0"]
    assert (record.photos, record.answered) == (LEAST_REPORTS + 5, LEAST_REPORTS)


def test_unknown_models_are_trusted_as_makers_are_by_the_record_of_the_others() -> None:
    right = np.random.default_rng(3).random((80, 3))
    alike = Fitter(made(80, right < 0.6), default_parameters())
    unlike = Fitter(made(80, right < np.array([0.9, 0.9, 0.05])), default_parameters())
    assert alike.fit_caution(["m0", "m1", "m2"], range(80)) <= 0.05
    assert unlike.fit_caution(["m0", "m1", "m2"], range(80)) >= 0.1
    assert "pooled over 3 models" in unlike.fit_records(range(80)).models[ANY].source


def test_from_one_makers_models_nothing_is_learnt_about_others() -> None:
    assert maker_of("gpt-4o") == maker_of("o3") == maker_of("openai:o4-mini") != maker_of("gemini-2.0-flash")
    samples = [
        s._replace(reports={"gpt-8": s.reports["m0"], "o3": s.reports["m1"]}) for s in made(60, independent(60, 2))
    ]
    fitter = Fitter(samples, default_parameters())
    assert fitter.fit_caution(["gpt-8", "o3"], range(60)) == UNFITTED_CAUTION
    records = fitter.fit_records(range(60))
    assert records.models[ANY].shares[-1] > max(records.models[name].shares[-1] for name in ("gpt-8", "o3"))


def test_a_family_pools_its_models() -> None:
    samples = [
        s._replace(reports={"gpt-8": s.reports["m0"], "gpt-9": s.reports["m1"]}) for s in made(40, independent(40, 2))
    ]
    records = Fitter(samples, default_parameters()).fit_records(range(40))
    assert records.of("openai:gpt-10") == records.models["gpt-"]
    assert records.models["gpt-"].answered == 80


def test_models_that_err_by_themselves_are_told_from_models_that_err_alike() -> None:
    """Where all say the same, only one of them is heard."""
    alike = np.repeat(independent(150, 1), 3, axis=1)
    found = []
    for right in (independent(150, 3), alike):
        samples = made(150, right)
        if right is alike:  # they copy one report
            samples = [s._replace(reports=dict.fromkeys(s.reports, s.reports["m0"])) for s in samples]
        fitter = Fitter(samples, default_parameters())
        records = Records(models={ANY: Record(shares=SHARES, stated=(0.1,) * 10)})
        found.append(fitter.fit_agreement(records, range(150), [("m0", "m1", "m2")]))
    assert found[0].independent > 0.6
    assert found[1].independent < 0.2
    assert found[1].one > 0.3 > found[0].one


def test_a_stated_radius_beside_a_place_without_one_is_used() -> None:
    paris = (48.86, 2.34)
    support = make_support([paris])
    both = report_at_truth(support, [ReportedPlace(*paris, 5.0), ReportedPlace(*paris)], paris)
    stated = default_parameters().records.models[ANY].stated or ()
    only = [report_at_truth(support, [place], paris) for place in (ReportedPlace(*paris, 5.0), ReportedPlace(*paris))]
    expected = np.average([each.ratio(SHARES, stated) for each in only], weights=[2.0, 1.0])
    assert both.ratio(SHARES, stated) == pytest.approx(expected)


def retrieved(
    truth: tuple[float, float], right: bool, rng: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    found = [anywhere(rng, PLACES)[:2] for _ in range(6)]
    return np.array([near(truth, rng, 10.0)[:2] if right else found[0], *found[1:]])


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0.8, 1.0), (1.0, 0.0, 0.2)])
def test_retrieval_is_worth_what_it_finds(rate: float, least: float, most: float) -> None:
    rng = np.random.default_rng(3)
    similarity = np.array([0.9, 0.3, 0.3, 0.3, 0.3, 0.3])
    samples = [
        BeliefSample(truth, str(i), {}, {"photo@e@1": (retrieved(truth, rng.random() < rate, rng), similarity)})
        for i, truth in enumerate(PLACES[:80])
    ]
    fitter = Fitter(samples, default_parameters())
    found = fit_parameters(fitter, [], range(80), str).retrieval
    assert least <= found["photo"].record.shares[-1] <= most
    assert found["photo@e@1"] == found["photo"]
    assert found["gps"] == default_parameters().retrieval["gps"]


def test_worth_is_measured_on_other_photographers() -> None:
    right = np.stack([np.ones(100, dtype=np.bool_), np.zeros(100, dtype=np.bool_)], axis=1)
    fitter = Fitter(made(100, right), default_parameters())
    worth = {each.witness: each for each in cross_validated(fitter, [("m0", "m1")])}
    assert worth["m0"].nats.low > 2.0
    assert worth["m1"].nats.estimate < 0.5
    assert worth["2 together: m0, m1"].nats.estimate > 2.0
    assert "| m0 | 100 | 100 |" in worth_table(list(worth.values()))


def test_photographers_are_in_one_part_each() -> None:
    assert {fold_of(f"by{i}") for i in range(100)} == set(range(5))


def test_random_juries_repeat_themselves() -> None:
    jury = tuple("abcdefg")
    assert juries_to_fit([jury]) == juries_to_fit([jury])
    assert {len(each) for each in juries_to_fit([jury])} == {2, 3, 5, 7}


def test_a_record_reproduces_published_accuracies() -> None:
    published = [14.1, 34.5, 50.7, 69.7, 83.8]
    shares = record_from_accuracies(published).shares
    assert len(shares) == len(SCALES_KM) + 1
    assert 100.0 * np.array(shares) @ shares_within(default_prior()) == pytest.approx(published, abs=1.0)
