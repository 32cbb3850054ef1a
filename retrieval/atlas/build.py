"""Building atlases: streaming, and resumable after a kill with no item lost or doubled.

An item's id is its place in the source, so writing it twice changes nothing; a build that is run again asks the
store which ids it has and does the rest. Only the same source, encoder and store may resume.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from core.files import lock_file
from core.frozen import Immutable
from core.jsonl_log import JsonlLog
from geo.point import Point
from retrieval.atlas.manifest import (
    FAILED_FILE,
    MANIFEST_FILE,
    STORE_FOLDER,
    AtlasError,
    AtlasManifest,
    check_encoder,
    read_manifest,
    write_manifest,
)
from retrieval.atlas.sources import PhotoItem
from retrieval.atlas.verify import store_checksum
from retrieval.candidate import AtlasKind
from retrieval.encoders.base import IdentifiedEncoder, PhotoEncoder, Vectors
from retrieval.photos.photo import Photo, PhotoError, load_photo
from retrieval.stores.base import EdgeSettings, StoredItem, StoreSettings, VectorStore
from retrieval.stores.registry import StorePlace, open_store


class Failure(Immutable):
    """An item that is not in the atlas, and why."""

    id: int
    item_id: str
    reason: str


class FailureList(JsonlLog):
    """`failed.jsonl` of an atlas under construction. The item of a torn line is tried again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder / FAILED_FILE, "list of failures", "delete the folder and build again", sync_every_s=0.0
        )
        self.ids = {failure.id for failure in map(_parsed, self.lines()) if failure}

    def add(self, failures: Sequence[Failure]) -> None:
        """Append failures, safe on disk when this returns."""
        for failure in failures:
            self.write_line(failure.model_dump_json().encode() + b"\n")
            self.ids.add(failure.id)


def _parsed(line: bytes) -> Failure | None:
    try:
        return Failure.model_validate_json(line)
    except ValidationError:
        return None  # of another version, or damaged: its item is tried again


Progress = Callable[[int, int], None]
"""Called with (done, total) after each batch."""

GPS_BATCH, PHOTO_BATCH = 2048, 16
SCAN_UP_TO = 250_000
"""A scan's time grows with the items, a graph's hardly: above this a graph is worth the minutes it takes to build."""


class EncodedItems(NamedTuple):
    """A batch: the items that could be encoded with their vectors (n, dim), and those that could not."""

    items: list[StoredItem]
    vectors: Vectors
    failures: list[Failure]


class AtlasSource(NamedTuple):
    """The items 0 to total - 1 of a build; `encode` makes a batch of them from their numbers."""

    kind: AtlasKind
    description: str
    sha256: str
    total: int
    batch_size: int
    encode: Callable[[Sequence[int]], EncodedItems]


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

    Raises:
        AtlasError: the atlas that is there is of another build.
        UserError: another process builds it.
        ValueError: positions and names differ in number.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)
    if len(positions) != len(item_ids):
        raise ValueError(f"{len(positions)} positions came with {len(item_ids)} names")
    digest = hashlib.sha256(positions.tobytes() + json.dumps(list(item_ids)).encode()).hexdigest()

    def encode(ids: Sequence[int]) -> EncodedItems:
        points = [Point(lat=lat, lon=lon) for lat, lon in positions[list(ids)].tolist()]
        items = [StoredItem(i, point, item_ids[i]) for i, point in zip(ids, points, strict=True)]
        return EncodedItems(items, encoder.encode_points(positions[list(ids)]), [])

    given = AtlasSource(AtlasKind.GPS, source, digest, len(positions), GPS_BATCH, encode)
    return build_atlas(folder, encoder, given, store, progress, wait=wait)


def build_photo_atlas(
    folder: Path,
    encoder: PhotoEncoder,
    items: Sequence[PhotoItem],
    *,
    source: str = "photos",
    store: StoreSettings | None = None,
    progress: Progress | None = None,
) -> AtlasManifest:
    """Build an atlas of the fused vectors of photos, or finish one that was cut off.

    A photo that cannot be read, or has no position, is listed in `failed.jsonl` and the build goes on.
    An author is kept as the payload `author`. The other arguments are those of `build_gps_atlas`.

    Raises:
        AtlasError: the atlas that is there is of another build.
        UserError: another process builds it.
    """
    listed = [(item.item_id, item.author, item.point and (item.point.lat, item.point.lon)) for item in items]
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def encode(ids: Sequence[int]) -> EncodedItems:
        return _encode_photos(encoder, [(i, items[i]) for i in ids])

    given = AtlasSource(AtlasKind.PHOTO, source, digest, len(items), PHOTO_BATCH, encode)
    return build_atlas(folder, encoder, given, store, progress)


def build_atlas(
    folder: Path,
    encoder: IdentifiedEncoder,
    source: AtlasSource,
    store: StoreSettings | None,
    progress: Progress | None,
    *,
    wait: bool = False,
) -> AtlasManifest:
    """Build an atlas of any kind from its source, or finish one that was cut off; see `build_gps_atlas`."""
    with atlas_lock(folder, wait=wait):
        return _build(folder, encoder, source, store, progress)


@contextmanager
def atlas_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of those who build or delete an atlas. Readers need none: a complete atlas is never written to.

    Raises:
        UserError: another process holds it, and `wait` is off.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    in_use = f"atlas {folder.name} is being built by another process: wait until it has ended"
    with lock_file(folder.parent / f".{folder.name}.lock", in_use, wait=wait):
        yield


