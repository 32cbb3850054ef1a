"""Snapshots: an atlas in one file, and an atlas from such a file, which somebody else may have made.

A snapshot is a plain tar, so it holds no more than its own size: first `snapshot.json`, the names, sizes and SHA-256 of
the rest; then the manifest, the failures, and the vectors: the store's folder, or the snapshot that a Qdrant server
made. Restoring takes nothing that is not listed, and no links, paths out of the folder, or files of another size or
hash; the engine first reads the vectors in a process of its own, and their checksum must be the manifest's.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Literal

from pydantic import Field, ValidationError

from core.errors import first_problem
from core.files import replacing, sha256_of_file
from core.frozen import Frozen
from retrieval.atlas.draft import atlas_lock, check_room, discard_draft, publish_draft
from retrieval.atlas.integrity import check_files, read_elsewhere
from retrieval.atlas.manifest import (
    FAILED_FILE,
    MANIFEST_FILE,
    STORE_FOLDER,
    AtlasError,
    AtlasManifest,
    check_complete,
    draft_of,
    read_manifest,
)
from retrieval.atlas.servers import check_replaceable, clear_collection, next_vectors
from retrieval.atlas.verify import store_checksum
from retrieval.stores.base import ServerSettings, StoreDamagedError
from retrieval.stores.qdrant_edge import LOG_FOLDER
from retrieval.stores.registry import StorePlace, collection_name, open_collections, open_store

LIST_FILE = "snapshot.json"
COLLECTION_FILE = "collection.snapshot"
_INSIDE = r"(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}){1,8}"
_NAME = rf"^(?:atlas[.]json|failed[.]jsonl|collection[.]snapshot|{STORE_FOLDER}{_INSIDE})$"
_MOST_FILES, _MOST_LIST_BYTES, _PIECE_BYTES = 20_000, 16 << 20, 1 << 20


class ListedFile(Frozen):
    """A file of a snapshot."""

    name: str = Field(pattern=_NAME)
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class SnapshotList(Frozen):
    """The content of `snapshot.json`, in the order of the files."""

    format_version: Literal[1] = 1
    files: tuple[ListedFile, ...] = Field(max_length=_MOST_FILES)


def write_snapshot(folder: Path, file: Path, store: ServerSettings | None = None) -> AtlasManifest:
    """Write a complete atlas into one file. It can be read meanwhile, but not built again.

    Args:
        folder: the atlas's.
        file: that is not there yet.
        store: replaces the manifest's settings of a server, to give a key.

    Raises:
        AtlasError: no complete atlas there, the file is there, the disk has too little room, or a server's cluster
            keeps the collection in several places.
        StoreDamagedError, StoreUnreachableError: its vectors cannot be had.
    """
    if file.exists():
        raise AtlasError(f"{file} is there already: choose another file, or delete it first")
    with atlas_lock(folder), ExitStack() as stack:
        manifest = read_manifest(folder)
        check_complete(manifest)
        settings = store or manifest.store
        files = {FAILED_FILE: folder / FAILED_FILE} if (folder / FAILED_FILE).exists() else {}
        if isinstance(settings, ServerSettings):
            files[COLLECTION_FILE] = stack.enter_context(_of_collection(manifest, settings, file))
        else:
            files |= _of_folder(folder, manifest)
        stored = manifest.model_copy(update={"vectors": STORE_FOLDER})
        _write_tar(file, (stored.model_dump_json(indent=2) + "\n").encode(), files)
    return manifest


def restore_atlas(
    file: Path, folder: Path, store: ServerSettings | None = None, *, replace: bool = False
) -> AtlasManifest:
    """Make an atlas from a snapshot, and put it in its place once everything of it was checked.

    Args:
        file: the snapshot.
        folder: where; its name is the atlas's from now on.
        store: the server that gets the vectors of an atlas that was on one: the file's word is not taken for it.
        replace: put it in the place of the atlas that is there, or of one that is half-built.

    Raises:
        AtlasError: no snapshot, a damaged one, or one that is not what it says; an atlas is there; too little room.
        StoreDamagedError, StoreUnreachableError: the engine cannot read its vectors, or the server refuses them.
    """
    with atlas_lock(folder):
        _check_free(folder, replace)
        discard_draft(folder)
        draft_of(folder).mkdir(parents=True)
        try:
            return _restore(file, folder, store, replace)
        except BaseException:
            discard_draft(folder)
            raise


def _check_free(folder: Path, replace: bool) -> None:
    if folder.exists() and not (folder / MANIFEST_FILE).exists():
        raise AtlasError(f"{folder} is there and is no atlas: choose another name")
    for there in (folder, draft_of(folder)):
        if there.exists() and not replace:
            raise AtlasError(f"{there} is there already: choose another name, or put this in its place with --replace")


def _restore(file: Path, folder: Path, store: ServerSettings | None, replace: bool) -> AtlasManifest:
    draft = draft_of(folder)
    _unpack(file, draft)
    manifest = read_manifest(draft).model_copy(update={"name": folder.name, "vectors": STORE_FOLDER})
    (draft / MANIFEST_FILE).unlink()  # written at the end: until then this is no half-built atlas
    (draft / FAILED_FILE).touch()
    check_complete(manifest)
    is_on_server, has_folder = isinstance(manifest.store, ServerSettings), (draft / STORE_FOLDER).is_dir()
    if (is_on_server, not is_on_server) != ((draft / COLLECTION_FILE).exists(), has_folder):
        raise _damaged(file, "its vectors are not of its store")
    check_replaceable(folder, store or manifest.store)
    if not is_on_server:
        if store is not None:
            raise AtlasError(f"{file} holds an atlas that is kept in a folder, not on a server: leave out --store")
        place = StorePlace(draft / STORE_FOLDER, manifest.name, manifest.encoder.dim)
        if read_elsewhere(manifest.store, place) != manifest.checksum:
            raise StoreDamagedError(f"{file} is damaged: its vectors are not those of its manifest")
        return publish_draft(folder, manifest)
    if store is None:
        raise AtlasError(f"{file} holds an atlas of a Qdrant server: name yours with --store qdrant-server@URL")
    vectors = next_vectors(folder, store)
    placed = manifest.model_copy(update={"store": _with_server(manifest, store), "vectors": vectors})
    return _restore_collection(file, folder, placed, replace)


def _with_server(manifest: AtlasManifest, store: ServerSettings) -> ServerSettings:
    place = {name: getattr(store, name) for name in ("url", "api_key", "collection", "timeout_s")}
    return ServerSettings.model_validate(manifest.store.model_dump() | place)


def _restore_collection(file: Path, folder: Path, manifest: AtlasManifest, replace: bool) -> AtlasManifest:
    settings, draft = ServerSettings.model_validate(manifest.store), draft_of(folder)
    place = StorePlace(draft / manifest.vectors, manifest.name, manifest.encoder.dim)
    clear_collection(manifest, replace)
    with open_collections(settings) as server:
        collection = collection_name(settings, place)
        server.restore(collection, draft / COLLECTION_FILE)
        try:
            with open_store(settings, place) as opened:
                if opened.count() != manifest.count or store_checksum(opened) != manifest.checksum:
                    raise StoreDamagedError(f"{file} is damaged: its vectors are not those of its manifest")
        except BaseException:
            server.delete(collection)
            raise
    (draft / COLLECTION_FILE).unlink()
    return publish_draft(folder, manifest)


def _of_folder(folder: Path, manifest: AtlasManifest) -> Mapping[str, Path]:
    """The files of a store's folder, without the engine's log, by their names in a snapshot."""
    store = folder / manifest.vectors
    check_files(store, manifest.store, StorePlace(store, manifest.name, manifest.encoder.dim), manifest.checksum)
    inside = {path.relative_to(store): path for path in sorted(store.rglob("*")) if path.is_file()}
    return {f"{STORE_FOLDER}/{name.as_posix()}": path for name, path in inside.items() if name.parts[0] != LOG_FOLDER}


@contextmanager
def _of_collection(manifest: AtlasManifest, settings: ServerSettings, file: Path) -> Iterator[Path]:
    """The server's own snapshot of the collection, in a file that is deleted at the end."""
    if settings.shards > 1 or settings.replicas > 1:
        raise AtlasError(
            f"atlas {manifest.name} has {settings.shards} shards and {settings.replicas} replicas, and each node of a"
            " cluster makes a snapshot of its own shards alone: make them with Qdrant's own tools"
        )
    collection = collection_name(settings, StorePlace(Path(manifest.vectors), manifest.name, manifest.encoder.dim))
    part = file.with_name(f"{file.name}.collection")
    try:
        with open_collections(settings) as server:
            server.snapshot(collection, part)
        yield part
    finally:
        part.unlink(missing_ok=True)


