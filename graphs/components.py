"""Opening the components of a system, atlases and their encoder, tools, chat models, and what its nodes work with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
from langchain_core.tools import BaseTool

from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import ModelOptions, find_jury, split_jury
from agents.schemas import Versions
from agents.strategies import Strategy
from belief.parameters import Parameters, default_parameters
from belief.records import load_records
from belief.witnesses.retrieval import candidate_weights
from core.errors import UserError
from geo.basemap import is_land
from geo.place import Place
from geo.places.gazetteer import Gazetteer
from geo.point import Point
from geo.sphere import lat_lon_array
from graphs.assessment.calibration import open_corrections
from graphs.context import Clusterer, GeolocateContext, Places, nothing_dissimilar
from graphs.online_services import EMBEDDED_GROUND, ground_source, open_online_services, place_source
from graphs.satellite import Satellite, open_satellite
from graphs.settings import WORLD_ATLAS, Settings
from retrieval.atlas.atlas import Atlas, open_atlas
from retrieval.atlas.build import build_gps_atlas
from retrieval.atlas.manifest import MANIFEST_FILE, draft_of, read_manifest
from retrieval.candidate import AtlasKind, Candidate, Region
from retrieval.encoders.base import PhotoEncoder
from retrieval.encoders.batching import BatchingPhotoEncoder
from retrieval.encoders.registry import GALLERY_SOURCE, Gallery, check_encoder_name, load_encoder, own_gallery
from retrieval.photos.store import PhotoStore
from retrieval.regions import rank_regions
from tools.match_satellite import match_areas_tool
from tools.registry import Clients, build_tools
from tools.services.atlas_search import PhotoSearch, ReferenceExclusion
from tools.services.contact_sheet import AtlasPhotos
from tools.services.imagery import ImagerySource
from tools.services.ocr import OcrReader, OcrSettings
from tools.services.tile_matching import TilePicture, pictures_of

Progress = Callable[[int, int], None]

WORLD_ATLAS_SIZE = 120_000
"""Coordinates of the atlas of the world: the most populous places, down to villages."""

WORLD_ATLAS_SOURCE = "the most populous places of GeoNames"


class Components(NamedTuple):
    """Components of a system; atlases, by the names that the settings give them, are closed with their stack.

    Encoder and search are None where no atlas is open: nothing else needs them; so is `satellite` without its atlas.
    """

    gazetteer: Gazetteer
    photo_store: PhotoStore
    encoder: BatchingPhotoEncoder | None
    atlases: Mapping[str, Atlas]
    search: PhotoSearch | None
    parameters: Parameters
    cluster: Clusterer
    satellite: Satellite | None


def open_components(
    settings: Settings,
    stack: ExitStack,
    progress: Progress | None,
    exclusion: ReferenceExclusion | None,
    encoder_batch: int = 1,
) -> Components:
    """Load the gazetteer, the atlases with their encoder, and the parameters that the settings name.

    Raises:
        UserError: something missing or unusable that the user can mend.
    """
    gazetteer, photo_store = Gazetteer(), PhotoStore()
    satellite = open_satellite(settings, photo_store, stack)
    parameters = open_parameters(settings)
    if satellite and satellite.record:
        parameters = parameters.model_copy(
            update={"satellite": {**parameters.satellite, satellite.encoder: satellite.record}}
        )
    if not settings.atlases:
        check_encoder_name(settings.encoder)
        return Components(gazetteer, photo_store, None, {}, None, parameters, clusterer(parameters, ""), satellite)
    encoder = BatchingPhotoEncoder(load_encoder(settings.encoder, settings.threads), encoder_batch)
    atlases = open_atlases(settings, encoder, gazetteer, stack, progress)
    search = PhotoSearch(tuple(atlases.values()), encoder, photo_store, exclusion)
    cluster = clusterer(parameters, f"{encoder.identity.name}@{encoder.identity.revision}")
    return Components(gazetteer, photo_store, encoder, atlases, search, parameters, cluster, satellite)


def searching(components: Components, names: Collection[str]) -> Components:
    """The same components with some of their atlases: all else is shared."""
    atlases = {name: atlas for name, atlas in components.atlases.items() if name in names}
    if not atlases or components.search is None:
        cluster = clusterer(components.parameters, "")
        return components._replace(encoder=None, atlases={}, search=None, cluster=cluster)
    return components._replace(atlases=atlases, search=components.search.over(tuple(atlases.values())))


def tools_by_name(clients: Clients) -> dict[str, BaseTool]:
    """The tools that have what they need."""
    return {tool.name: tool for tool in build_tools(clients)}


def open_clients(settings: Settings, components: Components, stack: ExitStack, at_once: int = 1) -> Clients:
    """What the tools work with, with the services that the settings name; connections are closed with the stack.

    Args:
        settings: name the services.
        components: what is open already.
        stack: closes connections.
        at_once: photos whose signs may be read at once.

    Raises:
        UserError: an unknown or unusable geocoder, satellite source or online service.
    """
    satellite = components.satellite
    imagery = ground_source(settings, settings.satellite_source, stack)
    return Clients(
        photo_store=components.photo_store,
        search=components.search,
        cluster=components.cluster,
        places=place_source(settings, components.gazetteer, stack),
        is_land=on_land,
        reader=_sign_reader(settings, at_once) if settings.read_signs else None,
        imagery=imagery,
        street_map=ground_source(settings, settings.street_map_source, stack) if settings.street_map_source else None,
        atlas_photos=open_atlas_photos(settings),
        matcher=satellite.matcher if satellite else None,
        tile_picture=_tile_picture(settings, satellite, imagery),
        online=open_online_services(settings, stack),
        picture_px=settings.model_picture_px or find_jury(settings.model)[0].picture_px,
    )


def _sign_reader(settings: Settings, at_once: int) -> OcrReader:
    """Several photos at once are read with a thread each, one a core: more threads for a photo cost more CPU."""
    from joblib import cpu_count

    readers = min(at_once, cpu_count())
    return OcrReader(OcrSettings(threads=settings.threads if readers == 1 else 1, at_once=readers))


def _tile_picture(settings: Settings, satellite: Satellite | None, imagery: ImagerySource) -> TilePicture | None:
    """Pictures of tiles for the model: of the user's folder, else of their satellite source; not of Blue Marble."""
    if satellite is None or satellite.picture or settings.satellite_source == EMBEDDED_GROUND:
        return satellite.picture if satellite else None
    return pictures_of(imagery)


