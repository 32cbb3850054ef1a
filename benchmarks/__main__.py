"""The quicker benchmarks in turn: `python -m benchmarks`. Each also runs alone and explains itself with --help.

The long ones run by themselves: `speed.training`, `speed.encoders`,
`accuracy.belief`, `simulation.loop`, `kills.atlas_ray`, `kills.eval_kills`, `speed.eval_throughput` and `kills.soak`.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.dev_photos import DEFAULT_DATA

BENCHMARKS = {
    "speed.atlas": [],
    "speed.locate": [],
    "accuracy.regions_vs_published": ["--data", str(DEFAULT_DATA), "--encoder", "compact"],
    "accuracy.offline_machine": ["--data", str(DEFAULT_DATA)],
    "accuracy.recorded_models": [
        *("--answers", str(DEFAULT_DATA / "recorded")),
        *("--truth", str(DEFAULT_DATA / "im2gps3k_dev" / "im2gps3k_dev.csv")),
    ],
    "speed.scoring": [],
}


def main() -> None:
    """Run them all; those on photos need the development photos."""
    if not DEFAULT_DATA.is_dir():
        raise SystemExit(f"benchmarks measure on the photos in {DEFAULT_DATA}, which is not there: see docs/results.md")
    for name, arguments in BENCHMARKS.items():
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=True)  # noqa: S603 - our own


if __name__ == "__main__":
    main()
