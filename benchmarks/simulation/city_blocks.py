"""A generated world: city blocks seen from above and from the street, with look-alikes far apart. Nothing is real.

A block is a grid of cells with heights and colours: streets, houses, trees, water, squares. From above it is a picture
of its colours with shadows; from the street, rays are cast over the same grid. Cities have palettes of their own. Some
blocks have a look-alike in another city, and some photos show nothing of their block: a wall, a room, the sky. All of
it is drawn from seeds, so the same seed gives the same world.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.places.gazetteer import Gazetteer
from geo.sphere import EARTH_RADIUS_KM, Floats, distance_km
from geo.tiles import TileBounds
from retrieval.crossview.tiles import SatelliteTile

Pixels = NDArray[np.uint8]

CELLS, CELL_M, PICTURE_PX = 32, 6.25, 64
BLOCK_KM = CELLS * CELL_M / 1000.0
"""Side of a block: 200 m."""

EYE_M, VIEW_DEG = 1.7, 150.0
RAY_STEPS_CELLS = np.arange(1, 57) * 0.4
"""Along a ray, in cells."""

LOOK_ALIKES = 0.2
"""Share of the blocks whose layout stands in another city too."""

APART_KM = 300.0
MOST_POPULOUS_PLACES = 4000
"""Cities are drawn from so many of the most populous places."""

KM_PER_DEGREE = np.pi / 180.0 * EARTH_RADIUS_KM


class Block(NamedTuple):
    """Cells (32, 32): heights in m, colours (32, 32, 3) from above and of walls in 0..1, and which are streets."""

    height_m: Floats
    above: Floats
    wall: Floats
    street: NDArray[np.bool_]


class PlacedBlock(NamedTuple):
    """A block of a city: which, and where.

    Attributes:
        layout_seed: what is drawn; a look-alike has the same one.
        own_seed: what differs from its look-alike.
    """

    city: int
    bounds: TileBounds
    style_seed: int
    layout_seed: int
    own_seed: int

    @property
    def tile_id(self) -> str:
        """Of its tile in an atlas."""
        return f"{self.city}-{self.own_seed}"

    def tile(self) -> SatelliteTile:
        """The block as a tile of an atlas."""
        rgb = seen_from_above(drawn_block(self), np.random.default_rng([self.own_seed, 1]))
        return SatelliteTile(self.tile_id, self.bounds, "17", "generated", "", rgb=rgb)

    def photo(self, number: int, *, matchable: bool = True) -> Pixels:
        """One of the block's photos, or one that shows nothing of it."""
        rng = np.random.default_rng([self.own_seed, 2, number])
        return seen_from_street(drawn_block(self), rng) if matchable else _nothing_to_match(rng)


def drawn_cities(count: int, seed: int) -> Floats:
    """Positions (count, 2) in degrees of populous places, at least 300 km apart."""
    places = Gazetteer().coordinates()
    largest = places.lat_lon_deg[np.argsort(-places.population, kind="stable")[:MOST_POPULOUS_PLACES]]
    kept: list[Floats] = []
    for at in np.random.default_rng(seed).permutation(largest):
        if len(kept) < count and (not kept or distance_km(at, np.array(kept)).min() > APART_KM):
            kept.append(at)
    return np.array(kept)


