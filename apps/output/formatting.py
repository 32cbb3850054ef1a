"""The texts and circles of an answer. Terminal, page, picture and KML place these and make none of their own."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agents.schemas import (
    LEVEL_KM,
    TELLING_NATS,
    Answer,
    AnswerStatus,
    Cost,
    CredibleArea,
    Evidence,
    Hypothesis,
    HypothesisStatus,
    Level,
    Source,
    TileMatch,
)
from geo.point import Point

_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SHORT_HASH = 10

CONTINENT_KM = 2500.0
"""With a 50 % radius above this an answer does not even settle the continent: its heading says that it is a guess."""


def printable(text: str, limit: int | None = None, *, keeps_spaces: bool = False) -> str:
    """Untrusted text on one line, without characters that steer a terminal, a page or the reading direction.

    Signs, file names and place names may hold escape sequences, bidirectional overrides or lone
    surrogates: each becomes U+FFFD.
    Runs of spaces become one unless `keeps_spaces`. Longer than `limit` characters, it is cut with an ellipsis.
    """
    one_line = text if keeps_spaces else " ".join(text.split())
    clean = "".join("\ufffd" if unicodedata.category(char) in _UNPRINTABLE else char for char in one_line)
    return clean if limit is None or len(clean) <= limit else clean[: limit - 1] + "…"


def km(distance_km: float) -> str:
    """A distance with as many digits as mean something: `0.4 km`, `12 km`, `1,250 km`."""
    if distance_km < 9.95:
        return f"{distance_km:.1f} km"
    step = 1 if distance_km < 995 else 10
    return f"{round(distance_km / step) * step:,.0f} km"


def square_km(area_km2: float) -> str:
    """An area with three digits: `0.04 km²`, `1,240 km²`, `12.3 million km²`."""
    if area_km2 < 0.995:
        return f"{area_km2:.2f} km²"
    if area_km2 < 9.95:
        return f"{area_km2:.1f} km²"
    unit, name = (1e6, "million km²") if area_km2 >= 999_500.0 else (1.0, "km²")
    rounded = float(f"{area_km2:.3g}") / unit
    return f"{rounded:,.0f} {name}" if unit == 1.0 else f"{rounded:g} {name}"


def percent(probability: float) -> str:
    """A probability in per cent; never a rounded 0 or 100."""
    if 0.0 < probability < 0.01:
        return "< 1 %"
    if 0.99 < probability < 1.0:
        return "> 99 %"
    return f"{probability * 100:.0f} %"


NO_ANSWER = {
    AnswerStatus.ABSTAINED: "GeoSleuth abstains",
    AnswerStatus.REFUSED: "the model refused",
    AnswerStatus.UNPARSABLE: "the model's reply cannot be used",
    AnswerStatus.FAILED: "the model could not be reached",
}


NOTHING_TO_GO_BY = "Next to nothing to go by"


def heading(answer: Answer) -> str:
    """The answer's place, named no finer than its level; or that there is none, or nothing to go by."""
    if answer.point is None:
        return f"No answer: {NO_ANSWER.get(answer.status, answer.status.value)}"
    if tells_nothing(answer):
        return NOTHING_TO_GO_BY
    if answer.place is None:
        return str(answer.point)
    place = answer.place
    names = {
        Level.REGION: (place.region, place.country),
        Level.COUNTRY: (place.country,),
        Level.CONTINENT: (_vague_name(place.country, answer.radius_50_km),),
    }.get(answer.level or Level.CITY, (place.city, place.region, place.country))
    return printable(", ".join(dict.fromkeys(name for name in names if name)))


def _vague_name(country: str, radius_50_km: float | None) -> str:
    is_guess = radius_50_km is not None and radius_50_km > CONTINENT_KM
    return f"Hard to tell; at a guess, {country}" if is_guess else f"Around {country}"


def tells_nothing(answer: Answer) -> bool:
    """Whether no evidence moved the belief: the answer is where photos are taken. Unknown of answers of old runs."""
    told = any(evidence.information_nats >= TELLING_NATS for evidence in answer.evidence)
    return bool(answer.point and answer.chance_within_km) and not told


def source_text(source: Source | None) -> str:
    """The tool and the first characters of its result's hash, or that the claim has no source."""
    if source is None:
        return "opinion, no source"
    return f"{printable(source.tool)} · {source.result_sha256[:_SHORT_HASH]}"


