"""The signs of a run: each once, however often it was read."""

from __future__ import annotations

from collections.abc import Sequence

from agents.schemas import EvidenceKind
from graphs.assessment.signs import readings_of, signs_of, tried_to_read
from graphs.state import ToolRecord
from tests.graphs.assessment.run_states import record
from tests.graphs.assessment.test_evidence import PRAGUE, nats_at, only, told_by
from tools.results import Box, CloseUp, CloseUps, Sign, SignsRead

Line = tuple[str, float, tuple[float, float, float, float]]
HERE = (0.40, 0.40, 0.50, 0.44)
BELOW = (0.40, 0.50, 0.50, 0.54)


def read(*lines: Line) -> SignsRead:
    return SignsRead(
        signs=tuple(
            Sign(text=text, confidence=confidence, box=Box.model_validate(box), script="Latin", languages=())
            for text, confidence, box in lines
        )
    )


def in_whole(*lines: Line) -> ToolRecord:
    return record("read_signs", read(*lines))


def closer(*parts: Sequence[Line]) -> ToolRecord:
    box = Box(left=0.3, top=0.3, right=0.6, bottom=0.6)
    found = tuple(CloseUp(box=box, width_px=900, height_px=600, reading=read(*lines)) for lines in parts)
    return record("look_closer", CloseUps(close_ups=found))


def texts(*records: ToolRecord) -> list[str]:
    return [sign.text for sign in signs_of(records)]


def test_a_close_up_adds_what_it_read() -> None:
    assert texts(in_whole(("Hotel", 0.9, HERE)), closer([("obchod.cz", 0.9, BELOW)])) == ["Hotel", "obchod.cz"]


def test_the_same_words_count_once_wherever_they_stand() -> None:
    assert texts(in_whole(("Hotel Praha", 0.9, HERE)), closer([("HOTEL PRAHA", 0.8, BELOW)])) == ["Hotel Praha"]


def test_of_two_readings_of_a_sign_the_fuller_stays_in_either_order() -> None:
    rough, clear = ("Hotel Pra", 0.75, HERE), ("Hotel Praha", 0.95, (0.401, 0.40, 0.51, 0.442))
    assert texts(in_whole(rough), closer([clear])) == ["Hotel Praha"]
    assert texts(in_whole(clear), closer([rough])) == ["Hotel Praha"]
    assert texts(closer([rough], [clear])) == ["Hotel Praha"], "of two parts of one call too"


def test_a_close_up_that_splits_a_line_counts_it_once() -> None:
    whole = in_whole(("Hotel Praha", 0.95, HERE))
    halves = [("Hotel", 0.99, (0.40, 0.40, 0.44, 0.44)), ("Praha", 0.99, (0.45, 0.40, 0.50, 0.44))]
    assert texts(whole, closer(halves)) == ["Hotel Praha"]


def test_lines_of_one_reading_are_not_merged_for_their_boxes() -> None:
    assert texts(in_whole(("Hotel", 0.9, HERE), ("Praha", 0.9, HERE))) == ["Hotel", "Praha"]


def test_signs_may_not_have_been_read() -> None:
    box = Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
    unread = record("look_closer", CloseUps(close_ups=(CloseUp(box=box, width_px=9, height_px=9),)))
    assert readings_of([unread]) == []
    assert not tried_to_read([unread])
    assert tried_to_read([closer([])])


def test_a_domain_in_a_close_up_is_evidence_and_no_more_where_it_was_read_before() -> None:
    seen = closer([("www.obchod.cz", 0.95, HERE)])
    first = only(told_by(seen), EvidenceKind.SIGN)
    twice = only(told_by(in_whole(("www.obchod.cz", 0.9, HERE)), seen), EvidenceKind.SIGN)
    assert nats_at(first, PRAGUE.point)[0] > 1.0
    assert nats_at(twice, PRAGUE.point) == nats_at(first, PRAGUE.point)
