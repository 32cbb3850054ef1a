"""The tool that searches the atlases for places that look like a photo."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any

from langchain_core.tools import InjectedToolArg, StructuredTool
from pydantic import Field

from retrieval.candidate import Candidate
from tools.base import Content, jpeg_block, result_tool, shown_position
from tools.results import Box, Circle, PhotoMatches
from tools.services.atlas_search import PhotoSearch, SearchArguments
from tools.services.contact_sheet import AtlasPhotos
from tools.untrusted_text import quoted, untrusted

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
SHOWN_OF_EACH_ATLAS = 10


class SearchPhotosArguments(SearchArguments):
    """What to search for, where, and how much of it."""

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="candidates of each atlas, 1 to 1000")
    more_photo_ids: Annotated[list[str], InjectedToolArg] = Field(
        default_factory=list, description="further photos of the same place; the machine's own, models do not see it"
    )


class SearchWithThumbnailsArguments(SearchPhotosArguments):
    """The same, where the atlas's photos are at hand."""

    thumbnails: bool = Field(False, description="also show the nearest look-alikes, at most nine, as one picture")


def search_photos_tool(search: PhotoSearch, atlas_photos: AtlasPhotos | None = None) -> StructuredTool:
    """The tool `search_photos(photo_id, box, near, limit, thumbnails)`; without the atlas's photos no thumbnails."""

    def search_photos(
        photo_id: str,
        box: Box | None = None,
        near: Circle | None = None,
        limit: int = DEFAULT_LIMIT,
        thumbnails: bool = False,
        more_photo_ids: Sequence[str] = (),
    ) -> PhotoMatches:
        """Search geotagged photos and mapped places for those that look like the photo, or like a part of it.

        Returns positions with their similarity (cosine, -1 to 1; comparable within one atlas), most similar first.
        One look-alike means little, many in one area more. `near` searches only that circle: where in a known area.
        """
        candidates = search.candidates(photo_id, box, near, limit, more_photo_ids)
        found = PhotoMatches(candidates=candidates, near=near, box=box)
        sheet = atlas_photos.contact_sheet(found.candidates) if thumbnails and atlas_photos else None
        if sheet is None:
            return found
        picture = base64.b64encode(sheet.jpeg).decode("ascii")
        return found.model_copy(update={"tiles": sheet.shown, "jpeg_base64": picture})

    arguments = SearchWithThumbnailsArguments if atlas_photos else SearchPhotosArguments
    return result_tool(search_photos, arguments, render_matches)


def render_matches(result: PhotoMatches) -> Content:
    """What the model reads: the ten best of each atlas, then the contact sheet's positions, and the sheet itself."""
    by_atlas = {name: list(group) for name, group in groupby(result.candidates, key=lambda found: found.atlas)}
    data = {"atlases": [_shown_atlas(name, found) for name, found in by_atlas.items()]}
    if not result.jpeg_base64:
        return quoted(data)
    tiles = [_shown_tile(number, result.candidates[i]) for number, i in enumerate(result.tiles, start=1)]
    text = quoted(data | {"tiles_of_the_picture": tiles})
    return [{"type": "text", "text": text}, jpeg_block(result.jpeg_base64)]


def _shown_tile(number: int, candidate: Candidate) -> dict[str, Any]:
    return {"tile": number, **shown_position(candidate.point), "similarity": round(candidate.similarity, 4)}


def _shown_atlas(name: str, found: list[Candidate]) -> dict[str, Any]:
    best = [
        {**shown_position(candidate.point), "similarity": round(candidate.similarity, 4)}
        for candidate in found[:SHOWN_OF_EACH_ATLAS]
    ]
    return {"atlas": untrusted(name), "kind": found[0].kind.value, "found": len(found), "best": best}
