"""The command line of a run, and what it means as settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.benchmarks.registry import BENCHMARKS
from evals.clean.protocol import NEAR_DUPLICATE_SIMILARITY
from evals.runs.records import Protocol
from graphs.settings import Settings, make_settings
from retrieval.splits import SHARES

MAX_ERRORS = 25


def parser() -> argparse.ArgumentParser:
    """All options, each with its help."""
    made = argparse.ArgumentParser(
        prog="python -m evals.run",
        description="Run strategies on a benchmark: one record a photo and strategy. The same command resumes a run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("benchmark", choices=tuple(BENCHMARKS), help="which benchmark")
    _what(made)
    _on_what(made)
    _how(made)
    return made


def _what(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("what is measured")
    group.add_argument("--strategy", default="refine", help="one or more, separated by commas")
    group.add_argument("--model", help="who sits in the LMM's seat (default: offline)")
    group.add_argument("--encoder", help="name or folder (default: compact)")
    group.add_argument("--atlas", help="one or more, separated by commas (default: world)")
    group.add_argument("--home", type=Path, help="folder of atlases (default: as for geosleuth)")
    group.add_argument("--no-signs", action="store_true", help="do not read text in photos")
    group.add_argument("--min-confidence", type=float, default=0.0, help="abstain below it; 0 answers every photo")
    group.add_argument("--temperature", type=float, help="of the model (default: the provider's)")
    group.add_argument("--max-output-tokens", type=int, help="of one reply (default: the provider's)")
    group.add_argument("--calibration", type=Path, help="fitted by python -m evals.calibrate (default: none)")
    group.add_argument("--protocol", default="published", choices=[p.value for p in Protocol])
    group.add_argument(
        "--reference-table", type=Path, help="clean: CSV of reference items (python -m evals.clean.protocol)"
    )
    group.add_argument(
        "--twin-similarity", type=float, default=NEAR_DUPLICATE_SIMILARITY, help="clean: of the encoder's vectors"
    )


def _on_what(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("on which photos")
    group.add_argument("--data", type=Path, help="the benchmark's folder (default: HOME/benchmarks/NAME)")
    group.add_argument("--allow-partial", action="store_true", help="run although photos are missing; tables say so")
    group.add_argument("--only", choices=tuple(SHARES), help="only this part of the split by photographer")
    group.add_argument("--listed", type=Path, help="only these: a file with an id a line, or JSON lines with `photo`")
    group.add_argument("--limit", type=int, metavar="N", help="only N photos, drawn at random")
    group.add_argument("--seed", type=int, default=0, help="of the draw")


def _how(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("how")
    group.add_argument("--out", type=Path, help="folder of the run (default: runs/evals/ and what was asked for)")
    group.add_argument("--concurrency", type=int, default=4, metavar="N", help="photos under way at once")
    group.add_argument("--max-usd", type=float, metavar="X", help="stop before the run has cost more; resumable")
    group.add_argument("--prices", type=Path, help="JSON of prices; its rows replace list prices")
    group.add_argument("--timeout", type=float, default=120.0, metavar="S", help="of one call of the model")
    group.add_argument("--retries", type=int, default=3, help="of one call of the model")
    group.add_argument("--max-errors", type=int, default=MAX_ERRORS, help="stop when the machine broke on more photos")
    group.add_argument("--retry-errors", action="store_true", help="do photos again that the machine broke on")
    group.add_argument("--cache", type=Path, help="SQLite file of model replies (default: HOME/replies.sqlite)")
    group.add_argument("--no-cache", action="store_true", help="ask the model anew")
    group.add_argument("--threads", type=int, help="CPU threads of one encoder call")
    group.add_argument("--estimate", action="store_true", help="say what the run would cost, and stop")


def names(text: str) -> tuple[str, ...]:
    """A list separated by commas, each name once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def settings_of(chosen: argparse.Namespace, strategies: Sequence[str]) -> Settings:
    """The settings of a run. Metadata is never allowed, whatever the environment says.

    Raises:
        UserError: a value that cannot be used.
    """
    made: dict[str, Any] = {
        "home": chosen.home,
        "encoder": chosen.encoder,
        "atlases": names(chosen.atlas) if chosen.atlas else None,
        "model": chosen.model,
        "strategy": strategies[0],
        "read_signs": False if chosen.no_signs else None,
        "threads": chosen.threads,
        "min_confidence": chosen.min_confidence,
        "calibration": chosen.calibration,
        "allow_metadata": False,
    }
    settings = make_settings(**made)
    return settings.model_copy(update={"max_precision": None, "checkpoints": None})


def as_given(chosen: argparse.Namespace) -> dict[str, str | int | float | bool | None]:
    """The options for `run.json`; paths as text."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(chosen).items()}
