"""The prior: where photos are taken, before anything is known of this one. A density per km² over the Earth.

A mixture of histograms of the same positions at many resolutions, from 0.005° (550 m) to 5°: fine where many photos
are known, smooth where few are. The positions are the 100,000 of GeoCLIP's gallery (Vivanco Cepeda et al. 2023; MP-16,
MIT licence) and the populated places of GeoNames, each counted population^0.6 (CC BY 4.0); land and the whole Earth
are thin floors. The shares of the mixture are fitted (`python -m evals.fit_belief`), the positions are in
`belief/data/prior.npz`, which this module writes from an installed or unpacked `geoclip` package without importing it:

    pip download --no-deps geoclip && python -m belief.prior geoclip-*.whl
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from belief.kernels import EARTH_AREA_KM2
from belief.parameters import default_parameters
from geo.basemap import is_land
from geo.places.gazetteer import Gazetteer
from geo.sphere import EARTH_RADIUS_KM, Floats, to_lat_lon_deg, wrap_longitudes_deg

Keys = NDArray[np.int64]

FINEST_DEG = 0.005
GALLERY_DEG = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
POPULATION_DEG = (0.1, 0.5)
POPULATION_EXPONENT = 0.6
LAND, ANYWHERE = "land", "anywhere"
LAND_SHARE_OF_EARTH = 0.2921

SAMPLE_SIZE = 4096
"""Positions of the deterministic sample of the prior."""

_GALLERY_FILE = "geoclip/model/gps_gallery/coordinates_100K.csv"
_GOLDEN = (0.7548776662466927, 0.5698402909980532, 0.6180339887498949)
"""Additive recurrences of low discrepancy (Roberts 2018)."""

_ORIGIN = np.array([90.0, 180.0])


class Histogram(NamedTuple):
    """Masses of the cells of a latitude-longitude grid; only cells with mass are kept.

    Attributes:
        step_deg: side of a cell.
        keys: of the cells, rising: row from the North Pole times columns, plus column from 180° W.
        mass: of each cell, summing to 1.
    """

    step_deg: float
    keys: Keys
    mass: Floats

    def density(self, lat_lon_deg: Floats) -> Floats:
        """Density per km² (n,) at positions (n, 2).

        >>> one = Histogram(1.0, np.array([90 * 360 + 180]), np.array([1.0]))  # 1° south and east of (0, 0)
        >>> one.density(np.array([[-0.5, 0.5], [0.5, 0.5]])).round(8).tolist()  # 1 / 12,364 km²
        [8.088e-05, 0.0]
        """
        wanted = cell_keys(lat_lon_deg, self.step_deg)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        mass = np.where(self.keys[at] == wanted, self.mass[at], 0.0)
        return np.asarray(mass / cell_area_km2(wanted, self.step_deg))


def cell_keys(lat_lon_deg: Floats, step_deg: float) -> Keys:
    """Keys (n,) of the cells of positions (n, 2) in degrees."""
    rows, columns = round(180.0 / step_deg), round(360.0 / step_deg)
    row = np.clip(np.floor((90.0 - lat_lon_deg[:, 0]) / step_deg).astype(np.int64), 0, rows - 1)
    column = np.floor((wrap_longitudes_deg(lat_lon_deg[:, 1]) + 180.0) / step_deg).astype(np.int64) % columns
    return np.asarray(row * columns + column)


def cell_area_km2(keys: Keys, step_deg: float) -> Floats:
    """Areas (n,) in km² of the cells with some keys.

    >>> cell_area_km2(np.array([0, 90 * 360]), 1.0).round(1).tolist()  # the northernmost, and one at the equator
    [107.9, 12363.7]
    """
    north_deg = 90.0 - (keys // round(360.0 / step_deg)) * step_deg
    height = np.sin(np.radians(north_deg)) - np.sin(np.radians(north_deg - step_deg))
    return np.asarray(np.radians(step_deg) * EARTH_RADIUS_KM**2 * height)


def histogram(lat_lon_deg: Floats, weights: Floats, step_deg: float) -> Histogram:
    """The histogram of positions (n, 2) in degrees with weights (n,).

    >>> one = histogram(np.array([[48.86, 2.34], [48.85, 2.35], [38.72, -9.14]]), np.array([1.0, 1.0, 2.0]), 1.0)
    >>> one.mass.tolist()
    [0.5, 0.5]
    """
    keys, inverse = np.unique(cell_keys(lat_lon_deg, step_deg), return_inverse=True)
    mass = np.bincount(inverse, weights=weights)
    return Histogram(step_deg, keys, mass / mass.sum())


class Positions(NamedTuple):
    """Weighted positions: (n, 2) in degrees and weights (n,)."""

    lat_lon_deg: Floats
    weights: Floats


class Prior:
    """Where photos are taken: a mixture of layers by their shares, which sum to 1. Immutable; shared between threads.

    >>> prior = default_prior()
    >>> paris, sahara = prior.density([(48.86, 2.34), (22.0, 10.0)])
    >>> bool(paris > 1e4 * sahara)
    True
    """

    def __init__(self, gallery: Positions, population: Positions, shares: Mapping[str, float]) -> None:
        """Mix layers.

        Args:
            gallery: positions of photos.
            population: populated places.
            shares: by layer; a layer that is not named has none.

        Raises:
            ValueError: no such layer.
        """
        self._gallery, self._population = _along_curve(gallery), _along_curve(population)
        self._histograms = {
            **{f"gallery@{step:g}": histogram(*gallery, step) for step in GALLERY_DEG},
            **{f"population@{step:g}": histogram(*population, step) for step in POPULATION_DEG},
        }
        if unknown := sorted(set(shares) - set(self.layers)):
            raise ValueError(f"the prior has no layers {', '.join(unknown)}")
        self._shares = np.array([shares.get(name, 0.0) for name in self.layers])

    @property
    def layers(self) -> list[str]:
        """Names of the mixture's layers."""
        return [*self._histograms, LAND, ANYWHERE]

    def layer_densities(self, lat_lon_deg: ArrayLike) -> Floats:
        """Density per km² of every layer at positions (n, 2) in degrees: shape (n, layers)."""
        at = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)
        land = is_land(at) / (EARTH_AREA_KM2 * LAND_SHARE_OF_EARTH)
        columns = [*(h.density(at) for h in self._histograms.values()), land, np.full(len(at), 1.0 / EARTH_AREA_KM2)]
        return np.stack(columns, axis=1)

    def density(self, lat_lon_deg: ArrayLike) -> Floats:
        """Density per km² at positions (n, 2) in degrees: shape (n,)."""
        return np.asarray(self.layer_densities(lat_lon_deg) @ self._shares)

    def sample(self, size: int) -> Floats:
        """Positions (size, 2) in degrees spread as the prior is, the same at each call: each stands for 1/size of it.

        A layer is drawn for each, then a quantile of its positions in the order of a space-filling curve, then a
        place in that position's cell.
        """
        count = np.arange(size)
        draws = np.stack([(0.5 + count * step) % 1.0 for step in _GOLDEN], axis=1)
        edges = np.cumsum(self._shares)
        # Neighbouring quantiles go to different layers, so that every layer covers the Earth.
        layer = np.searchsorted(edges, draws[:, 2] * edges[-1])
        out = np.empty((size, 2))
        for index, name in enumerate(self.layers):
            rows = np.flatnonzero(layer == index)
            out[rows] = self._of_layer(name, (np.arange(len(rows)) + 0.5) / max(1, len(rows)), draws[rows])
        return out

    def _of_layer(self, name: str, quantiles: Floats, draws: Floats) -> Floats:
        if name in (LAND, ANYWHERE):
            return _spread_over_earth(len(quantiles), on_land=name == LAND)
        step = self._histograms[name].step_deg
        source = self._gallery if name.startswith("gallery") else self._population
        cumulative = np.cumsum(source.weights)
        chosen = source.lat_lon_deg[np.searchsorted(cumulative, quantiles * cumulative[-1])]
        corner = np.floor((chosen + _ORIGIN) / step) * step - _ORIGIN
        at = corner + step * draws[:, :2]
        return np.stack([np.clip(at[:, 0], -90.0, 90.0), wrap_longitudes_deg(at[:, 1])], axis=1)


