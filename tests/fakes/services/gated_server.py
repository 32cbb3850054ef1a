"""`geosleuth serve` whose chat model waits for a file: `-m tests.fakes.services.gated_server GATE CALLS OPTIONS`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from apps.cli import main
from apps.service.service import GeolocationService
from tests.fakes.services import gated

if __name__ == "__main__":
    gate, free_calls, *options = sys.argv[1:]
    plain = GeolocationService.open

    def opened(*arguments: Any, **named: Any) -> GeolocationService:
        return plain(*arguments, **named, model=gated(Path(gate), int(free_calls)))

    GeolocationService.open = opened  # type: ignore[method-assign]
    main(["serve", *options])
