"""An atlas: a named set of geotagged vectors made by one encoder, in a folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.closing import Closing
from geo.sphere import EARTH_RADIUS_KM, lat_lon_array, unit_vectors
from retrieval.atlas.integrity import check_files, read_elsewhere
from retrieval.atlas.manifest import (
    MANIFEST_FILE,
    AtlasError,
    AtlasManifest,
    check_complete,
    check_encoder,
    draft_of,
    read_manifest,
)
from retrieval.atlas.servers import check_server
from retrieval.atlas.verify import Verification, verify_store
from retrieval.candidate import AtlasKind, Candidate
from retrieval.encoders.base import EncoderIdentity, IdentifiedEncoder, Vectors
from retrieval.stores.base import (
    Hit,
    Page,
    ServerSettings,
    StoreDamagedError,
    StoredItem,
    StoreMissingError,
    StoreSettings,
    VectorStore,
)
from retrieval.stores.filters import Exclude, Near, NearAny
from retrieval.stores.registry import StorePlace, open_store


class AtlasInfo(NamedTuple):
    """What an atlas is, and how much room its folder takes."""

    manifest: AtlasManifest
    folder: Path
    size_bytes: int


class Atlas(Closing):
    """A complete, open atlas. Close it, or use it as a context manager. Any number of processes read one at once."""

    def __init__(self, folder: Path, manifest: AtlasManifest, store: VectorStore) -> None:
        self.folder, self.manifest = folder, manifest
        self._store = store

    @property
    def name(self) -> str:
        """The name its candidates carry."""
        return self.manifest.name

    @property
    def kind(self) -> AtlasKind:
        """What its vectors stand for."""
        return self.manifest.kind

    @property
    def encoder(self) -> EncoderIdentity:
        """The encoder that made its vectors."""
        return self.manifest.encoder

    def __len__(self) -> int:
        return self.manifest.count

    def search(
        self, vector: Vectors, limit: int, near: Near | NearAny | None = None, exclude: Exclude | None = None
    ) -> list[Candidate]:
        """The items most similar to a vector of shape (dim,), most similar first.

        Args:
            vector: float32, L2-normalised, of this atlas's encoder.
            near: only items in this circle or area: every match, or `limit` of them.
            exclude: values to leave out, by field (`item_id`, `author`).
        """
        hits = self.search_items(vector, limit, near, exclude)
        return [self._candidate(hit, rank) for rank, hit in enumerate(hits)]

    def search_items(
        self, vector: Vectors, limit: int, near: Near | NearAny | None = None, exclude: Exclude | None = None
    ) -> list[Hit]:
        """The same with what is stored beside each vector, such as the bounds of a tile."""
        return self._store.search(vector, limit, near=near, exclude=exclude)

    def search_spread(self, vector: Vectors, limit: int, min_distance_km: float, among: int) -> list[Candidate]:
        """The most similar items that stand apart on the ground: the best of each neighbourhood, most similar first.

        Neighbouring coordinates of a GPS atlas have nearly the same vector, so that its most similar hundred are one
        or two places many times over.

        Args:
            vector: float32, L2-normalised, of this atlas's encoder.
            min_distance_km: between any two of them.
            among: how many of the most similar items to choose from.
        """
        hits = self._store.search(vector, among)
        kept = spread_out(lat_lon_array(hit.item.point for hit in hits), min_distance_km, limit)
        return [self._candidate(hits[index], rank) for rank, index in enumerate(kept.tolist())]

    def pages(self) -> Iterator[Page]:
        """Every item with its vector, some at a time."""
        yield from self._store.scroll()

    def items(self) -> Iterator[StoredItem]:
        """Every item in it: name, position, and payload such as the author."""
        for page in self.pages():
            yield from page.items

    def verify(self) -> Verification:
        """Check everything stored against the manifest; reads every vector."""
        return verify_store(self.manifest, self._store)

    def close(self) -> None:
        """Release the store."""
        self._store.close()

    def _candidate(self, hit: Hit, rank: int) -> Candidate:
        return Candidate(
            point=hit.item.point,
            similarity=hit.similarity,
            atlas=self.name,
            kind=self.kind,
            item_id=hit.item.item_id,
            rank=rank,
        )


def open_atlas(
    folder: Path,
    encoder: IdentifiedEncoder | None,
    store: StoreSettings | None = None,
    *,
    servers: Collection[str] = (),
    for_verification: bool = False,
) -> Atlas:
    """Open a complete atlas made by this encoder.

    Args:
        folder: the atlas's.
        encoder: that made its vectors; None: of whatever encoder, to be read and not searched.
        store: replaces the manifest's settings: another URL, an API key, another search effort.
        servers: on other machines, each as NAME@HOST:PORT, that may be contacted because a manifest names them:
            somebody else may have made the atlas.
        for_verification: open an atlas that lost items, too.

    Raises:
        AtlasError: no atlas there, a damaged manifest, half-built, made by another encoder, items were lost, or it is
            on a server that is not allowed.
        StoreLockedError, StoreMissingError, StoreDamagedError, StoreUnreachableError: its vectors cannot be had.
    """
    while True:
        manifest = read_manifest(folder)
        check_complete(manifest)
        if encoder is not None:
            check_encoder(manifest, encoder.identity)
        if store is None:
            check_server(folder, manifest, servers)
        try:
            return _open(folder, manifest, store or manifest.store, for_verification)
        except (StoreMissingError, StoreDamagedError):
            if read_manifest(folder) == manifest:
                raise  # otherwise another process put new vectors in the place of these meanwhile


def _open(folder: Path, manifest: AtlasManifest, store: StoreSettings, for_verification: bool) -> Atlas:
    place = StorePlace(folder / manifest.vectors, manifest.name, manifest.encoder.dim)
    if not isinstance(store, ServerSettings) and place.folder.exists():
        _check_files(store, place, manifest, for_verification)
    opened = open_store(store, place, read_only=True)
    try:
        if not for_verification:
            _check_count(folder, manifest, opened.count())
    except BaseException:
        opened.close()
        raise
    return Atlas(folder, manifest, opened)


def _check_files(store: StoreSettings, place: StorePlace, manifest: AtlasManifest, for_verification: bool) -> None:
    try:
        check_files(place.folder, store, place, manifest.checksum)
    except StoreDamagedError:
        if not for_verification:
            raise
        read_elsewhere(store, place)  # what can be read is compared item by item


def _check_count(folder: Path, manifest: AtlasManifest, count: int) -> None:
    if count != manifest.count:
        raise AtlasError(
            f"atlas {manifest.name!r} holds {count:,} of its {manifest.count:,} items: it is damaged; build it again"
            f" with --replace, or copy {folder} again from where it came from"
        )


def atlas_info(folder: Path) -> AtlasInfo:
    """The manifest and size of an atlas folder, without opening its store: works on half-built and locked ones.

    Raises:
        AtlasError: no atlas there, or a damaged manifest.
    """
    if not (folder / MANIFEST_FILE).exists() and (draft_of(folder) / MANIFEST_FILE).exists():
        folder = draft_of(folder)
    manifest = read_manifest(folder)
    return AtlasInfo(manifest, folder, sum(_bytes_on_disk(path) for path in folder.rglob("*") if path.is_file()))


def list_atlases(home: Path) -> list[Path]:
    """The folders of atlases in `<home>/atlases`, by name, whatever their state; none if there is no such folder.

    That of an atlas whose first build has not ended is not there yet: `atlas_info` looks beside it.
    """
    found = {path.parent for path in (home / "atlases").glob(f"*/{MANIFEST_FILE}")}
    return sorted({_finished(folder) for folder in found if not folder.name.endswith(".deleted")})


def _finished(folder: Path) -> Path:
    """The folder of an atlas, given that or its draft."""
    finished = folder.with_name(folder.name.removeprefix(".").removesuffix(".building"))
    return finished if draft_of(finished) == folder else folder


def _bytes_on_disk(path: Path) -> int:
    """Room taken: engines reserve files larger than what they have written, where the system can say so."""
    status = path.stat()
    return getattr(status, "st_blocks", (status.st_size + 511) // 512) * 512


def spread_out(lat_lon_deg: ArrayLike, min_distance_km: float, limit: int) -> NDArray[np.int64]:
    """Indices (k,), ascending, of the first `limit` positions with no kept one before them within `min_distance_km`.

    Greedy non-maximum suppression on the sphere.

    Args:
        lat_lon_deg: positions (n, 2), the best first.
        min_distance_km: at most half the Earth's circumference.

    >>> spread_out([(48.85, 2.35), (48.86, 2.36), (51.5, -0.12)], min_distance_km=100.0, limit=10).tolist()
    [0, 2]
    """
    directions = unit_vectors(np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2))
    too_near = np.cos(min_distance_km / EARTH_RADIUS_KM)
    eligible = np.ones(len(directions), dtype=bool)
    kept: list[int] = []
    while len(kept) < limit and eligible.any():
        best = int(eligible.argmax())
        kept.append(best)
        eligible &= directions @ directions[best] <= too_near
        eligible[best] = False
    return np.array(kept, dtype=np.int64)
