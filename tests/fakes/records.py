"""Seeded records and run folders, for tests that need no system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.schemas import Cost
from evals.runs.records import EvalRecord, RunInfo, write_info, write_records
from evals.scores.distance import THRESHOLDS_KM
from geo.point import Point
from geo.sphere import destination

ANSWERED = {"status": "answered", "level": "city", "radius_50_km": 100.0, "radius_90_km": 1000.0, "confidence": 0.5}
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
