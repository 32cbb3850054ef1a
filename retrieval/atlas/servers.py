"""Qdrant servers that atlases are on: which may be contacted, and the collections of an atlas's builds there.

None of another machine is contacted because a manifest names it, before the user has allowed it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from pydantic import RootModel

from core.errors import UserError
from core.files import OWNER_ONLY, read_model, write_atomic
from core.redaction import host_of, remote_host
from retrieval.atlas.manifest import STORE_FOLDER, AtlasError, AtlasManifest, read_manifest
from retrieval.stores.base import ServerSettings, StoreSettings
from retrieval.stores.registry import StorePlace, collection_alias, collection_name, open_collections

ALLOWED_FILE = "allowed_servers.json"
"""In the data home: what the user has allowed at a terminal."""


class AllowedServers(RootModel[tuple[str, ...]]):
    """Servers, each as NAME@HOST:PORT with the name of the atlas that may send vectors there."""


def server_of(folder: Path, manifest: AtlasManifest) -> str | None:
    """The server on another machine that holds an atlas's vectors, as NAME@HOST:PORT; None where there is none."""
    store = manifest.store
    if not isinstance(store, ServerSettings) or remote_host(store.url) is None:
        return None
    return f"{folder.resolve().name}@{host_of(store.url)}"


def check_server(folder: Path, manifest: AtlasManifest, allowed: Collection[str]) -> None:
    """Contact no other machine only because a manifest names it.

    Raises:
        AtlasError: it is not allowed.
    """
    server = server_of(folder, manifest)
    if server is not None and server not in allowed:
        raise AtlasError(
            f"atlas {manifest.name} is on a Qdrant server of another machine, {host_of(server)}, which is sent the"
            f" vector of each photo: if you trust it, allow it with GEOSLEUTH_ATLAS_SERVERS='[\"{server}\"]', or by the"
            " answer to `geosleuth locate` at a terminal"
        )


def remembered_servers(home: Path) -> tuple[str, ...]:
    """The servers that were allowed for good, each as NAME@HOST:PORT.

    Raises:
        UserError: their file is damaged.
    """
    file = home / ALLOWED_FILE
    return read_model(file, AllowedServers, "list of allowed servers", "delete it").root if file.exists() else ()


def remember_server(home: Path, server: str) -> None:
    """Allow a server for good.

    Raises:
        UserError: the file is damaged, or cannot be written.
    """
    known = AllowedServers((*remembered_servers(home), server))
    try:
        write_atomic(home / ALLOWED_FILE, known.model_dump_json(indent=1) + "\n", OWNER_ONLY)
    except OSError as error:
        raise UserError(f"cannot write {home / ALLOWED_FILE}: {error.strerror}; choose another --home") from error


def check_replaceable(folder: Path, settings: StoreSettings) -> None:
    """Refuse to build anew elsewhere what is on a server: its collection there would stay.

    Raises:
        AtlasError: one of them is on a Qdrant server, and not both on the same.
    """
    try:
        found = read_manifest(folder).store
    except AtlasError:  # none there, or a damaged manifest, which names none and is to be replaced
        return
    old, new = (host_of(one.url) if isinstance(one, ServerSettings) else None for one in (found, settings))
    if old != new:
        raise AtlasError(
            f"atlas {folder.name} is {f'on the Qdrant server {old}' if old else 'in its folder'} and is built anew"
            f" only there: give that --store, `geosleuth atlas delete {folder.name}` first, or choose another name"
        )


def next_vectors(folder: Path, settings: StoreSettings) -> str:
    """The place of a new build's vectors: a server's collections are numbered, a draft's folder needs no number."""
    if not isinstance(settings, ServerSettings):
        return STORE_FOLDER
    try:
        number = read_manifest(folder).vectors.partition("-")[2]
    except AtlasError:
        number = ""
    return f"{STORE_FOLDER}-{int(number or 0) + 1}"


def clear_collection(manifest: AtlasManifest, replace: bool) -> None:
    """See to it that a new draft on a server begins with no vectors of something else.

    Raises:
        AtlasError: its collection is there already, and `replace` is off.
    """
    if not isinstance(manifest.store, ServerSettings):
        return
    collection = _collection_of(manifest, manifest.store)
    with open_collections(manifest.store) as server:
        if not server.exists(collection):
            return
        if not replace:
            raise AtlasError(
                f"the Qdrant server {host_of(manifest.store.url)} has a collection {collection} already, of another"
                " build or another person's atlas: --replace deletes it; or choose another name"
            )
        server.delete(collection)


def publish_collection(
    folder: Path, complete: AtlasManifest, settings: ServerSettings, publish_manifest: Callable[[], None]
) -> None:
    """Move the alias, then the manifest, to a new collection, and delete the old one after.

    Readers see the old atlas or the new one. A kill before the manifest leaves the old one, which is there until then,
    and the same build again goes on here; a kill after it leaves the old collection on the server.
    """
    alias, new, old = collection_alias(settings, complete.name), _collection_of(complete, settings), None
    with suppress(AtlasError):  # there is none yet, or its manifest is damaged
        before = read_manifest(folder)
        old = _collection_of(before, before.store) if isinstance(before.store, ServerSettings) else None
    with open_collections(settings) as server:
        if old != alias:
            server.point_alias(alias, new)
        publish_manifest()
        if old is not None and server.exists(old):
            server.delete(old)
        if old == alias:  # a collection of an earlier version had the alias's name
            server.point_alias(alias, new)


def _collection_of(manifest: AtlasManifest, settings: ServerSettings) -> str:
    place = StorePlace(Path(manifest.vectors), manifest.name, manifest.encoder.dim)
    return collection_name(settings, place)
