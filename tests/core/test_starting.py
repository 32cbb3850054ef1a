"""What is made at the start is never looked through by the garbage collector; what comes later is."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from core.starting import uncollected


class Knot:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_garbage_is_collected_again_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    knot = weakref.ref(Knot())
    gc.collect()
    assert knot() is None


def test_what_was_made_inside_is_left_alone() -> None:
    before = gc.get_freeze_count()
    with uncollected():
        kept = [Knot() for _ in range(1_000)]
    assert gc.get_freeze_count() >= before + len(kept)


def test_an_error_inside_turns_it_on_again_and_who_had_it_off_keeps_it_off() -> None:
    with pytest.raises(ValueError, match="broken"), uncollected():
        raise ValueError("broken")
    assert gc.isenabled()
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
