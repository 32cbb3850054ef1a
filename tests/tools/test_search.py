"""Searching atlases by photo, grouping into regions, and the registry of tools."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from geo.point import Point
from geo.sphere import lat_lon_array
from retrieval.candidate import AtlasKind, Candidate, Region
from retrieval.encoders.base import EncoderIdentity, PhotoVectors, Vectors
from retrieval.photos.photo import Photo
from retrieval.photos.store import PhotoStore
from retrieval.regions import rank_regions
from retrieval.stores.filters import Exclude, Near, is_left_out
from tests.fakes.tool_calls import as_photo, call, shown_to_model
from tests.retrieval.encoders.gated import GatedEncoder, wait_until
from tools.rank_regions import rank_regions_tool
from tools.results import Box, PhotoMatches, RankedRegions, ToolError
from tools.search_photos import search_photos_tool
from tools.services.atlas_search import PhotoSearch

COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}
PLACES = {"red": Point(lat=31.6, lon=-8.0), "green": Point(lat=53.3, lon=-6.3), "blue": Point(lat=36.4, lon=25.4)}


def rank_candidates(candidates: Sequence[Candidate]) -> list[Region]:
    """Regions where each candidate weighs as much as it is similar."""
    return rank_regions(lat_lon_array(c.point for c in candidates), [c.similarity for c in candidates])


class ColourEncoder:
    """A photo's vector is its mean colour: a real, if simple, function of one photo."""

    identity = EncoderIdentity(name="colour", revision="1", dim=3)

    def __init__(self) -> None:
        self.encoded = 0

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        self.encoded += len(photos)
        colours = np.array([photo.rgb.mean(axis=(0, 1)) for photo in photos], np.float32)
        vectors = (colours / np.linalg.norm(colours, axis=1, keepdims=True)).astype(np.float32)
        return PhotoVectors(vectors, vectors, vectors)

    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        raise NotImplementedError


class ExactAtlas:
    """An atlas of one place a colour, searched exactly."""

    def __init__(self, name: str, kind: AtlasKind) -> None:
        self.name, self.kind = name, kind

    def search(
        self, vector: Vectors, limit: int, near: Near | None = None, exclude: Exclude | None = None
    ) -> list[Candidate]:
        found = sorted(
            (-float(vector @ (np.array(colour) / np.linalg.norm(colour))), key) for key, colour in COLOURS.items()
        )
        kept = [(s, key) for s, key in found if near is None or near.contains(PLACES[key])]
        kept = [(s, key) for s, key in kept if not is_left_out(key, {"author": f"painter of {key}"}, exclude or {})]
        return [
            Candidate(point=PLACES[key], similarity=-s, atlas=self.name, kind=self.kind, item_id=key, rank=rank)
            for rank, (s, key) in enumerate(kept[:limit])
        ]

    def search_spread(self, vector: Vectors, limit: int, min_distance_km: float, among: int) -> list[Candidate]:
        assert min_distance_km < 1000.0, "the places of the three colours lie further apart"
        return self.search(vector, min(limit, among))


@pytest.fixture
def encoder() -> ColourEncoder:
    return ColourEncoder()


@pytest.fixture
def gated(encoder: ColourEncoder) -> GatedEncoder:
    return GatedEncoder(encoder)


@pytest.fixture
def photo_store() -> PhotoStore:
    return PhotoStore()


@pytest.fixture
def search(encoder: ColourEncoder, photo_store: PhotoStore) -> PhotoSearch:
    atlases = [ExactAtlas("photos", AtlasKind.PHOTO), ExactAtlas("map", AtlasKind.GPS)]
    return PhotoSearch(atlases, encoder, photo_store)


@pytest.fixture
def red_and_blue(photo_store: PhotoStore) -> str:
    rgb = np.zeros((64, 128, 3))
    rgb[:, :64], rgb[:, 64:] = COLOURS["red"], COLOURS["blue"]
    return photo_store.add(as_photo(rgb))


def test_every_atlas_is_searched(search: PhotoSearch, red_and_blue: str) -> None:
    message = call(search_photos_tool(search), photo_id=red_and_blue, limit=2)
    result = message.artifact
    assert isinstance(result, PhotoMatches)
    assert [(found.atlas, found.rank) for found in result.candidates] == [
        ("photos", 0),
        ("photos", 1),
        ("map", 0),
        ("map", 1),
    ]
    shown = shown_to_model(message)["atlases"]
    assert [(each["atlas"], each["kind"], each["found"]) for each in shown] == [
        ("photos", "photo", 2),
        ("map", "gps", 2),
    ]


