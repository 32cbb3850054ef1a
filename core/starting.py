"""Starting quickly: no garbage collection among modules and what is opened once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage inside, and never look at what is there at the end again: modules, schemas, indexes.

    They stay until the process ends. Looking through them again and again is a fifth of what a short command takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
