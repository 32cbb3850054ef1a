"""A small world for the state machine: real tools over fake clients, and a scripted model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from agents.chat_models.prices import FREE, Price
from agents.chat_models.registry import LoadedModel
from agents.offline.reasoner import OfflineReasoner
from agents.schemas import Answer, Versions
from agents.strategies import find_strategy
from belief.decision import Aim
from belief.parameters import RetrievalRecord, default_parameters
from belief.records import Agreement, Record, Records
from geo.place import Place, SimilarPlace
from geo.point import Point
from geo.sphere import Floats, distance_km, lat_lon_array, unit_vectors
from graphs.budgets import Budgets
from graphs.context import GeolocateContext
from graphs.geolocate import build_geolocate
from graphs.nodes.tool_calls import TOOL_CALL_TASK
from retrieval.candidate import AtlasKind, Candidate, Region
from retrieval.photos.photo import Photo, PhotoMetadata
from retrieval.photos.store import PhotoStore
from tools.find_place import find_place_tool
from tools.read_signs import read_signs_tool
from tools.results import Box, Sign, SignsRead, ToolError
from tools.reverse_geocode import reverse_geocode_tool
from tools.search_photos import search_photos_tool
from tools.services.language_id import dominant_script, likely_languages

RETRIEVAL = RetrievalRecord(temperature=0.05, record=Record(shares=(0.05, 0.05, 0.3, 0.2, 0.1, 0.3)))
POOLED = Record(
    shares=(0.05, 0.1, 0.35, 0.2, 0.1, 0.2), stated=(0.05, 0.1, 0.3, 0.2, 0.05, 0.02, 0.03, 0.03, 0.02, 0.2)
)
GOOD_JUDGE = "judge"
"""A model of this name is right about a tool's result nine times of ten, each time anew."""
JUDGE = POOLED.model_copy(update={"judgement_accuracy": 0.9, "judgement_correlation": 0.0})

PARAMETERS = default_parameters().model_copy(
    update={
        "records": Records(models={"any": POOLED, GOOD_JUDGE: JUDGE}),
        "agreement": Agreement(independent=0.2, alike=0.6, one=0.15, none=0.05, correlation=0.5),
        "retrieval": {kind.value: RETRIEVAL for kind in AtlasKind},
        "useless": {"sign": 0.1, "language": 0.1, "sun": 0.1},
        "place_name": Record(shares=(0.0, 0.0, 0.9, 0.05, 0.0, 0.05), stated=(0.15, 0.25, 0.4, 0.15, *[0.0] * 5, 0.05)),
        "judgement_accuracy": 0.7,
        "person_accuracy": 0.9,
        "utility": {aim.value: {1492.7 if aim is Aim.GEOSCORE else float(aim.value): 1.0} for aim in Aim},
    }
)
"""Fixed, so that a new fit of the packaged ones changes no test; what was retrieved is worth a lot."""

FILE_NAME = "lisbon_holiday_at_the_tower.jpg"
EXIF_POSITION = Point(lat=12.3456, lon=65.4321)
EXIF_CAMERA = "Secretcam 9000"


def place(city: str, region: str, country: str, code: str, lat: float, lon: float, population: int) -> Place:
    return Place(
        country=country,
        country_code=code,
        region=region,
        city=city,
        point=Point(lat=lat, lon=lon),
        population=population,
    )


PLACES = (
    place("Tokyo", "Tokyo", "Japan", "JP", 35.69, 139.69, 8_336_599),
    place("Osaka", "Osaka", "Japan", "JP", 34.69, 135.50, 2_592_413),
    place("Lisbon", "Lisbon", "Portugal", "PT", 38.72, -9.13, 517_802),
    place("Madrid", "Madrid", "Spain", "ES", 40.42, -3.70, 3_255_944),
    place("Prague", "Prague", "Czechia", "CZ", 50.09, 14.42, 1_165_581),
    place("Newport", "Wales", "United Kingdom", "GB", 51.59, -3.00, 117_326),
    place("Newport", "Rhode Island", "United States", "US", 41.49, -71.31, 25_163),
    place("Nowhere", "Nevada", "United States", "US", 39.00, -117.00, 300),
)


