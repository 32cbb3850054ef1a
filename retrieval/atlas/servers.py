"""Qdrant servers that atlases' manifests name: none of another machine is contacted before the user has allowed it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import RootModel

from core.errors import UserError
from core.files import OWNER_ONLY, read_model, write_atomic
from core.redaction import host_of, remote_host
from retrieval.atlas.manifest import AtlasError, AtlasManifest
from retrieval.stores.base import ServerSettings

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