def drawn_world(cities_deg: Floats, side: int, seed: int) -> list[PlacedBlock]:
    """The blocks of cities, side x side each; a share of the layouts stands in two cities.

    Args:
        cities_deg: (n, 2).
        seed: of everything in it.
    """
    rng = np.random.default_rng(seed)
    total = len(cities_deg) * side * side
    layout, style = np.arange(total) + seed * 10_000_000, np.repeat(np.arange(len(cities_deg)), side * side)
    pairs = rng.permutation(total)[: round(LOOK_ALIKES * total) // 2 * 2].reshape(-1, 2)
    far = pairs[style[pairs[:, 0]] != style[pairs[:, 1]]]
    layout[far[:, 1]], styles = layout[far[:, 0]], style.copy()
    styles[far[:, 1]] = style[far[:, 0]]
    return [
        PlacedBlock(int(style[i]), bounds, int(styles[i]) + seed * 1000, int(layout[i]), seed * 10_000_000 + i)
        for i, bounds in enumerate(_bounds(cities_deg, side))
    ]


def _bounds(cities_deg: Floats, side: int) -> list[TileBounds]:
    """Edges of the blocks of all cities, each a square grid around its centre."""
    found = []
    for lat, lon in cities_deg:
        step = np.array([1.0, 1.0 / np.cos(np.radians(lat))]) * BLOCK_KM / KM_PER_DEGREE
        for row, column in np.ndindex(side, side):
            south, west = np.array([lat, lon]) + (np.array([row, column]) - side / 2.0) * step
            found.append(TileBounds(south, west, south + step[0], west + step[1]))
    return found


def drawn_block(placed: PlacedBlock) -> Block:
    """The cells of a block: its layout, changed a little by its own seed."""
    style, rng = np.random.default_rng([placed.style_seed, 3]), np.random.default_rng([placed.layout_seed, 4])
    ground = np.clip(style.uniform(0.35, 0.7, 3) * [1.0, 1.05, 0.85], 0.0, 1.0)
    palette = style.uniform(0.1, 0.95, (4, 3))
    above = np.broadcast_to(ground, (CELLS, CELLS, 3)).copy()
    wall, height = above.copy(), np.zeros((CELLS, CELLS))
    _water_or_square(above, height, rng)
    _houses(above, wall, height, palette, rng)
    street = _streets(rng)
    above[street], height[street] = style.uniform(0.3, 0.5) * np.ones(3), 0.0
    own = np.random.default_rng([placed.own_seed, 5])
    for one in (rng, own):
        _trees(above, wall, height, street, one, 12 if one is rng else 5)
    return Block(height * own.uniform(0.9, 1.1), above, wall, street)


def _streets(rng: np.random.Generator) -> NDArray[np.bool_]:
    """One to two streets each way, one of them near the middle, and at times a diagonal."""
    street = np.zeros((CELLS, CELLS), dtype=bool)
    middle = CELLS // 2 + int(rng.integers(-3, 4))
    across = rng.random() < 0.5
    for axis in range(2):
        at = [middle] if bool(axis) is across else []
        at += rng.integers(2, CELLS - 3, int(rng.integers(0, 2))).tolist()
        for start in at:
            width = int(rng.integers(2, 5))
            street[(slice(None), slice(start, start + width)) if axis else (slice(start, start + width),)] = True
    if rng.random() < 0.3:
        row, column = np.indices(street.shape)
        street |= np.abs(row - column if rng.random() < 0.5 else row + column - CELLS) < 2
    return street


def _water_or_square(above: Floats, height: Floats, rng: np.random.Generator) -> None:
    kind = rng.choice(["water", "square", "park", "none"], p=[0.2, 0.2, 0.25, 0.35])
    if kind == "none":
        return
    size, at = rng.integers(8, 18, 2), rng.integers(0, CELLS - 8, 2)
    where = (slice(at[0], at[0] + size[0]), slice(at[1], at[1] + size[1]))
    colours = {"water": (0.15, 0.35, 0.6), "square": (0.8, 0.75, 0.65), "park": (0.2, 0.5, 0.2)}
    above[where] = np.clip(np.array(colours[str(kind)]) + rng.uniform(-0.1, 0.1, 3), 0.0, 1.0)
    height[where] = -1.0  # nothing is built there


def _houses(above: Floats, wall: Floats, height: Floats, palette: Floats, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(10, 26))):
        size, at = rng.integers(3, 9, 2), rng.integers(0, CELLS - 3, 2)
        where = (slice(at[0], at[0] + size[0]), slice(at[1], at[1] + size[1]))
        if (height[where] < 0.0).any():
            continue
        colour = palette[rng.integers(len(palette))] if rng.random() < 0.6 else rng.uniform(0.05, 0.95, 3)
        above[where] = np.clip(colour + rng.uniform(-0.05, 0.05, 3), 0.0, 1.0)
        wall[where] = np.clip(0.85 * colour + rng.uniform(-0.08, 0.08, 3), 0.0, 1.0)
        height[where] = rng.uniform(5.0, 35.0)
    np.maximum(height, 0.0, out=height)


def _trees(
    above: Floats, wall: Floats, height: Floats, street: NDArray[np.bool_], rng: np.random.Generator, most: int
) -> None:
    for row, column in rng.integers(0, CELLS, (int(rng.integers(0, most)), 2)):
        if height[row, column] == 0.0 and not street[row, column]:
            above[row, column] = wall[row, column] = (0.12, rng.uniform(0.3, 0.5), 0.12)
            height[row, column] = rng.uniform(4.0, 9.0)


