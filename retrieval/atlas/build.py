"""Building atlases: streaming, and resumable after a kill with no item lost or doubled.

An item's id is its place in the source, so writing it twice changes nothing; a build that is run again asks the
store which ids it has and does the rest. Only the same source, encoder and store may resume.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from geo.point import Point
from retrieval.atlas.draft import (
    FIXED_BYTES,
    RESERVE_BYTES,
    atlas_lock,
    begin_draft,
    check_room,
    discard_draft,
    peak_bytes,
    publish_draft,
    resume_draft,
    same_build,
)
from retrieval.atlas.engines import EncodedBatch, EncodingEngine, EngineJob, encode_photos
from retrieval.atlas.failures import FailureList, read_failures
from retrieval.atlas.manifest import (
    SHARD_FOLDER,
    STORE_FOLDER,
    AtlasError,
    AtlasManifest,
    draft_of,
)
from retrieval.atlas.servers import check_replaceable, clear_collection, next_vectors
from retrieval.atlas.sources import PhotoItem
from retrieval.atlas.verify import store_checksum
from retrieval.candidate import AtlasKind
from retrieval.encoders.base import IdentifiedEncoder, PhotoEncoder
from retrieval.stores.base import (
    EdgeSettings,
    ServerSettings,
    StoredItem,
    StoreSettings,
    VectorStore,
)
from retrieval.stores.registry import StorePlace, open_store

Progress = Callable[[int, int], None]
"""Called with (done, total) after each batch."""

GPS_BATCH, PHOTO_BATCH = 2048, 16
SCAN_UP_TO = 250_000
"""A scan's time grows with the items, a graph's hardly: above this a graph is worth the minutes it takes to build."""


class ItemSource(NamedTuple):
    """The items 0 to total - 1 of a build; `encode` makes a batch of them from their numbers.

    `encode_elsewhere`, where there is one, makes all batches of the numbers it is given, in their order; it is told the
    folder of the draft and is to report how many items it has encoded.
    """

    kind: AtlasKind
    description: str
    sha256: str
    total: int
    batch_size: int
    encode: Callable[[Sequence[int]], EncodedBatch]
    encode_elsewhere: Callable[[Sequence[int], Path, Callable[[int], None]], Iterator[EncodedBatch]] | None = None


def build_gps_atlas(
    folder: Path,
    encoder: PhotoEncoder,
    lat_lon_deg: ArrayLike,
    item_ids: Sequence[str],
    *,
    source: str = "coordinates",
    store: StoreSettings | None = None,
    progress: Progress | None = None,
    wait: bool = False,
    replace: bool = False,
) -> AtlasManifest:
    """Build an atlas of location embeddings, or finish one that was cut off; the same build again changes nothing.

    Args:
        folder: where; its name is the atlas's name.
        lat_lon_deg: positions (n, 2), latitude first; kept to 1e-7 degrees.
        item_ids: n names, such as those of the places.
        source: where the positions come from, for people.
        store: which engine; Qdrant Edge if None.
        progress: called with (done, n) after each batch.
        wait: where another process builds it, wait for that.
        replace: put it in the place of an atlas that is damaged or of other items, once it is complete.

    Raises:
        AtlasError: the atlas that is there is of another build.
        UserError: another process builds it.
        ValueError: positions and names differ in number.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)
    if len(positions) != len(item_ids):
        raise ValueError(f"{len(positions)} positions came with {len(item_ids)} names")
    digest = hashlib.sha256(positions.tobytes() + json.dumps(list(item_ids)).encode()).hexdigest()

    def encode(ids: Sequence[int]) -> EncodedBatch:
        points = [Point(lat=lat, lon=lon) for lat, lon in positions[list(ids)].tolist()]
        items = [StoredItem(i, point, item_ids[i]) for i, point in zip(ids, points, strict=True)]
        return EncodedBatch(items, encoder.encode_points(positions[list(ids)]), [])

    given = ItemSource(AtlasKind.GPS, source, digest, len(positions), GPS_BATCH, encode)
    with atlas_lock(folder, wait=wait):
        return _build(folder, encoder, given, store, progress, replace)


def build_photo_atlas(
    folder: Path,
    encoder: PhotoEncoder,
    items: Sequence[PhotoItem],
    *,
    source: str = "photos",
    store: StoreSettings | None = None,
    progress: Progress | None = None,
    replace: bool = False,
    engine: EncodingEngine | None = None,
) -> AtlasManifest:
    """Build an atlas of the fused vectors of photos, or finish one that was cut off.

    A photo that cannot be read, or has no position, is listed in `failed.jsonl` and the build goes on.
    The payload is the file's `sha256` and, where there is one, the `author`. `engine` encodes the photos, such as
    `make_engine("ray", ...)`; this process if None. The other arguments are those of `build_gps_atlas`.

    Raises:
        AtlasError: the atlas that is there is of another build.
        UserError: another process builds it.
    """

    def encode(ids: Sequence[int]) -> EncodedBatch:
        return encode_photos(encoder, [(i, items[i]) for i in ids])

    digest = digest_of_photos(items)

    elsewhere = None if engine is None else partial(_encode_with, engine, encoder, items, digest)
    given = ItemSource(AtlasKind.PHOTO, source, digest, len(items), PHOTO_BATCH, encode, elsewhere)
    with atlas_lock(folder):
        return _build(folder, encoder, given, store, progress, replace)


