"""Locate photos from Python, watching the steps: `python -m examples.locate_in_python PHOTO…`."""

from __future__ import annotations

import sys

from apps.output.formatting import heading, km
from graphs.events.steps import Answered
from graphs.settings import make_settings
from graphs.system import GeoSleuth
from retrieval.photos.photo import load_photo


def main() -> None:
    """Print each step of each photo, then the answer."""
    with GeoSleuth.open(make_settings(read_signs=False)) as system:
        for path in sys.argv[1:]:
            for event in system.stream(load_photo(path)):
                if not isinstance(event, Answered):
                    sys.stdout.write(f"  {event.step}: {event.text}\n")
                    continue
                answer = event.answer
                radius = f", 90 % within {km(answer.radius_90_km)}" if answer.radius_90_km is not None else ""
                sys.stdout.write(f"{path}: {heading(answer)}{radius}\n")


if __name__ == "__main__":
    main()