def open_atlas_photos(settings: Settings) -> AtlasPhotos | None:
    """The photos of the atlas, if the user allows that the model sees thumbnails of them.

    Raises:
        UserError: no such folder.
    """
    folder = settings.atlas_photos
    if folder is not None and not folder.is_dir():
        raise UserError(f"no folder of the atlas's photos at {folder}: give the one that the atlas was built from")
    return AtlasPhotos(folder) if folder else None


def nearest_places(gazetteer: Gazetteer) -> Places:
    """A function from points to the nearest place of each."""

    def places(points: Sequence[Point]) -> Sequence[Place | None]:
        return gazetteer.places_at(lat_lon_array(points)) if points else []

    return places


def clusterer(parameters: Parameters, encoder: str) -> Clusterer:
    """A function that clusters candidates by their weights."""

    def cluster(candidates: Sequence[Candidate]) -> Sequence[Region]:
        return rank_regions(
            lat_lon_array(c.point for c in candidates), candidate_weights(candidates, parameters, encoder)
        )

    return cluster


def open_parameters(settings: Settings) -> Parameters:
    """The belief's parameters, with the user's own records of models if there are any.

    Raises:
        UserError: the records cannot be read, or there is none of the name that other models are to be weighed by.
    """
    packaged = default_parameters()
    records = packaged.records if settings.model_records is None else load_records(settings.model_records)
    chosen = records if settings.record_like is None else records.like(settings.record_like)
    return packaged.model_copy(update={"records": chosen})


def on_land(point: Point) -> bool:
    """Whether a point is on land."""
    return bool(np.asarray(is_land([(point.lat, point.lon)]))[0])


def open_atlases(
    settings: Settings, encoder: PhotoEncoder, gazetteer: Gazetteer, stack: ExitStack, progress: Progress | None
) -> dict[str, Atlas]:
    """Open the atlases that the settings name, by these names; that of the world is built if this encoder has none.

    Raises:
        UserError: an atlas that is not there, damaged, half-built, locked, made by another encoder, or on a
            server that the settings do not allow.
    """
    if WORLD_ATLAS in settings.atlases:
        _ensure_world_atlas(settings, encoder, gazetteer, progress)
    return {
        name: stack.enter_context(open_atlas(settings.atlas_folder / name, encoder, servers=settings.allowed_servers))
        for name in settings.atlases
    }


