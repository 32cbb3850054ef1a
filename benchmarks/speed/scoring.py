"""How long it takes to read and score a run of 25,600 photos, candidates and replies and all.

    python -m benchmarks.speed.scoring

Makes the run in a temporary folder: each record has 40 candidates, 6 hypotheses, 6 pieces of evidence and a reply.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from agents.schemas import Cost
from evals.runs.records import RECORDS_FILE, EvalRecord, RunInfo, write_info, write_records
from evals.scores.arrays import load_systems
from evals.scores.distance import THRESHOLDS_KM
from evals.scores.scoring import score

PHOTOS = 25_600


def made_record(number: int, rng: np.random.Generator) -> EvalRecord:
    """A record of ordinary size."""
    truth, point = rng.uniform(-60, 60, 2).tolist(), rng.uniform(-60, 60, 2).tolist()
    hypotheses = [
        {"name": f"place {k}", "point": rng.uniform(-60, 60, 2).tolist(), "radius_km": 100.0, "probability": 0.1}
        for k in range(6)
    ]
    evidence = [{"kind": "retrieval", "claim": "c" * 80, "tool": "search_photos", "nats": 1.0} for _ in range(6)]
    one = {"atlas": "world", "kind": "gps", "similarity": 0.5, "point": truth, "item_id": "geonames:123456"}
    place = {"country_code": "FR", "region": "Brittany", "city": "Brest"}
    return EvalRecord.model_validate(
        {
            **{"benchmark": "yfcc26k", "protocol": "clean", "strategy": "refine", "model": "m", "encoder": "e@1"},
            **{"photo": f"{number:06d}.jpg", "photo_sha256": "a" * 64, "author": f"a{number // 10}", "truth": truth},
            **{"truth_place": place, "status": "answered", "point": point, "distance_km": 1.0, "place": place},
            **{"radius_50_km": 100.0, "radius_90_km": 900.0, "confidence": float(rng.uniform()), "level": "region"},
            **{"hypotheses": hypotheses, "excluded": 3, "flags": (), "strata": {"scene": "urban"}, "error": None},
            **{"cost": Cost(model_calls=4, tokens=5000, usd=0.01, seconds=3.0), "evidence": evidence},
            **{
                "candidates": [{**one, "rank": k} for k in range(40)],
                "reasoning": "r" * 400,
                "raw_replies": ("z" * 800,),
            },
        }
    )


def made_run(folder: Path) -> None:
    """The run's two files."""
    rng = np.random.default_rng(0)
    write_records(folder / RECORDS_FILE, (made_record(number, rng) for number in range(PHOTOS)))
    counts = {"expected": PHOTOS, "photos": PHOTOS, "photos_sha256": "0" * 64, "partial": None, "limit": None}
    settings = {"citation": "", "licence": "", "settings_sha256": "", "commit": None, "started_at": "", "seed": 0}
    what = {"benchmark": "yfcc26k", "protocol": "clean", "strategies": ("refine",), "model": "m", "encoder": "e@1"}
    rest = {"atlases": ("world",), "thresholds_km": THRESHOLDS_KM, "arguments": {}, "versions": {}}
    write_info(folder, RunInfo.model_validate({**counts, **settings, **what, **rest}))


def main() -> None:
    """Make, read, score, print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_run(folder)
        size_mb = (folder / RECORDS_FILE).stat().st_size / 1e6
        start = time.perf_counter()
        systems = load_systems([folder])
        read = time.perf_counter()
        found = score(systems[0])
        done = time.perf_counter()
    print(f"{found.photos} records, {size_mb:.0f} MB: read {read - start:.2f} s, scored {done - read:.2f} s")


if __name__ == "__main__":
    main()
