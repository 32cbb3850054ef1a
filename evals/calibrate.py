"""Fit radii and confidence to runs, and say how well they hold on other photographers' photos.

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

from core.errors import UserError
from evals.fitting.conformal import Cases, Held, apply_calibration, cross_validated, fit_calibration, photographers_mean
from evals.fitting.samples import Material, add_run_arguments, gather
from evals.runs.records import EvalRecord
from evals.scores import distance, reliability
from evals.scores.arrays import score_arrays_of
from geo.sphere import Floats
from graphs.inference.calibration import Calibration, evidence_level
from retrieval.splits import SHARES


def cases_of(records: Sequence[EvalRecord]) -> Cases:
    """Columns of answered records, which are in the order of their photos."""
    columns = score_arrays_of(records)
    levels = [evidence_level((note.kind, note.nats) for note in r.evidence).value for r in records]
    return Cases(
        author=columns.author,
        level=np.array(levels, dtype=np.str_),
        away_km=columns.distance_km,
        raw_50_km=columns.radius_50_km,
        raw_90_km=columns.radius_90_km,
        confidence=columns.confidence,
        right=columns.claim_right,
    )


def holding(away_km: Floats, radius: Floats, authors: Sequence[str]) -> str:
    """How often a radius holds: over photos with an interval over photographers, over photographers, and its size."""
    within = away_km <= radius
    share = distance.clustered_bootstrap(100.0 * within, authors)
    of_earth = float((reliability.cap_area_km2(radius) / reliability.EARTH_AREA_KM2).mean())
    return (
        f"{share.estimate:.1f} ({share.low:.1f}–{share.high:.1f}) | {100 * photographers_mean(within, authors):.1f}"
        f" | {np.median(radius):,.0f} | {100 * of_earth:.1f}"
    )


def table(cases: Cases, held: Held, name: str) -> list[str]:
    """Rows before and after, for both radii, and for each level of evidence."""
    authors = cases.author.tolist()
    rows = []
    for share, raw, new in ((50, cases.raw_50_km, held.radius_50_km), (90, cases.raw_90_km, held.radius_90_km)):
        rows.append(f"| {share} % radius, as the machine says | {holding(cases.away_km, raw, authors)} |")
        rows.append(f"| {share} % radius, {name} | {holding(cases.away_km, new, authors)} |")
    for level in np.unique(cases.level):
        own = cases.level == level
        said = holding(cases.away_km[own], held.radius_90_km[own], cases.author[own].tolist())
        rows.append(f"| 90 % radius, {name}, {int(own.sum())} photos by {level} | {said} |")
    return rows


HEAD = (
    "| radius | holds % of photos (95 % over photographers) | % on average over photographers | median km | mean % of"
    " the Earth |",
    "|---|---|---|---|---|",
)


def error_line(cases: Cases, held: Held, name: str) -> str:
    """Calibration error of the confidence before and after."""
    before = reliability.expected_calibration_error(cases.confidence, cases.right)
    after = reliability.expected_calibration_error(held.confidence, cases.right)
    brier = [float(np.mean((c - cases.right) ** 2)) for c in (cases.confidence, held.confidence)]
    return (
        f"Confidence, {name}: calibration error {before:.3f} → {after:.3f}, Brier score {brier[0]:.3f} →"
        f" {brier[1]:.3f}; {100 * float(cases.right.mean()):.1f} % are right."
    )


def report(material: Material, test: str | None) -> tuple[Calibration, str]:
    """The calibration of all cases, and what was measured, as Markdown."""
    cases, subject = cases_of(material.answered), material.subject

    def fit(some: Cases) -> Calibration:
        return fit_calibration(some, subject)

    crossed = cross_validated(cases, fit)
    lines = [material.told, "", *HEAD, *table(cases, crossed, "calibrated on the other photographers"), ""]
    lines.append(error_line(cases, crossed, "cross-validated"))
    kept = np.array([part == test for part in material.part], dtype=np.bool_)
    if kept.any() and not kept.all():
        own = cases.at(kept)
        there = apply_calibration(fit(cases.at(~kept)), own)
        lines += ["", f"Fitted on the rest, tested on {test}:", "", *HEAD, *table(own, there, f"on {test}"), ""]
        lines.append(error_line(own, there, f"on {test}"))
    return fit_calibration(cases, subject, material.told, _measured(cases, crossed)), "\n".join(lines)


def _measured(cases: Cases, crossed: Held) -> str:
    """What held on photographers left out, in a line."""
    authors = cases.author.tolist()
    held = [holding(cases.away_km, radius, authors).split(" | ")[0] for radius in crossed[:2]]
    return f"of photos by photographers left out, the 50 % radius held {held[0]} %, the 90 % radius {held[1]} %"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    parser.add_argument("--test", choices=tuple(SHARES), help="also fit without this part and test on it")
    chosen = parser.parse_args(arguments)
    try:
        calibration, said = report(gather(chosen.runs, chosen.strategy, chosen.part), chosen.test)
        chosen.out.write_text(calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
