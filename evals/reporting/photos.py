"""What a report shows of each photo: plain data, cut to what a person reads."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.chat_models.spec import short_name
from agents.schemas import LEVEL_KM
from evals.runs.records import EvalRecord, LatLon, PlaceNames, RecordStatus, read_records
from evals.runs.transcripts import TranscriptCall, TranscriptMessage, read_transcripts
from evals.scores.arrays import System
from geo.places.continents import continent_of
from geo.sphere import distance_km
from retrieval.photos.photo import PhotoError, load_photo
from retrieval.photos.thumbnail import thumbnail_jpeg

THUMBNAIL_PX = 168
CLAIMS, HYPOTHESES, CANDIDATES, REPLIES = 12, 6, 6, 4
SHORT, LONG, MESSAGE = 300, 1500, 6000
MOST_CHARACTERS = 12_000_000
"""Of transcripts on a page."""
Data = dict[str, Any]


def photo_data(systems: Sequence[System], files: Mapping[str, Path]) -> Data:
    """Photos, and each system's answers in the photos' order; None where a system has no such photo.

    Args:
        systems: of one or several runs.
        files: the file of each photo id, where there is one; thumbnails are made from their pixels alone.
    """
    records = [{r.photo: r for r in read_records(s.run) if r.strategy == s.strategy} for s in systems]
    first: dict[str, EvalRecord] = {}
    for own in records:
        for photo, record in own.items():
            first.setdefault(photo, record)
    names = sorted(first)
    return {
        "systems": [{"label": s.label, "strategy": s.strategy} for s in systems],
        "photos": [_photo(first[name], files.get(next(iter(first[name].photos), name))) for name in names],
        "answers": [[_answer(own[name]) if name in own else None for name in names] for own in records],
    }


def add_transcripts(data: Data, systems: Sequence[System]) -> None:
    """Add what was said to models and what they replied to the answers; each text once, and not more than a page holds.

    Every text is kept in `data["texts"]`, and calls name its place there.
    """
    texts, by_run = _Texts(), {s.run: read_transcripts(s.run) for s in systems}
    for s, answers in zip(systems, data["answers"], strict=True):
        for photo, answer in zip(data["photos"], answers, strict=True):
            kept = by_run[s.run].get((photo["id"], s.strategy))
            if answer is None or kept is None:
                continue
            if texts.characters < MOST_CHARACTERS:
                answer["calls"] = [_call(call, texts) for call in kept.calls]
            else:
                answer["more"] = ", ".join(filter(None, [answer["more"], "the transcript"]))
    data["texts"] = texts.every


class _Texts:
    """Texts of a page, each of them once."""

    def __init__(self) -> None:
        self.every: list[str] = []
        self.characters = 0
        self._place: dict[str, int] = {}

    def place(self, text: str) -> int | None:
        """Where a text is; None for an empty one."""
        short = _cut(text, MESSAGE)
        if short and short not in self._place:
            self._place[short] = len(self.every)
            self.every.append(short)
            self.characters += len(short)
        return self._place.get(short)


def _call(call: TranscriptCall, texts: _Texts) -> Data:
    return {
        "model": short_name(call.model),
        "repeated": call.repeated,
        "sent": [_message(message, texts) for message in call.sent],
        "reply": _message(call.reply, texts) if call.reply else None,
        "reasoning": texts.place(call.reasoning),
        "finish": call.finish_reason,
        "tokens": call.tokens,
        "error": call.error,
    }


def _message(message: TranscriptMessage, texts: _Texts) -> Data:
    calls = [texts.place(call) for call in message.tool_calls]
    return {"role": message.role, "tool": message.tool, "text": texts.place(message.text), "calls": calls}


def _photo(record: EvalRecord, file: Path | None) -> Data:
    return {
        "id": record.photo,
        "at": record.truth,
        "place": _place(record.truth_place),
        "country": record.truth_place.country_code if record.truth_place else "",
        "continent": continent_of(record.truth_place.country_code if record.truth_place else None),
        "strata": {name: f"{value:g}" if isinstance(value, float) else value for name, value in record.strata.items()},
        "flags": list(record.flags),
        "image": _thumbnail(record, file) if file else None,
    }


def _place(place: PlaceNames | None) -> str:
    names = (place.city, place.region, place.country_code) if place else ()
    return ", ".join(dict.fromkeys(name for name in names if name))


def _thumbnail(record: EvalRecord, file: Path) -> str | None:
    """A small JPEG of the very photo that was answered, as a data URI; None if the file is another, or no photo."""
    try:
        photo = load_photo(file)
    except PhotoError:
        return None
    if photo.sha256 != record.photo_sha256:
        return None
    picture = thumbnail_jpeg(photo, THUMBNAIL_PX, quality=68)
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def _answer(record: EvalRecord) -> Data:
    point = record.point if record.status is RecordStatus.ANSWERED else None
    return {
        "status": record.status.value,
        "at": point,
        "km": _away_km(record, point) if point else None,
        "radii": [record.radius_50_km, record.radius_90_km],
        "confidence": record.confidence,
        "sure": record.chance_within_km.get(25, record.confidence),
        "chances": list(record.chance_within_km.items()),
        "areas": [[record.area_50_km2, record.is_in_area_50], [record.area_90_km2, record.is_in_area_90]],
        "level": f"{record.level.value} (about {LEVEL_KM[record.level]:g} km)" if record.level else None,
        "place": _place(record.place),
        "cost": record.cost.model_dump(),
        "costs": [[model, cost.model_dump()] for model, cost in record.cost_by_model.items()],
        "excluded": record.excluded,
        "hypotheses": [
            [_cut(h.name), h.point, round(h.radius_km), round(h.probability, 4), _away_km(record, h.point)]
            for h in record.hypotheses[:HYPOTHESES]
        ],
        "evidence": [
            [e.kind.value, _cut(e.claim), e.tool, round(e.nats, 2), e.information_nats]
            for e in record.evidence[:CLAIMS]
        ],
        "candidates": list(_candidates(record)),
        "tiles": list(_tiles(record)),
        "reasoning": _cut(record.reasoning, LONG),
        "replies": [_cut(reply, LONG) for reply in record.raw_replies[:REPLIES]],
        "more": _left_out(record),
        "error": record.error,
    }


def _candidates(record: EvalRecord) -> Iterator[list[Any]]:
    for candidate in record.candidates[:CANDIDATES]:
        similarity, away_km = round(candidate.similarity, 3), _away_km(record, candidate.point)
        yield [candidate.atlas, candidate.rank, similarity, candidate.point, away_km]


def _tiles(record: EvalRecord) -> Iterator[list[Any]]:
    for tile in record.matches:
        picture = f"data:image/jpeg;base64,{tile.jpeg_base64}" if tile.jpeg_base64 else None
        numbers = [round(tile.similarity, 3), tile.probability, tile.point, _away_km(record, tile.point)]
        yield [_cut(tile.title), *numbers, picture]


def _left_out(record: EvalRecord) -> str:
    """What the page does not show of a record."""
    lists = {
        "hypotheses": len(record.hypotheses) - HYPOTHESES,
        "pieces of evidence": len(record.evidence) - CLAIMS,
        "candidates": len(record.candidates) - CANDIDATES,
        "replies": len(record.raw_replies) - REPLIES,
    }
    return ", ".join(f"{count} more {name}" for name, count in lists.items() if count > 0)


def _away_km(record: EvalRecord, point: LatLon) -> float:
    return round(float(distance_km(record.truth, point)), 3)


def _cut(text: str, limit: int = SHORT) -> str:
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters)"
