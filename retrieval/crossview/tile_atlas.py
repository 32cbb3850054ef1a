"""Satellite atlases: tiles of pictures from above in the stores of every atlas, and comparing a photo with them.

build_tile_atlas(folder, encoder, tiles_from_table(Path("tiles.csv"), Path("tiles")))
build_tile_atlas(folder, encoder, tiles_of_area(area, 17, "NASA"), reader=TileFolder(Path("tree")))
with open_tile_atlas(folder, encoder) as atlas:
    compared = atlas.compare(vector, [NearAny((Near(centre, 25.0),))], limit=48)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from core.closing import Closing
from core.errors import UserError
from core.files import replacing
from geo.sphere import EARTH_RADIUS_KM, Floats
from geo.tiles import Tile, TileBounds
from retrieval.atlas.atlas import Atlas, open_atlas
from retrieval.atlas.build import ItemSource, Progress, build_atlas
from retrieval.atlas.engines import EncodedBatch
from retrieval.atlas.failures import Failure, read_failures
from retrieval.atlas.manifest import AtlasError, AtlasManifest
from retrieval.atlas.sources import parse_position, refuse_repeated, table_rows
from retrieval.candidate import AtlasKind
from retrieval.crossview.tile_layout import TileLayout
from retrieval.crossview.tiles import SatelliteTile, TileReader, read_tile
from retrieval.encoders.base import IdentifiedEncoder, Vectors
from retrieval.photos.photo import PhotoError, PhotoLimits
from retrieval.stores.base import EdgeSettings, Hit, StoredItem, StoreSettings
from retrieval.stores.filters import NearAny, holds_points

TILE_BATCH = 256
"""Tiles that are in memory and encoded at once. By hand."""
TILE_STORE = EdgeSettings(index="scan", filtered="int8")

WIDE_SHARE = 0.25
"""Of the Earth: in areas whose circles have more, the tiles are found without a filter, which costs as much as the
comparison itself. By hand, as is the next."""
WIDER = 2
"""So many times the hits are then taken; where too few of them lie in the area, it is searched with the filter."""

BACKGROUND_FILE = "background.npy"
BACKGROUND_TILES = 512
"""Vectors of so many tiles, evenly over the list, are kept aside: how similar a photo is to tiles of nowhere near. By
hand."""

BOUNDS_FILE = "bounds.npy"
"""South, west, north and east of every tile in degrees, (n, 4)."""

COLUMNS = ("tile", "south", "west", "north", "east")
"""Of a table of tiles; `zoom`, `source` and `date` may be beside them."""


class TileHit(NamedTuple):
    """A tile that was compared with a photo, and the cosine of their vectors."""

    tile: SatelliteTile
    similarity: float


class Zone(NamedTuple):
    """An area whose tiles were compared, and what is known of those that are no hits.

    Attributes:
        most: their similarity is at most this, among the candidates that an int8 store rescored; None: every tile of
            the area is a hit.
    """

    area: NearAny
    most: float | None


class ComparedTiles(NamedTuple):
    """What a comparison of a photo with the tiles of some areas found.

    Attributes:
        hits: the most similar first.
        zones: the areas, in the order they were given.
        background: similarities (m,) of tiles from anywhere.
        spread_deg: centres of some tiles of the areas and of the whole atlas, hits or not, evenly.
    """

    hits: tuple[TileHit, ...]
    zones: tuple[Zone, ...]
    background: Floats
    spread_deg: tuple[tuple[float, float], ...] = ()


class TileEncoder(IdentifiedEncoder, Protocol):
    """What building a satellite atlas needs: `retrieval.crossview.encoder.CrossviewEncoder`."""

    def encode_tiles(self, tiles: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Pictures, each uint8 (height, width, 3), to L2-normalised vectors (n, dim)."""
        ...


