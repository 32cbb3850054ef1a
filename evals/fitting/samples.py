"""What calibrations are fitted on: answered records of runs by one and the same system."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agents.schemas import Versions
from belief.parameters import default_parameters
from core.errors import UserError
from evals.runs.records import EvalRecord, RecordStatus, RunInfo, read_info, read_records
from graphs.assessment.calibration import Subject, subject_of, told_difference
from retrieval.splits import SHARES, split_by_author

LEAST_PHOTOGRAPHERS = 5


class FittingSamples(NamedTuple):
    """Answered photos of one strategy, whose they are, and in which part of the split by photographer."""

    answered: list[EvalRecord]
    part: list[str]
    subject: Subject
    summary: str


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the commands that fit something to runs."""
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs of one system")
    parser.add_argument("--strategy", help="of the runs; needed if they have several")
    parser.add_argument("--part", action="append", default=[], choices=tuple(SHARES), help="keep this part; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")


def answered_samples(runs: Sequence[Path], strategy: str | None, parts: Sequence[str]) -> FittingSamples:
    """The answered records of one strategy, in the order of their photos.

    Raises:
        UserError: no such strategy, runs of different systems, photos twice, or too few photographers.
    """
    records, subject = of_one_system(runs, strategy, parts)
    answered = [(r, part) for r, part in records if r.status is RecordStatus.ANSWERED and r.point and r.radius_90_km]
    if any(r.calibrated for r, _ in answered):
        raise UserError("these answers are calibrated already: run with GEOSLEUTH_CALIBRATED=false to fit on raw ones")
    photographers = len({r.author for r, _ in answered})
    if photographers < LEAST_PHOTOGRAPHERS:
        raise UserError(f"answers by {photographers} photographers are too few to fit anything: give more photos")
    summary = f"{len(answered)} answered of {len(records)} photos by {photographers} photographers"
    return FittingSamples([r for r, _ in answered], [part for _, part in answered], subject, summary)


def of_one_system(
    runs: Sequence[Path], strategy: str | None, parts: Sequence[str]
) -> tuple[list[tuple[EvalRecord, str]], Subject]:
    """The records of one strategy with their parts, in the order of their photos, and the system that made them.

    Raises:
        UserError: no such strategy, runs of different systems, or photos twice.
    """
    found = [_of_run(run, strategy, parts) for run in runs]
    records = sorted((pair for kept, _ in found for pair in kept), key=lambda pair: pair[0].photo)
    if len({record.photo for record, _ in records}) != len(records):
        raise UserError("the runs share photos: give runs on different photos")
    for _, subject in found[1:]:
        difference = told_difference(subject, found[0][1])
        if difference:
            raise UserError(f"the runs are of different systems ({difference}): give runs of one")
    return records, found[0][1]


def _of_run(run: Path, strategy: str | None, parts: Sequence[str]) -> tuple[list[tuple[EvalRecord, str]], Subject]:
    info = read_info(run)
    name = _strategy_of(info, strategy)
    records = [r for r in read_records(run) if r.strategy == name]
    kept = [(r, part) for r, part in zip(records, _parts(records, info), strict=True) if not parts or part in parts]
    return kept, _subject(info, name, [r for r, _ in kept])


def _parts(records: Sequence[EvalRecord], info: RunInfo) -> list[str]:
    """The part each photo belongs to: what the run was limited to, else the split of all its photos."""
    only = info.arguments.get("only")
    if isinstance(only, str) and only in SHARES:
        return [only] * len(records)
    return split_by_author([r.photographer for r in records])


def _strategy_of(info: RunInfo, strategy: str | None) -> str:
    if strategy in info.strategies:
        return str(strategy)
    if strategy is None and len(info.strategies) == 1:
        return info.strategies[0]
    raise UserError(f"name the strategy with --strategy: {', '.join(info.strategies)}")


def _subject(info: RunInfo, strategy: str, records: Sequence[EvalRecord]) -> Subject:
    versions = Versions(geosleuth="", encoder=info.encoder, atlases=info.atlases, model=info.model, strategy=strategy)
    subject = subject_of(versions, {c.kind for r in records for c in r.candidates}, default_parameters())
    return subject.model_copy(update={"posterior": info.posterior}) if info.posterior else subject