def seen_from_above(block: Block, rng: np.random.Generator) -> Pixels:
    """The block from above, north up: uint8 (64, 64, 3)."""
    shadow = np.maximum(0.0, np.roll(block.height_m, (1, 1), axis=(0, 1)) - block.height_m) / 40.0
    lit = block.above * (1.0 - 0.5 * np.minimum(shadow, 1.0))[..., None]
    return _photographed(lit.repeat(2, axis=0).repeat(2, axis=1), rng)


def seen_from_street(block: Block, rng: np.random.Generator) -> Pixels:
    """The block from a street near its middle, in any direction: uint8 (64, 64, 3)."""
    rows, columns = np.nonzero(block.street)
    near = np.argsort(np.hypot(rows - CELLS / 2, columns - CELLS / 2) + rng.uniform(0.0, 6.0, len(rows)))[0]
    bearing = rng.uniform(0.0, 2.0 * np.pi) + np.radians(np.linspace(-VIEW_DEG / 2, VIEW_DEG / 2, PICTURE_PX))
    at_row = rows[near] + 0.5 - np.cos(bearing)[:, None] * RAY_STEPS_CELLS
    at_column = columns[near] + 0.5 + np.sin(bearing)[:, None] * RAY_STEPS_CELLS
    inside = (at_row >= 0) & (at_row < CELLS) & (at_column >= 0) & (at_column < CELLS)
    cell = (np.clip(at_row, 0, CELLS - 1).astype(int), np.clip(at_column, 0, CELLS - 1).astype(int))
    return _photographed(_cast(block, cell, inside, rng.uniform(0.55, 0.95, 3)), rng)


def _cast(
    block: Block, cell: tuple[NDArray[np.int_], NDArray[np.int_]], inside: NDArray[np.bool_], sky: Floats
) -> Floats:
    """Colours (64, 64, 3) of rays over cells (columns, steps)."""
    away_m = RAY_STEPS_CELLS * CELL_M
    height = np.where(inside, block.height_m[cell], 0.0)
    slope = np.tan(np.radians(np.linspace(50.0, -35.0, PICTURE_PX)))
    top = np.where(height > 0.0, (height - EYE_M) / away_m, -np.inf)
    foot = -EYE_M / away_m
    # The first cell along a ray that has a wall as high as the ray passes, or whose floor it meets.
    hits_wall = (top[:, :, None] >= slope) & (foot[None, :, None] <= slope)
    hits_floor = (foot[None, :, None] >= slope) & inside[:, :, None]
    hits = hits_wall | hits_floor
    first, any_hit = hits.argmax(axis=1), np.asarray(hits.any(axis=1))
    column = np.arange(PICTURE_PX)[:, None]
    is_wall = np.asarray(hits_wall[column, first, np.arange(PICTURE_PX)])
    where = (cell[0][column, first], cell[1][column, first])
    shade = np.clip(1.1 - away_m[first] / 250.0, 0.4, 1.0)[..., None]
    seen = np.where(is_wall[..., None], block.wall[where] * shade, block.above[where])
    return np.where(any_hit[..., None], seen, sky).transpose(1, 0, 2)


def _nothing_to_match(rng: np.random.Generator) -> Pixels:
    """A wall, a room or the sky: uint8 (64, 64, 3)."""
    picture = np.broadcast_to(rng.uniform(0.2, 0.9, 3), (PICTURE_PX, PICTURE_PX, 3)).copy()
    for _ in range(int(rng.integers(0, 6))):
        size, at = rng.integers(6, 40, 2), rng.integers(0, PICTURE_PX - 6, 2)
        picture[at[0] : at[0] + size[0], at[1] : at[1] + size[1]] = rng.uniform(0.05, 0.95, 3)
    return _photographed(picture, rng)


def _photographed(colours: Floats, rng: np.random.Generator) -> Pixels:
    """Colours in 0..1 under some light, with noise."""
    light = rng.uniform(0.8, 1.15) * rng.uniform(0.93, 1.07, 3)
    noisy = colours * light + rng.normal(0.0, 0.03, colours.shape)
    return np.asarray(np.clip(255.0 * noisy, 0.0, 255.0), dtype=np.uint8)
