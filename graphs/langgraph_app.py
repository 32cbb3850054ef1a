"""The graphs that `langgraph.json` names, for `langgraph dev`: built on demand from the environment's settings.

The server calls these functions in its event loop, so the system is opened in a thread, once.
"""

from __future__ import annotations

import asyncio
import threading
from functools import cache

from graphs.chat.graph import Chat, build_chat
from graphs.chat.opening import chat_parts
from graphs.chat.photo_archive import FolderPhotoArchive
from graphs.geolocate import Geolocate
from graphs.settings import make_settings
from graphs.system import GeoSleuth

_opening = threading.Lock()


@cache
def geosleuth() -> GeoSleuth:
    """The system of this server process; the server keeps its own checkpoints.

    Raises:
        UserError: a setting in the environment that cannot be used.
    """
    return GeoSleuth.open(make_settings())


async def geolocate() -> Geolocate:
    """The state machine. Put a photo into the store of `geosleuth()` before its id is sent; `chat` takes photos."""
    return await asyncio.to_thread(_geolocate)


async def chat() -> Chat:
    """The conversation. A photo comes in a message, as a base64 image block; it may ask the person (an interrupt).

    Pixels are kept under <home>/served_photos, so that threads outlive the server's process.
    """
    return await asyncio.to_thread(_chat)


def _geolocate() -> Geolocate:
    with _opening:
        return geosleuth().graph


def _chat() -> Chat:
    with _opening:
        return _build_chat()


@cache
def _build_chat() -> Chat:
    system = geosleuth()
    photos = FolderPhotoArchive(system.settings.home / "served_photos", system.photo_store)
    return build_chat(chat_parts(system, photos, ask=True))
