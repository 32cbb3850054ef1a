"""Which tool results may be cited about which hypothesis: those about that place, or about the photo as a whole.

A picture of one place says nothing about another, however often it is cited. Without this rule one satellite view of
the first of eight places, judged to fit all eight, raised what they hold together from 24 to 74 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from agents.schemas import Hypothesis
from belief.support import Disc
from geo.sphere import distance_km
from graphs.context import SEARCH_TOOL
from graphs.state import Opinion, ToolRecord

LEAST_RADIUS_KM = 2.0
"""Of a hypothesis, by hand: models round the positions that they look at."""

_OF_THE_PHOTO = frozenset({"read_signs", "look_closer", "sun_check"})
_SEARCHES = frozenset({SEARCH_TOOL, "rank_regions"})


class Citation(NamedTuple):
    """A judgement's call: its record, if there is one, and whether it may be cited about the hypothesis."""

    record: ToolRecord | None
    is_about_the_place: bool

    @property
    def is_valid(self) -> bool:
        """Whether the judgement has weight."""
        return self.record is not None and self.is_about_the_place


def citation(opinion: Opinion, about: Hypothesis, records: Mapping[str, ToolRecord]) -> Citation:
    """What an opinion about a hypothesis cites, among the records of calls that succeeded, by call id."""
    record = records.get(opinion.tool_call_id or "")
    return Citation(record, record is not None and concerns(record, about))


def citation_notes(
    opinions: Sequence[Opinion], hypotheses: Sequence[Hypothesis], records: Sequence[ToolRecord]
) -> list[str]:
    """One line for each judgement that has no weight because it cites the result of another place."""
    known, by_call = {h.id: h for h in hypotheses}, succeeded(records)
    cited = [(o, citation(o, known[o.hypothesis_id], by_call)) for o in opinions if o.hypothesis_id in known]
    return [
        f"a judgement of {known[opinion.hypothesis_id].name} has no weight: the result of {found.record.tool} that it"
        " cites is about another place"
        for opinion, found in cited
        if found.record is not None and not found.is_about_the_place
    ]


def succeeded(records: Sequence[ToolRecord]) -> dict[str, ToolRecord]:
    """Records of calls that succeeded, by call id."""
    return {record.call_id: record for record in records if record.result is not None}


def concerns(record: ToolRecord, about: Hypothesis) -> bool:
    """Whether a result may be cited about a hypothesis.

    It may if it is about the photo, if a position that it is about lies in the hypothesis's circle, or the hypothesis
    in the circle that was searched; and if it is about no position at all. What a call was asked about counts before
    what it found: the places around a wide view are not what it shows.
    """
    if record.tool in _OF_THE_PHOTO:
        return True
    if record.tool in _SEARCHES:
        asked: Any = record.arguments.get("near")
        return not asked or _any_near(list(_discs(asked)), about)
    if record.tool == "find_place":
        return _any_near(list(_discs(record.result)), about)
    discs = list(_discs(record.arguments)) or list(_discs(record.result))
    return not discs or _any_near(discs, about)


def _any_near(discs: Sequence[Disc], about: Hypothesis) -> bool:
    radius_km = max(about.radius_km, LEAST_RADIUS_KM)
    return any(
        float(distance_km((disc.lat_deg, disc.lon_deg), (about.point.lat, about.point.lon)))
        <= max(radius_km, disc.radius_km)
        for disc in discs
    )


def _discs(value: Any) -> Iterator[Disc]:
    """Positions and circles in JSON values, however deep: `lat` and `lon`, or a `centre`; some with a `radius_km`."""
    if isinstance(value, Mapping):
        centre = value["centre"] if isinstance(value.get("centre"), Mapping) else value
        if _is_number(centre.get("lat")) and _is_number(centre.get("lon")):
            radius_km = value.get("radius_km")
            yield Disc(float(centre["lat"]), float(centre["lon"]), float(radius_km) if _is_number(radius_km) else 0.0)
            return
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _discs(inner)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
