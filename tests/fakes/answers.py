"""Hand-made answers for the renderers."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from agents.schemas import (
    Answer,
    AnswerStatus,
    Cost,
    Evidence,
    EvidenceKind,
    Hypothesis,
    HypothesisStatus,
    Level,
    Source,
    Versions,
)
from apps.output.formatting import LocatedPhoto
from geo.place import Place
from geo.point import Point
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
