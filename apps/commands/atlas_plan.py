"""`geosleuth atlas plan`: what an atlas of a number of photos needs, before it is built."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from apps.commands.atlas import AsJson, atlas_app
from apps.console import answers, print_json

if TYPE_CHECKING:
    from retrieval.atlas.plan import AtlasPlan
    from retrieval.stores.base import StoreSettings

_NOT_PLANNED = {"engine", "url", "collection", "timeout_s", "read_consistency", "gpu"}


@atlas_app.command("plan")
def plan(
    photos: Annotated[int, typer.Option(min=1, help="How many photos.", metavar="N")],
    dim: Annotated[int, typer.Option(min=1, help="Dimension of the encoder's vectors.")] = 256,
    encode_s: Annotated[float, typer.Option(help="CPU seconds to read and encode one photo.")] = 0.0074,
    machine_gb: Annotated[float, typer.Option(help="Memory of one machine, in GB.")] = 64.0,
    usd_per_gb_month: Annotated[
        float | None, typer.Option(help="Price of a GB of memory for a month; without it, no cost is planned.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Say what an atlas of N photos needs: engine, settings, memory, disk, hours, recall to expect. Builds nothing."""
    from retrieval.atlas.plan import PlanOptions, plan_atlas

    planned = plan_atlas(photos, PlanOptions(dim, encode_s, machine_gb, usd_per_gb_month))
    if as_json:
        data = planned.model_dump(mode="json")
        print_json(data | {"values": [value._asdict() for value in planned.values]})
    else:
        answers().print(f"{photos:,} photos, vectors of {dim}\n{_settings_text(planned.store)}")
        answers().print(f"payload indexes: {', '.join(planned.payload_indexes)} (float, for searches in an area)")
        answers().print(_values_table(planned))
        answers().print(Text(f"build it with: {_command(planned.store)}"), soft_wrap=True)
    return 0


def _settings_text(store: StoreSettings) -> str:
    """The settings of an engine without those that a plan does not choose."""
    data = store.model_dump(mode="json", exclude=_NOT_PLANNED)
    parts = (f"{name}={value}" for name, value in (data | data.pop("hnsw")).items())
    return f"{store.engine}: {', '.join(parts)}"


def _command(store: StoreSettings) -> str:
    """What to type to build such an atlas."""
    from retrieval.stores.base import ServerSettings
    from retrieval.stores.registry import settings_json

    engine = f"{store.engine}@{store.url}" if isinstance(store, ServerSettings) else store.engine
    settings = settings_json(store)
    chosen = f" --store-settings {shlex.quote(settings)}" if settings != "{}" else ""
    return f"geosleuth atlas build NAME --photos FOLDER --store {engine}{chosen}"


def _values_table(planned: AtlasPlan) -> Table:
    table = Table.grid(padding=(0, 2))
    for column in range(4):
        table.add_column(overflow="fold", justify="right" if column == 1 else "left")
    for value in planned.values:
        table.add_row(value.name, f"{value.value:,.10g} {value.unit}".strip(), value.basis, value.how)
    return table