class TileAtlas(Closing):
    """An open satellite atlas."""

    def __init__(self, atlas: Atlas, background: Vectors, bounds_deg: Floats) -> None:
        self.atlas, self._background, self._layout = atlas, background, TileLayout(bounds_deg)

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
            found = self._most_similar(vector, limit, area)
            hits |= {hit.item.id: hit for hit in found}
            zones.append(Zone(area, found[-1].similarity if len(found) == limit else None))
        if areas is None:
            hits = {hit.item.id: hit for hit in self.atlas.search_items(vector, limit)}
        ordered = sorted(hits.values(), key=lambda hit: (-hit.similarity, hit.item.id))
        similarity = np.asarray(self._background @ vector, dtype=np.float64)
        return ComparedTiles(
            tuple(map(_tile_hit, ordered)), tuple(zones), similarity, self._layout.spread_deg(areas or ())
        )

    def covers(self, lat_lon_deg: Floats) -> NDArray[np.bool_]:
        """Which of some positions (n, 2) in degrees lie on a tile of the atlas, (n,)."""
        return self._layout.covers(lat_lon_deg)

    def _most_similar(self, vector: Vectors, limit: int, area: NearAny) -> list[Hit]:
        """Hits in an area; where it is wide and the store scans int8 copies, filtered after the search: faster."""
        store = self.atlas.manifest.store
        scans = isinstance(store, EdgeSettings) and (store.index, store.filtered) == ("scan", "int8")
        if scans and _share_of_earth(area) > WIDE_SHARE:
            anywhere = self.atlas.search_items(vector, WIDER * limit)
            inside = holds_points(area, [hit.item.point for hit in anywhere])
            found = [hit for hit, is_inside in zip(anywhere, inside.tolist(), strict=True) if is_inside]
            if len(found) >= limit or len(anywhere) == len(self):
                return found[:limit]
        return self.atlas.search_items(vector, limit, near=area)

    def close(self) -> None:
        """Release the store."""
        self.atlas.close()


def _share_of_earth(area: NearAny) -> float:
    """Of the circles, each counted whole; Archimedes: a cap of angle r has (1 - cos r) / 2 of a sphere."""
    angles = np.array([min(circle.radius_km / EARTH_RADIUS_KM, np.pi) for circle in area.circles])
    return float(((1.0 - np.cos(angles)) / 2.0).sum())


def build_tile_atlas(
    folder: Path,
    encoder: TileEncoder,
    tiles: Sequence[SatelliteTile],
    *,
    source: str = "tiles",
    reader: TileReader | None = None,
    store: StoreSettings | None = None,
    progress: Progress | None = None,
    replace: bool = False,
) -> AtlasManifest:
    """Build an atlas of satellite tiles, or finish one that was cut off.

    A tile whose picture cannot be read, or is not there, is listed in `failed.jsonl` and the build goes on.

    Args:
        folder: where; its name is the atlas's name.
        tiles: with pixels or files, or, for the reader, of an XYZ tree.
        source: where the tiles come from, for people.
        reader: of tiles without pixels and file, a batch at a time.
        store: which engine; Qdrant Edge over int8 copies if None: every comparison has a filter, so a graph has no use.
        progress: called with (done, n) after each batch.
        replace: put it in the place of an atlas that is damaged or of other tiles, once it is complete.

    Raises:
        AtlasError: the atlas that is there is of another build.
        UserError: another process builds it, no tile can be used, or there is no reader and it is needed.
        ToolError: of a tile server; build again to go on.
    """
    if reader is None and any(tile.tile and tile.rgb is None and tile.path is None for tile in tiles):
        raise UserError("tiles of an area have no pictures of their own: give a reader, such as TileFolder(folder)")

    def encode(ids: Sequence[int]) -> EncodedBatch:
        return _encode_tiles(encoder, [(i, tiles[i]) for i in ids], reader)

    given = ItemSource(AtlasKind.TILE, source, _digest(tiles), len(tiles), TILE_BATCH, encode)
    manifest = build_atlas(folder, encoder, given, store or TILE_STORE, progress, replace)
    if replace or not all((folder / name).is_file() for name in (BOUNDS_FILE, BACKGROUND_FILE)):
        usable = np.setdiff1d(np.arange(len(tiles)), [failure.id for failure in read_failures(folder)])
        _save(folder / BOUNDS_FILE, np.array([tiles[i].bounds for i in usable.tolist()]))
        chosen = usable[np.unique(np.linspace(0, len(usable) - 1, BACKGROUND_TILES).astype(np.int64))]
        _save(folder / BACKGROUND_FILE, encode(chosen.tolist()).vectors)
    return manifest


