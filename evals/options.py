"""The command line of a run, and the settings it gives."""

from __future__ import annotations

import argparse
import hashlib
import math
import re
from pathlib import Path
from typing import Any

from belief.decision import Aim
from core.errors import UserError
from core.redaction import last_part
from evals.benchmarks.registry import BENCHMARKS, find_benchmark
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
    _add_what(made)
    _add_photos(made)
    _add_how(made)
    return made


def _add_what(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is measured")
    group.add_argument("--strategy", default="refine", help="one or more, separated by commas")
    group.add_argument("--model", help="the chat model, or a jury's, separated by commas (default: offline)")
    group.add_argument("--encoder", help="name or folder (default: compact)")
    group.add_argument("--atlas", help="one or more, separated by commas; `world` is built (default: none)")
    group.add_argument("--satellite-atlas", help="of tiles to compare photos with (default: none)")
    group.add_argument("--satellite-encoder", type=Path, help="folder of the encoder that made it")
    group.add_argument("--home", type=Path, help="folder of atlases (default: as for geosleuth)")
    group.add_argument("--no-signs", action="store_true", help="do not read text in photos")
    group.add_argument(
        "--aim",
        choices=[aim.value for aim in Aim],
        help="what the point is chosen for: to lie within so many km as often as can be, or geoscore (default)",
    )
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


def _add_photos(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("on which photos")
    group.add_argument(
        "--data", type=Path, help="the benchmark's folder; of `answers` its CSV (default: HOME/benchmarks/NAME)"
    )
    group.add_argument("--swap-lat-lon", action="store_true", help="the table's headers LAT and LON are exchanged")
    group.add_argument("--allow-partial", action="store_true", help="run although photos are missing; tables show it")
    group.add_argument("--only", choices=tuple(SHARES), help="only this part of the split by photographer")
    group.add_argument("--listed", type=Path, help="only these: a file with an id a line, or JSON lines with `photo`")
    group.add_argument(
        "--together", metavar="COLUMN", help="photos with the same value in this column of the table are one query"
    )
    group.add_argument("--limit", type=_count, metavar="N", help="only N photos, drawn at random")
    group.add_argument("--seed", type=int, default=0, help="of the draw")


def _add_how(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how")
    group.add_argument("--out", type=Path, help="folder of the run (default: runs/evals/ and what was asked for)")
    group.add_argument("--concurrency", type=_count, default=4, metavar="N", help="photos under way at once")
    group.add_argument("--max-usd", type=_amount, metavar="X", help="stop before the run has cost more; resumable")
    group.add_argument("--prices", type=Path, help="JSON of prices; its rows replace list prices")
    group.add_argument(
        "--timeout", type=float, metavar="S", help="of one call of the model (default: 120; a day where it is written)"
    )
    group.add_argument("--retries", type=int, default=3, help="of one call of the model")
    group.add_argument("--max-errors", type=int, default=MAX_ERRORS, help="stop after more photos with an error")
    group.add_argument("--retry-errors", action="store_true", help="do photos again that ended in an error")
    group.add_argument(
        "--fresh-strategy",
        default="",
        metavar="NAME",
        help="ask these strategies again where what they ask has changed since the run began; old records are kept",
    )
    group.add_argument("--cache", type=Path, help="SQLite file of model replies (default: HOME/replies.sqlite)")
    group.add_argument("--no-cache", action="store_true", help="ask the model anew")
    group.add_argument("--threads", type=_count, help="CPU threads of one encoder call")
    group.add_argument("--estimate", action="store_true", help="print what the run would cost, and stop")


def strategies(chosen: argparse.Namespace) -> tuple[str, ...]:
    """The strategies of a run.

    Raises:
        UserError: none is named.
    """
    named = names(chosen.strategy)
    if not named:
        raise UserError("--strategy names no strategy")
    return named


def names(text: str) -> tuple[str, ...]:
    """A list separated by commas, each name once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def settings_of(chosen: argparse.Namespace) -> Settings:
    """The settings of a run's first strategy. Metadata is never allowed, whatever the environment allows.

    Raises:
        UserError: a value that cannot be used.
    """
    # Nothing can be searched for where there are no photos.
    no_atlas = () if not find_benchmark(chosen.benchmark).has_photos else None
    given: dict[str, Any] = {
        "home": chosen.home,
        "encoder": chosen.encoder,
        "atlases": names(chosen.atlas) if chosen.atlas else no_atlas,
        "satellite_atlas": chosen.satellite_atlas,
        "satellite_encoder": chosen.satellite_encoder,
        "model": chosen.model,
        "strategy": strategies(chosen)[0],
        "read_signs": False if chosen.no_signs else None,
        "threads": chosen.threads,
        "min_confidence": chosen.min_confidence,
        "aim": chosen.aim,
        "calibration": chosen.calibration,
        "allow_metadata": False,
    }
    settings = make_settings(**given)
    audit_log = run_folder(chosen, settings) / "audit.jsonl"
    return settings.model_copy(update={"max_precision": None, "checkpoints": None, "audit_log": audit_log})


def run_folder(chosen: argparse.Namespace, settings: Settings) -> Path:
    """The folder of a run: by default one that the same command finds again, so that it resumes."""
    if chosen.out:
        return Path(chosen.out)
    model = re.sub(r"[^A-Za-z0-9.-]+", "-", settings.model)[-60:]
    if "," in settings.model:
        # Juries may end alike.
        model = f"jury-{hashlib.sha256(settings.model.encode()).hexdigest()[:8]}"
    aim = f"aim-{chosen.aim}" if chosen.aim else ""
    places = f"by-{re.sub(r'[^A-Za-z0-9.-]+', '-', chosen.together)}" if chosen.together else ""
    words = [chosen.benchmark, chosen.protocol, chosen.only or "", places, model, "-".join(strategies(chosen)), aim]
    return Path("runs/evals") / "_".join(word.strip("-") for word in words if word)


def as_given(chosen: argparse.Namespace) -> dict[str, str | int | float | bool | None]:
    """The options for `run.json`, which others may get: of a path its name alone."""
    return {key: last_part(value) if isinstance(value, Path) else value for key, value in vars(chosen).items()}


def _count(text: str) -> int:
    """A whole number from 1 to a million."""
    if not 1 <= (number := int(text)) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _amount(text: str) -> float:
    """A finite number, not below 0."""
    if not 0.0 <= (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no amount of money")
    return number
