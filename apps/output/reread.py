"""Items that are read anew each time they are gone through: however many there are, one is in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from typing_extensions import override

Item = TypeVar("Item", covariant=True)


class Reread(Collection[Item]):
    """A collection of a known size over a function that goes through its items."""

    def __init__(self, count: int, items: Callable[[], Iterator[Item]]) -> None:
        self._count, self._items = count, items

    @override
    def __len__(self) -> int:
        return self._count

    @override
    def __iter__(self) -> Iterator[Item]:
        return self._items()

    @override
    def __contains__(self, item: object) -> bool:
        return any(item == other for other in self)
