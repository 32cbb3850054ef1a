"""Seeded records and run folders, for tests that need no system."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from agents.schemas import Cost
from evals.runs.records import EvalRecord, RecordStatus, RunInfo, write_info, write_records
from evals.scores.distance import THRESHOLDS_KM
from geo.point import Point
from geo.sphere import destination

SPREAD = 1.2
"""Of the logarithm of errors of `calibrated_records`."""
KINDS = {"retrieval": 0.02, "sign": 0.6, "sight": 3.0}
"""Typical information in nats of kinds of evidence."""
ANSWERED = {"status": "answered", "level": "city", "radius_50_km": 100.0, "radius_90_km": 1000.0, "confidence": 0.5}
BELIEF_FIELDS = (
    "chance_within_km",
    "area_50_km2",
    "area_90_km2",
    "is_in_area_50",
    "is_in_area_90",
    "log_density",
    "information_nats",
    "cost_by_model",
    "asked",
    "model_status",
    "is_model_unreachable",
)
UNANSWERED = {
    "point": None,
    "distance_km": None,
    "radius_50_km": None,
    "radius_90_km": None,
    "level": None,
    "place": None,
}
PARIS = {"country_code": "FR", "region": "Île-de-France", "city": "Paris"}


def made_record(photo: str = "a.jpg", **chosen: Any) -> EvalRecord:
    """An answer in Paris to a photo of Paris; give what differs."""
    values: dict[str, Any] = {
        "benchmark": "folder",
        "protocol": "clean",
        "strategy": "refine",
        "model": "offline",
        "encoder": "compact@1",
        "photo": photo,
        "photo_sha256": None,
        "author": "someone",
        "truth": (48.8566, 2.3522),
        "truth_place": PARIS,
        "point": (48.8566, 2.3522),
        "distance_km": 0.0,
        "place": PARIS,
        "hypotheses": (),
        "excluded": 0,
        "flags": (),
        "strata": {},
        "error": None,
        "cost": Cost(),
        "evidence": (),
        "candidates": (),
        "reasoning": "",
        "raw_replies": (),
        "model_status": "ok",
        **ANSWERED,
    }
    silent = UNANSWERED if chosen.get("status", "answered") != "answered" else {}
    return EvalRecord.model_validate({**values, **silent, **chosen})


def made_info(photos: int, **chosen: Any) -> RunInfo:
    """What a run of so many photos was; give what differs."""
    values: dict[str, Any] = {
        "benchmark": "folder",
        "protocol": "clean",
        "strategies": ("refine",),
        "model": "offline",
        "encoder": "compact@1",
        "atlases": ("world",),
        "expected": photos,
        "photos": photos,
        "photos_sha256": "0" * 64,
        "partial": None,
        "thresholds_km": THRESHOLDS_KM,
        "limit": None,
        "seed": 0,
        "arguments": {},
        "settings_sha256": "1" * 64,
        "commit": None,
        "versions": {"geosleuth": "0"},
        "citation": "nobody 2026",
        "licence": "CC0",
        "started_at": "2026-11-21T00:00:00Z",
    }
    return RunInfo.model_validate({**values, **chosen})


def write_run(folder: Path, records: Sequence[EvalRecord], **chosen: Any) -> Path:
    """A finished run folder with these records."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = len({record.photo for record in records})
    strategies = tuple(dict.fromkeys(record.strategy for record in records))
    write_info(folder, made_info(**{"photos": photos, "strategies": strategies, **chosen}))
    write_records(folder / "records.jsonl", records)
    return folder


def random_records(photos: int, seed: int, typical_km: float, **chosen: Any) -> list[EvalRecord]:
    """Answers that scatter round the truth; every tenth photo has none. Photographers took about eight each."""
    rng = np.random.default_rng(seed)
    # Truths are the same whatever the seed, so that runs can be paired.
    world = np.random.default_rng(99)
    truths = np.stack([world.uniform(-60, 70, photos), world.uniform(-180, 180, photos)], axis=1)
    return [_random_record(i, truth, rng, typical_km, photos, chosen) for i, truth in enumerate(truths.tolist())]


