"""The signs that a run has read in its photo."""

from __future__ import annotations

from collections.abc import Sequence

from belief.witnesses.countries import MIN_SIGN_CONFIDENCE
from graphs.state import ToolRecord
from tools.results import Sign, SignsRead


def signs_of(records: Sequence[ToolRecord]) -> list[Sign]:
    """Every sign read with confidence, in order, each text once."""
    signs = {sign.text: sign for _, result in readings_of(records) for sign in result.signs}
    return [sign for sign in signs.values() if sign.confidence >= MIN_SIGN_CONFIDENCE]


def readings_of(records: Sequence[ToolRecord]) -> list[tuple[ToolRecord, SignsRead]]:
    """Every reading of signs with the record of its call."""
    return [(r, SignsRead.model_validate(r.result)) for r in records if r.tool == "read_signs" and r.result is not None]