def _encode_with(
    engine: EncodingEngine,
    encoder: PhotoEncoder,
    items: Sequence[PhotoItem],
    digest: str,
    pending: Sequence[int],
    draft: Path,
    encoded: Callable[[int], None],
) -> Iterator[EncodedBatch]:
    return engine.encode(EngineJob(items, pending, PHOTO_BATCH, draft, digest, encoder, encoded))


def digest_of_photos(items: Sequence[PhotoItem]) -> str:
    """SHA-256 of a list of photos: their names, photographers and positions."""
    listed = [(item.item_id, item.author, item.point and (item.point.lat, item.point.lon)) for item in items]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def build_atlas(
    folder: Path,
    encoder: IdentifiedEncoder,
    source: ItemSource,
    store: StoreSettings | None,
    progress: Progress | None,
    replace: bool = False,
) -> AtlasManifest:
    """Build an atlas of any kind from its source, or finish one that was cut off; see `build_gps_atlas`."""
    with atlas_lock(folder):
        return _build(folder, encoder, source, store, progress, replace)


def _build(
    folder: Path,
    encoder: IdentifiedEncoder,
    source: ItemSource,
    store: StoreSettings | None,
    progress: Progress | None,
    replace: bool,
) -> AtlasManifest:
    """Encode and store the items that are not there yet in a draft, and put it in its place."""
    settings = store or EdgeSettings(index="scan" if source.total <= SCAN_UP_TO else "hnsw")
    fresh = AtlasManifest(
        name=folder.name,
        kind=source.kind,
        encoder=encoder.identity,
        store=settings,
        state="building",
        source=source.description,
        source_sha256=source.sha256,
        total=source.total,
        vectors=next_vectors(folder, settings),
    )
    if not source.total:
        raise AtlasError(f"there is nothing to build the atlas {folder.name} from: {source.description} lists no items")
    if complete := same_build(folder, fresh, replace):
        return complete
    check_replaceable(folder, settings)
    found = resume_draft(folder, fresh, replace=replace)
    if found is None:
        clear_collection(fresh, replace)
        begin_draft(folder, fresh)
    # What is written has no API key: the settings given have it.
    return finish_draft(folder, (found or fresh).model_copy(update={"store": settings}), source, progress)


def finish_draft(
    folder: Path, manifest: AtlasManifest, source: ItemSource, progress: Progress | None = None
) -> AtlasManifest:
    """Store the items that a draft lacks, and put it in the atlas's place.

    Raises:
        AtlasError: no item could be used, or the disk has too little room.
    """
    draft, dim = draft_of(folder), manifest.encoder.dim
    if manifest.state == "complete":
        return publish_draft(folder, manifest)
    on_disk = not isinstance(manifest.store, ServerSettings)
    if on_disk and not (draft / STORE_FOLDER).exists():
        check_room(draft, peak_bytes(source.total, dim), f"an atlas of {source.total:,} items")
    place = StorePlace(draft / manifest.vectors, manifest.name, dim)
    with open_store(manifest.store, place, create=True) as opened, FailureList(draft) as failures:
        _fill(opened, failures, source, progress, draft, on_disk)
        _refuse_empty(opened, folder, source)
        opened.flush()
        shutil.rmtree(draft / SHARD_FOLDER, ignore_errors=True)
        opened.optimize()
        count, failed = opened.count(), len(failures.ids)
        if count + failed != source.total:
            raise AtlasError(f"the store holds {count + failed} of {source.total} items after the build: build again")
        checksum = store_checksum(opened)
    outcome = {"state": "complete", "count": count, "failed": failed, "checksum": checksum}
    return publish_draft(folder, manifest.model_copy(update=outcome))


def _refuse_empty(store: VectorStore, folder: Path, source: ItemSource) -> None:
    """An atlas of pictures of which none could be used is none: say why, and delete it, to be tried again."""
    if store.count():
        return
    first = next(iter(read_failures(draft_of(folder))), None)
    store.close()
    discard_draft(folder)
    raise AtlasError(
        f"none of {source.total} {source.kind.value}s could be used, so there is no atlas"
        + (f" (the first: {first.item_id}: {first.reason})" if first else "")
    )


def _fill(
    store: VectorStore,
    failures: FailureList,
    source: ItemSource,
    progress: Progress | None,
    draft: Path,
    on_disk: bool,
) -> None:
    done = store.ids() | failures.ids
    pending = [i for i in range(source.total) if i not in done]
    batch_bytes = RESERVE_BYTES + peak_bytes(source.batch_size, store.dim) - FIXED_BYTES
    for encoded in _encoded(source, pending, draft, progress) if pending else ():
        if on_disk:
            check_room(draft, batch_bytes, f"the atlas of {source.total:,} items")
        kept = [row for row, item in enumerate(encoded.items) if item.id not in done]
        store.upsert([encoded.items[row] for row in kept], encoded.vectors[kept])
        failures.add([failure for failure in encoded.failures if failure.id not in done])


def _encoded(
    source: ItemSource, pending: Sequence[int], draft: Path, progress: Progress | None
) -> Iterator[EncodedBatch]:
    """The batches of items that are not stored yet; `progress` hears of one when it is stored, or encoded elsewhere."""
    done = source.total - len(pending)

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, source.total)

    if source.encode_elsewhere:
        yield from source.encode_elsewhere(pending, draft, report)
        return
    for start in range(0, len(pending), source.batch_size):
        batch = pending[start : start + source.batch_size]
        yield source.encode(batch)
        report(len(batch))
