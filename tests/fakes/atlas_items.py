"""An encoder and a gallery small enough for tests of atlases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.encoders.base import EncoderIdentity, PhotoVectors
from retrieval.photos.photo import Photo

DIM = 8
COUNT = 3_000
WEIGHTS = np.random.default_rng(0).standard_normal((3, DIM)) * 40


class WaveEncoder:
    """Positions and mean colours as normalised sines: fast, and different for different inputs."""

    def __init__(self, revision: str = "1") -> None:
        self.identity = EncoderIdentity(name="wave", revision=revision, dim=DIM)

    def encode_points(self, lat_lon_deg: np.ndarray) -> np.ndarray:
        lat, lon = np.radians(lat_lon_deg).T
        return self._unit(np.stack([np.sin(lat), np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon)], axis=1))

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        rows = self._unit(np.stack([photo.rgb.reshape(-1, 3).mean(axis=0) / 255 for photo in photos]))
        return PhotoVectors(rows[:, ::-1].copy(), rows[:, ::-1].copy(), rows)

    def _unit(self, triples: np.ndarray) -> np.ndarray:
        rows = np.sin(triples @ WEIGHTS + np.arange(DIM))
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def gallery(count: int = COUNT) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(1)
    positions = np.stack([rng.uniform(-90, 90, count), rng.uniform(-180, 180, count)], axis=1).round(6)
    return positions, [f"place-{i}" for i in range(count)]
