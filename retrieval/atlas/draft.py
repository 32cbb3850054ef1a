"""An atlas under construction: built in a folder beside its place, which it takes when it is complete.

Readers see the old atlas or the new one. A new atlas is one renamed folder. One that replaces another moves its vectors
into that one's folder under a new name, and the manifest that names them is replaced in one step.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.files import lock_file
from retrieval.atlas.integrity import check_files, read_elsewhere, record_files, records_file
from retrieval.atlas.manifest import (
    FAILED_FILE,
    MANIFEST_FILE,
    STORE_FOLDER,
    AtlasError,
    AtlasManifest,
    check_encoder,
    draft_of,
    read_manifest,
    write_manifest,
)
from retrieval.atlas.servers import publish_collection
from retrieval.stores.base import ServerSettings, StoreDamagedError
from retrieval.stores.registry import StorePlace

_LOG = logging.getLogger("geosleuth.waiting")

FIXED_BYTES = 32 << 20
LOG_BYTES = 64 << 20
RESERVE_BYTES = 32 << 20
ITEM_BYTES = 500
VECTOR_COPIES = 3
"""What a build takes at its peak, rounded up from measurements of Qdrant Edge on a file system without holes in files:
24 MB empty, and at 512 dimensions 60 MB for 5,000 items, 175 for 20,000, 263 for 40,000. FAISS takes less."""


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
    draft = draft_of(folder)
    if not (folder / MANIFEST_FILE).is_file() and not draft.is_dir():
        raise AtlasError(f"no atlas at {folder}: `geosleuth atlas info` lists those there are")
    with atlas_lock(folder):
        shutil.rmtree(draft, ignore_errors=True)
        if (folder / MANIFEST_FILE).is_file():
            gone = folder.with_name(f".{folder.name}.deleted")
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)
            shutil.rmtree(gone)


def peak_bytes(items: int, dim: int) -> int:
    """Estimate of the room that building a store of this many vectors takes at its peak."""
    written_once = items * (4 * dim + ITEM_BYTES)
    return FIXED_BYTES + items * (VECTOR_COPIES * 4 * dim + ITEM_BYTES) + min(LOG_BYTES, written_once)


def check_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Refuse what would fill the disk: an engine that maps files is killed where the disk has no room for them.

    Args:
        folder: on that disk.
        what: needs the room, such as "an atlas of 100 items".

    Raises:
        AtlasError: too little room.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise AtlasError(
            f"{what} needs about {needed_bytes / 1e6:,.0f} MB, and the disk of {folder} has {free / 1e6:,.0f} MB free:"
            " make room, or choose another disk with --home"
        )


def same_build(folder: Path, fresh: AtlasManifest, replace: bool) -> AtlasManifest | None:
    """The complete atlas that is there, if this build would make the same one; None where one is to be built.

    Raises:
        AtlasError: another one is there, and `replace` is off.
    """
    if not (folder / MANIFEST_FILE).exists():
        return None
    try:
        found = read_manifest(folder)
    except AtlasError:
        if replace:
            return None
        raise
    if found.state != "complete":
        return None
    if (found.encoder, found.source_sha256, found.kind) == (fresh.encoder, fresh.source_sha256, fresh.kind):
        return None if replace and not _is_whole(folder, found) else found
    if replace:
        return None
    raise AtlasError(
        f"atlas {found.name} is there already, of other items or another encoder: --replace builds it anew and puts"
        " it in the place of that one when it is complete; or choose another name"
    )


def _is_whole(folder: Path, found: AtlasManifest) -> bool:
    """Whether the vectors are those that were built."""
    if not found.count or isinstance(found.store, ServerSettings):
        return bool(found.count)
    store = folder / found.vectors
    try:
        check_files(store, found.store, StorePlace(store, found.name, found.encoder.dim), found.checksum)
    except StoreDamagedError:
        return False
    return True


def resume_draft(folder: Path, fresh: AtlasManifest, *, replace: bool = False) -> AtlasManifest | None:
    """The manifest of the draft that is there, if it is of this build; None where a new one has to be begun.

    Args:
        replace: discard a draft of another build.

    Raises:
        AtlasError: the draft is of another build, and `replace` is off.
    """
    draft = draft_of(folder)
    _adopt_half_built(folder)
    try:
        found = read_manifest(draft)
        _check_same(found, fresh)
    except AtlasError:
        if (draft / MANIFEST_FILE).exists() and not replace:
            raise
        discard_draft(folder)
        return None
    return found if _is_readable(draft, found) else None


def begin_draft(folder: Path, fresh: AtlasManifest) -> None:
    """Make a draft with nothing in it.

    Raises:
        AtlasError: its place is taken by something else.
    """
    if folder.exists() and not (folder / MANIFEST_FILE).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AtlasError(f"{folder} is there and is no atlas: choose another name or an empty folder")
    draft = draft_of(folder)
    draft.mkdir(parents=True, exist_ok=True)
    write_manifest(draft, fresh)


def discard_draft(folder: Path) -> None:
    """Delete what was built so far, if anything was."""
    shutil.rmtree(draft_of(folder), ignore_errors=True)


def publish_draft(folder: Path, complete: AtlasManifest) -> AtlasManifest:
    """Put a complete draft in its place; returns its manifest there."""
    draft = draft_of(folder)
    if isinstance(complete.store, ServerSettings):
        publish_collection(folder, complete, complete.store, lambda: _publish_manifest(folder, complete))
        return complete
    record_files(draft / STORE_FOLDER)
    if (folder / MANIFEST_FILE).exists():
        return _replace_content(draft, folder, complete)
    _publish_manifest(folder, complete)
    return complete


def _replace_content(draft: Path, folder: Path, complete: AtlasManifest) -> AtlasManifest:
    outdated = set(folder.glob(f"{STORE_FOLDER}*"))
    number = 2
    while (folder / f"{STORE_FOLDER}-{number}") in outdated:
        number += 1
    store = folder / f"{STORE_FOLDER}-{number}"
    records_file(draft / STORE_FOLDER).replace(records_file(store))
    (draft / STORE_FOLDER).rename(store)
    (draft / FAILED_FILE).replace(folder / FAILED_FILE)
    published = complete.model_copy(update={"vectors": store.name})
    write_manifest(folder, published)
    for path in outdated - {records_file(store)}:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(draft, ignore_errors=True)
    return published


def _adopt_half_built(folder: Path) -> None:
    """Earlier versions built an atlas in its own place: what one of them began becomes the draft."""
    try:
        half_built = read_manifest(folder).state != "complete"
    except AtlasError:
        return
    if half_built and not draft_of(folder).exists():
        folder.rename(draft_of(folder))


def _check_same(found: AtlasManifest, fresh: AtlasManifest) -> None:
    check_encoder(found, fresh.encoder)
    # Compared as written: a server's API key is in neither.
    outcome = {"source", "state", "count", "failed", "checksum"}
    if found.model_dump(exclude=outcome) != fresh.model_dump(exclude=outcome):
        raise AtlasError(
            f"atlas {found.name} is half-built from other items or in another store:"
            " run that build again, or give --replace to begin anew"
        )


def _is_readable(draft: Path, found: AtlasManifest) -> bool:
    """Whether what a kill or a full disk left can be gone on with; it is deleted where it cannot."""
    store = draft / STORE_FOLDER
    if isinstance(found.store, ServerSettings):
        return True
    if not store.exists():
        return False
    try:
        read_elsewhere(found.store, StorePlace(store, found.name, found.encoder.dim), for_writing=True)
    except StoreDamagedError:
        _LOG.info("what was built of the atlas %s before is damaged: building it from the start", found.name)
        shutil.rmtree(draft)
        return False
    return True


def _publish_manifest(folder: Path, complete: AtlasManifest) -> None:
    draft = draft_of(folder)
    if (folder / MANIFEST_FILE).exists():
        (draft / FAILED_FILE).replace(folder / FAILED_FILE)
        write_manifest(folder, complete)
        shutil.rmtree(draft, ignore_errors=True)
        return
    write_manifest(draft, complete)
    if folder.exists():
        folder.rmdir()
    draft.rename(folder)