def evidence_label(evidence: Evidence) -> str:
    """The id by which the reasoning cites a piece of evidence, and its kind."""
    return f"{printable(evidence.id)} {evidence.kind.value.replace('_', ' ')}"


def tile_text(tile: TileMatch) -> str:
    """A satellite tile, and how much of the belief lies in it."""
    return f"{percent(tile.probability)}, satellite tile {printable(tile.title, 120)}"


def evidence_source(evidence: Evidence) -> str:
    """The id and kind of a piece of evidence, and where it comes from."""
    return f"{evidence_label(evidence)} · {source_text(evidence.source)}"


def hypothesis_text(hypothesis: Hypothesis) -> str:
    """Probability and radius of a hypothesis, and its status unless it is open."""
    status = "" if hypothesis.status is HypothesisStatus.OPEN else f", {hypothesis.status.value}"
    return f"{percent(hypothesis.probability)}, radius {km(hypothesis.radius_km)}{status}"


def radii_text(answer: Answer) -> str | None:
    """Both radii on one line; None where the answer has none."""
    if answer.radius_50_km is None or answer.radius_90_km is None:
        return None
    return f"50 % within {km(answer.radius_50_km)}, 90 % within {km(answer.radius_90_km)}"


def radius_note(answer: Answer) -> str:
    """What the radii rest on: the user's calibration, the fitted belief, or, in answers of old runs, nothing."""
    if answer.radius_is_calibrated:
        return "calibrated"
    return "fitted on other photos" if answer.chance_within_km else "not calibrated"


_BARS = "▁▂▃▄▅▆▇█"


def chances(answer: Answer) -> list[tuple[str, float]]:
    """Chance that the truth lies within each distance of the point, nearest first; none for answers of old runs."""
    return [(f"{within:,} km", chance) for within, chance in sorted(answer.chance_within_km.items())]


def chances_text(answer: Answer) -> str | None:
    """All chances on one line: `within 1 km 12 % · 25 km 48 % · …`; None where the answer has none."""
    parts = [f"{within} {percent(chance)}" for within, chance in chances(answer)]
    return f"within {' · '.join(parts)}" if parts else None


def chance_bars(answer: Answer) -> str:
    """A column for each chance, as one character each: `▁▄▆▇█`; empty where the answer has none."""
    return "".join(_BARS[max(round(chance * len(_BARS)), 1) - 1] for _, chance in chances(answer))


def confidence_heading(answer: Answer) -> str:
    """What the confidence is a chance of: `within 25 km`; for an answer of an old run, `confidence`."""
    if answer.point is None:
        return "confidence of the best guess"
    return f"within {LEVEL_KM[answer.level]:,.0f} km" if answer.chance_within_km and answer.level else "confidence"


def confidence_text(answer: Answer) -> str:
    """The confidence, with the distance that it holds for; of an old run, with the ledger's own probability."""
    within = f" {confidence_heading(answer)}" if answer.chance_within_km and answer.point else ""
    note = f" ({_calibration_note(answer)})" if answer.radius_is_calibrated else ""
    return f"{percent(answer.confidence)}{within}{note}"


def areas_text(answer: Answer) -> str | None:
    """The smallest areas that hold the truth half and nine tenths of the time, in words; None: the answer has none."""
    if answer.area_50_km2 is None or answer.area_90_km2 is None:
        return None
    drawn = {area.share: area_text(area) for area in answer.areas}
    half, most = drawn.get(0.5, square_km(answer.area_50_km2)), drawn.get(0.9, square_km(answer.area_90_km2))
    return f"half of such photos lie in {half}, nine tenths in {most}"


_SCATTERED = 3.0
"""Set by hand: an outline that covers more than so many times its area goes around scattered places."""


def is_scattered(area: CredibleArea) -> bool:
    """Whether the outline of an area covers far more than the area: it is drawn around many small places."""
    return area.outline_km2 is not None and area.outline_km2 > _SCATTERED * area.area_km2


def short_area_text(area: CredibleArea) -> str:
    """The size of an area, with a word where its outline covers far more.

    >>> short_area_text(CredibleArea(share=0.5, area_km2=48_223.0, outline_km2=5.66e7, polygons=()))
    '48,200 km² scattered'
    """
    return square_km(area.area_km2) + is_scattered(area) * " scattered"


