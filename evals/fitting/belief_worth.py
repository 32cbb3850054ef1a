"""Everything fitted to runs, and what each witness is worth on photographers that it was not fitted on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from belief.kernels import EARTH_AREA_KM2
from belief.parameters import Parameters, RetrievalRecord
from belief.prior import Prior, packaged_positions
from belief.records import Records
from evals.fitting.belief_fit import FOLDS, Fitter, fit_prior_shares, fold_of
from evals.fitting.belief_samples import BeliefData
from evals.fitting.mixtures import fit_mixture
from evals.scores.distance import Interval, clustered_bootstrap
from geo.sphere import Floats
from retrieval.candidate import AtlasKind

RANDOM_JURIES = (2, 2, 3, 3, 5, 5)
"""Sizes of the juries that are drawn from each run's, beside itself."""

Source = Callable[[str], str]


class Worth(NamedTuple):
    """What a witness adds to the log-probability density at the truth.

    Attributes:
        witness: its name.
        photos: that it was asked about.
        answered: of these, those that it said anything of: the mean is over them.
        nats: mean of a photo, with a 95 % bootstrap interval over photographers.
    """

    witness: str
    photos: int
    answered: int
    nats: Interval


def open_fitter(data: BeliefData, start: Parameters) -> Fitter:
    """A fitter whose prior has the shares that the photos themselves are likeliest under."""
    even = Prior(*packaged_positions(), {})
    densities = even.layer_densities([sample.truth_deg for sample in data.samples])
    shares = fit_prior_shares(densities, even.layers)
    return Fitter(data.samples, start.model_copy(update={"prior_shares": shares}))


def fit_parameters(fitter: Fitter, juries: Sequence[Sequence[str]], rows: Sequence[int], source: Source) -> Parameters:
    """Records, agreement and retrieval fitted to some photos; the other numbers stay as the fitter started.

    Args:
        fitter: on all photos.
        juries: whose agreement is fitted.
        rows: photos to fit on.
        source: what a record says of where it comes from, by its name.
    """
    records = fitter.fit_records(rows, source)
    agreement = fitter.fit_agreement(records, rows, juries)
    retrieval = {**fitter.start.retrieval, **_fit_retrieval(fitter, rows, source)}
    return fitter.start.model_copy(update={"records": records, "agreement": agreement, "retrieval": retrieval})


def with_known_records(records: Records, known: Records) -> Records:
    """Records with those of other models, and with how well models judge, as known before."""
    judging = ("judgement_accuracy", "judgement_correlation")
    judged = {name: {field: getattr(record, field) for field in judging} for name, record in known.models.items()}
    fitted = {name: record.model_copy(update=judged.get(name, {})) for name, record in records.models.items()}
    return Records(models={**known.models, **fitted})


def _fit_retrieval(fitter: Fitter, rows: Sequence[int], source: Source) -> dict[str, RetrievalRecord]:
    keys = retrieval_keys(fitter, rows)
    of_kind = {kind.value: [key for key in keys if key.partition("@")[0] == kind.value] for kind in AtlasKind}
    wanted = {**of_kind, **{key: [key] for key in keys}}
    found = {name: fitter.fit_retrieval(own, rows, "; ".join(map(source, own))) for name, own in wanted.items()}
    return {name: record for name, record in found.items() if record}


def retrieval_keys(fitter: Fitter, rows: Sequence[int]) -> list[str]:
    """Kinds of atlas with their encoders, as `kind@encoder`, that anything was retrieved from."""
    return sorted({key for row in rows for key in fitter.samples[row].retrieved})


def juries_to_fit(juries: Sequence[Sequence[str]], seed: int = 0) -> list[tuple[str, ...]]:
    """The juries of runs, and random ones of their models: how models agree depends on which are asked.

    >>> len(juries_to_fit([("a", "b", "c", "d")]))
    5
    """
    drawn = random.Random(seed)  # noqa: S311 - not for security
    found = {tuple(sorted(jury)): None for jury in juries}
    for jury in juries:
        for size in RANDOM_JURIES:
            if size < len(jury):
                found[tuple(sorted(drawn.sample(sorted(jury), size)))] = None
    return list(found)


