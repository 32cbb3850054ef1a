"""What the scripted LMM and the known search are worth, measured as for real ones: on photos not asked about later."""

from __future__ import annotations

from typing import Any

import numpy as np

from belief.parameters import Parameters, RetrievalRecord
from belief.prior import default_prior
from belief.records import ANY, Records
from belief.witnesses.reports import ReportedPlace
from benchmarks.simulation.error_model import ErrorModel
from benchmarks.simulation.policy import HYPOTHESIS_RADIUS_KM, LOOKS, look_name
from benchmarks.simulation.tools import FOUND, KnownRetrieval
from evals.fitting.belief_fit import Fitter
from evals.fitting.belief_samples import BeliefSample
from evals.fitting.judgements import measure_judging
from geo.point import Point
from geo.sphere import lat_lon_array

MODEL, KNOWN_ATLAS = "scripted", "photo@known"


def measured_records(errors: ErrorModel, known: Parameters) -> Records:
    """The model's record, drawn to the pooled one as a real model's is."""
    guesses = {photo: errors.guesses(photo) for photo in errors.truth}
    samples = [
        _sample(photo, errors.truth[photo], reports={MODEL: [_reported(guess.point) for guess in given]})
        for photo, given in guesses.items()
    ]
    pooled = known.records.models[ANY]
    record = Fitter(samples, known, default_prior()).fit_record(MODEL, range(len(samples)), pooled, "a simulation")
    judged = [
        (errors.fits(photo, guess.point, look_name(*look)), guess.right, number * len(given) + rank)
        for number, (photo, given) in enumerate(guesses.items())
        for rank, guess in enumerate(given)
        for look in LOOKS
    ]
    judging = measure_judging(*zip(*judged, strict=True))
    own = {"judgement_accuracy": judging.accuracy, "judgement_correlation": judging.correlation}
    return Records(models={ANY: pooled, MODEL: record.model_copy(update=own)})


def measured_retrieval(search: KnownRetrieval, known: Parameters) -> RetrievalRecord:
    """The record of the search."""
    samples = []
    for photo, truth in search.truth.items():
        found = search.candidates(photo, None, None, FOUND)
        at, similarity = lat_lon_array(c.point for c in found), np.array([c.similarity for c in found])
        samples.append(_sample(photo, truth, retrieved={KNOWN_ATLAS: (at, similarity)}))
    record = Fitter(samples, known, default_prior()).fit_retrieval([KNOWN_ATLAS], range(len(samples)), "a simulation")
    if record is None:
        raise ValueError(f"{len(samples)} photos are too few to measure the search on")
    return record


def _sample(photo: str, truth: Point, **seen: Any) -> BeliefSample:
    fields: dict[str, Any] = {"reports": {}, "retrieved": {}, **seen}
    return BeliefSample(truth_deg=(truth.lat, truth.lon), photographer=photo, **fields)


def _reported(point: Point) -> ReportedPlace:
    return ReportedPlace(point.lat, point.lon, HYPOTHESIS_RADIUS_KM)
