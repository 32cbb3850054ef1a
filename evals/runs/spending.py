"""Money: counted as it is spent, and held to a limit before each call of a model."""

from __future__ import annotations

import threading


class MoneySpentError(Exception):
    """One more call could exceed the limit: the run stops here, and resumes with a higher one."""


class Spending:
    """What a run has spent in US dollars. Safe between threads.

    Before each call the price of the dearest call so far is set aside (at first an assumption), so that calls under
    way count too: the limit is exceeded only if a call turns out dearer than all before it. A call belongs to its
    thread; one that never came back is forgotten when its thread ends or calls again.

    Args:
        limit_usd: None: no limit.
        spent_usd: by earlier sittings of the run.
        assumed_usd: of one call, before one was seen.
    """

    def __init__(self, limit_usd: float | None = None, spent_usd: float = 0.0, assumed_usd: float = 0.0) -> None:
        self._limit_usd, self._spent_usd, self._dearest_usd = limit_usd, spent_usd, assumed_usd
        self._under_way: set[threading.Thread] = set()
        self._lock = threading.Lock()

    @property
    def spent_usd(self) -> float:
        """By all sittings so far."""
        with self._lock:
            return self._spent_usd

    def start_from(self, usd: float) -> None:
        """What earlier sittings have spent, where more than was known."""
        with self._lock:
            self._spent_usd = max(self._spent_usd, usd)

    def reserve(self) -> None:
        """Set money aside for a call of this thread.

        Raises:
            MoneySpentError: the limit would not hold it.
        """
        with self._lock:
            me = threading.current_thread()
            self._under_way = {thread for thread in self._under_way if thread.is_alive() and thread is not me}
            due = self._spent_usd + (len(self._under_way) + 1) * self._dearest_usd
            if self._limit_usd is not None and (due > self._limit_usd or 0.0 < self._spent_usd >= self._limit_usd):
                raise MoneySpentError(f"US$ {self._spent_usd:.4f} of {self._limit_usd:g} are spent")
            self._under_way.add(me)

    def charge(self, usd: float) -> None:
        """This thread's call came back, and what it cost."""
        with self._lock:
            self._under_way.discard(threading.current_thread())
            self._spent_usd += usd
            self._dearest_usd = max(self._dearest_usd, usd)
