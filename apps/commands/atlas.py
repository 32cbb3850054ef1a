"""`geosleuth atlas`: build, extend and delete atlases."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from apps.console import messages, progress_bar
from apps.options import Encoder, Home, RunOptions, SystemOptions, chosen_settings
from core.errors import UserError
from core.redaction import redacted

if TYPE_CHECKING:
    from graphs.settings import Settings
    from retrieval.atlas.engines import EncodingEngine
    from retrieval.atlas.manifest import AtlasManifest
    from retrieval.atlas.sources import PhotoColumns, PhotoItem
    from retrieval.encoders.base import PhotoEncoder
    from retrieval.stores.base import StoreSettings

atlas_app = typer.Typer(
    help="Build, extend, inspect, verify and search atlases.", rich_markup_mode=None, add_completion=False
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_NAME = re.compile(r"[\w][\w.-]{0,63}", re.ASCII)


PhotosOption = typer.Option(
    help="Folder of photos; a tar or a pattern of tars ('shards/*.tar'); or an address (s3://bucket/photos,"
    " https://host) that the table's names are joined to, or begin with.",
    metavar="FOLDER|TARS|ADDRESS",
)
PhotoTable = Annotated[
    Path | None,
    typer.Option(
        help="CSV or Parquet with each photo's file name and position; without it, the photos' own.", metavar="TABLE"
    ),
]
FileColumn = Annotated[str, typer.Option(help="Column of the file name.")]
LatColumn = Annotated[str, typer.Option(help="Column of the latitude.")]
LonColumn = Annotated[str, typer.Option(help="Column of the longitude.")]
AuthorColumn = Annotated[str, typer.Option(help="Column of the photographer, if there is one.")]


@atlas_app.command("build")
def build(
    name: Annotated[str, typer.Argument(help="Name of the atlas.")],
    photos: Annotated[str | None, PhotosOption] = None,
    table: PhotoTable = None,
    file_column: FileColumn = "IMG_ID",
    lat_column: LatColumn = "LAT",
    lon_column: LonColumn = "LON",
    author_column: AuthorColumn = "AUTHOR",
    gps: Annotated[
        int | None, typer.Option(min=1, help="Without photos: an atlas of this many populated places.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Store engine; qdrant-server@URL: on that server.")] = None,
    store_settings: Annotated[
        str | None,
        typer.Option(help="Settings of the engine, as `atlas plan` prints them: JSON, or a file.", metavar="JSON|FILE"),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Build it anew, and put it in the place of what is there once it is complete."),
    ] = False,
    engine: Annotated[
        str, typer.Option(help="Where photos are encoded: local, ray, ray@HOST:PORT or ray://HOST:PORT.")
    ] = "local",
    encoder: Encoder = None,
    home: Home = None,
) -> int:
    """Build an atlas of photos, or (--gps N) of places. The same command goes on with a build that was cut off."""
    from retrieval.atlas.sources import PhotoColumns

    if (photos is None) == (gps is None):
        raise UserError("give either --photos (an atlas of photos) or --gps N (an atlas of N places)")
    settings = chosen_settings(SystemOptions(encoder=encoder), RunOptions(home=home))
    columns = PhotoColumns(file_column, lat_column, lon_column, author_column)
    folder, photo_encoder = named_folder(settings, name), chosen_encoder(settings)
    chosen_store = _chosen_store(store, store_settings)
    encoding = _encoding_engine(engine, settings)
    if photos is not None:
        given = _GivenPhotos(photos, table, columns)
        manifest = _build_from_photos(folder, photo_encoder, given, chosen_store, replace, encoding)
    elif encoding is not None:
        raise UserError(f"--engine {engine} encodes photos: leave it out with --gps")
    else:
        manifest = _build_from_places(folder, photo_encoder, gps or 0, chosen_store, replace)
    messages().print(atlas_summary(manifest, folder))
    return 0


@atlas_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name of the atlas.")],
    photos: Annotated[str, PhotosOption],
    table: PhotoTable = None,
    file_column: FileColumn = "IMG_ID",
    lat_column: LatColumn = "LAT",
    lon_column: LonColumn = "LON",
    author_column: AuthorColumn = "AUTHOR",
    encoder: Encoder = None,
    home: Home = None,
) -> int:
    """Add photos to an atlas of photos; those that are in it already are left out. It can be searched meanwhile."""
    from retrieval.atlas.additions import add_photos
    from retrieval.atlas.sources import PhotoColumns

    settings = chosen_settings(SystemOptions(encoder=encoder), RunOptions(home=home))
    given = _GivenPhotos(photos, table, PhotoColumns(file_column, lat_column, lon_column, author_column))
    folder, photo_encoder = named_folder(settings, name), chosen_encoder(settings)
    with progress_bar("Encoding", "photos") as report:
        done = add_photos(folder, photo_encoder, given.items(), source=given.source, progress=report)
    photos_added = f"{done.added:,} photo{'' if done.added == 1 else 's'} added"
    messages().print(f"{photos_added}, {done.skipped:,} in the atlas already")
    messages().print(atlas_summary(done.manifest, folder))
    return 0


@atlas_app.command("delete")
def delete(
    name: Annotated[str, typer.Argument(help="Name of the atlas.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> int:
    """Delete an atlas, also one that is damaged or half-built. Vectors on a Qdrant server stay there."""
    from retrieval.atlas.draft import delete_atlas

    folder = named_folder(chosen_settings(SystemOptions(), RunOptions(home=home)), name)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete the atlas {name} in {folder}?", abort=True, err=True)
    elif not yes:
        raise UserError(f"atlas {name} is deleted only with --yes where nobody can be asked")
    delete_atlas(folder)
    messages().print(f"deleted the atlas {name}")
    return 0


class _GivenPhotos(NamedTuple):
    """A collection of photos, and the table that says where they were taken, if there is one."""

    collection: str
    table: Path | None
    columns: PhotoColumns

    @property
    def source(self) -> str:
        return redacted(str(self.table or self.collection))

    def items(self) -> list[PhotoItem]:
        from retrieval.atlas.sources import photos_from_collection, photos_from_table

        if self.table:
            return photos_from_table(self.table, self.collection, self.columns)
        return photos_from_collection(self.collection, self.columns)


def _chosen_store(engine: str | None, settings: str | None) -> StoreSettings | None:
    """What was asked for; None where the engine and its settings follow from the number of items."""
    from retrieval.stores.registry import STORES, default_store_settings, parse_store_settings

    if settings is not None:
        return parse_store_settings(engine or next(iter(STORES)), settings)
    return default_store_settings(engine) if engine else None


def atlas_summary(manifest: AtlasManifest, folder: Path) -> str:
    """An atlas that was built, in a line."""
    failed = f", {manifest.failed} could not be used (listed in {folder / 'failed.jsonl'})" if manifest.failed else ""
    return f"atlas {manifest.name}: {manifest.count:,} items{failed}"


def _encoding_engine(text: str, settings: Settings) -> EncodingEngine | None:
    from functools import partial

    from retrieval.atlas.engines import make_engine
    from retrieval.encoders.registry import computes_with_torch, load_encoder

    # A worker has one core: an encoder that takes them all would make the workers wait for each other.
    load = partial(load_encoder, settings.encoder, settings.threads or 1)
    return make_engine(text, load, gpu=computes_with_torch(settings.encoder))


def _build_from_photos(
    folder: Path,
    encoder: PhotoEncoder,
    given: _GivenPhotos,
    store: StoreSettings | None,
    replace: bool,
    engine: EncodingEngine | None,
) -> AtlasManifest:
    from retrieval.atlas.build import build_photo_atlas

    items = given.items()
    with progress_bar("Encoding", "photos") as report:
        return build_photo_atlas(
            folder, encoder, items, source=given.source, store=store, progress=report, replace=replace, engine=engine
        )


def _build_from_places(
    folder: Path, encoder: PhotoEncoder, count: int, store: StoreSettings | None, replace: bool
) -> AtlasManifest:
    from geo.places.gazetteer import Gazetteer
    from retrieval.atlas.build import build_gps_atlas

    places = Gazetteer().coordinates()
    positions, ids = places.lat_lon_deg[:count], places.ids[:count]
    source = "GeoNames, the most populous places"
    with progress_bar("Encoding", "places") as report:
        return build_gps_atlas(
            folder, encoder, positions, ids, source=source, store=store, progress=report, replace=replace
        )


def named_folder(settings: Settings, name: str) -> Path:
    """Where the atlas of a name is, or will be.

    Raises:
        UserError: it is no name.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name for an atlas: use letters, digits, dots, dashes and underscores")
    return settings.atlas_folder / name


def chosen_encoder(settings: Settings) -> PhotoEncoder:
    """The encoder of the settings.

    Raises:
        UserError: no such encoder, or its weights are not here.
    """
    from retrieval.encoders.registry import load_encoder

    return load_encoder(settings.encoder, settings.threads)
