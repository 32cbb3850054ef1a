"""What the belief is fitted on: finished runs as photos with the reports of every model, and what was retrieved."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agents.chat_models.spec import model_name, parse_spec
from agents.strategies import Step, Strategy, find_strategy
from belief.witnesses.reports import ReportedPlace
from core.errors import UserError
from evals.runs.records import EvalRecord, RecordStatus, RunInfo, read_info, read_records
from geo.sphere import Floats
from graphs.assessment.calibration import OFFLINE
from retrieval.candidate import AtlasKind

OPENAI_REASONING = re.compile(r"^gpt-(o\d)")
"""Some studies name OpenAI's o3 and o4-mini gpt-o3 and gpt-o4-mini."""

Retrieved = tuple[Floats, Floats]


class BeliefSample(NamedTuple):
    """A photo: where it was taken, by whom, what models reported of it, and what was retrieved for it.

    Attributes:
        truth_deg: latitude, longitude.
        photographer: whose it is.
        reports: places by model; empty where a model that was asked gave none.
        retrieved: positions (k, 2) and similarities (k,) by kind of atlas and encoder, as `kind@encoder`.
    """

    truth_deg: tuple[float, float]
    photographer: str
    reports: Mapping[str, Sequence[ReportedPlace]]
    retrieved: Mapping[str, Retrieved]


class BeliefData(NamedTuple):
    """Photos of runs, and what else their run folders say.

    Attributes:
        samples: in the order of benchmark and photo.
        juries: names of the models of each run that asked several.
        origins: by model, and by kind of atlas and encoder: strategy, benchmark and day of its runs.
    """

    samples: list[BeliefSample]
    juries: list[tuple[str, ...]]
    origins: dict[str, str]


_Photo = tuple[str, str, tuple[float, float]]


def record_name(model: str, strategy: str = "jury") -> str:
    """The name that a model's record is found by, from its spec: the same however it is served or recorded.

    Answers that were not given from the photo alone get a record of that strategy.

    >>> [record_name(spec) for spec in ("recorded:answers/gpt-4.1.jsonl@photos", "openai:gpt-4.1", "gpt-o4-mini")]
    ['gpt-4.1', 'gpt-4.1', 'o4-mini']
    >>> record_name("vllm:org/qwen-2.5-vl-7b@http://host:8000/v1", "rag")
    'qwen-2.5-vl-7b@rag'
    """
    try:
        name = model_name(parse_spec(model))
    except UserError:  # a name in a record, not a spec
        name = model
    name = OPENAI_REASONING.sub(r"\1", name)
    known = _packaged(strategy)
    return name if known and known.runs(Step.HYPOTHESISE) else f"{name}@{strategy}"


def _packaged(strategy: str) -> Strategy | None:
    """A packaged strategy; None: one of the user's own."""
    try:
        return find_strategy(strategy)
    except UserError:
        return None


def models_of(record: EvalRecord) -> list[str]:
    """Specs of the models that were asked about a photo; none by a strategy that asks no LMM."""
    known = _packaged(record.strategy)
    return [] if record.model == OFFLINE or (known and not known.uses_model) else record.model.split(",")


def reports_of(record: EvalRecord) -> dict[str, list[ReportedPlace]]:
    """What every model that was asked about a photo reported, by the name of its record; nothing is empty."""
    reports: dict[str, list[ReportedPlace]] = {record_name(m, record.strategy): [] for m in models_of(record)}
    for note in record.first_reading:
        place = ReportedPlace(*note.point, note.radius_km, note.confidence)
        reports.setdefault(record_name(note.model or record.model, record.strategy), []).append(place)
    return reports


def retrieved_of(record: EvalRecord) -> dict[str, Retrieved]:
    """What was retrieved for a photo, by kind of atlas and encoder."""
    found = {}
    for kind in AtlasKind:
        own = [note for note in record.candidates if note.kind is kind]
        if own:
            similarity = np.array([note.similarity for note in own])
            found[f"{kind.value}@{record.encoder}"] = np.array([note.point for note in own]), similarity
    return found


def load_belief_data(runs: Sequence[Path], strategy: str | None = None) -> BeliefData:
    """The photos of some runs; reports of a photo that stand in several runs of a benchmark are joined.

    Args:
        runs: run folders.
        strategy: only records of this one; None: of all.

    Raises:
        UserError: a folder that is no run, or no record of the strategy.
    """
    photos: dict[_Photo, BeliefSample] = {}
    juries: dict[tuple[str, ...], None] = {}
    origins: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        info = read_info(run)
        for record in _usable(run, strategy):
            key = (record.benchmark, record.photo, record.truth)
            known = photos.get(key) or BeliefSample(record.truth, record.photographer, {}, {})
            photos[key] = found = _joined(known, record)
            for name in (found.reports.keys() - known.reports.keys()) | retrieved_of(record).keys():
                origins[name].add(_origin(info, record))
            if len(models_of(record)) > 1:
                juries[tuple(reports_of(record))] = None
    if not photos:
        raise UserError("the runs hold no photos to fit on: give folders of finished runs, and their strategy")
    told = {name: "; ".join(sorted(texts)) for name, texts in origins.items()}
    return BeliefData([photos[key] for key in sorted(photos)], list(juries), told)


def _usable(run: Path, strategy: str | None) -> list[EvalRecord]:
    """Records of photos that the system finished; what broke was not asked."""
    chosen = [r for r in read_records(run) if strategy in (None, r.strategy)]
    return [record for record in chosen if record.status is not RecordStatus.ERROR]


def _joined(known: BeliefSample, record: EvalRecord) -> BeliefSample:
    """A photo with one run more; of a model that was asked twice about it, the first report counts."""
    reports = {**reports_of(record), **known.reports}
    return known._replace(reports=reports, retrieved={**known.retrieved, **retrieved_of(record)})


def _origin(info: RunInfo, record: EvalRecord) -> str:
    data = info.arguments.get("data")
    table = f" {Path(data).name}" if isinstance(data, str) else ""
    return f"strategy {record.strategy}, {record.benchmark}{table}, run of {info.started_at[:10]}"
