"""Does anything grow or get lost in the long run? A folder run that is killed again and again, and a long chat.

    python -m benchmarks.kills.soak folder --photos 5000 --kills 20 -- --atlas world --no-signs
    python -m benchmarks.kills.soak chat --turns 1000 -- --atlas world --no-signs

`folder`: the real command, SIGKILL at random moments of its first half, then to its end with every output; every photo
must have one row. `chat`: turns of a saved thread in this process. Memory is the resident set (Linux); it counts as
flat if the last tenth of the unbroken part is within 10 % of its second tenth. What stands after `--` goes to
`geosleuth locate`, and chooses the settings of the chat.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.dev_photos import DEFAULT_DATA
from core.jsonl_log import whole_lines
from retrieval.photos.photo import load_photo, photo_paths

FLAT = 0.1
"""Share by which memory may grow from the second tenth of a run to its last."""
_SIDE_PX = 320
_SAMPLE_S = 0.5
_QUESTIONS = ("why?", "how sure are you?", "what speaks against it?", "what else could it be?", "where is it?")


@dataclass(frozen=True)
class Memory:
    """Resident memory in MB at points of a run.

    Attributes:
        done: photos or turns done at each sample.
        resident_mb: of the process at each sample.
    """

    done: Sequence[int]
    resident_mb: Sequence[float]

    def around(self, low: float, high: float) -> float:
        """The median between two shares of what was done; the nearest sample where there is none."""
        if not self.done:
            return 0.0
        share = (np.asarray(self.done) - self.done[0]) / max(self.done[-1] - self.done[0], 1)
        inside = (share >= low) & (share <= high)
        nearest = np.arange(len(share)) == np.argmin(np.abs(share - (low + high) / 2.0))
        return float(np.median(np.asarray(self.resident_mb)[inside if inside.any() else nearest]))

    @property
    def growth(self) -> float:
        """From the second tenth to the last, as a share."""
        return self.around(0.9, 1.0) / self.around(0.1, 0.2) - 1.0 if self.done else 0.0

    def __str__(self) -> str:
        flat = "flat" if abs(self.growth) <= FLAT else "NOT flat"
        return (
            f"{self.around(0.1, 0.2):,.0f} MB in the second tenth, {self.around(0.9, 1.0):,.0f} MB in the last"
            f" ({self.growth:+.1%}: {flat}), at most {max(self.resident_mb, default=0.0):,.0f} MB"
        )


def resident_mb(process_id: int) -> float | None:
    """Resident memory of a process; None once it has ended."""
    try:
        pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def write_photos(sources: Sequence[Path], count: int, folder: Path) -> None:
    """Small variations of some photos: another cut and another brightness each time round."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        turn, source = divmod(number, len(sources))
        file = folder / f"{number:06}.jpg"
        if not file.exists():
            with Image.open(sources[source]) as image:
                image.draft("RGB", (_SIDE_PX, _SIDE_PX))
                edge = 1 + turn % 24
                cut = image.convert("RGB").crop((edge, edge, image.width - edge, image.height - edge))
            cut.thumbnail((_SIDE_PX, _SIDE_PX))
            ImageEnhance.Brightness(cut).enhance(1.0 - 0.01 * (turn % 40)).save(file, "JPEG", quality=85)


class FolderSoak:
    """A folder run, killed and resumed."""

    def __init__(self, photos: Path, out: Path, options: Sequence[str]) -> None:
        self.rows = out / "rows.jsonl"
        self.table, self.page = out / "table.csv", out / "map.html"
        outputs = ("--jsonl", self.rows, "--csv", self.table, "--map", self.page, "--geojson", out / "map.geojson")
        self._seen = self._count = 0
        arguments = map(str, ("locate", photos, *outputs, *options))
        self._command = [sys.executable, "-m", "geosleuth", *arguments]

    def row_count(self) -> int:
        """Whole rows so far; each time only what is new is read."""
        if self.rows.exists():
            with self.rows.open("rb") as stream:
                stream.seek(self._seen)
                new = stream.read()
            self._seen += new.rfind(b"\n") + 1
            self._count += new.count(b"\n")
        return self._count

    def run_until(self, goal: int, wait_s: float) -> bool:
        """Run until there are so many rows, wait, and kill; whether it was still running."""
        with self._started() as process:
            while process.poll() is None and self.row_count() < goal:
                time.sleep(_SAMPLE_S)
            time.sleep(wait_s)
            if process.poll() is not None:
                return False
            process.send_signal(signal.SIGKILL)
        return True

    def run_to_the_end(self, count: int) -> tuple[Memory, float]:
        """Run without a kill; memory while it locates, and the most in MB while it writes the outputs."""
        done: list[int] = []
        used: list[float] = []
        last, writing_mb = self.row_count(), 0.0
        with self._started() as process:
            while process.poll() is None:
                now, rows = resident_mb(process.pid) or 0.0, self.row_count()
                if rows == count:
                    writing_mb = max(writing_mb, now)
                elif rows > last:
                    last = rows
                    done.append(rows)
                    used.append(now)
                time.sleep(_SAMPLE_S)
        if process.returncode != 0:
            raise SystemExit(f"the run ended with status {process.returncode}")
        return Memory(done, used), writing_mb

    def names(self) -> Counter[str]:
        """How many rows each photo has."""
        return Counter(json.loads(line)["photo"] for line in whole_lines(self.rows))

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - ours