class FakePlaces:
    """Finds by exact name; the nearest place to a point."""

    def place_at(self, point: Point) -> Place:
        km = distance_km((point.lat, point.lon), lat_lon_array(p.point for p in PLACES))
        nearest = int(km.argmin())
        return PLACES[nearest].model_copy(update={"distance_km": float(km[nearest])})

    def find(self, name: str, country_code: str | None = None) -> list[Place]:
        named = [p for p in PLACES if p.city and p.city.casefold() == name.casefold()]
        return [p for p in named if country_code in (None, p.country_code)]

    def find_similar(self, _name: str, _country_code: str | None = None) -> list[SimilarPlace]:
        return []

    def __call__(self, points: Sequence[Point]) -> list[Place | None]:
        return [self.place_at(point) for point in points]

    def country_codes(self, lat_lon_deg: Floats) -> list[str | None]:
        """The country of the nearest place, far at sea too."""
        towards = unit_vectors(lat_lon_deg) @ unit_vectors(lat_lon_array(p.point for p in PLACES)).T
        return [PLACES[nearest].country_code for nearest in towards.argmax(axis=1)]


CANDIDATES = (
    ((40.42, -3.70), 0.62),
    ((40.45, -3.69), 0.61),
    ((38.72, -9.13), 0.60),
    ((50.09, 14.42), 0.58),
    ((50.10, 14.40), 0.58),
    ((50.05, 14.45), 0.57),
    ((35.69, 139.69), 0.55),
    ((30.00, -40.00), 0.54),  # in the Atlantic
)


LEAST_SIMILAR = (((-33.87, 151.21), -0.4), ((-77.85, 166.67), -0.5))


def candidates(rows: Sequence[tuple[tuple[float, float], float]] = CANDIDATES) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            point=Point(lat=lat, lon=lon),
            similarity=similarity,
            atlas="fakes",
            kind=AtlasKind.PHOTO,
            item_id=str(rank),
            rank=rank,
        )
        for rank, ((lat, lon), similarity) in enumerate(rows)
    )


class FakeSearch:
    """Always finds the same candidates, and counts how often it is asked."""

    def __init__(self, found: Sequence[Candidate]) -> None:
        self.found = tuple(found)
        self.calls = 0

    def candidates(self, _photo_id: str, _box: Any, near: Any, limit: int, _more: Any = ()) -> tuple[Candidate, ...]:
        self.calls += 1
        if near is None:
            return self.found[:limit]
        away = distance_km((near.centre.lat, near.centre.lon), lat_lon_array(c.point for c in self.found))
        return tuple(c for c, km in zip(self.found, away, strict=True) if km <= near.radius_km)[:limit]


class BrokenSearch(FakeSearch):
    """The atlas is gone."""

    def candidates(self, *_: Any) -> tuple[Candidate, ...]:
        raise ToolError("the atlas cannot be read now")


