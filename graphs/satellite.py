"""Opening a satellite atlas with its encoder, and what matches are worth with that encoder."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

from belief.parameters import SatelliteRecord, read_satellite_record
from graphs.settings import Settings
from retrieval.crossview.tile_atlas import open_tile_atlas
from retrieval.crossview.tiles import TilePictures
from retrieval.encoders.registry import load_crossview_encoder
from retrieval.photos.store import PhotoStore
from tools.services.tile_matching import TileMatcher, TilePicture


class Satellite(NamedTuple):
    """An open satellite atlas.

    Attributes:
        matcher: compares photos with its tiles.
        encoder: name@revision.
        record: what matches are worth; None: it was not measured with this encoder.
        picture: of its tiles; None: the user named no folder of them.
    """

    matcher: TileMatcher
    encoder: str
    record: SatelliteRecord | None
    picture: TilePicture | None


def open_satellite(settings: Settings, photo_store: PhotoStore, stack: ExitStack) -> Satellite | None:
    """The satellite atlas that the settings name, closed with the stack; None where they name none.

    Raises:
        UserError: no such atlas, another encoder than the one that made it, or a folder that is not there.
    """
    if settings.satellite_atlas is None or settings.satellite_encoder is None:
        return None
    folder = settings.atlas_folder / settings.satellite_atlas
    encoder = load_crossview_encoder(settings.satellite_encoder, settings.threads)
    atlas = stack.enter_context(open_tile_atlas(folder, encoder, servers=settings.allowed_servers))
    name, revision = encoder.identity.name, encoder.identity.revision
    return Satellite(
        matcher=TileMatcher(atlas, encoder, photo_store),
        encoder=f"{name}@{revision}",
        record=read_satellite_record(settings.satellite_encoder, revision),
        picture=TilePictures(settings.satellite_pictures).picture if settings.satellite_pictures else None,
    )
