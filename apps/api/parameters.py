"""Parameters that several routes take: who asks, the service, a photo, choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, ParamSpec, TypeVar, cast

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends, File, Form, Path, Query, Request, UploadFile
from fastapi.security import HTTPBearer
from pydantic import StringConstraints

from agents.schemas import Level
from apps.api.schemas import NO_NUL
from apps.service.choices import RunChoices
from apps.service.service import GeolocationService
from retrieval.photos.photo import Photo
from retrieval.photos.together import MOST_TOGETHER

P = ParamSpec("P")
T = TypeVar("T")

MAX_ID = 64
MAX_LISTED = 200

bearer = HTTPBearer(auto_error=False, description="an API key; not needed where the server has none")
"""For the documentation: the guard has looked at the key before."""


AtlasName = Annotated[str, StringConstraints(max_length=200)]
AtlasNames = Annotated[
    list[AtlasName] | None,
    Form(max_length=100, description="an atlas to search, and further fields for more; None: the server's"),
]


def chosen_atlases(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of atlases; empty fields of a form are none, and without any it is the server's choice."""
    return tuple(filter(None, names or ())) or None


async def _service(request: Request) -> GeolocationService:
    return cast(GeolocationService, request.app.state.service)


async def _owner(request: Request) -> str:
    return cast(str, request.state.owner)


async def _choices(
    model: Annotated[str | None, Form(max_length=200, description="chat model; None: the server's")] = None,
    strategy: Annotated[str | None, Form(max_length=100, description="which steps run; None: the server's")] = None,
    atlases: AtlasNames = None,
    max_precision: Annotated[Level | None, Form(description="coarsen the answer to this level")] = None,
) -> RunChoices:
    chosen = chosen_atlases(atlases)
    return RunChoices(model=model or None, strategy=strategy or None, atlases=chosen, max_precision=max_precision)


Service = Annotated[GeolocationService, Depends(_service)]
Owner = Annotated[str, Depends(_owner)]
Choices = Annotated[RunChoices, Depends(_choices)]
PhotoUpload = Annotated[UploadFile, File(description="one photo: JPEG, PNG, WebP, HEIC, AVIF, TIFF or GIF")]
PlaceUploads = Annotated[
    list[UploadFile],
    File(
        description="a photo (JPEG, PNG, WebP, HEIC, AVIF, TIFF or GIF), or several parts: photos of one place",
        min_length=1,
        max_length=MOST_TOGETHER,
    ),
]
ItemId = Annotated[str, Path(max_length=MAX_ID, pattern=NO_NUL)]
ListLimit = Annotated[int, Query(ge=1, le=MAX_LISTED)]
ListOffset = Annotated[int, Query(ge=0, le=1_000_000)]


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a call returns that would block the event loop."""
    return await anyio.to_thread.run_sync(partial(call, *args, **kwargs))


async def uploaded_photo(request: Request, upload: UploadFile) -> Photo:
    """The photo in an upload; two are decoded at a time, and the others wait without a thread.

    Raises:
        PhotoError: not a photo by its content, damaged, or over a limit.
    """
    data = await upload.read()
    await upload.close()
    limiter = cast(CapacityLimiter, request.app.state.decoding)
    service = await _service(request)
    return await anyio.to_thread.run_sync(service.read_photo, data, upload.filename, limiter=limiter)


async def uploaded_photos(request: Request, uploads: Sequence[UploadFile]) -> list[Photo]:
    """The photos of one place, in their order.

    Raises:
        PhotoError: one is not a photo by its content, damaged, or over a limit.
    """
    return [await uploaded_photo(request, upload) for upload in uploads]
