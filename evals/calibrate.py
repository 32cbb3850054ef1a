"""Fit radii and confidence to runs, and measure how well they hold on other photographers' photos.

    python -m evals.calibrate RUN … --strategy refine --part calibration --part validation --out FILE

Photos the encoder was trained on must not take part: `--part` keeps parts of the split by photographer
(retrieval/splits.py), of all photos of a run or as `--only` limited it. The numbers it prints are cross-validated:
each photographer's radii come from a calibration fitted on all the others. With `--test PART` it also fits on the
rest and tests on that part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from core.files import write_atomic
from evals.command import command_parser, run_command
from evals.fitting.conformal import (
    CalibratedValues,
    CalibrationCases,
    apply_calibration,
    cross_validated,
    fit_calibration,
    photographers_mean,
)
from evals.fitting.samples import FittingSamples, add_run_arguments, answered_samples
from evals.runs.records import EvalRecord
from evals.scores import distance, reliability
from evals.scores.arrays import score_arrays_of
from geo.sphere import Floats
from graphs.assessment.calibration import Calibration, evidence_level
from retrieval.splits import SHARES

HEAD = (
    "| radius | holds % of photos (95 % over photographers) | % on average over photographers | median km | mean % of"
    " the Earth |",
    "|---|---|---|---|---|",
)


def cases_of(records: Sequence[EvalRecord]) -> CalibrationCases:
    """Arrays of answered records, which are in the order of their photos."""
    arrays = score_arrays_of(records)
    levels = [evidence_level((note.kind, note.nats) for note in r.evidence).value for r in records]
    return CalibrationCases(
        author=arrays.author,
        level=np.array(levels, dtype=np.str_),
        away_km=arrays.distance_km,
        raw_50_km=arrays.radius_50_km,
        raw_90_km=arrays.radius_90_km,
        confidence=arrays.confidence,
        right=arrays.claim_right,
    )


def coverage_cells(away_km: Floats, radius_km: Floats, authors: Sequence[str]) -> list[str]:
    """How often a radius holds the truth, over photos and over photographers, and how wide it is."""
    within = away_km <= radius_km
    share = distance.clustered_bootstrap(100.0 * within, authors)
    of_earth = float((reliability.cap_area_km2(radius_km) / reliability.EARTH_AREA_KM2).mean())
    return [
        f"{share.estimate:.1f} ({share.low:.1f}–{share.high:.1f})",
        f"{100 * photographers_mean(within, authors):.1f}",
        f"{np.median(radius_km):,.0f}",
        f"{100 * of_earth:.1f}",
    ]


def coverage_rows(cases: CalibrationCases, calibrated: CalibratedValues, name: str) -> list[str]:
    """Rows before and after, for both radii, and for each level of evidence."""

    def row(label: str, away_km: Floats, radius_km: Floats, authors: Sequence[str]) -> str:
        return f"| {' | '.join([label, *coverage_cells(away_km, radius_km, authors)])} |"

    authors = cases.author.tolist()
    rows = []
    for share, raw, new in (
        (50, cases.raw_50_km, calibrated.radius_50_km),
        (90, cases.raw_90_km, calibrated.radius_90_km),
    ):
        rows.append(row(f"{share} % radius, as stated", cases.away_km, raw, authors))
        rows.append(row(f"{share} % radius, {name}", cases.away_km, new, authors))
    for level in np.unique(cases.level):
        own = cases.level == level
        label = f"90 % radius, {name}, {int(own.sum())} photos by {level}"
        rows.append(row(label, cases.away_km[own], calibrated.radius_90_km[own], cases.author[own].tolist()))
    return rows


def error_line(cases: CalibrationCases, calibrated: CalibratedValues, name: str) -> str:
    """Calibration error of the confidence before and after."""
    before = reliability.expected_calibration_error(cases.confidence, cases.right)
    after = reliability.expected_calibration_error(calibrated.confidence, cases.right)
    brier = [float(np.mean((c - cases.right) ** 2)) for c in (cases.confidence, calibrated.confidence)]
    return (
        f"Confidence, {name}: calibration error {before:.3f} → {after:.3f}, Brier score {brier[0]:.3f} →"
        f" {brier[1]:.3f}; {100 * float(cases.right.mean()):.1f} % are right."
    )


def report(samples: FittingSamples, test: str | None) -> tuple[Calibration, str]:
    """The calibration of all samples, and what was measured, as Markdown."""
    cases, subject = cases_of(samples.answered), samples.subject

    def fit(some: CalibrationCases) -> Calibration:
        return fit_calibration(some, subject)

    crossed = cross_validated(cases, fit)
    lines = [samples.summary, "", *HEAD, *coverage_rows(cases, crossed, "calibrated on the other photographers"), ""]
    lines.append(error_line(cases, crossed, "cross-validated"))
    tested = np.array([part == test for part in samples.part], dtype=np.bool_)
    if tested.any() and not tested.all():
        own = cases.at(tested)
        there = apply_calibration(fit(cases.at(~tested)), own)
        lines += ["", f"Fitted on the rest, tested on {test}:", "", *HEAD, *coverage_rows(own, there, f"on {test}"), ""]
        lines.append(error_line(own, there, f"on {test}"))
    return fit_calibration(cases, subject, samples.summary, _measured(cases, crossed)), "\n".join(lines)


def _measured(cases: CalibrationCases, crossed: CalibratedValues) -> str:
    """What held on photographers left out, in a line."""
    authors = cases.author.tolist()
    half, most = (
        coverage_cells(cases.away_km, radius, authors)[0] for radius in (crossed.radius_50_km, crossed.radius_90_km)
    )
    return f"of photos by photographers left out, the 50 % radius held {half} %, the 90 % radius {most} %"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print, write."""
    parser = command_parser("evals.calibrate", __doc__)
    add_run_arguments(parser)
    parser.add_argument("--test", choices=tuple(SHARES), help="also fit without this part and test on it")
    return run_command(parser, _calibrate, arguments)


def _calibrate(chosen: argparse.Namespace) -> int:
    calibration, text = report(answered_samples(chosen.runs, chosen.strategy, chosen.part), chosen.test)
    write_atomic(chosen.out, calibration.model_dump_json(indent=2) + "\n")
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
