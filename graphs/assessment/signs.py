"""The signs that a run has read, in the whole photo and in close-ups of it."""

from __future__ import annotations

from collections.abc import Sequence

from belief.witnesses.countries import MIN_SIGN_CONFIDENCE
from geo.places.names import name_key
from graphs.state import ToolRecord
from tools.results import Box, CloseUps, Sign, SignsRead

SAME_SIGN_OVERLAP = 0.5
"""Of the smaller of two boxes, by hand: two readings of one line differ by its margins."""


def signs_of(records: Sequence[ToolRecord]) -> list[Sign]:
    """Every sign read with confidence, in order, each once: of several readings of a sign, the fullest."""
    return [sign for _, sign in signs_by_photo(records)]


def signs_by_photo(records: Sequence[ToolRecord]) -> list[tuple[str, Sign]]:
    """The same signs, each with the id of the photo that it was read in; one on two photos counts once."""
    kept: list[tuple[str, Sign]] = []
    for record, reading in readings_of(records):
        earlier = list(kept)
        photo_id = str(record.arguments.get("photo_id", ""))
        for sign in (sign for sign in reading.signs if sign.confidence >= MIN_SIGN_CONFIDENCE):
            read = (photo_id, sign)
            again = [other for other in kept if _is_same(read, other, other in earlier)]
            if not again:
                kept.append(read)
            elif all(_fullness(sign) > _fullness(other) for _, other in again):
                kept[kept.index(again[0])] = read
                kept = [other for other in kept if other not in again[1:]]
    return kept


def _is_same(one: tuple[str, Sign], two: tuple[str, Sign], is_another_reading: bool) -> bool:
    """Whether both are one sign: the same words, or, in two readings of a photo, at the same place in it."""
    (photo, sign), (other_photo, other) = one, two
    same_words = sign.text == other.text or (bool(sign.text) and name_key(sign.text) == name_key(other.text))
    is_reread = is_another_reading and photo == other_photo
    return same_words or (is_reread and _overlap(sign.box, other.box) >= SAME_SIGN_OVERLAP)


def _overlap(one: Box, other: Box) -> float:
    """The common area of two boxes, as a share of the smaller one."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    smaller = min((box.right - box.left) * (box.bottom - box.top) for box in (one, other))
    return max(0.0, width) * max(0.0, height) / smaller


def _fullness(sign: Sign) -> float:
    return len(sign.text) * sign.confidence


def readings_of(records: Sequence[ToolRecord]) -> list[tuple[ToolRecord, SignsRead]]:
    """Every reading of signs with the record of its call: of the whole photo, of a box, of each close-up."""
    return [(record, reading) for record in records for reading in _readings(record)]


def tried_to_read(records: Sequence[ToolRecord]) -> bool:
    """Whether any call read signs, or failed to."""
    return any(record.tool == "read_signs" or _readings(record) for record in records)


def _readings(record: ToolRecord) -> list[SignsRead]:
    if record.result is None:
        return []
    if record.tool == "read_signs":
        return [SignsRead.model_validate(record.result)]
    if record.tool == "look_closer":
        found = CloseUps.model_validate(record.result).close_ups
        return [close_up.reading for close_up in found if close_up.reading is not None]
    return []
