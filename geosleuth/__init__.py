"""GeoSleuth as a library: where was a photo taken, how sure is that, and why?

    from geosleuth import GeoSleuth, load_photo, make_settings

    with GeoSleuth.open(make_settings()) as system:
        answer = system.locate(load_photo("photo.jpg"))
        print(answer.point, answer.radius_90_km)

The names in `__all__` are the public interface. Each is loaded when it is first used; using one raises `ImportError`
where a package of another distribution has taken the name of one of ours.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from geosleuth.conflicts import package_conflict

if TYPE_CHECKING:
    from agents.schemas import Answer, AnswerStatus, Evidence, Hypothesis, Level
    from core.errors import UserError
    from geo.place import Place
    from geo.point import Point
    from graphs.events.steps import Answered, StepDone
    from graphs.settings import Settings, make_settings
    from graphs.state import CaptureClues
    from graphs.system import GeoSleuth
    from retrieval.candidate import Candidate
    from retrieval.photos.photo import Photo, PhotoError, load_photo

    __version__: str

__all__ = [
    "Answer",
    "AnswerStatus",
    "Answered",
    "Candidate",
    "CaptureClues",
    "Evidence",
    "GeoSleuth",
    "Hypothesis",
    "Level",
    "Photo",
    "PhotoError",
    "Place",
    "Point",
    "Settings",
    "StepDone",
    "UserError",
    "__version__",
    "load_photo",
    "make_settings",
]

_MODULES = {
    "agents.schemas": ("Answer", "AnswerStatus", "Evidence", "Hypothesis", "Level"),
    "core.errors": ("UserError",),
    "geo.place": ("Place",),
    "geo.point": ("Point",),
    "graphs.events.steps": ("Answered", "StepDone"),
    "graphs.settings": ("Settings", "make_settings"),
    "graphs.state": ("CaptureClues",),
    "graphs.system": ("GeoSleuth",),
    "retrieval.candidate": ("Candidate",),
    "retrieval.photos.photo": ("Photo", "PhotoError", "load_photo"),
}


if not TYPE_CHECKING:  # type checkers see the imports above, and nothing else

    def __getattr__(name: str) -> Any:
        """Load a public name at its first use.

        Raises:
            AttributeError: no such name.
            ImportError: another distribution's package stands where one of ours should.
        """
        if name == "__version__":
            return version("geosleuth")
        home = next((module for module, names in _MODULES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module 'geosleuth' has no attribute {name!r}")
        if problem := package_conflict():
            raise ImportError(problem)
        value = globals()[name] = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