@pytest.mark.parametrize(("left", "right", "colour"), [(0.0, 0.5, "red"), (0.5, 1.0, "blue")])
def test_a_box_is_searched_by_what_it_shows(
    search: PhotoSearch, red_and_blue: str, left: float, right: float, colour: str
) -> None:
    box = {"left": left, "top": 0.0, "right": right, "bottom": 1.0}
    result = call(search_photos_tool(search), photo_id=red_and_blue, box=box).artifact
    assert result.candidates[0].item_id == colour
    assert result.candidates[0].similarity == pytest.approx(1.0, abs=1e-4)
    assert result.box.left == left


def test_photos_of_one_place_are_searched_by_the_mean_of_their_vectors(
    search: PhotoSearch, photo_store: PhotoStore, encoder: ColourEncoder
) -> None:
    red, blue = (photo_store.add(as_photo(np.full((64, 64, 3), COLOURS[colour]))) for colour in ("red", "blue"))
    result = call(search_photos_tool(search), photo_id=red, more_photo_ids=[blue]).artifact
    best = [found for found in result.candidates if found.atlas == "photos"]
    assert {found.item_id for found in best[:2]} == {"red", "blue"}
    assert [found.similarity for found in best[:2]] == pytest.approx([0.72, 0.72], abs=0.01)
    assert encoder.encoded == 2
    assert search.least_similar([red, blue], 1)[0].item_id == "green"


def test_models_are_not_offered_the_machines_own_argument(search: PhotoSearch) -> None:
    tool = search_photos_tool(search)
    assert "more_photo_ids" not in tool.tool_call_schema.model_json_schema()["properties"]  # type: ignore[union-attr]


class HidesByRule:
    """Hides one painter's photos, and those at least as similar as a bound."""

    def __init__(self, author: str | None, similarity: float) -> None:
        self.author, self.near_duplicate_similarity = author, similarity
        self.asked: set[str] = set()
        self.near_duplicates: list[str] = []

    def exclude(self, photo_id: str) -> Exclude:
        self.asked.add(photo_id)
        return {"author": {self.author}} if self.author else {}

    def record_near_duplicates(self, photo_id: str, item_ids: Collection[str]) -> None:
        self.asked.add(photo_id)
        self.near_duplicates += item_ids


@pytest.mark.parametrize(
    ("author", "duplicates_from", "seen"),
    [(None, 2.0, {"blue", "red", "green"}), ("painter of red", 2.0, {"blue", "green"}), (None, 0.5, {"green"})],
)
def test_what_an_evaluation_hides_is_never_found_not_even_by_a_part(
    encoder: ColourEncoder,
    photo_store: PhotoStore,
    red_and_blue: str,
    author: str | None,
    duplicates_from: float,
    seen: set[str],
) -> None:
    exclusion = HidesByRule(author, duplicates_from)
    atlases = [ExactAtlas("photos", AtlasKind.PHOTO), ExactAtlas("map", AtlasKind.GPS)]
    search = PhotoSearch(atlases, encoder, photo_store, exclusion)
    for box in (Box(left=0.0, top=0.0, right=0.5, bottom=1.0), None, Box(left=0.5, top=0.0, right=1.0, bottom=1.0)):
        found = search.candidates(red_and_blue, box, None, 3)
        assert {c.item_id for c in found if c.kind is AtlasKind.PHOTO} == seen
        assert len([c for c in found if c.kind is AtlasKind.GPS]) == 3, "a map has no photographers"
    assert exclusion.asked == {red_and_blue}
    assert sorted(exclusion.near_duplicates) == (["blue", "red"] if duplicates_from < 1.0 else [])


def test_of_several_photos_what_is_hidden_from_one_is_hidden_from_all(
    encoder: ColourEncoder, photo_store: PhotoStore, red_and_blue: str
) -> None:
    exclusion = HidesByRule(None, 0.99)
    search = PhotoSearch([ExactAtlas("photos", AtlasKind.PHOTO)], encoder, photo_store, exclusion)
    green = photo_store.add(as_photo(np.full((64, 64, 3), COLOURS["green"])))
    assert {found.item_id for found in search.candidates(red_and_blue, None, None, 3, [green])} == {"red", "blue"}
    assert exclusion.asked == {red_and_blue, green}


def test_a_photo_in_use_stays_in_the_store() -> None:
    small = PhotoStore(capacity=2)
    photos = [as_photo(np.full((64, 64, 3), shade)) for shade in range(10, 60, 10)]
    with small.holding(photos[0]) as photo_id:
        for other in photos[1:]:
            small.add(other)
        assert small.get(photo_id).sha256 == photos[0].sha256
        assert len(small.ids()) == 2
    with small.holding(*photos[:3]):
        assert len(small.ids()) == 3
    small.add(photos[1])
    small.add(photos[2])
    with pytest.raises(KeyError):
        small.get(photo_id)