def _ensure_world_atlas(
    settings: Settings, encoder: PhotoEncoder, gazetteer: Gazetteer, progress: Progress | None
) -> None:
    """Build the atlas of the world where it is missing, half-built, or made by us with another encoder."""
    folder = settings.atlas_folder / WORLD_ATLAS
    present = folder if (folder / MANIFEST_FILE).exists() else draft_of(folder)
    found = read_manifest(present) if (present / MANIFEST_FILE).exists() else None
    outdated = (
        found is not None and found.source in (WORLD_ATLAS_SOURCE, GALLERY_SOURCE) and found.encoder != encoder.identity
    )
    if found is None or found.state != "complete" or outdated or present != folder:
        build_world_atlas(settings, encoder, gazetteer, progress, replace=outdated)


def build_world_atlas(
    settings: Settings,
    encoder: PhotoEncoder,
    gazetteer: Gazetteer,
    progress: Progress | None,
    *,
    replace: bool = False,
) -> None:
    """Build, or finish building, the atlas of the world: the encoder's own gallery, else the most populous places."""
    gallery = own_gallery(encoder.identity.name) or _most_populous(gazetteer)
    build_gps_atlas(
        settings.atlas_folder / WORLD_ATLAS,
        encoder,
        gallery.lat_lon_deg,
        gallery.ids,
        source=gallery.source,
        progress=progress,
        wait=True,
        replace=replace,
    )


def _most_populous(gazetteer: Gazetteer) -> Gallery:
    every = gazetteer.coordinates()
    return Gallery(WORLD_ATLAS_SOURCE, every.lat_lon_deg[:WORLD_ATLAS_SIZE], every.ids[:WORLD_ATLAS_SIZE])


def load_chat_models(
    settings: Settings, strategy: Strategy, given: Sequence[LoadedModel] = ()
) -> tuple[LoadedModel, ...]:
    """Load the chat models that the settings name, at the strategy's temperature; or use the given ones.

    Raises:
        UserError: a model that cannot be loaded.
    """
    if given:
        return tuple(at_temperature(model, strategy.temperature) for model in given)
    options = ModelOptions.chosen(
        timeout_s=settings.model_timeout_s,
        max_retries=settings.model_retries,
        concurrency=settings.model_concurrency,
        temperature=strategy.temperature,
        prices=settings.prices,
        load_s=settings.budgets.seconds,
    )
    return tuple(load_model(spec, options) for spec in split_jury(settings.model))


def at_temperature(model: LoadedModel, temperature: float | None) -> LoadedModel:
    """The model, loaded again if it is one that has a temperature and is used at another."""
    has_temperature = model.kind.is_served or model.kind.is_written
    if temperature in (None, model.options.temperature) or not has_temperature:
        return model
    return load_model(model.name, model.options.model_copy(update={"temperature": temperature}))


def make_context(
    settings: Settings, components: Components, clients: Clients, given: tuple[LoadedModel, ...]
) -> GeolocateContext:
    """What the nodes work with, over open components."""
    strategy = settings.find_strategy(settings.strategy)
    strategy.check_model_count(len(given))
    encoder, satellite = components.encoder, components.satellite
    versions = Versions(
        geosleuth=version("geosleuth"),
        encoder=f"{encoder.identity.name}@{encoder.identity.revision}" if encoder else "",
        atlases=tuple(atlas.name for atlas in components.atlases.values()),
        model=model_names(given) or settings.model,
        strategy=settings.strategy,
        satellite_atlas=settings.satellite_atlas or "",
        satellite_encoder=satellite.encoder if satellite else "",
    )
    return GeolocateContext(
        tools=tools_by_name(clients),
        models=load_chat_models(settings, strategy, given),
        photo_store=components.photo_store,
        places=nearest_places(components.gazetteer),
        country_codes=components.gazetteer.country_codes_at,
        cluster=components.cluster,
        dissimilar=components.search.least_similar if components.search else nothing_dissimilar,
        strategy=strategy,
        budgets=settings.budgets,
        parameters=components.parameters,
        aim=settings.aim,
        min_confidence=settings.min_confidence,
        read_signs=settings.read_signs,
        recall_limit=settings.recall_limit,
        versions=versions,
        corrections=open_corrections(settings, versions, strategy, atlas_kinds(components), components.parameters),
        match=match_areas_tool(satellite.matcher) if satellite else None,
        tile_covers=satellite.matcher.covers if satellite else None,
        tile_picture=satellite.picture if satellite else None,
        picture_px=settings.model_picture_px,
    )


def atlas_kinds(components: Components) -> set[AtlasKind]:
    """Kinds of the atlases."""
    return {atlas.manifest.kind for atlas in components.atlases.values()}


def model_names(models: Sequence[LoadedModel]) -> str:
    """Names of models as an answer's versions have them."""
    return ",".join(model.name for model in models)
