"""The tool that searches the atlases for places that look like a photo."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from langchain_core.tools import StructuredTool
from pydantic import Field

from retrieval.candidate import Candidate
from tools.base import result_tool, shown_position
from tools.results import Box, Circle, PhotoMatches
from tools.services.atlas_search import PhotoSearch, SearchArguments
from tools.untrusted_text import quoted, untrusted

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
SHOWN_OF_EACH_ATLAS = 10


class SearchPhotosArguments(SearchArguments):
    """What to search for, where, and how much of it."""

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="candidates of each atlas, 1 to 1000")


def search_photos_tool(search: PhotoSearch) -> StructuredTool:
    """The tool `search_photos(photo_id, box, near, limit)`."""

    def search_photos(
        photo_id: str, box: Box | None = None, near: Circle | None = None, limit: int = DEFAULT_LIMIT
    ) -> PhotoMatches:
        """Search geotagged photos and mapped places for those that look like the photo, or like a part of it.

        Returns positions with their similarity (cosine, -1 to 1), most similar first. Similarities compare within
        one atlas only. A single look-alike means little; many in one area mean more: `rank_regions` groups them.
        With `near`, only what lies in that circle is searched, which settles where in a known area a photo is.
        """
        return PhotoMatches(candidates=search.candidates(photo_id, box, near, limit), near=near, box=box)

    return result_tool(search_photos, SearchPhotosArguments, render_matches)


def render_matches(result: PhotoMatches) -> str:
    """What the model reads: the ten best of each atlas."""
    by_atlas = {name: list(group) for name, group in groupby(result.candidates, key=lambda found: found.atlas)}
    return quoted({"atlases": [_shown_atlas(name, found) for name, found in by_atlas.items()]})


def _shown_atlas(name: str, found: list[Candidate]) -> dict[str, Any]:
    best = [
        {**shown_position(candidate.point), "similarity": round(candidate.similarity, 4)}
        for candidate in found[:SHOWN_OF_EACH_ATLAS]
    ]
    return {"atlas": untrusted(name), "kind": found[0].kind.value, "found": len(found), "best": best}
