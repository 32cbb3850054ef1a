"""Measure how accurate a model's first predictions and judgements are, on photos whose place is known.

    python -m evals.model_record RUN … --part calibration --out records.json
    GEOSLEUTH_MODEL_RECORDS=records.json geosleuth locate photo.jpg --model …

From runs of a strategy with an initial prediction (`jury`, `refine`): how far the places that the model names before
it sees any result lie from the truth, and how often it rightly judges that what a tool shows fits a place. The file
holds the packaged records (or those of `--records`) and this one, drawn towards the pooled one where photos are few.
Do not evaluate on the photos that it is measured on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from belief.kernels import SCALES_KM
from belief.parameters import default_parameters
from belief.records import ANY, Record, Records, load_records
from core.errors import UserError
from core.files import write_atomic
from evals.command import command_parser, run_command
from evals.fitting.belief_fit import LEAST_REPORTS, Fitter
from evals.fitting.belief_samples import BeliefSample, models_of, record_name, reports_of
from evals.fitting.judgements import Judging, judging
from evals.fitting.samples import add_run_arguments, of_one_system
from evals.runs.records import EvalRecord, RecordStatus


def measure(records: Sequence[EvalRecord], model: str, pooled: Record, source: str = "") -> Record:
    """A model's record from the records of a run.

    Args:
        records: of one strategy; photos on which the system broke are left out.
        model: its name (`evals.fitting.belief_samples.record_name`).
        pooled: what the record is drawn to.
        source: where the records come from.

    Raises:
        UserError: too few photos with an initial prediction.
    """
    asked = [record for record in records if record.status is not RecordStatus.ERROR]
    samples = [BeliefSample(r.truth, r.photographer, {model: reports_of(r).get(model, [])}, {}) for r in asked]
    fitter = Fitter(samples, default_parameters())
    rows = range(len(samples))
    answered = fitter.answered(model, rows)
    if len(answered) < LEAST_REPORTS:
        raise UserError(
            f"{len(answered)} of {len(records)} photos have an initial prediction by the model, {LEAST_REPORTS} are"
            " needed: run more photos with `--strategy jury` or `refine` and a model that is shown pictures"
        )
    # In a jury it is the first model that judges.
    judges = all(record_name(models_of(r)[0], r.strategy) == model for r in asked if models_of(r))
    judged = judging(asked) if judges else Judging(None, None)
    update = {"judgement_accuracy": judged.accuracy, "judgement_correlation": judged.correlation}
    return fitter.fit_record(model, rows, pooled, source).model_copy(update=update)


def chosen_model(records: Sequence[EvalRecord], name: str | None) -> str:
    """The name of the model whose record is measured.

    Raises:
        UserError: a jury's run, and no name that says which of its models.
    """
    asked = {record_name(model, r.strategy): None for r in records for model in models_of(r)}
    if not asked:
        raise UserError("these runs asked no model: give runs with a model, of the strategy jury or refine")
    if len(asked) == 1:
        return next(iter(asked))
    if name in asked:
        return str(name)
    raise UserError(f"the run asked a jury: say with --name which model to measure: {', '.join(asked)}")


def table(name: str, record: Record, pooled: Record) -> str:
    """The record beside the pooled one, as Markdown."""
    heads = ["record", "photos", "answered", *(f"{km:g} km" for km in SCALES_KM), "anywhere", "judges rightly"]
    return "\n".join(
        f"| {' | '.join(row)} |"
        for row in [heads, ["---"] * len(heads), _row(name, record), _row("a model without a record", pooled)]
    )


def _row(name: str, record: Record) -> list[str]:
    judges = "not measured" if record.judgement_accuracy is None else f"{100 * record.judgement_accuracy:.0f} %"
    shares = [f"{100 * share:.1f} %" for share in record.shares]
    return [name, str(record.photos), str(record.answered), *shares, judges]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = command_parser("evals.model_record", __doc__)
    add_run_arguments(parser)
    parser.add_argument(
        "--name", help="of a jury, the model to measure; else a part of the model's name that the record is found by"
    )
    parser.add_argument("--records", type=Path, help="records to add to; default: the packaged ones")
    return run_command(parser, _write_record, arguments)


def _write_record(chosen: argparse.Namespace) -> int:
    known = load_records(chosen.records) if chosen.records else default_parameters().records
    pairs, subject = of_one_system(chosen.runs, chosen.strategy, chosen.part)
    records = [record for record, _ in pairs]
    model = chosen_model(records, chosen.name)
    photographers = len({record.photographer for record in records})
    source = f"strategy {subject.strategy}, {len(records)} photos by {photographers} photographers"
    record = measure(records, model, known.models[ANY], source)
    name = chosen.name or model
    write_atomic(chosen.out, Records(models={**known.models, name: record}).model_dump_json(indent=1) + "\n")
    sys.stdout.write(f"{table(name, record, known.models[ANY])}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
