"""`geosleuth atlas snapshot`, `restore` and `export`: an atlas in one file, and back; a table for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.commands.atlas import atlas_app, atlas_summary, named_folder
from apps.console import messages
from apps.options import Home, RunOptions, SystemOptions, chosen_settings
from core.errors import UserError


@atlas_app.command("snapshot")
def snapshot(
    name: Annotated[str, typer.Argument(help="Name of the atlas.")],
    to: Annotated[Path, typer.Option(help="File to write; it must not be there yet.", metavar="FILE")],
    home: Home = None,
) -> int:
    """Write an atlas into one file. It can be searched meanwhile."""
    from retrieval.atlas.manifest import read_manifest
    from retrieval.atlas.servers import check_server
    from retrieval.atlas.snapshot import write_snapshot

    settings = chosen_settings(SystemOptions(), RunOptions(home=home))
    folder = named_folder(settings, name)
    check_server(folder, read_manifest(folder), settings.allowed_servers)
    manifest = write_snapshot(folder, to)
    messages().print(f"atlas {manifest.name}: {manifest.count:,} items in {to}, {to.stat().st_size / 1e6:,.1f} MB")
    return 0


@atlas_app.command("export")
def export(
    name: Annotated[str, typer.Argument(help="Name of the atlas.")],
    to: Annotated[Path, typer.Option(help="Parquet file to write; it must not be there yet.", metavar="FILE")],
    home: Home = None,
) -> int:
    """Write names, positions and vectors of an atlas as a Parquet table, for other programs."""
    try:
        from retrieval.atlas.shards import export_atlas
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pyarrow":
            raise
        raise UserError("a Parquet file is written by pyarrow: pip install 'geosleuth[ray]'") from error
    from retrieval.atlas.atlas import open_atlas

    settings = chosen_settings(SystemOptions(), RunOptions(home=home))
    with open_atlas(named_folder(settings, name), None, servers=settings.allowed_servers) as atlas:
        export_atlas(atlas, to)
        messages().print(f"atlas {atlas.name}: {len(atlas):,} items in {to}, {to.stat().st_size / 1e6:,.1f} MB")
    return 0


@atlas_app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="A snapshot.")],
    name: Annotated[str, typer.Option(help="Name of the atlas.")],
    store: Annotated[
        str | None, typer.Option(help="Of an atlas that was on a server: yours, as qdrant-server@URL.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of what is there, once it is complete.")
    ] = False,
    home: Home = None,
) -> int:
    """Make an atlas from a snapshot. Everything in it is checked first: somebody else may have made it."""
    from retrieval.atlas.snapshot import restore_atlas
    from retrieval.stores.base import ServerSettings
    from retrieval.stores.registry import default_store_settings

    server = default_store_settings(store) if store else None
    if server is not None and not isinstance(server, ServerSettings):
        raise UserError(f"--store {store}: an atlas of a folder needs none; name a server as qdrant-server@URL")
    folder = named_folder(chosen_settings(SystemOptions(), RunOptions(home=home)), name)
    messages().print(atlas_summary(restore_atlas(file, folder, server, replace=replace), folder))
    return 0
