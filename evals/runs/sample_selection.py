"""What a run will do, settled and checked before the first photo is spent."""

from __future__ import annotations

import hashlib
import json
import platform
import random
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.errors import UserError
from core.files import sha256_if_readable
from evals.benchmarks.loading import BenchmarkData, Sample
from evals.runs.records import Partial, Protocol
from graphs.settings import Settings
from retrieval.splits import SHARES, split_by_author

LIBRARIES = ("geosleuth", "langchain-core", "langgraph", "numpy", "onnxruntime", "pillow", "qdrant-edge-py")
NOT_OF_THE_ANSWER = {"home", "audit_log", "checkpoints", "threads", "strategy", "model_concurrency", "model_retries"}
"""Settings that change where things lie or how fast they go, not what is answered."""


def choose_items(
    holding: BenchmarkData,
    *,
    allow_partial: bool,
    part: str | None = None,
    listed: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[list[Sample], Partial | None]:
    """The photos of a run in the benchmark's order, and how they are only a part.

    Args:
        holding: what is on disk.
        allow_partial: run although photos are missing.
        part: only this part of the split by photographer: train, validation or calibration.
        listed: only the photos that this file names, such as those that a recorded model was asked about.
        limit: that many photos, drawn at random.
        seed: of the draw.

    Raises:
        UserError: photos are missing and that was not allowed; an unknown part; nothing left to run.
    """
    if not holding.is_complete and not allow_partial:
        name = holding.benchmark.name
        raise UserError(
            f"{name}: {holding.shortfall()}. Fetch the rest (`python -m evals.fetch {name}`), or run what is there with"
            " --allow-partial: every table will say so"
        )
    items, why = list(holding.items), [] if holding.is_complete else [f"{len(holding.items)} on disk"]
    if part is not None:
        items = _part(items, part)
        why.append(f"the {part} photographers")
    if listed is not None:
        wanted = _ids(listed)
        items = [item for item in items if item.photo in wanted]
        why.append(f"listed in {listed.name}")
    if limit is not None and limit < len(items):
        drawn = set(random.Random(seed).sample(range(len(items)), limit))  # noqa: S311 - a draw, not a secret
        items = [item for number, item in enumerate(items) if number in drawn]
        why.append(f"{limit} drawn with seed {seed}")
    if not items:
        raise UserError(
            f"{holding.benchmark.name}: no photo to run in {holding.folder}; check --data, --only, --listed, --limit"
        )
    if not why:
        return items, None
    return items, Partial(expected=holding.expected, on_disk=len(holding.items), run=len(items), why=", ".join(why))


def _part(items: Sequence[Sample], part: str) -> list[Sample]:
    if part not in SHARES:
        raise UserError(f"no part {part!r}: choose one of {', '.join(SHARES)}")
    parts = split_by_author([item.photographer for item in items])
    return [item for item, of in zip(items, parts, strict=True) if of == part]


def _ids(file: Path) -> set[str]:
    """Ids, one a line, or JSON lines with the field `photo`."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {str(json.loads(line)["photo"]) if line.startswith("{") else line for line in lines}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"cannot read ids from {file} ({error}): give an id a line, or JSON lines with photo"
        ) from error


def ids_sha256(items: Sequence[Sample]) -> str:
    """Of the ids in order: two runs with the same one have the same photos."""
    return hashlib.sha256("\n".join(item.photo for item in items).encode()).hexdigest()


def settings_sha256(settings: Settings, more: Mapping[str, object]) -> str:
    """Of all that can change an answer, beside what `run.json` names by itself."""
    files = (settings.calibration, settings.model_records)
    fitted = {str(path): sha256_if_readable(path) for path in files if path}
    chosen = settings.model_dump(mode="json", exclude=NOT_OF_THE_ANSWER) | dict(more) | fitted
    return hashlib.sha256(json.dumps(chosen, sort_keys=True, default=str).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Of Python and the libraries that matter."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an engine that is not installed cannot have been used
            continue
    return found


def commit() -> str | None:
    """Of the checkout this file lies in, with a '+' where tracked files differ; None outside of one."""
    git, here = shutil.which("git"), str(Path(__file__).parent)
    if git is None:
        return None
    found = [
        subprocess.run([git, "-C", here, *question], capture_output=True, text=True, check=False)  # noqa: S603 - fixed
        for question in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    ]
    if any(one.returncode for one in found):
        return None
    return found[0].stdout.strip() + ("+" if found[1].stdout.strip() else "")


def default_out(benchmark: str, protocol: Protocol, model: str, strategies: Sequence[str], part: str | None) -> Path:
    """A folder that the same command finds again, so that it resumes."""
    words = [benchmark, protocol.value, part or "", re.sub(r"[^A-Za-z0-9.-]+", "-", model)[-60:], "-".join(strategies)]
    return Path("runs/evals") / "_".join(word.strip("-") for word in words if word)
