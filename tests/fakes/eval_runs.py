"""A run without a system: queries, and answers that depend on nothing but the photo. Also run as a process to kill."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agents.schemas import Cost
from evals.benchmarks.loading import Sample
from evals.runs.folder import RunFolder
from evals.runs.recording import EvalQuery, SystemDescription, error_record
from evals.runs.records import EvalRecord, Protocol, RecordStatus, RunInfo
from evals.runs.runner import RunPlan, RunSession, run_queries
from geo.point import Point
from geo.sphere import point_distance_km

SYSTEM = SystemDescription(benchmark="folder", protocol=Protocol.PUBLISHED, model="none", encoder="none@1")
STRATEGIES = ("quick", "slow")


def queries(count: int) -> list[EvalQuery]:
    samples = [
        Sample(f"{i:04d}.jpg", Path(f"{i:04d}.jpg"), Point(lat=i % 90, lon=i % 180), f"author{i % 7}")
        for i in range(count)
    ]
    return [
        EvalQuery(sample=sample, strategy=strategy, truth_place=None, flags=())
        for sample in samples
        for strategy in STRATEGIES
    ]


def run_info(count: int, **changed: object) -> RunInfo:
    fields: dict[str, object] = {
        "benchmark": "folder",
        "protocol": Protocol.PUBLISHED,
        "strategies": STRATEGIES,
        "model": "none",
        "encoder": "none@1",
        "atlases": (),
        "expected": count,
        "photos": count,
        "photos_sha256": "0" * 64,
        "partial": None,
        "thresholds_km": (1.0, 25.0, 200.0, 750.0, 2500.0),
        "limit": None,
        "seed": 0,
        "arguments": {},
        "settings_sha256": "0" * 64,
        "commit": None,
        "versions": {},
        "citation": "",
        "licence": "",
        "started_at": "2026-11-21T00:00:00+00:00",
    }
    return RunInfo.model_validate(fields | changed)


def made_record(query: EvalQuery, seconds: float = 0.0) -> EvalRecord:
    """An answer that is a function of photo and strategy, but for its seconds."""
    digest = hashlib.sha256("".join(query.key).encode()).digest()
    point = Point(lat=digest[0] / 256 * 180 - 90, lon=digest[1] / 256 * 360 - 180)
    bare = error_record(SYSTEM, query, hashlib.sha256(query.sample.photo.encode()).hexdigest(), ValueError("none"))
    return bare.model_copy(
        update={
            "status": RecordStatus.ANSWERED,
            "error": None,
            "point": (point.lat, point.lon),
            "distance_km": point_distance_km(query.sample.truth, point),
            "confidence": digest[2] / 256,
            "chance_within_km": {25: digest[2] / 256},
            "cost_by_model": {"none": Cost(model_calls=1, tokens=digest[3], seconds=seconds)},
            "cost": Cost(model_calls=1, tokens=digest[3], seconds=seconds),
            "reasoning": digest.hex() * 20,
        }
    )


def run_made(folder: Path, count: int, concurrency: int = 8, pause_s: float = 0.0) -> RunSession:
    """A session over made answers, in order at the end."""

    def locate(query: EvalQuery) -> EvalRecord:
        started = time.perf_counter()
        time.sleep(pause_s * (1 + hash(query.key) % 3))
        return made_record(query, time.perf_counter() - started)

    asked = queries(count)
    with RunFolder(folder, run_info(count)) as opened:
        session = run_queries(asked, plan(locate), opened, ignore, concurrency=concurrency, max_errors=0)
        opened.finish([query.key for query in asked], 0.0)
    return session


def plan(locate: Callable[[EvalQuery], EvalRecord], spent_usd: float = 0.0) -> RunPlan:
    """A plan by which queries are answered."""
    return RunPlan(locate, lambda query, error: error_record(SYSTEM, query, None, error), lambda: spent_usd)


def ignore(record: EvalRecord) -> None:
    """Watch records and do nothing."""


if __name__ == "__main__":
    run_made(Path(sys.argv[1]), int(sys.argv[2]), pause_s=float(sys.argv[3]))