def soak_folder(photos: Path, out: Path, kills: int, options: Sequence[str], seed: int = 0) -> str:
    """Kill a run at random moments of its first half, and let it end.

    Raises:
        SystemExit: a row is missing or doubled, or the run failed.
    """
    count, rng = len(photo_paths([photos])), random.Random(seed)  # noqa: S311 - chance, no secret
    run, done = FolderSoak(photos, out, options), 0
    began = time.monotonic()
    for goal in sorted(rng.randrange(1, max(2, count // 2)) for _ in range(kills)):
        done += run.run_until(goal, rng.random())
    memory, writing_mb = run.run_to_the_end(count)
    names = run.names()
    with run.table.open(encoding="utf-8", newline="") as table:
        lines = sum(1 for _ in csv.DictReader(table))
    if len(names) != count or set(names.values()) != {1} or lines != count:
        doubled = sum(times > 1 for times in names.values())
        raise SystemExit(
            f"{count} photos, {len(names)} with rows, {doubled} of them several, {lines} lines in the table"
        )
    return (
        f"{count:,} photos, killed {done} times: every photo has one row; {time.monotonic() - began:,.0f} s in all\n"
        f"memory: {memory}; {writing_mb:,.0f} MB while the outputs are written\n"
        f"map: {run.page.stat().st_size / 1e6:.1f} MB"
    )


@dataclass(frozen=True)
class ChatSample:
    """What a turn left behind.

    Attributes:
        resident_mb: memory of this process, which keeps some of what it gave back to the allocator.
        blocks: memory blocks that Python objects hold, after a collection; without such noise.
        saved_mb: its checkpoints on the disk.
    """

    resident_mb: float
    blocks: int
    saved_mb: float


def chat_turns(photo: Path, turns: int, home: Path, options: Sequence[str]) -> Iterator[ChatSample]:
    """Turns of a saved thread about a photo."""
    from apps.options import RunOptions, SystemOptions, chosen_settings
    from graphs.chat.opening import open_conversation
    from graphs.chat.threads import SavedThread
    from graphs.system import GeoSleuth

    parser = argparse.ArgumentParser()
    parser.add_argument("--atlas", action="append")
    parser.add_argument("--encoder")
    parser.add_argument("--no-signs", action="store_true")
    parser.add_argument("--home", type=Path, default=home)
    chosen = parser.parse_args(options)
    system_options = SystemOptions(encoder=chosen.encoder, atlas=chosen.atlas, no_signs=chosen.no_signs)
    settings = chosen_settings(system_options, RunOptions(home=chosen.home))
    with GeoSleuth.open(settings) as system, SavedThread(home, "soak") as thread:
        conversation = open_conversation(system, thread)
        list(conversation.show(load_photo(photo)))
        for turn in range(turns):
            list(conversation.ask(_QUESTIONS[turn % len(_QUESTIONS)]))
            saved = sum(file.stat().st_size for file in thread.folder.glob("checkpoints.sqlite*"))
            gc.collect()
            yield ChatSample(resident_mb(os.getpid()) or 0.0, sys.getallocatedblocks(), saved / 1e6)


def soak_chat(photo: Path, turns: int, home: Path, options: Sequence[str]) -> str:
    """Talk for so many turns."""
    began = time.monotonic()
    samples = list(chat_turns(photo, turns, home, options))
    turn_numbers = range(1, len(samples) + 1)
    memory = Memory(turn_numbers, [sample.resident_mb for sample in samples])
    blocks = Memory(turn_numbers, [sample.blocks for sample in samples])
    saved = [sample.saved_mb for sample in samples]
    tenth = max(1, len(saved) // 10)
    return (
        f"{turns:,} turns, {(time.monotonic() - began) / turns:.2f} s each\nmemory: {memory}\n"
        f"blocks that objects hold: {blocks.growth:+.2%} from the second tenth to the last\n"
        f"checkpoints: {saved[tenth - 1]:.1f} MB after {tenth:,} turns, {saved[-1]:.1f} MB at the end,"
        f" at most {max(saved):.1f} MB"
    )


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("folder", "chat"))
    parser.add_argument("--sources", type=Path, default=DEFAULT_DATA / "im2gps3k_dev" / "images")
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--turns", type=int, default=1000)
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    chosen, options = parser.parse_args(arguments[:at]), arguments[at + 1 :]
    sources = photo_paths([chosen.sources])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.what == "chat":
            print(soak_chat(sources[0], chosen.turns, folder / "home", options))
            return
        write_photos(sources, chosen.photos, folder / "photos")
        print(soak_folder(folder / "photos", folder, chosen.kills, options))


if __name__ == "__main__":
    main()
