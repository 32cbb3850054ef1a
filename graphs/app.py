"""The graph that `langgraph.json` names, for `langgraph dev`: built on demand from the environment's settings."""

from __future__ import annotations

from functools import cache

from graphs.assembly import GeoSleuth
from graphs.geolocate import Geolocate
from graphs.settings import make_settings


@cache
def geosleuth() -> GeoSleuth:
    """The system of this server process; the server keeps its own checkpoints."""
    return GeoSleuth.open(make_settings())


def geolocate() -> Geolocate:
    """The state machine. A photo is put on the shelf of `geosleuth()` before its id is sent."""
    return geosleuth().graph
