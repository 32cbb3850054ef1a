"""Damaged files give the right answer or one clear line: a part of `make fuzz`, the same cases every time."""

from __future__ import annotations

import pytest

from core.errors import UserError
from core.json_text import parse_json
from tests.fuzz.cases import Case, Limits, check, make
from tests.fuzz.targets import TARGETS, other_kinds

SEED = 20
CASES = 270
SLOW_CASES = {
    "reply-asked": 40,
    "reply-parsed": 80,
    "results-jsonl": 120,
    "thread": 120,
    "atlas-faiss": 120,
    "audit": 60,
    "tile-cache": 60,
    "jobs": 60,
}
"""Of targets that take longer than a few milliseconds each."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_understood_or_refused_in_one_line(name: str) -> None:
    target = TARGETS[name]
    assert target.answer == target.answer, "the whole files must be readable, and always say the same"
    for number in range(SLOW_CASES.get(name, CASES)):
        case = Case(SEED, target, number)
        check(case, make(case, other_kinds()), Limits())


def test_a_case_is_the_same_whenever_it_is_made() -> None:
    case = Case(7, TARGETS["results-jsonl"], 3)
    assert make(case, other_kinds()) == make(case, other_kinds())
    assert make(case, other_kinds()) != make(case._replace(number=4), other_kinds())


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, "{", "", "\ufeff", b"\xff\xfe\xfd"])
def test_json_that_cannot_be_parsed_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)


@pytest.mark.parametrize("text", ['\ufeff{"a": "x\u2028y"}', b'\xef\xbb\xbf{"a": "x\xe2\x80\xa8y"}'])
def test_json_with_a_byte_order_mark_is_read(text: str | bytes) -> None:
    assert parse_json(text) == {"a": "x\u2028y"}


def test_an_error_is_one_line_whatever_it_quotes() -> None:
    assert str(UserError("no file a\nb\u2028c\x85d: give another")) == "no file a b c d: give another"
