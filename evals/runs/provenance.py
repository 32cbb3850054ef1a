"""What a run was made of: settings, versions and commit, so that it can be repeated and compared."""

from __future__ import annotations

import hashlib
import json
import platform
from argparse import Namespace
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agents.fingerprint import digests
from core.checkout import commit_of
from core.files import sha256_if_readable
from evals import options
from evals.runs.evaluated_systems import BELIEF, EvaluatedSystems
from evals.runs.folder import now
from evals.runs.records import RunInfo
from evals.runs.sample_selection import RunPhotos, ids_sha256
from graphs.assessment.calibration import parameters_digest
from graphs.settings import Settings, answering_settings

LIBRARIES = ("geosleuth", "langchain-core", "langgraph", "numpy", "onnxruntime", "pillow", "qdrant-edge-py")
ASKED_OF_MODELS = {"strategy", "model_picture_px", "strategies_folder"}
"""Settings that are parts of what each strategy asks, and compared there."""


def run_info(chosen: Namespace, settings: Settings, photos: RunPhotos, systems: EvaluatedSystems) -> RunInfo:
    """The description of a run that begins, for `run.json`."""
    data, benchmark = photos.data, photos.data.benchmark
    reading: dict[str, object] = {"swap_lat_lon": True} if chosen.swap_lat_lon else {}
    reading |= {"together": chosen.together} if chosen.together else {}
    asked = {name: digests(parts) for name, parts in systems.asked.items()}
    return RunInfo(
        benchmark=benchmark.name,
        protocol=systems.description.protocol,
        strategies=tuple(systems.by_strategy),
        model=systems.description.model,
        encoder=systems.description.encoder,
        atlases=settings.atlases,
        expected=data.expected,
        photos=len(photos.samples),
        together=chosen.together,
        photos_sha256=ids_sha256(photos.samples),
        partial=photos.partial,
        thresholds_km=benchmark.thresholds_km,
        limit=chosen.limit,
        seed=chosen.seed,
        arguments=options.as_given(chosen),
        settings_sha256=settings_sha256(settings, reading),
        settings=run_settings(settings),
        posterior=parameters_digest(systems.parameters, systems.description.model),
        commit=commit_of(Path(__file__).parent, "+"),
        versions=versions(),
        citation=benchmark.citation,
        licence=benchmark.licence,
        started_at=now(),
        excluded_reference=photos.excluded_reference,
        asked=asked,
        asked_texts=asked_texts(systems.asked, asked),
    )


def asked_texts(parts: Mapping[str, Mapping[str, str]], asked: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Texts of what is asked by their sha256; numbers of the belief are in the package, and only hashed."""
    return {
        asked[strategy][name]: text for strategy, of in parts.items() for name, text in of.items() if name != BELIEF
    }


def run_settings(settings: Settings) -> dict[str, Any]:
    """Settings that can change an answer, beside what `run.json` names by itself."""
    return {name: value for name, value in answering_settings(settings).items() if name not in ASKED_OF_MODELS}


def settings_sha256(settings: Settings, more: Mapping[str, object]) -> str:
    """Of all that can change an answer, beside what `run.json` names by itself."""
    files = (settings.calibration, settings.model_records)
    fitted = {str(path): sha256_if_readable(path) for path in files if path}
    answering = run_settings(settings) | dict(more) | fitted
    return hashlib.sha256(json.dumps(answering, sort_keys=True, default=str).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Of Python and the libraries that matter."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an engine that is not installed cannot have been used
            continue
    return found
