"""look: read what is written in the photo."""

from __future__ import annotations

from typing import Any

from graphs.nodes.own_calls import call_tool
from graphs.state import GeolocateState
from graphs.workbench import Workbench


def look(bench: Workbench, state: GeolocateState) -> dict[str, Any]:
    """Read signs, if that is wanted and a tool for it is there. Metadata stays where it is."""
    if not bench.read_signs or "read_signs" not in bench.tools:
        return {}
    return call_tool(bench, state, "read_signs", {"photo_id": state["photo_id"]})
