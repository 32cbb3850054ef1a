"""Street-level pictures, over a server on localhost that speaks Mapillary's API v4."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import numpy as np
import pytest
from langchain_core.tools import BaseTool
from PIL import Image
from pydantic import ValidationError

from core.errors import UserError
from retrieval.photos.photo import decode_photo
from tests.fakes.tool_calls import Reply, call, shown_to_model
from tests.tools.online.server import Asked, OnlineServer, as_json, serving
from tools.online.addresses import MAPILLARY_API
from tools.online.mapillary import Mapillary
from tools.online.street_view import street_view_tool
from tools.results import ToolError

TOKEN = "MLY|123|secret"  # noqa: S105 - made up
HERE = {"lat": 48.2, "lon": 16.37}
Start = Callable[..., tuple[BaseTool, OnlineServer]]


def jpeg(shade: int = 90, side: int = 1024) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "Secretcam"
    Image.fromarray(np.full((side * 3 // 4, side, 3), shade, np.uint8)).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def row(number: int, lat: float, angle: float | None, **changed: Any) -> dict[str, Any]:
    """A picture as the API lists it; {host} stands for the server's address."""
    listed = {
        "id": str(number),
        "computed_geometry": {"type": "Point", "coordinates": [16.37, lat]},
        "captured_at": 1_718_971_200_000,  # 2024-06-21
        "compass_angle": angle,
        "is_pano": False,
        "thumb_1024_url": f"{{host}}/thumbs/{number}.jpg",
    }
    return {key: value for key, value in {**listed, **changed}.items() if value is not None}


# Numbers are in the order of distance; 2 stands beside 1 and looks the same way.
ROWS = (
    row(3, 48.2005, 90.0),
    row(1, 48.2001, 10.2),
    row(2, 48.2002, 30.0),
    row(4, 48.2007, None, is_pano=True, geometry={"type": "Point", "coordinates": [0.0, 0.0]}),
    row(5, 48.2100, 5.0),  # 1.1 km away: inside the box of nothing that is asked here
)


class Api:
    """`GET /images` with a token, and thumbnails without one."""

    def __init__(self, rows: Any, thumbnails: dict[str, bytes] | None = None) -> None:
        self.rows = rows
        self.thumbnails = thumbnails
        self.url = ""

    def __call__(self, asked: Asked) -> Reply:
        if asked.path.startswith("/thumbs/"):
            assert "Authorization" not in asked.headers
            body = jpeg() if self.thumbnails is None else self.thumbnails.get(asked.path, b"")
            return Reply(200 if body else 404, {"Content-Type": "image/jpeg"}, body)
        if asked.headers.get("Authorization") != f"OAuth {TOKEN}":
            error = {"message": "Invalid OAuth access token", "type": "OAuthException", "code": 190}
            return as_json({"error": error}, status=401)
        hosted = [
            {**one, "thumb_1024_url": one.get("thumb_1024_url", "").replace("{host}", self.url)}
            if isinstance(one, dict)
            else one
            for one in self.rows
        ]
        return as_json({"data": hosted}, "application/json; charset=UTF-8")


@pytest.fixture
def start(client: httpx.Client) -> Iterator[Start]:
    with ExitStack() as stack:

        def tool_of(api: Any, token: str = TOKEN) -> tuple[BaseTool, OnlineServer]:
            server = stack.enter_context(serving(api))
            api.url = server.url
            return street_view_tool(Mapillary(server.url, token, client, min_interval_s=0.0)), server

        yield tool_of


def test_the_nearest_pictures_that_show_something_else(start: Start) -> None:
    tool, server = start(Api(ROWS))
    message = call(tool, **HERE)
    result = message.artifact
    assert [picture.link[-1] for picture in result.pictures] == ["1", "3", "4"]
    assert [picture.distance_m for picture in result.pictures] == [11, 56, 78]
    assert [picture.looks_towards_deg for picture in result.pictures] == [10, 90, None]
    assert {picture.taken_on for picture in result.pictures} == {"2024-06-21"}
    shown = shown_to_model(message)
    assert shown["pictures"][2]["panorama"] is True
    assert "Mapillary" in shown["attribution"]
    assert [block["type"] for block in message.content] == ["text", "image", "image", "image"]  # type: ignore[index]
    listing = server.asked[0]
    assert listing.path == "/images"
    west, south, east, north = map(float, listing.query["bbox"].split(","))
    assert west < 16.37 < east
    assert south < 48.2 < north
    assert (east - west) * (north - south) < 0.01  # square degrees, the API's limit
    assert TOKEN not in str([asked.query for asked in server.asked]) + message.text + str(result)


