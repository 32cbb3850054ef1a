"""Options that several commands share, and the settings they choose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from agents.schemas import Level
from core.errors import UserError

if TYPE_CHECKING:
    from graphs.settings import Settings
    from graphs.state import CaptureClues

Encoder = Annotated[str | None, typer.Option(help="Encoder, by name or folder.")]
Atlases = Annotated[list[str] | None, typer.Option("--atlas", help="Atlas to search; may be given several times.")]
Model = Annotated[str | None, typer.Option(help="Who sits in the LMM's seat; `geosleuth doctor` lists them.")]
Strategy = Annotated[str | None, typer.Option(help="Which steps run.")]
AllowMetadata = Annotated[
    bool, typer.Option("--allow-metadata", help="Report the position the file claims, beside the answer.")
]
MaxPrecision = Annotated[Level | None, typer.Option(help="Coarsen every output to this level.")]
NoSigns = Annotated[bool, typer.Option("--no-signs", help="Do not read text in photos: faster.")]
Home = Annotated[Path | None, typer.Option(help="Folder of atlases and the audit log.", metavar="DIR")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of the encoder.")]
Events = Annotated[
    str | None,
    typer.Option(help="Append an event for every step, tool and model call to FILE; - prints them.", metavar="FILE"),
]
Thread = Annotated[
    str | None,
    typer.Option(
        help="Save under this name in the data home, photos included, and go on there next time.", metavar="NAME"
    ),
]


TakenAt = Annotated[
    str | None,
    typer.Option(help="When it was taken, ISO 8601; with an offset or Z it is exact, without it is clock time."),
]
SunHeight = Annotated[float | None, typer.Option(help="Height of the sun above the horizon, in degrees.")]
SunBearing = Annotated[float | None, typer.Option(help="Where the sun stands, degrees clockwise from true north.")]
PartOfDay = Annotated[str | None, typer.Option(help="morning, noon, afternoon, evening or night.")]


def capture_clues(**said: Any) -> CaptureClues | None:
    """What the user knows about when the photo was taken; None if nothing.

    Raises:
        UserError: a value that cannot be used.
    """
    given = {key: value for key, value in said.items() if value is not None}
    if not given:
        return None
    from graphs.state import CaptureClues

    try:
        return CaptureClues(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "-".join(str(part) for part in first["loc"]).replace("_deg", "").replace("_", "-")
        raise UserError(f"--{where}: {first['msg']}") from error


def chosen_settings(chosen: Mapping[str, Any], kept: Mapping[str, Any] | None = None) -> Settings:
    """Settings: what was chosen now, then what a thread was begun with, then the environment, then the defaults.

    Raises:
        UserError: a value that cannot be used.
    """
    from graphs.settings import make_settings

    now = {key: value for key, value in chosen.items() if value is not None}
    return make_settings(**{**(kept or {}), **now})