def _spread_over_earth(size: int, on_land: bool) -> Floats:
    """A Fibonacci lattice of positions (size, 2), on land only or over all."""
    lattice = max(64, 4 * size) if on_land else max(1, size)
    z = 1.0 - (2.0 * np.arange(lattice) + 1.0) / lattice
    angle = np.arange(lattice) * np.pi * (3.0 - np.sqrt(5.0))
    across = np.sqrt(1.0 - z**2)
    at = to_lat_lon_deg(np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=1))
    if on_land:
        at = at[is_land(at)]
    return at[np.linspace(0, len(at) - 1, size).astype(np.int64)] if size else np.empty((0, 2))


def _along_curve(positions: Positions) -> Positions:
    """Positions in their order along a Z curve, so that near ones are near in it (Morton 1966)."""
    scaled = ((positions.lat_lon_deg + _ORIGIN) / (2.0 * _ORIGIN) * 65535.0).astype(np.uint64)
    order = np.argsort(_spread_bits(scaled[:, 0]) | (_spread_bits(scaled[:, 1]) << np.uint64(1)), kind="stable")
    return Positions(positions.lat_lon_deg[order], positions.weights[order])


def _spread_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each of the lower 16 bits moved to twice its place, a zero between any two."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values


@cache
def packaged_positions() -> tuple[Positions, Positions]:
    """Gallery and populated places of `belief/data/prior.npz`, to the nearest 0.005°."""
    with (
        resources.as_file(resources.files("belief").joinpath("data/prior.npz")) as path,
        np.load(path, allow_pickle=False) as stored,
    ):
        return _unpacked(stored, "gallery"), _unpacked(stored, "population")


