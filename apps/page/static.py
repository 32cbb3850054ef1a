"""What the page is made of, the same for everybody: markup, scripts, styles, and the world under the map."""

from __future__ import annotations

import functools
import json
from importlib import resources

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from apps.maps.ground import ATTRIBUTION, WORLD_EDGES, ground_data, view_data, world_jpeg
from apps.maps.page import LEGEND, RAMP

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_KEPT = {"Cache-Control": "public, max-age=86400"}


class _Assets(StaticFiles):
    """The package's assets; a browser asks each time whether a file is still the same."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or 404."""
        response = await super().get_response(path, scope)
        response.headers.update({"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"})
        return response


def add_page(app: FastAPI) -> None:
    """Serve the page at `/`. It asks for no key: without one, its requests to the API are refused."""

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        html = (resources.files("apps") / "assets" / "page" / "page.html").read_text(encoding="utf-8")
        return HTMLResponse(html, headers=_HEADERS)

    @app.get("/world.jpg", include_in_schema=False)
    def world() -> Response:
        return Response(world_jpeg(), media_type="image/jpeg", headers=_KEPT)

    @app.get("/world.json", include_in_schema=False)
    def world_lines() -> Response:
        return Response(_world_json(), media_type="application/json", headers=_KEPT)

    app.mount("/assets", _Assets(packages=[("apps", "assets")]), name="assets")


def prepare_page() -> None:
    """Draw the world before the first visitor asks for it; takes a second or two."""
    _world_json()
    world_jpeg()


@functools.cache
def _world_json() -> str:
    """The map before there is an answer."""
    about = {
        "view": view_data([]),
        "ground": ground_data([]),
        "picture": WORLD_EDGES,
        "legend": LEGEND,
        "ramp": RAMP,
        # Circles round the point say the same as the areas, less exactly: drawn when they are asked for.
        "hidden": ["within50", "within90"],
        "attribution": ATTRIBUTION,
    }
    return json.dumps(about, separators=(",", ":"))
