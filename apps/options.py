"""Options of the command line: each is declared once, in groups that are passed on as values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from pydantic import ValidationError

from agents.schemas import Level
from belief.decision import Aim
from core.errors import UserError, first_problem

if TYPE_CHECKING:
    from graphs.settings import Settings
    from graphs.state import CaptureClues


def _home_folder(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("an empty name is no folder: leave --home out for the usual one")
    return Path(text)


Encoder = Annotated[str | None, typer.Option("--encoder", help="Encoder, by name or folder.")]
Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of atlases and the audit log.", metavar="DIR", parser=_home_folder)
]
Events = Annotated[
    str | None,
    typer.Option(help="Append an event for every step, tool and model call to FILE; - prints them.", metavar="FILE"),
]
Page = Annotated[
    Path | None, typer.Option("--map", help="Write a map as one HTML file that needs no network.", metavar="FILE")
]
Thread = Annotated[
    str | None,
    typer.Option(
        help="Save under this name in the data home, photos included, and go on there next time.", metavar="NAME"
    ),
]


@dataclass(frozen=True)
class SystemOptions:
    """Options of locating a photo. None, or False, where nothing was chosen."""

    encoder: Encoder = None
    atlas: Annotated[
        list[str] | None,
        typer.Option(
            help="Atlas of places to search for look-alikes; may be given several times. `world` is built when it is"
            " first named. [default: none]"
        ),
    ] = None
    satellite_atlas: Annotated[
        str | None,
        typer.Option(
            help="Atlas of satellite tiles (`geosleuth atlas tiles`) to compare the photo with. [default: none]",
            metavar="NAME",
        ),
    ] = None
    satellite_encoder: Annotated[
        Path | None, typer.Option(help="Folder of the encoder that made the satellite atlas.", metavar="FOLDER")
    ] = None
    model: Annotated[
        str | None, typer.Option(help="The chat model (`geosleuth doctor` lists them), or several with commas: a jury.")
    ] = None
    strategy: Annotated[str | None, typer.Option(help="Which steps run.")] = None
    aim: Annotated[
        Aim | None,
        typer.Option(
            help="What the point is chosen for: to lie within so many km of the truth as often as can be"
            " (1 street, 25 city, 200 region, 750 country, 2500 continent), or the best score over all distances."
            " [default: geoscore]"
        ),
    ] = None
    allow_metadata: Annotated[
        bool, typer.Option("--allow-metadata", help="Report the position the file claims, beside the answer.")
    ] = False
    max_precision: Annotated[Level | None, typer.Option(help="Coarsen every output to this level.")] = None
    no_signs: Annotated[bool, typer.Option("--no-signs", help="Do not read text in photos: faster.")] = False


@dataclass(frozen=True)
class RunOptions:
    """Options of a run: the file of events, the folder of data, the threads."""

    events: Events = None
    home: Home = None
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads of the encoder.")] = None


@dataclass(frozen=True)
class Outputs:
    """Files and formats that a located photo is written to."""

    as_json: Annotated[bool, typer.Option("--json", help="Print one answer as JSON, and nothing else.")] = False
    jsonl: Annotated[
        Path | None, typer.Option(help="Append a record a photo; a run that was cut off resumes.", metavar="FILE")
    ] = None
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write a table of the answers, a row a photo.", metavar="FILE")
    ] = None
    geojson: Annotated[Path | None, typer.Option(help="Write GeoJSON.", metavar="FILE")] = None
    kml: Annotated[Path | None, typer.Option(help="Write KML, for Google Earth.", metavar="FILE")] = None
    page: Page = None
    picture: Annotated[
        Path | None, typer.Option("--png", help="Write the map of one answer as a picture.", metavar="FILE")
    ] = None
    no_photo: Annotated[bool, typer.Option("--no-photo", help="Leave the photo out of --map and --png.")] = False

    no_terminal_map: Annotated[
        bool, typer.Option("--no-terminal-map", help="Leave the small map out of what a colour terminal shows.")
    ] = False

    @property
    def files(self) -> list[Path]:
        """Every file that will be written."""
        every = (self.jsonl, self.csv, self.geojson, self.kml, self.page, self.picture)
        return [file for file in every if file is not None]

    @property
    def shows_photos(self) -> bool:
        """Whether any output shows the photo itself."""
        return not self.no_photo and (self.page is not None or self.picture is not None)


@dataclass(frozen=True)
class ClueOptions:
    """Clues of the user to when the photo was taken."""

    taken_at: Annotated[
        str | None,
        typer.Option(help="When it was taken, ISO 8601; with an offset or Z it is exact, without it is clock time."),
    ] = None
    sun_height: Annotated[float | None, typer.Option(help="Height of the sun above the horizon, in degrees.")] = None
    sun_bearing: Annotated[
        float | None, typer.Option(help="Where the sun stands, degrees clockwise from true north.")
    ] = None
    part_of_day: Annotated[str | None, typer.Option(help="morning, noon, afternoon, evening or night.")] = None

    def parsed(self) -> CaptureClues | None:
        """The clues as the graph takes them; None if there are none.

        Raises:
            UserError: a value that cannot be used.
        """
        if self == ClueOptions():
            return None
        from graphs.state import CaptureClues
        from tools.results import ToolError
        from tools.sun_check import check_time

        try:
            if self.taken_at is not None:
                check_time(self.taken_at)
            return CaptureClues(
                taken_at=self.taken_at,
                sun_height_deg=self.sun_height,
                sun_bearing_deg=self.sun_bearing,
                part_of_day=self.part_of_day,
            )
        except ValidationError as error:
            field, _, problem = first_problem(error).partition(": ")
            raise UserError(f"--{field.removesuffix('_deg').replace('_', '-')}: {problem}") from error
        except ToolError as error:
            raise UserError(f"--taken-at: {error}") from error


def chosen_settings(system: SystemOptions, run: RunOptions, saved: Mapping[str, Any] | None = None) -> Settings:
    """Settings: what was chosen now, then what a thread was begun with, then the environment, then the defaults.

    Raises:
        UserError: a value that cannot be used.
    """
    # Here and not above: the libraries that settings need take a second, which a wrong file name need not wait for.
    from graphs.settings import make_settings

    chosen = {
        "encoder": system.encoder,
        "atlases": tuple(system.atlas) if system.atlas else None,
        "satellite_atlas": system.satellite_atlas,
        "satellite_encoder": system.satellite_encoder,
        "model": system.model,
        "strategy": system.strategy,
        "aim": system.aim,
        "allow_metadata": system.allow_metadata or None,
        "max_precision": system.max_precision,
        "read_signs": False if system.no_signs else None,
        "home": run.home,
        "threads": run.threads,
    }
    return make_settings(**{**(saved or {}), **{key: value for key, value in chosen.items() if value is not None}})


def expand_options(command: Callable[..., int]) -> Callable[..., int]:
    """Let a Typer command take groups of options: Typer sees a parameter for each field, the command the dataclass."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _field_parameters(groups[parameter.name])
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]))

    @functools.wraps(command)
    def expanded(**values: Any) -> int:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        return command(**values)

    expanded.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]  # Typer reads it
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _field_parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]