def test_near_searches_one_circle(search: PhotoSearch, red_and_blue: str) -> None:
    near = {"centre": {"lat": 53.0, "lon": -6.0}, "radius_km": 100.0}
    result = call(search_photos_tool(search), photo_id=red_and_blue, near=near).artifact
    assert {found.item_id for found in result.candidates} == {"green"}
    empty = call(rank_regions_tool(search, rank_candidates), photo_id=red_and_blue, near={**near, "radius_km": 1.0})
    assert empty.artifact == RankedRegions(candidates=(), regions=())


def test_a_photo_is_encoded_once_for_each_box(search: PhotoSearch, encoder: ColourEncoder, red_and_blue: str) -> None:
    box = {"left": 0.0, "top": 0.0, "right": 0.5, "bottom": 1.0}
    for arguments in ({}, {}, {"box": box}, {"box": box}, {"limit": 1}):
        call(search_photos_tool(search), photo_id=red_and_blue, **arguments)
    call(rank_regions_tool(search, rank_candidates), photo_id=red_and_blue)
    assert encoder.encoded == 2


class MeetingEncoder(ColourEncoder):
    """Two of its calls end only when both have begun."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2)

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        self.both.wait(60.0)
        return super().encode_photos(photos)


def coloured(photo_store: PhotoStore, colour: str) -> str:
    return photo_store.add(as_photo(np.tile(np.array(COLOURS[colour]), (64, 64, 1))))


def test_photos_of_two_threads_come_to_the_encoder_at_once(photo_store: PhotoStore) -> None:
    search = PhotoSearch([ExactAtlas("photos", AtlasKind.PHOTO)], MeetingEncoder(), photo_store)
    with ThreadPoolExecutor(2) as pool:
        ids = [coloured(photo_store, colour) for colour in ("red", "blue")]
        found = list(pool.map(lambda photo_id: search.candidates(photo_id, None, None, 1), ids))
    assert [one.item_id for candidates in found for one in candidates] == ["red", "blue"]


def test_threads_that_want_the_same_photo_encode_it_once(photo_store: PhotoStore, gated: GatedEncoder) -> None:
    search = PhotoSearch([], gated, photo_store)
    photo_id = coloured(photo_store, "red")
    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(search.least_similar, [photo_id], 1) for _ in range(4)]
        wait_until(lambda: gated.inside == 1)
        gated.gate.set()
        assert [one.result() for one in searches] == [()] * 4
    assert len(gated.calls) == 1


def test_a_photo_that_could_not_be_encoded_is_tried_again(photo_store: PhotoStore, gated: GatedEncoder) -> None:
    gated.gate.set()
    search = PhotoSearch([], gated, photo_store)
    photo_id = photo_store.add(replace(as_photo(np.zeros((64, 64, 3))), name="bad"))
    for _ in range(2):
        with pytest.raises(ValueError, match="bad photo"):
            search.least_similar([photo_id], 1)
    assert gated.calls == [["bad"], ["bad"]]


def test_regions_of_candidates(search: PhotoSearch, red_and_blue: str) -> None:
    message = call(rank_regions_tool(search, rank_candidates), photo_id=red_and_blue)
    result = message.artifact
    assert isinstance(result, RankedRegions)
    members = sorted(member for region in result.regions for member in region.members)
    assert members == list(range(len(result.candidates)))
    shown = shown_to_model(message)
    assert shown["candidates"] == 6
    assert shown["regions_found"] == len(result.regions) == 3
    assert {region["candidates"] for region in shown["regions"]} == {2}


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": 0},
        {"limit": 1001},
        {"near": {"centre": {"lat": 99.0, "lon": 0.0}, "radius_km": 5.0}},
        {"near": {"centre": {"lat": 9.0, "lon": 0.0}, "radius_km": -5.0}},
        {"near": {"centre": {"lat": 9.0, "lon": 0.0}, "radius_km": 40_000.0}},
    ],
)
def test_unusable_arguments(search: PhotoSearch, red_and_blue: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        call(search_photos_tool(search), photo_id=red_and_blue, **arguments)


def test_an_unknown_photo(search: PhotoSearch) -> None:
    for tool in (search_photos_tool(search), rank_regions_tool(search, rank_candidates)):
        with pytest.raises(ToolError, match="no photo 'photo-0' here; photo ids: none"):
            call(tool, photo_id="photo-0")
