"""Satellite atlases: tiles of pictures from above in the stores of every atlas, and comparing a photo with them.

build_tile_atlas(folder, encoder, tiles_from_table(Path("tiles.csv"), Path("tiles")))
with open_tile_atlas(folder, encoder) as atlas:
    compared = atlas.compare(vector, [NearAny((Near(centre, 25.0),))], limit=48)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from core.closing import Closing
from core.errors import UserError
from core.files import replacing
from geo.sphere import Floats
from geo.tiles import TileBounds
from retrieval.atlas.atlas import Atlas, open_atlas
from retrieval.atlas.build import EncodedBatch, ItemSource, Progress, build_atlas
from retrieval.atlas.failures import Failure
from retrieval.atlas.manifest import AtlasError, AtlasManifest
from retrieval.atlas.sources import parse_position, refuse_repeated, table_rows
from retrieval.candidate import AtlasKind
from retrieval.encoders.base import IdentifiedEncoder, Vectors
from retrieval.photos.photo import PhotoError, load_photo
from retrieval.stores.base import EdgeSettings, Hit, StoredItem, StoreSettings
from retrieval.stores.filters import NearAny

TILE_BATCH = 256
TILE_STORE = EdgeSettings(index="scan", filtered="int8")

BACKGROUND_FILE = "background.npy"
BACKGROUND_TILES = 512
"""Vectors of so many tiles, evenly over the list, are kept aside: how similar a photo is to tiles of nowhere near."""

COLUMNS = ("tile", "south", "west", "north", "east")
"""Of a table of tiles; `zoom`, `source` and `date` may be beside them."""


class SatelliteTile(NamedTuple):
    """A picture from above, north up.

    Attributes:
        tile_id: unique in its atlas, such as `17/67890/45678`.
        zoom: of the XYZ tree, or empty.
        source: whose imagery it is, for its attribution.
        date: when it was taken, as the source says it; empty where that is not known.
        path: of the picture's file; None: its pixels are in `rgb`, or it is in an atlas already.
    """

    tile_id: str
    bounds: TileBounds
    zoom: str = ""
    source: str = ""
    date: str = ""
    path: Path | None = None
    rgb: NDArray[np.uint8] | None = None

    def payload(self) -> dict[str, str]:
        """What is stored beside the vector; the centre is the item's position."""
        bounds = ",".join(f"{edge:.7f}" for edge in self.bounds)
        return {"bounds": bounds, "zoom": self.zoom, "source": self.source, "date": self.date}


class TileHit(NamedTuple):
    """A tile that was compared with a photo, and the cosine of their vectors."""

    tile: SatelliteTile
    similarity: float


class Zone(NamedTuple):
    """An area whose tiles were compared, and what is known of those that are no hits.

    Attributes:
        most: their similarity is at most this; None: every tile of the area is a hit.
    """

    area: NearAny
    most: float | None


class ComparedTiles(NamedTuple):
    """What a comparison of a photo with the tiles of some areas found.

    Attributes:
        hits: the most similar first.
        zones: the areas, in the order they were given.
        background: similarities (m,) of tiles from anywhere.
    """

    hits: tuple[TileHit, ...]
    zones: tuple[Zone, ...]
    background: Floats