def _unpacked(stored: Mapping[str, NDArray[np.generic]], name: str) -> Positions:
    keys = np.cumsum(stored[f"{name}_gaps"].astype(np.int64))
    columns = round(360.0 / FINEST_DEG)
    row, column = np.divmod(keys, columns)
    at = np.stack([90.0 - (row + 0.5) * FINEST_DEG, (column + 0.5) * FINEST_DEG - 180.0], axis=1)
    return Positions(at, stored[f"{name}_weights"].astype(np.float64))


def _packed(lat_lon_deg: Floats, weights: Floats, kind: type) -> tuple[Keys, NDArray[np.generic]]:
    keys, inverse = np.unique(cell_keys(lat_lon_deg, FINEST_DEG), return_inverse=True)
    return np.diff(keys, prepend=0).astype(np.uint32), np.bincount(inverse, weights=weights).astype(kind)


@cache
def default_prior() -> Prior:
    """The prior that comes with the package."""
    return Prior(*packaged_positions(), default_parameters().prior_shares)


def write_positions(geoclip: Path, target: Path) -> None:
    """Write the prior's positions from a `geoclip` wheel (or the folder of an installed one) and the gazetteer.

    Raises:
        KeyError, FileNotFoundError: no gallery there.
    """
    text = (
        zipfile.ZipFile(geoclip).read(_GALLERY_FILE).decode()
        if geoclip.is_file()
        else (geoclip / _GALLERY_FILE).read_text()
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    gallery = np.array([(float(row["LAT"]), float(row["LON"])) for row in rows])
    people = Gazetteer().coordinates()
    weights = np.maximum(people.population, 1).astype(np.float64) ** POPULATION_EXPONENT
    gallery_gaps, gallery_weights = _packed(gallery, np.ones(len(gallery)), np.uint16)
    population_gaps, population_weights = _packed(people.lat_lon_deg, weights, np.float16)
    np.savez_compressed(
        target,
        gallery_gaps=gallery_gaps,
        gallery_weights=gallery_weights,
        population_gaps=population_gaps,
        population_weights=population_weights,
    )


if __name__ == "__main__":
    write_positions(Path(sys.argv[1]), Path(__file__).parent / "data" / "prior.npz")
