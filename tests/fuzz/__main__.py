"""Damage files at random and have them read: `python -m tests.fuzz`, or `make fuzz SECONDS=600`.

    python -m tests.fuzz --seconds 60 --seed 7
    python -m tests.fuzz --target photo-jpeg --seed 7 --number 312       one case again, with its traceback

Each failure is saved as OUT/TARGET-SEED-NUMBER: the files, the traceback, and the command that makes it again. Should
the process itself end, OUT/running names the case.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.cases import Case, Failed, Limits, Made, check, make
from tests.fuzz.targets import TARGETS, other_kinds

SLOWEST_S = 20.0
KEPT_OF_A_KIND = 3


def main() -> int:
    """Run until the time is over; the status is 1 where a reader failed."""
    options = _options()
    chosen = [target for name, target in TARGETS.items() if name in (options.target or TARGETS)]
    other_kinds()  # made now, so that it is no case's time
    cases = iter([Case(options.seed, chosen[0], options.number)]) if options.number is not None else None
    options.out.mkdir(parents=True, exist_ok=True)
    limits = Limits(SLOWEST_S, checks_memory=True)
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    end, spent = time.monotonic() + options.seconds, {target.name: 0.0 for target in chosen}
    for case in cases or _by_time(options.seed, [target.name for target in chosen], spent, end):
        (options.out / "running").write_text(f"{case}\n")
        began, made = time.monotonic(), make(case, other_kinds())
        try:
            check(case, made, limits)
        except Failed as failed:
            kind = f"{case.target.name}: {failed.why.split(':')[0]} {failed.where}"
            kinds[kind] += 1
            if kinds[kind] <= KEPT_OF_A_KIND:
                _save(options.out / str(case), made, failed)
            if kinds[kind] == 1:
                print(failed, flush=True)
        counts[case.target.name] += 1
        spent[case.target.name] += time.monotonic() - began
    (options.out / "running").unlink(missing_ok=True)
    for name, count in sorted(counts.items()):
        print(f"{name}: {count:,} cases in {spent[name]:.1f} s")
    print(
        f"{sum(counts.values()):,} cases with seed {options.seed}: {sum(kinds.values())} failures of {len(kinds)} kinds"
    )
    return 1 if kinds else 0


def _by_time(seed: int, names: list[str], spent: dict[str, float], end: float) -> Iterator[Case]:
    """Cases until the time is over: next is the target that has had the least of it."""
    numbers = dict.fromkeys(names, 0)
    while time.monotonic() < end:
        name = min(names, key=spent.__getitem__)
        yield Case(seed, TARGETS[name], numbers[name])
        numbers[name] += 1


def _save(folder: Path, made: Made, failed: Failed) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    case = failed.case
    again = f"python -m tests.fuzz --target {case.target.name} --seed {case.seed} --number {case.number}"
    trace = "".join(traceback.format_exception(failed))
    (folder / "failure.txt").write_text(f"{again}\n\n{failed}\n\n{trace}", errors="replace")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), help="where failures are saved")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be given several times")
    parser.add_argument("--number", type=int, help="only this case of the one target given")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
