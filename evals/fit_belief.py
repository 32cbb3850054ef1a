"""Fit the belief's numbers to runs on photos whose place is known, and measure what each witness is worth.

    python -m evals.run answers --data truth.csv --strategy jury --model recorded:A.jsonl,recorded:B.jsonl --out RUN
    python -m evals.fit_belief RUN … --out belief/parameters.json

Runs with models give their records, those of their families, a pooled one, and how models err together; runs with
candidates give what retrieval from each kind of atlas is worth. A photo that stands in several runs of a benchmark is
one photo. What the runs cannot fit stays as in the packaged file. The table is cross-validated by photographer: nats
that a witness adds to the log-probability density at the truth, on photographers left out of the fit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from belief.parameters import Parameters, RetrievalRecord, default_parameters
from belief.records import Records
from core.errors import UserError
from core.files import read_model, write_atomic
from evals.command import command_parser, run_command
from evals.fitting.area_fit import LEAST_PHOTOS, with_area_shares
from evals.fitting.belief_fit import TEMPERATURES
from evals.fitting.belief_samples import BeliefData, load_belief_data
from evals.fitting.belief_worth import (
    cross_validated,
    fit_parameters,
    juries_to_fit,
    open_fitter,
    with_known_records,
    worth_table,
)
from evals.fitting.published import parse_published, record_from_accuracies
from retrieval.candidate import AtlasKind


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print, write."""
    parser = command_parser("evals.fit_belief", __doc__)
    parser.add_argument("runs", type=Path, nargs="*", help="folders of runs")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    parser.add_argument("--strategy", help="take only records of this strategy")
    parser.add_argument("--start", type=Path, help="parameters to keep what is not fitted from; default: the packaged")
    parser.add_argument("--note", action="append", default=[], metavar="NAME=TEXT", help="add to a record's source")
    parser.add_argument(
        "--published",
        action="append",
        default=[],
        metavar="NAME=P1,P25,P200,P750,P2500",
        help="a record from published accuracies in %%: of a model, or of retrieval such as gps@geoclip",
    )
    return run_command(parser, _fit_belief, arguments)


def _fit_belief(chosen: argparse.Namespace) -> int:
    start = _start(chosen.start)
    notes = dict(_note(text) for text in chosen.note)
    published = [parse_published(text) for text in chosen.published]
    if not chosen.runs and not published:
        raise UserError("nothing to fit: give folders of runs, or --published")
    parameters = _fitted(load_belief_data(chosen.runs, chosen.strategy), start, notes) if chosen.runs else start
    for name, percent in published:
        parameters = with_published(parameters, name, percent, notes.get(name, ""))
    write_atomic(chosen.out, Parameters.model_validate(parameters.model_dump()).model_dump_json(indent=1) + "\n")
    return 0


def _start(path: Path | None) -> Parameters:
    if path is None:
        return default_parameters()
    return read_model(path, Parameters, "file of parameters", "make it with `python -m evals.fit_belief`")


def _note(text: str) -> tuple[str, str]:
    name, _, note = text.partition("=")
    if not note:
        raise UserError(f"a note is given as NAME=TEXT, not {text!r}")
    return name, note


def _fitted(data: BeliefData, start: Parameters, notes: Mapping[str, str]) -> Parameters:
    fitter = open_fitter(data, start)
    every = range(len(data.samples))

    def source(name: str) -> str:
        return "; ".join(text for text in (notes.get(name), data.origins[name]) if text)

    parameters = with_area_shares(fitter, fit_parameters(fitter, juries_to_fit(data.juries), every, source), every)
    photographers = len({sample.photographer for sample in data.samples})
    told = sorted({text for texts in data.origins.values() for text in texts.split("; ")})
    summary = f"{len(every)} photos by {photographers} photographers ({'; '.join(told)})"
    sys.stdout.write(f"Fitted on {summary}.\n\n{worth_table(cross_validated(fitter, data.juries))}\n\n")
    sys.stdout.write(f"How models err together: {parameters.agreement}\n")
    kept = f" (as before: fewer than {LEAST_PHOTOS} photos)" if len(every) < LEAST_PHOTOS else ""
    sys.stdout.write(
        f"Shares of the belief that areas are of, by how often they hold: {parameters.area_shares}{kept}\n"
    )
    by_share = fitter.caution_nats(sorted(data.origins), every)
    shown = ", ".join(f"{share:.0%}: {nats:.3f}" for share, nats in by_share.items()) or "one maker only"
    sys.stdout.write(f"Nats of a model without a record, by its share of anywhere: {shown}\n")
    records = with_known_records(parameters.records, start.records)
    return parameters.model_copy(update={"records": records, "fitted_on": summary})


def with_published(parameters: Parameters, name: str, percent: Sequence[float], note: str = "") -> Parameters:
    """Parameters with a record from published accuracies: of a model, or of retrieval (`KIND@ENCODER`).

    The accuracies of retrieval are those of the most similar item, so the least temperature of the fit goes with them.
    """
    record = record_from_accuracies(percent, note=note)
    if name.partition("@")[0] in set(AtlasKind):
        retrieval = RetrievalRecord(temperature=min(TEMPERATURES), record=record)
        return parameters.model_copy(update={"retrieval": {**parameters.retrieval, name: retrieval}})
    records = Records(models={**parameters.records.models, name: record})
    return parameters.model_copy(update={"records": records})


if __name__ == "__main__":
    sys.exit(main())