def _save(file: Path, array: NDArray[Any]) -> None:
    with replacing(file) as part, part.open("wb") as opened:
        np.save(opened, array)


def _digest(tiles: Sequence[SatelliteTile]) -> str:
    """SHA-256 of the list of tiles as JSON, a tile at a time: a million of them as one text would take a gigabyte."""
    digest, before = hashlib.sha256(b"["), ""
    for tile in tiles:
        digest.update((before + json.dumps([tile.tile_id, *tile.payload().values()])).encode())
        before = ", "
    digest.update(b"]")
    return digest.hexdigest()


def open_tile_atlas(
    folder: Path, encoder: IdentifiedEncoder, store: StoreSettings | None = None, *, servers: Collection[str] = ()
) -> TileAtlas:
    """Open a complete satellite atlas; see `retrieval.atlas.atlas.open_atlas`.

    Raises:
        AtlasError: as there, or an atlas of another kind.
    """
    atlas = open_atlas(folder, encoder, store, servers=servers)
    files = [folder / name for name in (BACKGROUND_FILE, BOUNDS_FILE)]
    if atlas.kind is not AtlasKind.TILE or not all(file.is_file() for file in files):
        atlas.close()
        raise AtlasError(f"atlas {folder.name} is no satellite atlas (kind {atlas.kind.value}): build one of tiles")
    return TileAtlas(atlas, *(np.load(file, allow_pickle=False) for file in files))


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


def _encode_tiles(
    encoder: TileEncoder, numbered: Sequence[tuple[int, SatelliteTile]], reader: TileReader | None
) -> EncodedBatch:
    items: list[StoredItem] = []
    pictures: list[NDArray[np.uint8]] = []
    failures: list[Failure] = []
    found = _pictures([tile for _, tile in numbered], reader)
    for (id_, tile), picture in zip(numbered, found, strict=True):
        if isinstance(picture, str):
            failures.append(Failure(id=id_, item_id=tile.tile_id, reason=picture))
            continue
        pictures.append(picture)
        items.append(StoredItem(id_, tile.bounds.centre, tile.tile_id, tile.payload()))
    return EncodedBatch(items, encoder.encode_tiles(pictures), failures)


def _pictures(tiles: Sequence[SatelliteTile], reader: TileReader | None) -> Iterator[NDArray[np.uint8] | str]:
    """The pixels of each tile, or why there are none."""
    served = _served([each.tile for each in tiles if each.tile and each.rgb is None and each.path is None], reader)
    for each in tiles:
        if each.rgb is not None:
            yield each.rgb
        elif each.path is not None:
            yield _read(each.path)
        else:
            yield next(served) if each.tile else f"{each.tile_id} has no picture"


def _read(path: Path) -> NDArray[np.uint8] | str:
    try:
        return read_tile(path, PhotoLimits())
    except PhotoError as error:
        return str(error)


def _served(tiles: Sequence[Tile], reader: TileReader | None) -> Iterator[NDArray[np.uint8] | str]:
    """What a reader has of tiles; after one that cannot be used it is asked for the next."""
    at = 0
    while reader is not None and at < len(tiles):
        try:
            for rgb in reader.pictures(tiles[at:]):
                at += 1
                yield "the source has no such tile" if rgb is None else rgb
            return
        except PhotoError as error:
            at += 1
            yield str(error)


def _tile_hit(hit: Hit) -> TileHit:
    facts = hit.item.extra
    bounds = TileBounds(*(float(edge) for edge in facts["bounds"].split(",")))
    tile = SatelliteTile(hit.item.item_id, bounds, facts["zoom"], facts["source"], facts["date"])
    return TileHit(tile, hit.similarity)
