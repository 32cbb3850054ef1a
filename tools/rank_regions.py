"""The tool that groups look-alikes into regions of the Earth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.tools import StructuredTool

from retrieval.candidate import Candidate, Region
from tools.base import result_tool, shown_position
from tools.results import Box, Circle, RankedRegions
from tools.services.atlas_search import PhotoSearch, SearchArguments
from tools.untrusted_text import quoted

Clusterer = Callable[[Sequence[Candidate]], Sequence[Region]]
"""Regions of candidates, the best first; members index the candidates given."""

CLUSTERED_CANDIDATES = 50
"""Of each atlas."""
SHOWN_REGIONS = 8


def rank_regions_tool(search: PhotoSearch, cluster: Clusterer) -> StructuredTool:
    """The tool `rank_regions(photo_id, box, near)`."""

    def rank_regions(photo_id: str, box: Box | None = None, near: Circle | None = None) -> RankedRegions:
        """Search for places that look like the photo and group them into regions of the Earth, heaviest first.

        Returns each region's centre, its radius in km (90 % of its weight lies within), its share of all
        candidates' weight and how many candidates it has. A lone candidate is marked isolated. The shares are
        about looks alone: they are not probabilities. Use `near` to tell places within one area apart.
        """
        found = search.candidates(photo_id, box, near, CLUSTERED_CANDIDATES)
        return RankedRegions(candidates=found, regions=tuple(cluster(found)) if found else ())

    return result_tool(rank_regions, SearchArguments, render_regions)


def render_regions(result: RankedRegions) -> str:
    """What the model reads: the eight heaviest regions."""
    shown = [_shown(region) for region in result.regions[:SHOWN_REGIONS]]
    return quoted({"candidates": len(result.candidates), "regions_found": len(result.regions), "regions": shown})


def _shown(region: Region) -> dict[str, Any]:
    return {
        **shown_position(region.centre, decimals=3),
        "radius_km": round(region.radius_km, 1),
        "share": round(region.mass, 3),
        "candidates": len(region.members),
        "isolated": region.isolated,
    }
