"""`geosleuth atlas tiles`: build an atlas of satellite tiles."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from apps.commands.atlas import atlas_app, atlas_summary, named_folder
from apps.console import messages, progress_bar
from apps.options import Home, RunOptions, SystemOptions, chosen_settings
from core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geo.tiles import TileBounds
    from graphs.settings import Settings
    from retrieval.crossview.tiles import SatelliteTile, TileReader

_ASKED = (
    "give --table CSV and --pictures FOLDER, or --area SOUTH,WEST,NORTH,EAST and --zoom N with --pictures FOLDER or"
    " --source SOURCE"
)


class _GivenTiles(NamedTuple):
    """Tiles, where they come from in words, and the reader of those that have no file."""

    tiles: Sequence[SatelliteTile]
    source: str
    reader: TileReader | None = None


@atlas_app.command("tiles")
def build_tiles(
    name: Annotated[str, typer.Argument(help="Name of the atlas.")],
    satellite_encoder: Annotated[
        Path | None, typer.Option(help="Folder of the encoder of photos and tiles.", metavar="FOLDER")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV with columns tile (a file below --pictures), south, west, north, east, and perhaps zoom, source,"
            " date.",
            metavar="CSV",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the table's pictures; with --area a tree of ZOOM/COLUMN/ROW.jpeg.", metavar="FOLDER"
        ),
    ] = None,
    area: Annotated[
        str | None, typer.Option(help="Every tile of an area, in degrees.", metavar="SOUTH,WEST,NORTH,EAST")
    ] = None,
    zoom: Annotated[
        int | None, typer.Option(min=0, max=25, help="Web Mercator zoom level; 17: 0.3 km a tile at the equator.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="A provider of xyzservices, or an XYZ address, whose terms allow it. [default: as views]"),
    ] = None,
    date: Annotated[str, typer.Option(help="When the pictures of --area were taken.")] = "",
    attribution: Annotated[str, typer.Option(help="Whose pictures those of --area in --pictures are.")] = "",
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Build it anew, and put it in the place of what is there once it is complete."),
    ] = False,
    home: Home = None,
) -> int:
    """Build an atlas of satellite tiles, which photos are compared with (--satellite-atlas NAME).

    The same command goes on with a build that was cut off.
    """
    from retrieval.crossview.tile_atlas import build_tile_atlas
    from retrieval.encoders.registry import load_crossview_encoder

    settings = chosen_settings(SystemOptions(satellite_encoder=satellite_encoder), RunOptions(home=home))
    folder = named_folder(settings, name)
    if settings.satellite_encoder is None:
        raise UserError("an atlas of tiles needs the encoder of photos and tiles: give --satellite-encoder FOLDER")
    with ExitStack() as stack:
        if table is not None and pictures is not None and area is None:
            given = _of_table(table, pictures)
        elif area is not None and zoom is not None and table is None and not (pictures and source):
            given = _of_area(settings, _bounds(area), zoom, pictures, source, (attribution, date), stack)
        else:
            raise UserError(_ASKED)
        encoder = load_crossview_encoder(settings.satellite_encoder, settings.threads)
        with progress_bar("Encoding", "tiles") as report:
            manifest = build_tile_atlas(
                folder,
                encoder,
                given.tiles,
                source=given.source,
                reader=given.reader,
                progress=report,
                replace=replace,
            )
    messages().print(atlas_summary(manifest, folder))
    return 0


def _of_table(table: Path, pictures: Path) -> _GivenTiles:
    from retrieval.crossview.tile_atlas import tiles_from_table

    return _GivenTiles(tiles_from_table(table, pictures), str(table))


def _of_area(
    settings: Settings,
    area: TileBounds,
    zoom: int,
    pictures: Path | None,
    source: str | None,
    told: tuple[str, str],
    stack: ExitStack,
) -> _GivenTiles:
    """The tiles of an area from a folder, or from a server; `told`: attribution and date."""
    from retrieval.crossview.tiles import TileFolder, tiles_of_area

    attribution, date = told
    if pictures is not None:
        return _GivenTiles(tiles_of_area(area, zoom, attribution, date), str(pictures), TileFolder(pictures))
    from graphs.online_services import EMBEDDED_GROUND
    from tools.services.tile_client import TileClient
    from tools.services.tile_server import tile_server

    named = source or settings.satellite_source
    if named == EMBEDDED_GROUND:
        raise UserError(f"Blue Marble is too coarse for tiles: {_ASKED}")
    server = tile_server(named)
    if zoom not in server.zooms:
        raise UserError(f"{server.name} has zoom levels {server.zooms[0]} to {server.zooms[-1]}, not {zoom}")
    size = settings.tile_cache_mb * 1_000_000
    client = stack.enter_context(TileClient(server, settings.home / "tiles", max_cache_bytes=size))
    return _GivenTiles(tiles_of_area(area, zoom, attribution or server.attribution, date), server.name, client)


def _bounds(text: str) -> TileBounds:
    from geo.tiles import TileBounds
    from retrieval.atlas.sources import parse_position

    edges = text.split(",")
    corners = [parse_position(*edges[start : start + 2]) for start in (0, 2)] if len(edges) == 4 else [None, None]
    if corners[0] is None or corners[1] is None or corners[0].lat >= corners[1].lat:
        raise UserError(f"--area {text!r}: give SOUTH,WEST,NORTH,EAST in degrees, such as 48.85,2.33,48.87,2.36")
    return TileBounds(corners[0].lat, corners[0].lon, corners[1].lat, corners[1].lon)
