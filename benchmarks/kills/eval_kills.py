"""Is a run that is killed again and again the same as one that never was? The real command, SIGKILL at random.

    python -m benchmarks.kills.eval_kills --data ../shared/data/im2gps3k_dev --home runs/offline_machine/home --kills 20

Runs `python -m evals.run` once unbroken and once killed as often as asked for, and compares the records byte for
byte, but for their seconds. A fake model answers over HTTP, so that the cache of replies is part of it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.speed.eval_throughput import fake_server
from evals.runs.records import RECORDS_FILE, read_records


def command(chosen: argparse.Namespace, model: str, out: Path) -> list[str]:
    """The run."""
    made = [sys.executable, "-m", "evals.run", "im2gps3k", "--data", str(chosen.data), "--home", str(chosen.home)]
    made += ["--atlas", chosen.atlas, "--allow-partial", "--limit", str(chosen.photos), "--strategy", chosen.strategy]
    made += ["--model", model, "--concurrency", str(chosen.concurrency), "--threads", "1"]
    return [*made, "--cache", str(out.with_suffix(".sqlite")), "--out", str(out)]


def size(out: Path) -> int:
    """Bytes of records so far."""
    file = out / RECORDS_FILE
    return file.stat().st_size if file.exists() else 0


def run_and_kill(run: list[str], out: Path, rng: random.Random, more_bytes: float) -> bool:
    """Run until about so many more bytes of records are there, then kill; whether it was still running."""
    goal = size(out) + rng.random() * more_bytes
    with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - ours
        while process.poll() is None and size(out) <= goal:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.2)  # not only just after a record was written
        if process.poll() is not None:
            return False
        os.kill(process.pid, signal.SIGKILL)
    return True


def untimed(out: Path) -> bytes:
    """All records without their seconds."""
    return b"".join(record.untimed().line() for record in read_records(out))


def measure(chosen: argparse.Namespace, folder: Path) -> str:
    """Run both and compare."""
    with ExitStack() as opened:
        model = f"openai_compatible:fake@{fake_server(chosen.seconds, opened)}"
        whole, broken = folder / "whole", folder / "broken"
        subprocess.run(command(chosen, model, whole), check=True, capture_output=True)  # noqa: S603 - ours
        rng, kills = random.Random(chosen.seed), 0  # noqa: S311 - chance, no secret
        step = 1.5 * size(whole) / chosen.kills
        while kills < chosen.kills and run_and_kill(command(chosen, model, broken), broken, rng, step):
            kills += 1
        subprocess.run(command(chosen, model, broken), check=True, capture_output=True)  # noqa: S603 - ours
    verdict = "byte for byte those" if untimed(whole) == untimed(broken) else "NOT those"
    return (
        f"{chosen.photos} photos, {chosen.strategy}: killed {kills} times at random;"
        f" {len(read_records(broken))} records, {verdict} of an unbroken run apart from seconds"
    )


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/im2gps3k_dev"))
    parser.add_argument("--home", type=Path, default=Path("runs/offline_machine/home"))
    parser.add_argument("--atlas", default="world,train-photos")
    parser.add_argument("--strategy", default="clusters,zero_shot,self_consistency,rag")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(measure(chosen, Path(folder)))


if __name__ == "__main__":
    main()
