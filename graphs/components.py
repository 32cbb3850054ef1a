"""Opening what a run needs: atlases (the default one is built at first use), tools, the ground from above."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np

from agents.chat_models.registry import MODELS, LoadedModel, ModelOptions, load_model
from agents.strategies import Strategy
from geo.basemap import is_land
from geo.place import Place
from geo.places.gazetteer import Gazetteer
from geo.point import Point
from geo.sphere import lat_lon_array
from graphs.context import Clusterer, Places
from graphs.inference.posterior import PosteriorParameters, candidate_weights, default_parameters, positions
from graphs.inference.sight import load_sight
from graphs.settings import DEFAULT_ATLAS, Settings
from retrieval.atlas.atlas import Atlas, open_atlas
from retrieval.atlas.build import build_gps_atlas
from retrieval.atlas.manifest import MANIFEST_FILE, read_manifest
from retrieval.candidate import Candidate, Region
from retrieval.encoders.base import PhotoEncoder
from retrieval.encoders.registry import GALLERY_SOURCE, Gallery, own_gallery
from retrieval.regions import rank_regions
from tools.services.geocoders import Nominatim, PlaceSource
from tools.services.imagery import GroundSource, WorldPictures
from tools.services.tile_server import TileServer, TileViews, known_server

Progress = Callable[[int, int], None]

DEFAULT_ATLAS_SIZE = 120_000
"""Coordinates of the default GPS atlas: the most populous places, down to villages."""

SERVICE_TIMEOUT_S = 10.0

DEFAULT_ATLAS_SOURCE = "the most populous places of GeoNames"

EMBEDDED_GROUND = "blue-marble"
"""The satellite source that needs no network."""

EMBEDDED_PLACES = "geonames"
"""The geocoder that needs no network."""


def namer(gazetteer: Gazetteer) -> Places:
    """Names positions by their nearest place."""

    def places(points: Sequence[Point]) -> Sequence[Place | None]:
        return gazetteer.places_at(lat_lon_array(points)) if points else []

    return places


def clusterer(parameters: PosteriorParameters) -> Clusterer:
    """Clusters candidates with the weights that the posterior gives them."""

    def cluster(candidates: Sequence[Candidate]) -> Sequence[Region]:
        return rank_regions(positions(candidates), candidate_weights(candidates, parameters))

    return cluster


def open_parameters(settings: Settings) -> PosteriorParameters:
    """The posterior's parameters, with the user's own records of models if there are any.

    Raises:
        UserError: the records cannot be read.
    """
    packaged = default_parameters()
    if settings.model_records is None:
        return packaged
    return packaged.model_copy(update={"sight": load_sight(settings.model_records)})


def on_land(point: Point) -> bool:
    """Whether a point is on land."""
    return bool(np.asarray(is_land([(point.lat, point.lon)]))[0])


def open_atlases(
    settings: Settings, encoder: PhotoEncoder, gazetteer: Gazetteer, stack: ExitStack, progress: Progress | None
) -> list[Atlas]:
    """The atlases of the settings, closed with the stack; the default one is built if this encoder has none.

    Raises:
        UserError: an atlas that is not there, damaged, half-built, locked or made by another encoder.
    """
    if DEFAULT_ATLAS in settings.atlases and not _is_ready(settings.atlas_folder / DEFAULT_ATLAS, encoder):
        build_default_atlas(settings, encoder, gazetteer, progress)
    return [stack.enter_context(open_atlas(settings.atlas_folder / name, encoder)) for name in settings.atlases]


def _is_ready(folder: Path, encoder: PhotoEncoder) -> bool:
    """Whether the default atlas is complete; one that another encoder left here is derived data, and makes way."""
    if not (folder / MANIFEST_FILE).exists():
        return False
    found = read_manifest(folder)
    if found.source in (DEFAULT_ATLAS_SOURCE, GALLERY_SOURCE) and found.encoder != encoder.identity:
        shutil.rmtree(folder)
        return False
    return found.state == "complete"


def build_default_atlas(
    settings: Settings, encoder: PhotoEncoder, gazetteer: Gazetteer, progress: Progress | None
) -> None:
    """Build, or finish building, the GPS atlas: the encoder's own gallery, or else the most populous places."""
    gallery = own_gallery(encoder.identity.name) or _most_populous(gazetteer)
    build_gps_atlas(
        settings.atlas_folder / DEFAULT_ATLAS,
        encoder,
        gallery.lat_lon_deg,
        gallery.ids,
        source=gallery.source,
        progress=progress,
    )


def _most_populous(gazetteer: Gazetteer) -> Gallery:
    every = gazetteer.coordinates()
    return Gallery(DEFAULT_ATLAS_SOURCE, every.lat_lon_deg[:DEFAULT_ATLAS_SIZE], every.ids[:DEFAULT_ATLAS_SIZE])


def place_source(settings: Settings, gazetteer: Gazetteer, stack: ExitStack) -> PlaceSource:
    """Where the tools find places: the gazetteer in the package, or a Nominatim service the user names.

    Raises:
        UserError: neither.
    """
    if settings.geocoder == EMBEDDED_PLACES:
        return gazetteer
    client = stack.enter_context(httpx.Client(timeout=SERVICE_TIMEOUT_S))
    # The user configured this host, so this host may be asked; the model never names one.
    return Nominatim(settings.geocoder, {urlsplit(settings.geocoder).netloc}, client)


def ground_source(settings: Settings, stack: ExitStack) -> GroundSource:
    """Where satellite pictures come from: the package, a known tile server, or the user's own (an XYZ address).

    Raises:
        UserError: an unknown source, or an address that cannot be used.
    """
    name = settings.satellite_source
    if name == EMBEDDED_GROUND:
        return WorldPictures()
    if "://" in name:
        # The user configured this host, so this host may be asked; the model never names one.
        host = urlsplit(name).netloc
        server = TileServer(host, name, attribution=f"tiles of {host}", allowed_hosts=frozenset({host}))
    else:
        server = known_server(name)
    client = stack.enter_context(httpx.Client(timeout=SERVICE_TIMEOUT_S))
    return TileViews(server, settings.home / "tiles", client)


_HAVE_NO_TEMPERATURE = frozenset({"offline", "recorded"})


def load_chat_model(settings: Settings, given: LoadedModel | None) -> LoadedModel:
    """The model to ask.

    Raises:
        UserError: a model that cannot be loaded.
    """
    strategy = settings.find_strategy(settings.strategy)
    if given is not None:
        return tempered(given, strategy)
    return load_model(settings.model, model_options(settings, strategy))


def model_options(settings: Settings, strategy: Strategy) -> ModelOptions:
    """How the settings and the strategy want a model to be used."""
    return ModelOptions(
        timeout_s=settings.model_timeout_s,
        max_retries=settings.model_retries,
        concurrency=settings.model_concurrency,
        temperature=strategy.temperature,
        prices=settings.prices,
    )


def tempered(model: LoadedModel, strategy: Strategy) -> LoadedModel:
    """The model at the strategy's temperature: loaded again if it is one that has a temperature, and at another."""
    kind = model.name.partition(":")[0]
    if strategy.temperature in (None, model.options.temperature) or kind in _HAVE_NO_TEMPERATURE or kind not in MODELS:
        return model
    return load_model(model.name, model.options.model_copy(update={"temperature": strategy.temperature}))
