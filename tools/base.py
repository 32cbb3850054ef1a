"""How a tool is built: a typed function and a rendering of its result."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from langchain_core.tools import StructuredTool
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geo.point import Point
from retrieval.photos.photo import Photo, PhotoError
from retrieval.photos.store import PhotoStore
from tools.results import Box, ToolError, ToolResult

Content = str | list[str | dict[str, Any]]
"""What the model reads: text, or LangChain content blocks."""


class Arguments(BaseModel):
    """Arguments of a tool; an unknown one is an error, reported to the model."""

    model_config = ConfigDict(extra="forbid")


class PhotoArguments(Arguments):
    """A photo, or a part of it."""

    photo_id: str = Field(description="id of the photo, as given in the conversation")
    box: Box | None = Field(
        None, description="look only at this part: fractions of width and height from the top left; null: all of it"
    )


class PositionArguments(Arguments):
    """A position in degrees."""

    lat: float = Field(ge=-90.0, le=90.0, allow_inf_nan=False, description="degrees north, -90 to 90")
    lon: float = Field(ge=-180.0, le=180.0, allow_inf_nan=False, description="degrees east, -180 to 180")


Result = TypeVar("Result", bound=ToolResult)


def result_tool(
    function: Callable[..., Result], arguments: type[Arguments], render: Callable[[Result], Content]
) -> StructuredTool:
    """A LangChain tool named after `function`, whose docstring the model reads.

    The content is `render(result)` and the artifact the result itself. `ToolError` and a `ValidationError`
    of the arguments leave `invoke` for the caller to tell the model.
    """

    def run(**given: Any) -> tuple[Content, Result]:
        try:
            result = function(**given)
        except ValidationError as error:  # or the caller would blame the model's arguments for a bug of ours
            raise RuntimeError(f"{function.__name__} built an invalid value") from error
        return render(result), result

    return StructuredTool.from_function(
        run,
        name=function.__name__,
        description=inspect.getdoc(function),
        args_schema=arguments,
        response_format="content_and_artifact",
    )


def shown_position(point: Point, decimals: int = 4) -> dict[str, float]:
    """A position for the model, in degrees; 4 decimals are 11 m.

    >>> shown_position(Point(lat=38.722252, lon=-9.139337))
    {'lat': 38.7223, 'lon': -9.1393}
    """
    return {"lat": round(point.lat, decimals), "lon": round(point.lon, decimals)}


def photo_part(photo_store: PhotoStore, photo_id: str, box: Box | None) -> Photo:
    """The photo of an id, or the part of it in a box.

    Raises:
        ToolError: no such photo, or a part too small to look at.
    """
    with _problems_for_the_model(photo_store, photo_id):
        photo = photo_store.get(photo_id)
        return photo if box is None else photo.crop(*box.edges)


def close_ups(photo_store: PhotoStore, photo_id: str, boxes: Sequence[Box]) -> list[NDArray[np.uint8]]:
    """The parts of a photo in boxes, in the file's own pixels: uint8 arrays (height, width, 3).

    Raises:
        ToolError: no such photo, or a part too small to look at.
    """
    with _problems_for_the_model(photo_store, photo_id):
        return photo_store.get(photo_id).close_ups([box.edges for box in boxes])


@contextmanager
def _problems_for_the_model(photo_store: PhotoStore, photo_id: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        known = ", ".join(photo_store.ids()[-5:]) or "none"
        raise ToolError(f"no photo {photo_id[:60]!r} here; photo ids: {known}") from error
    except PhotoError as error:
        raise ToolError(str(error)) from error


def jpeg_block(jpeg: bytes | str) -> dict[str, Any]:
    """A content block of a JPEG, of its bytes or of their base64."""
    encoded = jpeg if isinstance(jpeg, str) else base64.b64encode(jpeg).decode("ascii")
    return {"type": "image", "base64": encoded, "mime_type": "image/jpeg"}