def cross_validated(fitter: Fitter, juries: Sequence[Sequence[str]]) -> list[Worth]:
    """What the prior, each model, each jury and each atlas is worth on photographers left out of the fit.

    The shares of the prior in the ratios of the others are those of all photos: there are 14 of them.
    """
    fold = np.array([fold_of(sample.photographer) for sample in fitter.samples])
    found = [_worth("the prior, beside knowing nothing", *_prior_gain(fitter, fold), fitter)]
    parts = [(np.flatnonzero(fold == part).tolist(), np.flatnonzero(fold != part).tolist()) for part in range(FOLDS)]
    fits = [
        (left, fit_parameters(fitter, juries_to_fit(juries), rest, _nowhere)) for left, rest in parts if left and rest
    ]
    every = range(len(fitter.samples))
    models = sorted({name for sample in fitter.samples for name in sample.reports})
    for jury in [*((name,) for name in models), *juries]:
        asked = [row for row in every if any(name in fitter.samples[row].reports for name in jury)]
        gains = {
            row: fitter.gain_nats(parameters, row, jury)
            for left, parameters in fits
            for row in left
            if sum(bool(fitter.samples[row].reports.get(name)) for name in jury) >= min(2, len(jury))
        }
        found.append(_worth(_jury_name(jury), gains, len(asked), fitter))
    return [*found, *(_retrieval_worth(fitter, fits, key) for key in retrieval_keys(fitter, every))]


def _nowhere(_: str) -> str:
    return ""


def _jury_name(jury: Sequence[str]) -> str:
    return jury[0] if len(jury) == 1 else f"{len(jury)} together: {', '.join(jury)}"


def _prior_gain(fitter: Fitter, fold: Floats) -> tuple[dict[int, float], int]:
    densities = fitter.prior.layer_densities([sample.truth_deg for sample in fitter.samples])
    gains: dict[int, float] = {}
    for part in range(FOLDS):
        rest = densities[fold != part]
        if len(rest):
            nats = np.log(densities @ fit_mixture(rest) * EARTH_AREA_KM2)
            gains.update({int(row): float(nats[row]) for row in np.flatnonzero(fold == part)})
    return gains, len(fold)


def _retrieval_worth(fitter: Fitter, fits: Sequence[tuple[list[int], Parameters]], key: str) -> Worth:
    gains = {}
    for left, parameters in fits:
        own = parameters.retrieval.get(key) or parameters.retrieval[key.partition("@")[0]]
        for row in left:
            if key in fitter.samples[row].retrieved:
                ratios = fitter.retrieved_at_truth(row, key, own.temperature)
                gains[row] = float(np.log(ratios @ np.array(own.record.shares)))
    return _worth(f"retrieval, {key}", gains, len(gains), fitter)


def _worth(witness: str, gains: dict[int, float], asked: int, fitter: Fitter) -> Worth:
    photographers = [fitter.samples[row].photographer for row in gains]
    values = list(gains.values())
    nats = clustered_bootstrap(values, photographers) if values else Interval(0.0, 0.0, 0.0)
    return Worth(witness, asked, len(values), nats)


def worth_table(found: Sequence[Worth]) -> str:
    """The same as Markdown."""
    lines = ["| witness | photos | answered | nats a photo answered (95 %) |", "|---|---:|---:|---:|"]
    for worth in found:
        nats = f"{worth.nats.estimate:.2f} ({worth.nats.low:.2f} to {worth.nats.high:.2f})" if worth.answered else "-"
        lines.append(f"| {worth.witness} | {worth.photos:,} | {worth.answered:,} | {nats} |")
    return "\n".join(lines)