def _write_tar(file: Path, manifest: bytes, files: Mapping[str, Path]) -> None:
    listed = [ListedFile(name=MANIFEST_FILE, size_bytes=len(manifest), sha256=hashlib.sha256(manifest).hexdigest())]
    for name, path in files.items():
        listed.append(ListedFile(name=name, size_bytes=path.stat().st_size, sha256=sha256_of_file(path)))
    check_room(file.absolute().parent, sum(one.size_bytes for one in listed) + _MOST_LIST_BYTES, f"the snapshot {file}")
    with replacing(file) as part, tarfile.open(part, "w") as tar:
        _add(tar, LIST_FILE, io.BytesIO(SnapshotList(files=tuple(listed)).model_dump_json().encode()))
        _add(tar, MANIFEST_FILE, io.BytesIO(manifest))
        for name, path in files.items():
            with path.open("rb") as stream:
                _add(tar, name, stream)


def _add(tar: tarfile.TarFile, name: str, stream: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    tar.addfile(entry, stream)


def _unpack(file: Path, folder: Path) -> None:
    """Write the listed files of a snapshot into an empty folder."""
    try:
        with tarfile.open(file, "r:") as tar:
            listed = _read_list(file, tar)
            check_room(folder, sum(one.size_bytes for one in listed), f"restoring {file}")
            for one in listed:
                _unpack_file(file, tar, one, folder / one.name)
            if tar.next() is not None:
                raise _damaged(file, "it holds more than it lists")
    except OSError as error:
        raise AtlasError(f"cannot restore {file}: {error.strerror or error}") from error
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise _damaged(file, str(error)) from error


def _read_list(file: Path, tar: tarfile.TarFile) -> tuple[ListedFile, ...]:
    entry = tar.next()
    if entry is None or entry.name != LIST_FILE or entry.size > _MOST_LIST_BYTES:
        raise _damaged(file, f"it does not begin with {LIST_FILE}")
    try:
        files = SnapshotList.model_validate_json(b"".join(_pieces(file, tar, entry))).files
    except ValidationError as error:
        raise _damaged(file, f"{LIST_FILE}: {first_problem(error)}") from error
    names = [one.name for one in files]
    if len(set(names)) < len(names) or MANIFEST_FILE not in names:
        raise _damaged(file, f"{LIST_FILE} lists a file twice, or no {MANIFEST_FILE}")
    if sum(one.size_bytes for one in files) > file.stat().st_size:
        raise _damaged(file, f"{LIST_FILE} lists more than the file has")
    return files


def _unpack_file(file: Path, tar: tarfile.TarFile, listed: ListedFile, to: Path) -> None:
    entry = tar.next()
    if entry is None or (entry.name, entry.size) != (listed.name, listed.size_bytes):
        raise _damaged(file, f"{listed.name} is not in it as it is listed")
    to.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with to.open("xb") as stream:
        for piece in _pieces(file, tar, entry):
            digest.update(piece)
            stream.write(piece)
    if digest.hexdigest() != listed.sha256:
        raise _damaged(file, f"{listed.name} has changed")


def _pieces(file: Path, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Iterator[bytes]:
    """The content of a regular entry; a sparse one may say that it is larger than the whole tar."""
    stream = tar.extractfile(entry) if entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not entry.sparse else None
    if stream is None:
        raise _damaged(file, f"{entry.name[:80]!r} is no plain file")
    with stream:
        while piece := stream.read(_PIECE_BYTES):
            yield piece


def _damaged(file: Path, reason: str) -> AtlasError:
    return AtlasError(f"{file} is no snapshot of an atlas, or a damaged one ({reason}): get it again")
