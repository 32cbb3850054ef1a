"""Locate photos from Python, watching the steps: `python -m examples.locate_in_python PHOTO…`."""

from __future__ import annotations

import sys

from geosleuth import Answered, GeoSleuth, load_photo, make_settings


def main() -> None:
    """Print each step of each photo, then the answer."""
    with GeoSleuth.open(make_settings(read_signs=False)) as system:
        for path in sys.argv[1:]:
            for event in system.stream(load_photo(path)):
                if not isinstance(event, Answered):
                    sys.stdout.write(f"  {event.step}: {event.text}\n")
                    continue
                answer = event.answer
                place = answer.place.name if answer.place else answer.status.value
                radius = f", 90 % within {answer.radius_90_km:,.0f} km" if answer.radius_90_km is not None else ""
                sys.stdout.write(f"{path}: {place} ({answer.point}){radius}\n")


if __name__ == "__main__":
    main()
