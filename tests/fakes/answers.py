"""Hand-made answers for the renderers."""

from __future__ import annotations

import numpy as np
import shapely
from PIL import Image, ImageDraw

from agents.schemas import (
    Answer,
    AnswerStatus,
    Cost,
    CredibleArea,
    Evidence,
    EvidenceKind,
    Hypothesis,
    HypothesisStatus,
    Level,
    Source,
    Versions,
)
from apps.maps.geometry import disc, polygon_rings
from apps.output.formatting import LocatedPhoto
from geo.place import Place
from geo.point import Point
from geo.sphere import EARTH_RADIUS_KM
from retrieval.candidate import AtlasKind, Candidate
from retrieval.photos.photo import Photo
from retrieval.photos.thumbnail import thumbnail_jpeg

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">&amp;<b>'\"\u202e\x1b[31m]]>"


def at(lat: float, lon: float) -> Point:
    return Point(lat=lat, lon=lon)


def photo(name: str = "summer palace.jpg", width: int = 640, height: int = 427) -> Photo:
    """A drawn landscape: sky, hills, water."""
    picture = Image.new("RGB", (width, height), "#9cc4e4")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width * 0.1, height * 0.4, width * 0.9, height * 1.2), fill="#3f7d4e")
    draw.rectangle((0, height * 0.72, width, height), fill="#315d7c")
    draw.polygon(
        [(width * 0.4, height * 0.45), (width * 0.5, height * 0.2), (width * 0.6, height * 0.45)], fill="#8d3b2f"
    )
    return Photo(np.asarray(picture), "ab" * 32, name)


def source(tool: str) -> Source:
    return Source(tool=tool, arguments={"photo_id": "photo-abababababab"}, result_sha256="3f9a1c7e52" + "0" * 54)


def evidence() -> tuple[Evidence, ...]:
    return (
        Evidence(
            id="e1",
            kind=EvidenceKind.RETRIEVAL,
            claim="12 of 50 similar photos lie within 60 km of Beijing",
            source=source("rank_regions"),
            log_likelihood_ratio={"h1": 1.1, "h2": -0.3},
        ),
        Evidence(
            id="e2",
            kind=EvidenceKind.SIGN,
            claim="A sign reads “颐和园”, written in Han",
            source=source("read_signs"),
            log_likelihood_ratio={"h1": 1.6, "h2": 0.4, "h3": -1.2},
        ),
        Evidence(
            id="e3",
            kind=EvidenceKind.OPINION,
            claim="The roof looks like northern Chinese palace architecture",
            source=None,
            log_likelihood_ratio={"h1": 0.4},
        ),
    )


def candidates(count: int = 24) -> tuple[Candidate, ...]:
    rng = np.random.default_rng(3)
    centres = np.array([(39.9, 116.4), (34.3, 108.9), (35.0, 135.8), (48.9, 2.3)])
    picks = centres[rng.integers(0, 4, count)] + rng.normal(0, 1.2, (count, 2))
    return tuple(
        Candidate(
            point=at(float(lat), float(lon)),
            similarity=0.9 - 0.01 * rank,
            atlas="world",
            kind=AtlasKind.GPS,
            item_id=f"c{rank}",
            rank=rank,
        )
        for rank, (lat, lon) in enumerate(picks)
    )


def hypotheses() -> tuple[Hypothesis, ...]:
    return (
        Hypothesis(id="h1", name="Beijing, China", point=at(39.9042, 116.4074), radius_km=60, probability=0.62,
                   evidence_ids=("e1", "e2", "e3")),
        Hypothesis(id="h2", name="Xi'an, Shaanxi, China", point=at(34.2583, 108.9286), radius_km=90, probability=0.19,
                   evidence_ids=("e1", "e2")),
        Hypothesis(id="h3", name="Kyoto, Japan", point=at(35.0211, 135.7538), radius_km=45, probability=0.08,
                   evidence_ids=("e2",)),
        Hypothesis(id="h4", name="Paris, France", point=at(48.8534, 2.3488), radius_km=30, probability=0.02,
                   status=HypothesisStatus.REJECTED),
    )  # fmt: skip


def answered(**changes: object) -> Answer:
    """Beijing, with three alternatives."""
    answer = Answer(
        photo_sha256="ab" * 32,
        status=AnswerStatus.ANSWERED,
        point=at(39.9042, 116.4074),
        place=Place(
            country="China", country_code="CN", region="Beijing", city="Beijing", point=at(39.9075, 116.3972),
            population=18_960_744, distance_km=0.9,
        ),
        radius_50_km=140.0,
        radius_90_km=610.0,
        radius_is_calibrated=True,
        level=Level.CITY,
        confidence=0.62,
        reasoning="Retrieval and a sign in Han script agree on Beijing; nothing supports Japan once the sign is read.",
        hypotheses=hypotheses(),
        evidence=evidence(),
        candidates=candidates(),
        cost=Cost(model_calls=3, tool_calls=5, tokens=0, usd=0.0, seconds=0.42),
        versions=Versions(geosleuth="0.1.0", encoder="compact@1a2b3c", atlases=("world",), model="offline",
                          strategy="refine"),
    )  # fmt: skip
    return answer.model_copy(update=changes)


