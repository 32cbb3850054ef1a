"""Adding photos to a complete atlas: a copy of it is extended beside it and put in its place.

Readers keep the old state until then. An addition that was cut off goes on with the same photos; a photo that is in the
atlas already, by the SHA-256 of its file, is left out.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from core.files import write_atomic
from geo.point import Point
from retrieval.atlas.atlas import open_atlas
from retrieval.atlas.build import (
    PHOTO_BATCH,
    ItemSource,
    Progress,
    finish_draft,
)
from retrieval.atlas.draft import (
    atlas_lock,
    begin_draft,
    check_room,
    discard_draft,
    peak_bytes,
    resume_draft,
)
from retrieval.atlas.engines import EncodedBatch, encode_photos, placed_photo
from retrieval.atlas.failures import Failure, read_failures
from retrieval.atlas.manifest import (
    FAILED_FILE,
    STORE_FOLDER,
    AddedSource,
    AtlasError,
    AtlasManifest,
    draft_of,
    read_manifest,
)
from retrieval.atlas.sources import PhotoItem
from retrieval.candidate import AtlasKind
from retrieval.encoders.base import PhotoEncoder
from retrieval.photos.photo import PhotoError
from retrieval.photos.stored_files import read_files, stored_sha256
from retrieval.stores.base import ServerSettings, StoredItem
from retrieval.stores.qdrant_edge import LOG_FOLDER


class Addition(NamedTuple):
    """The atlas with its photos, how many of those given are new in it, and how many were there already."""

    manifest: AtlasManifest
    added: int
    skipped: int


class _Plan(NamedTuple):
    """The photos to store, by id; failures that stay; how many photos are left out."""

    photos: dict[int, PhotoItem]
    failures: list[Failure]
    skipped: int
    total: int
    sha256: str


def add_photos(
    folder: Path,
    encoder: PhotoEncoder,
    items: Sequence[PhotoItem],
    *,
    source: str = "photos",
    progress: Progress | None = None,
) -> Addition:
    """Add photos to an atlas of photos, or finish adding them.

    A photo that could not be used before, by its name, is tried again. A new photo with the name of another gets
    the beginning of its hash into its name: `a.jpg` becomes `a-1a2b3c4d.jpg`. Of an atlas built before hashes were
    kept, a photo of the same name and position is the same.

    Args:
        source: where the photos come from, for people.
        progress: called with (done, total) after each batch.

    Raises:
        AtlasError: the atlas is none of photos, of another encoder, half-built, damaged, or on a server; or the disk
            has too little room.
        UserError: another process builds it.
    """
    with atlas_lock(folder):
        _check_in_folder(read_manifest(folder))
        with open_atlas(folder, encoder) as atlas:
            if atlas.kind is not AtlasKind.PHOTO:
                raise AtlasError(f"atlas {atlas.name} holds places, not photos: build another atlas from the photos")
            plan = _plan(folder, atlas.manifest, list(atlas.items()), items)
        base = read_manifest(folder)
        if not plan.photos:
            discard_draft(folder)
            return Addition(base, 0, plan.skipped)
        manifest = _extend(folder, encoder, base, plan, source, progress)
        return Addition(manifest, manifest.count - base.count, plan.skipped)


def _check_in_folder(manifest: AtlasManifest) -> None:
    if isinstance(manifest.store, ServerSettings):
        raise AtlasError(
            f"atlas {manifest.name} is on a Qdrant server, where nothing is added:"
            " build it again from all its photos with --replace"
        )


def _extend(
    folder: Path, encoder: PhotoEncoder, base: AtlasManifest, plan: _Plan, source: str, progress: Progress | None
) -> AtlasManifest:
    added = AddedSource(source=source, source_sha256=plan.sha256, total=plan.total - base.total)
    outcome = {"state": "building", "count": 0, "failed": 0, "checksum": None, "vectors": STORE_FOLDER}
    sources = (*base.added, added) if added.total else base.added
    fresh = base.model_copy(update=outcome | {"total": plan.total, "added": sources})
    found = resume_draft(folder, fresh, replace=True)
    if found is None:
        begin_draft(folder, fresh)
        _copy_store(folder, base, plan)

    def encode(ids: Sequence[int]) -> EncodedBatch:
        return encode_photos(encoder, [(i, plan.photos[i]) for i in ids])

    given = ItemSource(base.kind, source, plan.sha256, plan.total, PHOTO_BATCH, encode)
    return finish_draft(folder, found or fresh, given, progress)


def _copy_store(folder: Path, base: AtlasManifest, plan: _Plan) -> None:
    """Copy what is there into the draft, in one step, without the engine's log: everything is in the segments."""
    draft = draft_of(folder)
    what = f"adding {len(plan.photos):,} photos to the atlas {base.name}"
    check_room(draft, peak_bytes(plan.total, base.encoder.dim), what)
    write_atomic(draft / FAILED_FILE, "".join(f"{failure.model_dump_json()}\n" for failure in plan.failures))
    part = draft / f"{STORE_FOLDER}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder / base.vectors, part, ignore=shutil.ignore_patterns(LOG_FOLDER))
    part.rename(draft / STORE_FOLDER)


def _plan(folder: Path, base: AtlasManifest, stored: Sequence[StoredItem], items: Sequence[PhotoItem]) -> _Plan:
    failed = {failure.item_id: failure for failure in read_failures(folder) if failure.id < base.total}
    names = {item.item_id for item in stored}
    hashes = {item.extra["sha256"] for item in stored if "sha256" in item.extra}
    by_name = {item.item_id: item.point for item in stored if "sha256" not in item.extra}
    photos: dict[int, PhotoItem] = {}
    digest = hashlib.sha256(f"{base.checksum}".encode())
    total = base.total
    for item in items:
        sha256 = None if item.problem else stored_sha256(item.file)
        if sha256 in hashes or _is_at(item, by_name):
            continue
        if sha256:
            hashes.add(sha256)
        before = failed.pop(item.item_id, None)
        named = _named_apart(item, sha256, names)
        names.add(named.item_id)
        photos[before.id if before else total] = named
        total += 0 if before else 1
        digest.update(repr((named.item_id, sha256, item.author, item.point)).encode())
    return _Plan(photos, list(failed.values()), len(items) - len(photos), total, digest.hexdigest())


def _is_at(item: PhotoItem, by_name: dict[str, Point]) -> bool:
    """Whether an item without a hash has the photo's name and position."""
    point = by_name.get(item.item_id)
    if point is None:
        return False
    try:
        taken_at = item.point or placed_photo(item, next(read_files([item.file])))[1]
    except PhotoError:
        return False
    return StoredItem(0, taken_at, item.item_id).point == point


def _named_apart(item: PhotoItem, sha256: str | None, names: set[str]) -> PhotoItem:
    if item.item_id not in names or sha256 is None:
        return item
    path = Path(item.item_id)
    return replace(item, item_id=path.with_name(f"{path.stem}-{sha256[:8]}{path.suffix}").as_posix())
