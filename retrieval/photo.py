"""Photos: decoded pixels, with their metadata kept apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geo.point import Point


@dataclass(frozen=True)
class PhotoMetadata:
    """What a file says about itself. Nothing downstream sees it unless the user allows it."""

    position: Point | None = None
    taken_at: str | None = None
    camera: str | None = None


@dataclass(frozen=True)
class Photo:
    """A decoded, oriented, size-limited RGB image.

    Attributes:
        rgb: uint8 array (height, width, 3), upright, long side limited.
        sha256: of the file's bytes, in hex.
        name: the file's name, for people and reports; never shown to a model.
        metadata: kept apart; None where the file has none.
    """

    rgb: NDArray[np.uint8] = field(repr=False)
    sha256: str
    name: str
    metadata: PhotoMetadata | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """A short name for this photo in tool calls."""
        return f"photo-{self.sha256[:12]}"