HEAT_SHARES = ((0.25, 0.25), (0.5, 0.45), (0.75, 0.7), (0.9, 1.0))
"""Shares of the areas, and their radius over that of the widest one."""


def areas(*centres: tuple[Point, float], hole: tuple[Point, float] | None = None) -> tuple[CredibleArea, ...]:
    """Nested areas: discs of a radius in km around some centres, cut at the antimeridian, perhaps with a hole."""
    return tuple(_area(share, [(centre, km * part) for centre, km in centres], hole) for share, part in HEAT_SHARES)


def _area(share: float, discs: list[tuple[Point, float]], hole: tuple[Point, float] | None) -> CredibleArea:
    shape = shapely.union_all([disc(centre, radius_km) for centre, radius_km in discs])
    if hole:
        shape = shape.difference(disc(*hole))
    size_km2 = sum(2.0 * np.pi * EARTH_RADIUS_KM**2 * (1.0 - np.cos(km / EARTH_RADIUS_KM)) for _, km in discs)
    polygons = tuple(tuple(map(tuple, rings)) for rings in polygon_rings(shape, 6))
    return CredibleArea(share=share, area_km2=size_km2, polygons=polygons)


def believed(**changes: object) -> Answer:
    """The answer of a belief: chances, areas in two places with a hole, information, and a jury's costs."""
    nested = areas((at(39.9042, 116.4074), 420.0), (at(34.2583, 108.9286), 180.0), hole=(at(41.0, 113.5), 60.0))
    news = {"e1": 0.31, "e2": 2.4, "e3": 0.02}
    believed = answered(
        confidence=0.48,
        chance_within_km={1: 0.12, 25: 0.48, 200: 0.71, 750: 0.88, 2500: 0.97},
        areas=nested,
        area_50_km2=nested[1].area_km2,
        area_90_km2=nested[3].area_km2,
        evidence=tuple(item.model_copy(update={"information_nats": news[item.id]}) for item in evidence()),
        cost=Cost(model_calls=4, tool_calls=5, tokens=9_300, usd=0.0127, seconds=6.4),
        cost_by_model={
            "google_genai:gemini-2.5-flash": Cost(model_calls=2, tokens=5_100, usd=0.0022, seconds=2.2),
            "openai:gpt-4.1": Cost(model_calls=2, tokens=4_200, usd=0.0105, seconds=4.1),
        },
    )
    return believed.model_copy(update=changes)


def believed_at(centre: Point, radius_km: float, **changes: object) -> Answer:
    """A belief in one piece around a point."""
    nested = areas((centre, radius_km))
    sizes = {"area_50_km2": nested[1].area_km2, "area_90_km2": nested[3].area_km2}
    radii = {"radius_50_km": 0.45 * radius_km, "radius_90_km": radius_km}
    only = answered().hypotheses[0].model_copy(update={"point": centre, "radius_km": radius_km, "name": str(centre)})
    around = {"point": centre, "hypotheses": (only,), "candidates": ()}
    return believed(**{**around, "areas": nested, **sizes, **radii, **changes})


FIJI, NORTH_POLE = at(-17.6, 179.6), at(89.0, 40.0)


def abstained() -> Answer:
    """No hypothesis stands out."""
    return answered(
        status=AnswerStatus.ABSTAINED,
        point=None,
        place=None,
        radius_50_km=None,
        radius_90_km=None,
        level=None,
        confidence=0.11,
        reasoning="The candidates are spread over four continents and the photo has no text.",
    )


def unanswered(status: AnswerStatus) -> Answer:
    """The model gave nothing to use."""
    return abstained().model_copy(update={"status": status, "reasoning": f"the model's replies were {status.value}"})


def hostile() -> Answer:
    """Every text that can come from outside tries to break out of its place."""
    bad = answered()
    return answered(
        place=bad.place.model_copy(update={"city": HOSTILE}) if bad.place else None,
        reasoning=HOSTILE,
        hypotheses=tuple(h.model_copy(update={"name": HOSTILE}) for h in bad.hypotheses),
        evidence=tuple(e.model_copy(update={"claim": HOSTILE}) for e in bad.evidence),
        candidates=tuple(c.model_copy(update={"item_id": HOSTILE, "atlas": HOSTILE}) for c in bad.candidates),
    )


def located(answer: Answer | None = None, name: str = "summer palace.jpg") -> LocatedPhoto:
    return LocatedPhoto(name, answer or answered(), thumbnail_jpeg(photo(name)))
