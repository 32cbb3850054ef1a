"""What the doctor says about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version


class State(StrEnum):
    """How a thing stands."""

    OK = "ok"
    MISSING = "missing"
    """Not here; what it would add is optional."""
    PROBLEM = "problem"
    """Here and not usable, or needed and not here."""
    UNKNOWN = "not tried"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: what it belongs to.
        name: what it is.
        state: how it stands.
        detail: version, size, or what is wrong.
        adds: what it would add, if it is not there.
        get: the command that gets it.
    """

    area: str
    name: str
    state: State
    detail: str = ""
    adds: str = ""
    get: str = ""


def installed(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
