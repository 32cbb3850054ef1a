"""Measure how accurate a model's first predictions and judgements are, on photos whose place is known.

    python -m evals.model_record RUN … --part calibration --out records.json
    GEOSLEUTH_MODEL_RECORDS=records.json geosleuth locate photo.jpg --model …

From runs of a strategy with an initial prediction (`refine`): how far the places that the model names before it sees
any result lie from the truth, and how often it rightly judges that what a tool shows fits a place. The file holds the
packaged records (`graphs/inference/sight.json`, or those of `--records`) and this one. Do not evaluate on the photos
that it is measured on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from graphs.inference.sight import RINGS_KM, SightParameters, SightRecord, default_sight, load_sight, said_weights

from core.errors import UserError
from evals.command import command_parser, run_command
from evals.fitting.samples import add_run_arguments, of_one_system
from evals.fitting.sight_fit import RIGHT_WITHIN_KM, as_rings, balanced_accuracy, fitted_share, photographer_weights
from evals.runs.records import EvalRecord, JudgementNote
from geo.sphere import Floats, distance_km

LEAST = 20
"""Photos with an initial prediction for a record; judgements for a rate."""


def measure(records: Sequence[EvalRecord], usual: Sequence[float]) -> SightRecord:
    """A model's record from the records of a run.

    Args:
        records: of one strategy and model; photos without an initial prediction are counted, but not measured.
        usual: share of photos from anywhere in each ring.

    Raises:
        UserError: too few photos with an initial prediction.
    """
    read = [record for record in records if record.first_reading]
    if len(read) < LEAST:
        raise UserError(
            f"{len(read)} of {len(records)} photos have an initial prediction by the model, {LEAST} are needed: run"
            " more photos with `--strategy refine` and a model that is shown pictures"
        )
    weights = photographer_weights([record.photographer for record in read])
    away_km, place_weights = distances_and_weights(read)
    judged = [(note.fits, is_right(note, record)) for record in records for note in record.judgements]
    fits, right = [pair[0] for pair in judged], [pair[1] for pair in judged]
    summary = f"{len(read)} initial predictions and {len(judged)} judgements on {len(records)} photos"
    return SightRecord(
        fitted_on=f"{summary} by {len({record.photographer for record in records})} photographers",
        share=as_rings(fitted_share(away_km, place_weights, np.array(usual), weights)),
        judgement_accuracy=round(balanced_accuracy(fits, right), 4) if len(judged) >= LEAST else None,
    )


def distances_and_weights(records: Sequence[EvalRecord]) -> tuple[Floats, Floats]:
    """From each truth to each place of the initial prediction in km, (n, k), and the places' weights, (n, k)."""
    most = max(len(record.first_reading) for record in records)
    away_km, weights = np.full((len(records), most), np.inf), np.zeros((len(records), most))
    for row, record in enumerate(records):
        places = record.first_reading
        away_km[row, : len(places)] = distance_km(record.truth, np.array([place.point for place in places]))
        weights[row, : len(places)] = said_weights([place.confidence for place in places])
    return away_km, weights


def is_right(note: JudgementNote, record: EvalRecord) -> bool:
    """Whether the hypothesis that was judged is the right one."""
    return float(distance_km(record.truth, note.point)) <= RIGHT_WITHIN_KM


def table(name: str, record: SightRecord, known: SightParameters) -> str:
    """The record beside what is usual, as Markdown."""
    heads = ["record", "measured on", *(f"≤ {km:,.0f} km" for km in RINGS_KM[:-1]), "beyond", "judges rightly"]
    judges = "not measured" if record.judgement_accuracy is None else f"{100 * record.judgement_accuracy:.0f} %"
    rows = [
        [name, record.fitted_on, *(f"{100 * share:.1f} %" for share in record.share), judges],
        ["usual", "other people's photos", *(f"{100 * share:.1f} %" for share in known.usual_share), "50 %"],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = command_parser("evals.model_record", __doc__)
    add_run_arguments(parser)
    parser.add_argument("--name", help="a part of the model's name that the record is found by; default: all of it")
    parser.add_argument("--records", type=Path, help="records to add to; default: the packaged ones")
    return run_command(parser, _write_record, arguments)


def _write_record(chosen: argparse.Namespace) -> int:
    known = load_sight(chosen.records) if chosen.records else default_sight()
    pairs, subject = of_one_system(chosen.runs, chosen.strategy, chosen.part)
    name = chosen.name or subject.model
    record = measure([record for record, _ in pairs], known.usual_share)
    written = known.model_copy(update={"models": {**known.models, name: record}})
    chosen.out.write_text(written.model_dump_json(indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(name, record, known)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
