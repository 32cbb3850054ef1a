"""Collections of a Qdrant server as wholes: which one an atlas has, which one its alias names, deletion, snapshots.

Each build of an atlas has a collection of its own, ALIAS@1, ALIAS@2 and so on. The alias is moved to a new one in one
step, and the old one deleted after; Qdrant's documentation calls it switching collections with aliases.
"""

from __future__ import annotations

from pathlib import Path

import httpx
from qdrant_client import models
from typing_extensions import override

from core.closing import Closing
from core.files import sha256_of_file
from retrieval.stores.base import ServerSettings
from retrieval.stores.qdrant_server import connect, server_errors


class ServerCollections(Closing):
    """The collections of a server.

    Raises:
        StoreUnreachableError, from every method: no server answers, or it refuses the key or the request.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings, self._client = settings, connect(settings)
        # qdrant-client reads a whole snapshot into memory.
        key = {"api-key": settings.api_key.get_secret_value()} if settings.api_key else {}
        self._http = httpx.Client(base_url=settings.url, headers=key, timeout=settings.timeout_s)

    def exists(self, collection: str) -> bool:
        """Whether there is a collection, or an alias, of a name."""
        with server_errors(self._settings, collection):
            return self._client.collection_exists(collection)

    def point_alias(self, alias: str, collection: str) -> None:
        """Let an alias name a collection from now on, in one step: a request meets the old one or the new one."""
        gone, made = (
            models.DeleteAlias(alias_name=alias),
            models.CreateAlias(alias_name=alias, collection_name=collection),
        )
        with server_errors(self._settings, collection):
            known = {one.alias_name for one in self._client.get_aliases().aliases}
            old = [models.DeleteAliasOperation(delete_alias=gone)] if alias in known else []
            self._client.update_collection_aliases([*old, models.CreateAliasOperation(create_alias=made)])

    def delete(self, collection: str) -> None:
        """Delete a collection, and the aliases that name it."""
        with server_errors(self._settings, collection):
            self._client.delete_collection(collection)

    def snapshot(self, collection: str, to: Path) -> None:
        """Let the server make a snapshot of a collection, write it to a file, and delete it there."""
        with server_errors(self._settings, collection):
            made = self._client.create_snapshot(collection)
            name = made.name if made else ""
            try:
                with self._http.stream("GET", f"/collections/{collection}/snapshots/{name}") as reply:
                    reply.raise_for_status()
                    with to.open("wb") as stream:
                        stream.writelines(reply.iter_bytes())
            finally:
                self._client.delete_snapshot(collection, name)

    def restore(self, collection: str, file: Path) -> None:
        """Make a collection from a snapshot that a server made."""
        asked = {"priority": "snapshot", "checksum": sha256_of_file(file), "wait": "true"}
        with server_errors(self._settings, collection), file.open("rb") as stream:
            path = f"/collections/{collection}/snapshots/upload"
            self._http.post(path, params=asked, files={"snapshot": stream}).raise_for_status()

    @override
    def close(self) -> None:
        self._client.close()
        self._http.close()