class TileEncoder(IdentifiedEncoder, Protocol):
    """What building a satellite atlas needs: `retrieval.crossview.encoder.CrossviewEncoder`."""

    def encode_tiles(self, tiles: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Pictures, each uint8 (height, width, 3), to L2-normalised vectors (n, dim)."""
        ...


class TileAtlas(Closing):
    """An open satellite atlas."""

    def __init__(self, atlas: Atlas, background: Vectors) -> None:
        self.atlas, self._background = atlas, background

    def __len__(self) -> int:
        return len(self.atlas)

    def compare(self, vector: Vectors, areas: Sequence[NearAny] | None, limit: int) -> ComparedTiles:
        """The tiles most similar to a photo's vector (dim,) in each of some areas.

        Args:
            areas: the narrowest first; None: the whole atlas.
            limit: hits an area.
        """
        hits: dict[int, Hit] = {}
        zones = []
        for area in areas or ():
            found = self.atlas.search_items(vector, limit, near=area)
            hits |= {hit.item.id: hit for hit in found}
            zones.append(Zone(area, found[-1].similarity if len(found) == limit else None))
        if areas is None:
            hits = {hit.item.id: hit for hit in self.atlas.search_items(vector, limit)}
        ordered = sorted(hits.values(), key=lambda hit: (-hit.similarity, hit.item.id))
        similarity = np.asarray(self._background @ vector, dtype=np.float64)
        return ComparedTiles(tuple(map(_tile_hit, ordered)), tuple(zones), similarity)

    def close(self) -> None:
        """Release the store."""
        self.atlas.close()


def build_tile_atlas(
    folder: Path,
    encoder: TileEncoder,
    tiles: Sequence[SatelliteTile],
    *,
    source: str = "tiles",
    store: StoreSettings | None = None,
    progress: Progress | None = None,
) -> AtlasManifest:
    """Build an atlas of satellite tiles, or finish one that was cut off.

    A tile whose picture cannot be read is listed in `failed.jsonl` and the build goes on.

    Args:
        folder: where; its name is the atlas's name.
        source: where the tiles come from, for people.
        store: which engine; Qdrant Edge over int8 copies if None: every comparison has a filter, so a graph has no use.
        progress: called with (done, n) after each batch.

    Raises:
        AtlasError: the atlas that is there is of another build.
        UserError: another process builds it, or no tile can be used.
    """
    listed = [(tile.tile_id, *tile.payload().values()) for tile in tiles]
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def encode(ids: Sequence[int]) -> EncodedBatch:
        return _encode_tiles(encoder, [(i, tiles[i]) for i in ids])

    given = ItemSource(AtlasKind.TILE, source, digest, len(tiles), TILE_BATCH, encode)
    manifest = build_atlas(folder, encoder, given, store or TILE_STORE, progress)
    if not (folder / BACKGROUND_FILE).is_file():
        chosen = np.unique(np.linspace(0, len(tiles) - 1, BACKGROUND_TILES).astype(np.int64)).tolist()
        with replacing(folder / BACKGROUND_FILE) as part, part.open("wb") as file:
            np.save(file, encode(chosen).vectors)
    return manifest


def open_tile_atlas(
    folder: Path, encoder: IdentifiedEncoder, store: StoreSettings | None = None, *, servers: Collection[str] = ()
) -> TileAtlas:
    """Open a complete satellite atlas; see `retrieval.atlas.atlas.open_atlas`.

    Raises:
        AtlasError: as there, or an atlas of another kind.
    """
    atlas = open_atlas(folder, encoder, store, servers=servers)
    if atlas.kind is not AtlasKind.TILE or not (folder / BACKGROUND_FILE).is_file():
        atlas.close()
        raise AtlasError(f"atlas {folder.name} is no satellite atlas (kind {atlas.kind.value}): build one of tiles")
    return TileAtlas(atlas, np.load(folder / BACKGROUND_FILE, allow_pickle=False))


def tiles_from_table(table: Path, pictures: Path) -> list[SatelliteTile]:
    """The tiles that a CSV lists: columns tile (a file below `pictures`), south, west, north, east, in degrees.

    `zoom`, `source` and `date` are kept where there are such columns.

    Raises:
        UserError: a missing file or column, a tile listed twice, or edges that are no positions.
    """

    def check(names: list[str]) -> None:
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise UserError(f"{table} has no column {', '.join(missing)}: a table of tiles has {', '.join(COLUMNS)}")

    rows = list(table_rows(table, check, "give a CSV file in UTF-8"))
    tiles = [_tile_of_row(row, partial(_problem, table, line), pictures) for line, row in rows]
    refuse_repeated((tile.tile_id for tile in tiles), table)
    return tiles


def _problem(table: Path, line: int, what: str) -> UserError:
    return UserError(f"{table} line {line}: {what}")


def _tile_of_row(row: Mapping[str, str], problem: partial[UserError], pictures: Path) -> SatelliteTile:
    corners = [parse_position(row["south"], row["west"]), parse_position(row["north"], row["east"])]
    if corners[0] is None or corners[1] is None or corners[0].lat >= corners[1].lat:
        raise problem("the edges are no positions in degrees, or south is not south of north")
    bounds = TileBounds(corners[0].lat, corners[0].lon, corners[1].lat, corners[1].lon)
    zoom, source, date = (row.get(name, "") for name in ("zoom", "source", "date"))
    return SatelliteTile(row["tile"], bounds, zoom, source, date, pictures / row["tile"])


def _encode_tiles(encoder: TileEncoder, numbered: Sequence[tuple[int, SatelliteTile]]) -> EncodedBatch:
    items: list[StoredItem] = []
    pictures: list[NDArray[np.uint8]] = []
    failures: list[Failure] = []
    for id_, tile in numbered:
        try:
            pictures.append(_pixels(tile))
        except PhotoError as error:
            failures.append(Failure(id=id_, item_id=tile.tile_id, reason=str(error)))
            continue
        items.append(StoredItem(id_, tile.bounds.centre, tile.tile_id, tile.payload()))
    return EncodedBatch(items, encoder.encode_tiles(pictures), failures)


def _pixels(tile: SatelliteTile) -> NDArray[np.uint8]:
    if tile.rgb is not None:
        return tile.rgb
    if tile.path is None:
        raise PhotoError(f"{tile.tile_id} has no picture")
    return load_photo(tile.path).rgb


def _tile_hit(hit: Hit) -> TileHit:
    facts = hit.item.extra
    bounds = TileBounds(*(float(edge) for edge in facts["bounds"].split(",")))
    tile = SatelliteTile(hit.item.item_id, bounds, facts["zoom"], facts["source"], facts["date"])
    return TileHit(tile, hit.similarity)
