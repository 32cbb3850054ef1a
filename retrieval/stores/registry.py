"""The list of store engines, by name, and how to open one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from core.errors import UserError, first_problem
from retrieval.stores.base import EdgeSettings, FaissSettings, ServerSettings, StoreSettings, VectorStore
from retrieval.stores.faiss import FaissStore
from retrieval.stores.qdrant_edge import EdgeStore

if TYPE_CHECKING:
    from retrieval.stores.qdrant_collections import ServerCollections


class StorePlace(NamedTuple):
    """Which store: a folder for engines that keep one, a name for those that do not, and the vectors' dimension."""

    folder: Path
    name: str
    dim: int


STORES: Mapping[str, Callable[[], StoreSettings]] = {
    "qdrant-edge": EdgeSettings,
    "qdrant-server": ServerSettings,
    "faiss": FaissSettings,
}
"""The settings of each engine; the first one is the default."""


def default_store_settings(engine: str) -> StoreSettings:
    """An engine's settings as they come, with the server's address where one is given: `qdrant-server@URL`.

    Raises:
        UserError: no such engine, or one that has no server; the message lists those there are.
    """
    name, _, url = engine.partition("@")
    if name not in STORES:
        raise UserError(f"unknown store {name!r}: choose one of {', '.join(STORES)}")
    settings = STORES[name]()
    if not url:
        return settings
    if not isinstance(settings, ServerSettings) or not url.startswith(("http://", "https://")):
        raise UserError(f"store {name}: give no address, or that of a server as qdrant-server@http://HOST:6333")
    return settings.model_copy(update={"url": url})


def parse_store_settings(engine: str, text: str) -> StoreSettings:
    """An engine's settings with some of them changed by JSON, such as `{"shards": 10, "hnsw": {"m": 24}}`.

    Args:
        engine: as for `default_store_settings`.
        text: the JSON, or the path of a file that holds it.

    Raises:
        UserError: no such engine or file, no JSON object, or a field that the engine does not have or that is wrong.
    """
    defaults = default_store_settings(engine)
    try:
        changes = json.loads(text if text.lstrip().startswith("{") else Path(text).read_bytes())
        if not isinstance(changes, dict) or not isinstance(changes.get("hnsw", {}), dict):
            raise UserError(f"the settings of a store are a JSON object, such as {_EXAMPLE}")
        hnsw = defaults.hnsw.model_dump() | changes.get("hnsw", {})
        return type(defaults).model_validate(defaults.model_dump() | changes | {"hnsw": hnsw})
    except ValidationError as error:
        raise UserError(f"settings of the store {defaults.engine}: {first_problem(error)}") from error
    except OSError as error:
        raise UserError(f"cannot read {text} ({error.strerror}): give a file of settings, or {_EXAMPLE}") from error
    except ValueError as error:
        raise UserError(
            f"the settings of the store are not JSON ({error}): give an object, such as {_EXAMPLE}"
        ) from error


_EXAMPLE = """'{"hnsw": {"m": 24}}'"""


def settings_json(store: StoreSettings) -> str:
    """The settings that differ from the engine's defaults, as `parse_store_settings` reads them; `{}` if none does."""
    changed = store.model_dump(mode="json", exclude={"engine", "url"}, exclude_defaults=True)
    return json.dumps(changed)


def open_store(
    settings: StoreSettings, place: StorePlace, create: bool = False, read_only: bool = False
) -> VectorStore:
    """The store at a place.

    Args:
        create: make it if it is not there.
        read_only: any number of processes may have it open so at once; without it, one may.

    Raises:
        StoreMissingError, StoreLockedError, StoreDamagedError, StoreUnreachableError: UserErrors, as named.
    """
    if isinstance(settings, EdgeSettings):
        return EdgeStore(settings, place.folder, place.dim, create, read_only)
    if isinstance(settings, FaissSettings):
        return FaissStore(settings, place.folder, place.dim, create, read_only)
    return _server_store(settings, place, create)


def collection_alias(settings: ServerSettings, atlas: str) -> str:
    """The name under which a server always has the newest complete collection of an atlas."""
    return settings.collection or f"geosleuth-{atlas}"


def collection_name(settings: ServerSettings, place: StorePlace) -> str:
    """The collection of one build of an atlas: ALIAS@N in the place of a folder `vectors-N`.

    Atlases of earlier versions, whose place is `vectors`, have a collection of the alias's name.
    """
    alias, number = collection_alias(settings, place.name), place.folder.name.partition("-")[2]
    return f"{alias}@{number}" if number else alias


def open_collections(settings: ServerSettings) -> ServerCollections:
    """The collections of a server as wholes.

    Raises:
        UserError: the extra is not installed.
    """
    with _needs_extra():
        from retrieval.stores.qdrant_collections import ServerCollections
    return ServerCollections(settings)


def _server_store(settings: ServerSettings, place: StorePlace, create: bool) -> VectorStore:
    with _needs_extra():
        from retrieval.stores.qdrant_server import ServerStore
    return ServerStore(settings, collection_name(settings, place), place.dim, create)


@contextmanager
def _needs_extra() -> Iterator[None]:
    # qdrant-client is an extra, and slow to import.
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "qdrant_client":
            raise
        raise UserError(
            "this atlas is on a Qdrant server, which needs the `server` extra: pip install 'geosleuth[server]'"
        ) from error