def _random_record(
    i: int, truth: Sequence[float], rng: np.random.Generator, typical_km: float, photos: int, chosen: dict[str, Any]
) -> EvalRecord:
    away_km = float(min(20_000.0, rng.lognormal(np.log(typical_km), 1.5)))
    point = destination(Point(lat=truth[0], lon=truth[1]), float(rng.uniform(0, 360)), away_km)
    said_km = float(rng.lognormal(np.log(typical_km), 0.5))
    values: dict[str, Any] = {
        "author": f"author{i * 8 // max(photos, 8) if photos < 64 else i // 8}",
        "truth": tuple(truth),
        "point": (point.lat, point.lon),
        "distance_km": away_km,
        "radius_50_km": said_km,
        "radius_90_km": 2.0 * said_km,
        "confidence": float(np.clip(1.0 - said_km / (4.0 * typical_km), 0.01, 0.99)),
        "strata": {"scene": ("indoor", "natural", "urban")[i % 3]},
        "cost": Cost(model_calls=2, tool_calls=3, tokens=900, usd=0.01, seconds=1.5),
    }
    if i % 10 == 9:
        values = {**values, **UNANSWERED, "status": ("abstained", "refused", "failed")[i // 10 % 3], "confidence": 0.0}
    return made_record(f"{i:06d}.jpg", **{**values, **chosen})


def calibrated_records(
    photos: int, seed: int, typical_km: float, sureness: float = 1.0, **chosen: Any
) -> list[EvalRecord]:
    """Answers of a system that knows the distribution of its errors, and states all that a belief states.

    Each photo has a typical error of its own, from very sure to not at all. A `sureness` of 2 takes every error for
    half of what it is. Photos are those of `random_records`; every tenth has no answer.
    """
    rng = np.random.default_rng(seed)
    own_km = np.exp(rng.normal(np.log(typical_km), 2.0, photos))
    away_km = np.minimum(own_km * np.exp(rng.normal(0.0, SPREAD, photos)), 19_000.0)
    made = []
    for record, typical, away in zip(random_records(photos, seed, typical_km, **chosen), own_km, away_km, strict=True):
        if record.status is RecordStatus.ANSWERED:
            truth = Point(lat=record.truth[0], lon=record.truth[1])
            point = destination(truth, float(rng.uniform(0, 360)), float(away))
            belief = _belief(float(typical) / sureness, float(away), rng)
            record = made_record(**{**record.model_dump(), "point": (point.lat, point.lon), **belief, **chosen})
        made.append(record)
    return made


def _belief(typical_km: float, away_km: float, rng: np.random.Generator) -> dict[str, Any]:
    """What a system states whose errors it takes for log-normal round a typical one."""
    error = NormalDist(np.log(typical_km), SPREAD)
    chances = {int(km): error.cdf(np.log(km)) for km in THRESHOLDS_KM}
    radii_km = [float(np.exp(error.inv_cdf(share))) for share in (0.5, 0.9)]
    information = {kind: float(nats * rng.uniform(0.0, 2.0)) for kind, nats in KINDS.items()}
    jury = {"large": Cost(model_calls=1, tokens=600, usd=0.009, seconds=1.2), "small": Cost(model_calls=1, tokens=300)}
    return {
        "distance_km": away_km,
        "radius_50_km": radii_km[0],
        "radius_90_km": radii_km[1],
        "level": "city",
        "confidence": chances[25],
        "chance_within_km": chances,
        "area_50_km2": 2.0 * radii_km[0] ** 2,
        "area_90_km2": 2.0 * radii_km[1] ** 2,
        "is_in_area_50": away_km <= radii_km[0],
        "is_in_area_90": away_km <= radii_km[1],
        # Of a log-normal distance in every direction alike: the density on a circle of that radius.
        "log_density": float(np.log(error.pdf(np.log(away_km)) / away_km / (2.0 * np.pi * away_km))),
        "evidence": [_told(kind, nats) for kind, nats in information.items()],
        "information_nats": information,
        "cost_by_model": jury,
    }


def _told(kind: str, nats: float) -> dict[str, Any]:
    return {"kind": kind, "claim": f"a {kind} says so", "tool": None, "nats": nats, "information_nats": nats}


def as_earlier_version(record: EvalRecord) -> bytes:
    """The record's line as versions wrote it that knew no belief."""
    line = json.loads(record.line())
    for name in BELIEF_FIELDS:
        del line[name]
    for note in line["evidence"]:
        del note["information_nats"]
    return json.dumps(line).encode() + b"\n"
