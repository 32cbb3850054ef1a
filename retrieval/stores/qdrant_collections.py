"""Collections of a Qdrant server as wholes: which one an atlas has, which one its alias names, deletion, snapshots.

Each build of an atlas has a collection of its own, ALIAS@1, ALIAS@2 and so on. The alias is moved to a new one in one
step, and the old one deleted after; Qdrant's documentation calls it switching collections with aliases.
"""

from __future__ import annotations

from qdrant_client import models
from typing_extensions import override

from core.closing import Closing
from retrieval.stores.base import ServerSettings
from retrieval.stores.qdrant_server import connect, server_errors


class ServerCollections(Closing):
    """The collections of a server.

    Raises:
        StoreUnreachableError, from every method: no server answers, or it refuses the key or the request.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings, self._client = settings, connect(settings)

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

    @override
    def close(self) -> None:
        self._client.close()
