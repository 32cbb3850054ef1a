"""Does a run keep a slow model busy? 500 photos, 50 at once, a model that answers in 2 s: ideally 20 s.

    python -m benchmarks.speed.eval_throughput --data ../shared/data/im2gps3k_dev --home runs/offline_machine/home

Prints how long the photos took after start-up, what they cost in CPU time, and how memory went.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from evals import options
from evals.run import run_photos
from evals.runs.evaluated_systems import open_systems
from evals.runs.folder import RunFolder
from evals.runs.provenance import run_info
from evals.runs.sample_selection import load_photos

PAGE_BYTES = resource.getpagesize()


class Memory:
    """Resident memory of this process, twice a second."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self.megabytes.append(pages * PAGE_BYTES / 1e6)


def fake_server(seconds: float, opened: ExitStack) -> str:
    """The address of a fake model, which ends with `opened`."""
    command = [sys.executable, "-m", "benchmarks.speed.fake_lmm", "--seconds", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
    opened.callback(process.wait)
    opened.callback(process.kill)
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    return process.stdout.readline().strip()


def measure(chosen: argparse.Namespace, out: Path) -> str:
    """Run once; returns the measurements in words."""
    with ExitStack() as opened:
        model = f"openai_compatible:fake@{fake_server(chosen.seconds, opened)}"
        command = ["im2gps3k", "--model", model, "--strategy", chosen.strategy, "--data", str(chosen.data)]
        command += ["--home", str(chosen.home), "--atlas", chosen.atlas, "--allow-partial", "--no-cache"]
        command += ["--limit", str(chosen.photos), "--concurrency", str(chosen.concurrency), "--out", str(out)]
        began = time.perf_counter()
        asked = options.parser().parse_args(command)
        settings = options.settings_of(asked)
        photos = load_photos(asked, settings)
        systems = opened.enter_context(open_systems(asked, settings, photos, out))
        folder = opened.enter_context(RunFolder(out, run_info(asked, settings, photos, systems)))
        started, cpu = time.perf_counter(), time.process_time()
        with Memory() as memory:
            run_photos(asked, photos, systems, folder)
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    ideal_s = chosen.seconds * chosen.photos * len(systems.strategies) / chosen.concurrency
    half = memory.megabytes[len(memory.megabytes) // 2]
    return (
        f"{chosen.photos} photos, {chosen.strategy}, {chosen.concurrency} at once, {chosen.seconds:g} s an answer:"
        f" {wall_s:.1f} s, {wall_s / ideal_s:.3f} of the ideal {ideal_s:.0f} s; start-up {started - began:.1f} s;"
        f" {1000 * cpu_s / chosen.photos:.0f} ms of CPU a photo; memory {memory.megabytes[0]:.0f} MB at first,"
        f" {half:.0f} MB half-way, {memory.megabytes[-1]:.0f} MB at the end, {max(memory.megabytes):.0f} MB at most"
    )


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/im2gps3k_dev"))
    parser.add_argument("--home", type=Path, default=Path("runs/offline_machine/home"))
    parser.add_argument("--atlas", default="world,train-photos")
    parser.add_argument("--strategy", default="zero_shot")
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(measure(chosen, Path(folder) / "run"))


if __name__ == "__main__":
    main()