def area_text(area: CredibleArea) -> str:
    """The size of an area, and of its outline where that is far larger.

    >>> area_text(CredibleArea(share=0.5, area_km2=48_223.0, outline_km2=5.66e7, polygons=()))
    '48,200 km² scattered over 56.6 million km²'
    """
    return short_area_text(area) + is_scattered(area) * f" over {square_km(area.outline_km2 or 0.0)}"


_TOLD = ((0.05, "hardly anything"), (0.7, "a little"), (1.6, "something"), (3.0, "much"))
"""Words for information below so many nats, by hand. 0.7 nats tell as much as halving the area, 3 as a twentieth."""


def has_information(answer: Answer) -> bool:
    """Whether the answer says what its evidence told; those of old runs do not."""
    return any(evidence.information_nats for evidence in answer.evidence)


def information_text(evidence: Evidence) -> str:
    """How much a piece of evidence told, in words and in nats: `something (1.2 nats)`."""
    nats = evidence.information_nats
    word = next((word for below, word in _TOLD if nats < below), "very much")
    return f"{word} ({nats:.{2 if nats < 0.095 else 1}f} nats)"


def certainty_note(answer: Answer) -> str:
    """Whether confidence and radii are calibrated, and how fine the answer is."""
    level = answer.level.value if answer.level else "unknown"
    calibrated = _calibration_note(answer) if answer.radius_is_calibrated else f"radius {radius_note(answer)}"
    return f"{calibrated} · level: {level}"


def _calibration_note(answer: Answer) -> str:
    """In old runs a calibrated confidence is not the probability that the ledger gives the hypothesis: show both."""
    is_old = answer.hypotheses and not answer.chance_within_km
    ledger = f"; the ledger says {percent(answer.hypotheses[0].probability)}" if is_old else ""
    return f"{radius_note(answer)}{ledger}"


def cost_text(answer: Answer) -> str:
    """The cost of the answer, on one line."""
    cost = answer.cost
    parts = [f"{cost.seconds:.2f} s", _counted(cost.tool_calls, "tool call"), _counted(cost.model_calls, "model call")]
    return " · ".join(parts + _token_parts(cost))


def model_costs(cost_by_model: Mapping[str, Cost]) -> list[str]:
    """What each model of a jury used, one line a model, dearest first."""
    dearest = sorted(cost_by_model.items(), key=lambda item: (-item[1].usd, -item[1].tokens, item[0]))
    return [
        " · ".join(
            [
                f"{printable(model)}: {_counted(cost.model_calls, 'model call')}",
                *_token_parts(cost),
                f"{cost.seconds:.2f} s",
            ]
        )
        for model, cost in dearest
    ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _token_parts(cost: Cost) -> list[str]:
    tokens = [f"{cost.tokens:,} tokens"] if cost.tokens else []
    return tokens + ([f"${cost.usd:.4f}"] if cost.usd else [])


def versions_text(answer: Answer) -> str:
    """Versions of all that produced the answer, on one line."""
    versions = answer.versions
    atlases = ", ".join(filter(None, (*versions.atlases, versions.satellite_atlas))) or "no atlas"
    parts = [f"geosleuth {versions.geosleuth}", versions.encoder, versions.satellite_encoder, atlases]
    parts += [versions.model, versions.strategy]
    return printable(" · ".join(part for part in parts if part))


@dataclass(frozen=True)
class LocatedPhoto:
    """An answer, the photo's name on the command line, and a small picture of it if one is to be shown.

    `thumbnail_jpeg` is made from decoded pixels: it carries no metadata of the file.
    """

    name: str
    answer: Answer
    thumbnail_jpeg: bytes | None = field(default=None, repr=False)


class CredibleCircle(NamedTuple):
    """A circle around the answer that holds the true position with a probability of `share`."""

    centre: Point
    share: float
    radius_km: float


def credible_circles(answer: Answer) -> list[CredibleCircle]:
    """The 90 % and the 50 % circle, largest first; none without a position."""
    if answer.point is None:
        return []
    radii_km = ((0.9, answer.radius_90_km), (0.5, answer.radius_50_km))
    return [CredibleCircle(answer.point, share, radius) for share, radius in radii_km if radius is not None]


def alternatives(answer: Answer, count: int = 3) -> list[tuple[int, Hypothesis]]:
    """The best hypotheses that the answer did not choose, each with its number among all of them."""
    first = 0 if answer.point is None else 1
    return list(enumerate(answer.hypotheses[first : first + count], first + 1))
