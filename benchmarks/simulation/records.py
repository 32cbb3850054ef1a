"""What the scripted LMM and the known search are worth, measured as for real ones: on photos not asked about later."""

from __future__ import annotations

from typing import Any

import numpy as np

from belief.parameters import Parameters, RetrievalRecord
from belief.prior import default_prior
from belief.records import Records
from belief.witnesses.reports import ReportedPlace
from benchmarks.simulation.error_model import ErrorModel
from benchmarks.simulation.policy import HYPOTHESIS_RADIUS_KM, LOOKS, look_name
from benchmarks.simulation.tools import FOUND, KnownRetrieval
from evals.fitting.belief_fit import BeliefSample, Fitter
from evals.fitting.judgements import balanced_accuracy
from geo.point import Point
from geo.sphere import lat_lon_array
from retrieval.candidate import AtlasKind

MODEL = "scripted"


def measured_records(errors: ErrorModel, parameters: Parameters) -> Records:
    """The model's record, and the pooled one."""
    guesses = {photo: errors.guesses(photo) for photo in errors.truth}
    samples = [
        _sample(photo, errors.truth[photo], reports={MODEL: [_reported(guess.point) for guess in given]})
        for photo, given in guesses.items()
    ]
    fitter = Fitter(samples, parameters, default_prior())
    records = fitter.fit_records(range(len(samples)), lambda _, photos: f"{photos} photos, a simulation")
    judged = [
        (errors.fits(photo, guess.point, look_name(*look)), guess.right)
        for photo, given in guesses.items()
        for guess in given
        for look in LOOKS
    ]
    accuracy = balanced_accuracy(*zip(*judged, strict=True))
    own = records.models[MODEL].model_copy(update={"judgement_accuracy": accuracy})
    return Records(models={**records.models, MODEL: own})


def measured_retrieval(search: KnownRetrieval, parameters: Parameters) -> RetrievalRecord:
    """The record of the search."""
    samples = []
    for photo, truth in search.truth.items():
        found = search.candidates(photo, None, None, FOUND)
        at, similarity = lat_lon_array(c.point for c in found), np.array([c.similarity for c in found])
        samples.append(_sample(photo, truth, retrieved={AtlasKind.PHOTO.value: (at, similarity)}))
    fitter = Fitter(samples, parameters, default_prior())
    return fitter.fit_retrieval(AtlasKind.PHOTO.value, range(len(samples)), "a simulation")[0]


def _sample(photo: str, truth: Point, **seen: Any) -> BeliefSample:
    return BeliefSample(
        **{"truth_deg": (truth.lat, truth.lon), "photographer": photo, "reports": {}, "retrieved": {}, **seen}
    )


def _reported(point: Point) -> ReportedPlace:
    return ReportedPlace(point.lat, point.lon, HYPOTHESIS_RADIUS_KM)
