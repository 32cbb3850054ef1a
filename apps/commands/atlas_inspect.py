"""`geosleuth atlas info`, `verify` and `search`: what an atlas is and holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from apps.commands.atlas import AsJson, atlas_app, chosen_encoder, named_folder
from apps.console import answers, messages, print_json
from apps.options import Encoder, Home, RunOptions, SystemOptions, chosen_settings
from apps.output.formatting import printable
from core.errors import UserError

if TYPE_CHECKING:
    from retrieval.atlas.atlas import AtlasInfo
    from retrieval.candidate import Candidate
    from retrieval.encoders.base import EncoderIdentity
    from retrieval.stores.filters import Near


@atlas_app.command("info")
def info(
    name: Annotated[str | None, typer.Argument(help="Name of the atlas; all of them if none is named.")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> int:
    """Say what atlases are there and what they hold."""
    from retrieval.atlas.atlas import atlas_info, list_atlases

    settings = chosen_settings(SystemOptions(), RunOptions(home=home))
    folders = [named_folder(settings, name)] if name else list_atlases(settings.home)
    found = [atlas_info(folder) for folder in folders]
    if as_json:
        print_json([_info_data(one) for one in found])
    elif found:
        for one in found:
            answers().print(_info_table(one))
    else:
        messages().print(f"no atlas in {settings.atlas_folder} yet: `geosleuth atlas build` makes one")
    return 0


@atlas_app.command("verify")
def verify(
    name: Annotated[str, typer.Argument(help="Name of the atlas.")],
    as_json: AsJson = False,
    encoder: Encoder = None,
    home: Home = None,
) -> int:
    """Check every vector of an atlas against its manifest; exit status 1 if something is wrong."""
    from retrieval.atlas.atlas import open_atlas
    from retrieval.atlas.manifest import read_manifest
    from retrieval.candidate import AtlasKind

    settings = chosen_settings(SystemOptions(encoder=encoder), RunOptions(home=home))
    folder, servers = named_folder(settings, name), settings.allowed_servers
    manifest = read_manifest(folder)
    # The encoder of tiles is another one than that of photos: its vectors are checked as the manifest names it.
    made_by = _NamedEncoder(manifest.encoder) if manifest.kind is AtlasKind.TILE else chosen_encoder(settings)
    with open_atlas(folder, made_by, servers=servers, for_verification=True) as atlas:
        verification = atlas.verify()
    if as_json:
        print_json({"ok": verification.ok, "checks": [check._asdict() for check in verification.checks]})
    else:
        for check in verification.checks:
            mark = Text("ok   ", style="green") if check.ok else Text("WRONG", style="bold red")
            answers().print(mark.append(f"  {check.name}: {check.detail}", style="default"))
    return 0 if verification.ok else 1


@atlas_app.command("search")
def search(
    name: Annotated[str, typer.Argument(help="Name of the atlas.")],
    photo: Annotated[Path, typer.Argument(help="What to look for.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 10,
    near: Annotated[str | None, typer.Option(help="Only within a circle.", metavar="LAT,LON,KM")] = None,
    as_json: AsJson = False,
    encoder: Encoder = None,
    home: Home = None,
) -> int:
    """List the items of an atlas that look most like a photo."""
    from retrieval.atlas.atlas import open_atlas
    from retrieval.photos.photo import load_photo

    circle = _circle(near) if near else None
    looked_for = load_photo(photo)
    settings = chosen_settings(SystemOptions(encoder=encoder), RunOptions(home=home))
    photo_encoder = chosen_encoder(settings)
    with open_atlas(named_folder(settings, name), photo_encoder, servers=settings.allowed_servers) as atlas:
        vector = photo_encoder.encode_photos([looked_for]).fused[0]
        found = atlas.search(vector, limit, near=circle)
    if as_json:
        print_json([candidate.model_dump(mode="json") for candidate in found])
    else:
        answers().print(_candidate_table(found))
    return 0


class _NamedEncoder(NamedTuple):
    """An encoder by its name and revision alone."""

    identity: EncoderIdentity


def _circle(text: str) -> Near:
    from pydantic import ValidationError

    from geo.point import Point
    from retrieval.stores.filters import Near

    try:
        lat, lon, radius_km = map(float, text.split(","))
        circle = Near(Point(lat=lat, lon=lon), radius_km)
    except (ValueError, ValidationError) as error:
        raise UserError(f"--near {text!r}: give LAT,LON,KM in degrees and km, such as 48.86,2.35,50") from error
    if not radius_km > 0.0:
        raise UserError(f"--near {text!r}: the radius must be more than 0 km")
    return circle


def _info_data(one: AtlasInfo) -> dict[str, Any]:
    return one.manifest.model_dump(mode="json") | {"folder": str(one.folder), "size_bytes": one.size_bytes}


def _info_table(one: AtlasInfo) -> Table:
    manifest = one.manifest
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    items = f"{manifest.count:,} of {manifest.total:,}" if manifest.failed else f"{manifest.total:,}"
    rows = (
        ("atlas", manifest.name),
        ("kind", manifest.kind.value),
        ("state", manifest.state),
        ("items", items),
        ("encoder", f"{manifest.encoder.name}@{manifest.encoder.revision} ({manifest.encoder.dim}-d)"),
        ("store", manifest.store.engine),
        ("source", manifest.sources),
        ("size", f"{one.size_bytes / 1e6:,.1f} MB"),
        ("folder", str(one.folder)),
    )
    for label, value in rows:
        table.add_row(label, Text(printable(value)))
    return table


def _candidate_table(found: list[Candidate]) -> Table:
    table = Table.grid(padding=(0, 2))
    for candidate in found:
        row = (f"{candidate.rank + 1:>4}", f"{candidate.similarity:.4f}", str(candidate.point), candidate.item_id)
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