class FakeReader:
    """Reads the same lines in every photo."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)

    def read(self, _: Any) -> SignsRead:
        signs = tuple(
            Sign(
                text=line,
                confidence=0.95,
                box=Box(left=0.1, top=0.1, right=0.9, bottom=0.2),
                script=dominant_script(line),
                languages=likely_languages(line),
            )
            for line in self.lines
        )
        return SignsRead(signs=signs, languages=likely_languages(" ".join(self.lines)))


def cluster(found: Sequence[Candidate]) -> list[Region]:
    """Candidates within 100 km of an earlier one belong to its region."""
    groups: list[list[int]] = []
    for index, candidate in enumerate(found):
        for group in groups:
            first = found[group[0]].point
            if float(distance_km((first.lat, first.lon), (candidate.point.lat, candidate.point.lon))) < 100.0:
                group.append(index)
                break
        else:
            groups.append([index])
    return [
        Region(
            centre=found[group[0]].point,
            radius_km=20.0 if len(group) > 1 else 0.0,
            members=tuple(group),
            mass=len(group) / len(found),
            isolated=len(group) == 1,
        )
        for group in groups
    ]


def photo(shade: int = 120) -> Photo:
    rgb = np.full((48, 64, 3), shade, np.uint8)
    metadata = PhotoMetadata(position=EXIF_POSITION, taken_at="2020-01-01", camera=EXIF_CAMERA)
    return Photo(rgb, f"{shade:064x}", FILE_NAME, metadata)


def context(
    signs: Sequence[str] = (),
    found: Sequence[Candidate] | None = None,
    model: BaseChatModel | None = None,
    search: FakeSearch | None = None,
    strategy: str = "refine",
    price: Price = FREE,
    **changed: Any,
) -> GeolocateContext:
    """A context over the small world, with one photo in its store."""
    photo_store = PhotoStore()
    photo_store.add(photo())
    places = FakePlaces()
    searching = search or FakeSearch(candidates() if found is None else found)
    tools = [
        search_photos_tool(searching),  # type: ignore[arg-type]  # a fake with the one method it needs
        find_place_tool(places),
        reverse_geocode_tool(places, lambda point: not -50.0 < point.lon < -30.0),
        read_signs_tool(photo_store, FakeReader(signs)),  # type: ignore[arg-type]  # a fake with the one method it needs
    ]
    settings: dict[str, Any] = {
        "budgets": Budgets(),
        "min_confidence": 0.0,
        "read_signs": True,
        "parameters": PARAMETERS,
        "aim": Aim.GEOSCORE,
        "tools": {tool.name: tool for tool in tools},
        "models": (LoadedModel(name="fake", chat=model or OfflineReasoner(), price=price),),
    }
    return GeolocateContext(
        photo_store=photo_store,
        places=places,
        country_codes=places.country_codes,
        cluster=cluster,
        dissimilar=lambda _, limit: candidates(LEAST_SIMILAR)[:limit],
        strategy=find_strategy(strategy),
        recall_limit=50,
        versions=Versions(geosleuth="0", encoder="fake", atlases=("fakes",), model="fake", strategy=strategy),
        **{**settings, **changed},
    )


def given(**changed: Any) -> dict[str, Any]:
    """The input of a run."""
    shown = photo()
    start = {"photo_id": shown.id, "photo_sha256": shown.sha256, "question": "", "metadata_position": None}
    return {**start, **changed}


Policy = Callable[[Sequence[BaseMessage], set[str]], tuple[str, list[tuple[str, dict[str, Any]]]]]


class ScriptedModel(BaseChatModel):
    """Answers by a policy: a function of the messages and the names of the tools that may be called."""

    policy: Policy
    seen: list[list[BaseMessage]] = Field(default_factory=list)
    tokens: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(self, messages: Any, *_: Any, **kwargs: Any) -> ChatResult:
        self.seen.append(list(messages))
        choice = kwargs.get("tool_choice")
        offered = {choice} if choice else {tool["function"]["name"] for tool in kwargs.get("tools", [])}
        text, calls = self.policy(messages, offered)
        turn = len(self.seen)
        usage = {"input_tokens": self.tokens, "output_tokens": 0, "total_tokens": self.tokens} if self.tokens else None
        answer = AIMessage(
            text,
            tool_calls=[ToolCall(name=n, args=a, id=f"call-{turn}-{i}") for i, (n, a) in enumerate(calls)],
            usage_metadata=usage,
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])


Calls = list[tuple[str, dict[str, Any]]]


def run(at: GeolocateContext, **changed: Any) -> Answer:
    answer: Answer = build_geolocate(at).invoke(given(**changed))["answer"]  # type: ignore[call-overload]
    return answer


def steps(at: GeolocateContext) -> list[str]:
    updates = build_geolocate(at).stream(given(), stream_mode="updates")  # type: ignore[call-overload]
    return [step for update in updates for step in update if step != TOOL_CALL_TASK]


def without_time(answer: Answer) -> Answer:
    return answer.model_copy(update={"cost": answer.cost.model_copy(update={"seconds": 0.0})})


def propose(*places: tuple[str, float, float]) -> Calls:
    rows = [{"name": n, "lat": lat, "lon": lon, "radius_km": 30.0, "why": "it looks so"} for n, lat, lon in places]
    return [("ProposeHypotheses", {"hypotheses": rows})]


def scripted(investigate: Calls, revision: dict[str, Any] | None = None, **fields: Any) -> ScriptedModel:
    """Proposes Madrid and Prague, makes these calls in its first investigation, revises so."""

    def policy(messages: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        if "ProposeHypotheses" in offered:
            return "", propose(("Madrid", 40.42, -3.7), ("Prague", 50.09, 14.42))
        if offered == {"ReviseHypotheses"}:
            return "", [("ReviseHypotheses", revision or {})]
        first = sum(isinstance(m, HumanMessage) for m in messages) == 2
        return ("", investigate) if first else ("done", [])

    return ScriptedModel(policy=policy, **fields)