def test_pictures_are_small_and_carry_no_metadata(start: Start) -> None:
    tool, _ = start(Api(ROWS[:1]))
    [picture] = call(tool, **HERE).artifact.pictures
    data = base64.b64decode(picture.jpeg_base64)
    decoded = decode_photo(data, "a.jpg")
    assert decoded.rgb.shape == (480, 640, 3)
    assert b"Secretcam" not in data


def test_pictures_that_cannot_be_fetched_are_counted(start: Start) -> None:
    tool, _ = start(Api(ROWS, {"/thumbs/1.jpg": b"no picture", "/thumbs/3.jpg": jpeg(10)}))
    message = call(tool, **HERE)
    assert [picture.link[-1] for picture in message.artifact.pictures] == ["3"]
    assert shown_to_model(message)["problem"] == "2 more could not be fetched"
    none, _ = start(Api(ROWS, {}))
    with pytest.raises(ToolError, match="none of them could be fetched"):
        call(none, **HERE)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x.jpg", "file:///etc/passwd", "https://scontent.xx.fbcdn.net/x.jpg", "http://[", ""]
)
def test_thumbnails_on_other_hosts_are_never_fetched(start: Start, url: str) -> None:
    tool, server = start(Api([row(1, 48.2001, 0.0, thumb_1024_url=url)]))
    with pytest.raises(ToolError, match="none of them could be fetched"):
        call(tool, **HERE)
    assert [asked.path for asked in server.asked] == ["/images"]


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://scontent-vie1-1.xx.fbcdn.net/a.jpg", True),
        ("http://scontent-vie1-1.xx.fbcdn.net/a.jpg", False),
        ("https://fbcdn.net.evil.example/a.jpg", False),
        ("https://evilfbcdn.net/a.jpg", False),
        ("https://x.fbcdn.net@evil.example/a.jpg", False),
        ("https://x.fbcdn.net:8080/a.jpg", False),
    ],
)
def test_the_public_api_keeps_its_pictures_at_metas_hosts(url: str, asked: bool) -> None:
    requested: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requested.append(request)
        if request.url.path == "/images":
            listed = json.dumps({"data": [row(1, 48.2001, 0.0, thumb_1024_url=url)]}).encode()
            return httpx.Response(200, headers={"Content-Type": "application/json"}, stream=httpx.ByteStream(listed))
        return httpx.Response(200, headers={"Content-Type": "image/jpeg"}, stream=httpx.ByteStream(jpeg()))

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        tool = street_view_tool(Mapillary(MAPILLARY_API, TOKEN, client, min_interval_s=0.0))
        if asked:
            assert len(call(tool, **HERE).artifact.pictures) == 1
        else:
            with pytest.raises(ToolError):
                call(tool, **HERE)
    assert [request.url.host for request in requested[1:]] == (["scontent-vie1-1.xx.fbcdn.net"] if asked else [])
    assert all("Authorization" not in request.headers for request in requested[1:])


def test_nothing_there_and_rows_of_another_form(start: Start) -> None:
    strange = [None, {}, row(1, float("nan"), 0.0), row(1, 48.2, 0.0, captured_at=1e999), row(1, 48.2, float("inf"))]
    for rows in ([], ROWS[-1:], strange, [row(1, 48.2, 0.0, id="../x")]):
        tool, _ = start(Api(rows))
        with pytest.raises(ToolError, match="has no picture within 150 m"):
            call(tool, **HERE)


def test_a_refused_token_is_an_error_that_does_not_repeat_it(start: Start) -> None:
    tool, _ = start(Api(ROWS), "MLY|another")
    with pytest.raises(ToolError, match="answered 401: the user must check the key") as refused:
        call(tool, **HERE)
    assert "another" not in str(refused.value)


@pytest.mark.parametrize("token", ["a b", "a\nb", "schlüssel"])
def test_what_is_no_token_is_a_user_error_that_does_not_repeat_it(token: str, client: httpx.Client) -> None:
    with pytest.raises(UserError, match="GEOSLEUTH_MAPILLARY_TOKEN") as error:
        Mapillary(MAPILLARY_API, token, client)
    assert token not in str(error.value)


@pytest.mark.parametrize("lon", [180.0, -180.0, 179.9999])
def test_the_box_ends_at_the_antimeridian(start: Start, lon: float) -> None:
    tool, server = start(Api([]))
    with pytest.raises(ToolError, match="no picture"):
        call(tool, lat=-17.0, lon=lon)
    west, _, east, _ = map(float, server.asked[0].query["bbox"].split(","))
    assert -180.0 <= west < east <= 180.0


@pytest.mark.parametrize("changed", [{"radius_m": 501}, {"limit": 5}, {"lat": 91.0}, {"token": "x"}])
def test_unusable_arguments(start: Start, changed: dict[str, Any]) -> None:
    tool, server = start(Api(ROWS))
    with pytest.raises(ValidationError):
        call(tool, **{**HERE, **changed})
    assert not server.asked