def delete_atlas(folder: Path) -> None:
    """Delete an atlas, whatever its state. It has gone at once; those who read it go on reading.

    Raises:
        AtlasError: no atlas there.
        UserError: another process builds it.
    """
    if not (folder / MANIFEST_FILE).is_file():
        raise AtlasError(f"no atlas at {folder}: `geosleuth atlas info` lists those there are")
    with atlas_lock(folder):
        gone = folder.with_name(f".{folder.name}.deleted")
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone)


def _encode_photos(encoder: PhotoEncoder, numbered: Sequence[tuple[int, PhotoItem]]) -> EncodedItems:
    items: list[StoredItem] = []
    photos: list[Photo] = []
    failures: list[Failure] = []
    for id_, item in numbered:
        try:
            photo, point = _placed_photo(item)
        except PhotoError as error:
            failures.append(Failure(id=id_, item_id=item.item_id, reason=str(error)))
            continue
        photos.append(photo)
        items.append(StoredItem(id_, point, item.item_id, {"author": item.author} if item.author else {}))
    vectors = encoder.encode_photos(photos).fused if photos else np.zeros((0, encoder.identity.dim), np.float32)
    return EncodedItems(items, vectors, failures)


def _placed_photo(item: PhotoItem) -> tuple[Photo, Point]:
    """The photo and where it was taken, by the table or else by the file's own metadata."""
    if item.problem:
        raise PhotoError(item.problem)
    photo = load_photo(item.path)
    point = item.point or (photo.metadata.position if photo.metadata else None)
    if point is None:
        raise PhotoError(f"{item.item_id} does not say where it was taken: list it in a table with its position")
    return photo, point


def _build(
    folder: Path,
    encoder: IdentifiedEncoder,
    source: AtlasSource,
    store: StoreSettings | None,
    progress: Progress | None,
) -> AtlasManifest:
    """Encode and store the items that are not there yet, and finish the manifest."""
    settings = store or EdgeSettings(index="scan" if source.total <= SCAN_UP_TO else "hnsw")
    manifest = _start_or_resume(folder, encoder, source, settings)
    if manifest.state == "complete":
        return manifest
    place = StorePlace(folder / STORE_FOLDER, manifest.name, encoder.identity.dim)
    with open_store(settings, place, create=True) as opened, FailureList(folder) as failures:
        _fill(opened, failures, source, progress)
        _refuse_empty(opened, folder, source)
        opened.flush()
        opened.optimize()
        count, failed = opened.count(), len(failures.ids)
        if count + failed != source.total:
            raise AtlasError(
                f"the store holds {count + failed} of {source.total} items after the build: delete it and build again"
            )
        checksum = store_checksum(opened)
    complete = manifest.model_copy(update={"state": "complete", "count": count, "failed": failed, "checksum": checksum})
    write_manifest(folder, complete)
    return complete


def _refuse_empty(store: VectorStore, folder: Path, source: AtlasSource) -> None:
    """An atlas of pictures of which none could be used is none: say why, and delete it, to be tried again."""
    if source.kind is AtlasKind.GPS or store.count():
        return
    parsed = map(_parsed, (folder / FAILED_FILE).read_bytes().splitlines(keepends=True))
    first = next((failure for failure in parsed if failure), None)
    store.close()
    shutil.rmtree(folder)
    raise AtlasError(
        f"none of {source.total} {source.kind.value}s could be used, so there is no atlas"
        + (f" (the first: {first.item_id}: {first.reason})" if first else "")
    )


def _fill(store: VectorStore, failures: FailureList, source: AtlasSource, progress: Progress | None) -> None:
    done = store.ids() | failures.ids
    pending = [i for i in range(source.total) if i not in done]
    for start in range(0, len(pending), source.batch_size):
        batch = pending[start : start + source.batch_size]
        encoded = source.encode(batch)
        store.upsert(encoded.items, encoded.vectors)
        failures.add(encoded.failures)
        if progress:
            progress(source.total - len(pending) + start + len(batch), source.total)


def _start_or_resume(
    folder: Path, encoder: IdentifiedEncoder, source: AtlasSource, settings: StoreSettings
) -> AtlasManifest:
    """The manifest of the build in progress, written before anything else."""
    fresh = AtlasManifest(
        name=folder.name,
        kind=source.kind,
        encoder=encoder.identity,
        store=settings,
        state="building",
        source=source.description,
        source_sha256=source.sha256,
        total=source.total,
    )
    if (folder / MANIFEST_FILE).exists():
        return _resumed(read_manifest(folder), fresh)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AtlasError(f"{folder} is there and is no atlas: choose another name or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, fresh)
    return fresh


def _resumed(found: AtlasManifest, fresh: AtlasManifest) -> AtlasManifest:
    if found.state == "complete":
        return _same_build(found, fresh)
    check_encoder(found, fresh.encoder)
    # Compared as written: a server's API key is in neither.
    if found.model_dump(exclude={"source"}) != fresh.model_dump(exclude={"source"}):
        raise AtlasError(
            f"atlas {found.name} is half-built from other items or in another store:"
            " run that build again, or delete its folder"
        )
    return found


def _same_build(found: AtlasManifest, fresh: AtlasManifest) -> AtlasManifest:
    """The complete atlas that is there, if this build would make the same one."""
    if (found.encoder, found.source_sha256, found.kind) != (fresh.encoder, fresh.source_sha256, fresh.kind):
        raise AtlasError(
            f"atlas {found.name} is there already, of other items or another encoder:"
            f" `geosleuth atlas delete {found.name}` deletes it, or choose another name"
        )
    return found
