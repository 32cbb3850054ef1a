"""Leases: what a process works on is its own until a time, which it puts off; of one that died, another takes it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from core.closing import Closing

_RENEWALS = 3
"""Renewals within the time of a lease: two may be late before it is lost."""

Renew = Callable[[], bool]
"""Renews a lease; False: somebody else has it."""


class Lease:
    """A lease that is renewed until it is let go.

    Attributes:
        lost: set when somebody else has taken it; then nothing of this work counts.
    """

    def __init__(self, renew: Renew) -> None:
        self.lost = threading.Event()
        self._renew = renew

    def renew(self) -> None:
        """Renew it once."""
        if not self._renew():
            self.lost.set()


class LeaseKeeper(Closing):
    """Renews all leases of this process, from one thread."""

    def __init__(self, lease_s: float) -> None:
        self._every_s = lease_s / _RENEWALS
        self._held: set[Lease] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="leases", daemon=True)
        self._thread.start()

    def keep(self, renew: Renew) -> Lease:
        """Renew a lease from now on."""
        lease = Lease(renew)
        with self._lock:
            self._held.add(lease)
        return lease

    def let_go(self, lease: Lease) -> None:
        """Stop renewing it."""
        with self._lock:
            self._held.discard(lease)

    def close(self) -> None:
        """Stop renewing all."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._closed.wait(self._every_s):
            with self._lock:
                held = tuple(self._held)
            for lease in held:
                try:
                    lease.renew()
                except SQLAlchemyError:
                    logging.getLogger("geosleuth.service").exception("a lease could not be renewed; trying again")
