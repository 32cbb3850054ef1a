"""The HTTP API as one ASGI application over the application core."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from apps.api import jobs, locate, problems, threads, tiles
from apps.api.guard import RequestGuard
from apps.api.metrics import ServerMetrics
from apps.api.parameters import bearer, in_thread
from apps.api.problems import ProblemDetail, problem
from apps.api.schemas import ServerHealth
from apps.page import jobs as job_tables
from apps.page import photos
from apps.page.static import add_page
from apps.service.access import ApiKeys
from apps.service.service import GeolocationService
from apps.service.uploads import DECODED_AT_ONCE

TILES_AT_ONCE = 4
"""As many as a tile server is asked for at once. By hand."""

DESCRIPTION = """Where was this photo taken, how sure are we, and why?

`POST /v1/locate` answers about one photo, at once or as a stream of the machine's steps; `/v1/threads` are
conversations about photos, `/v1/jobs` batches. Errors are `application/problem+json` and say what to do."""


def create_app(service: GeolocationService, keys: ApiKeys) -> FastAPI:
    """The API over an open service; whoever opened the service closes it after the server has ended."""
    app = FastAPI(
        title="GeoSleuth",
        version=version("geosleuth"),
        description=DESCRIPTION,
        # Swagger's and ReDoc's pages load scripts from other hosts; /openapi.json needs none.
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.service, app.state.keys = service, keys
    app.state.decoding = CapacityLimiter(DECODED_AT_ONCE)  # those that wait hold no thread
    app.state.searching = CapacityLimiter(service.limits.runs_at_once)  # each runs the encoder
    app.state.tiles = CapacityLimiter(TILES_AT_ONCE)  # a slow source holds no more threads
    metrics = ServerMetrics(service)
    for router in (
        locate.router,
        threads.router,
        photos.router,
        jobs.router,
        job_tables.router,
        tiles.router,
    ):
        app.include_router(router, prefix="/v1", dependencies=[Depends(bearer)])
    _add_health(app, service, metrics)
    add_page(app)
    problems.install(app)
    app.add_middleware(RequestGuard, keys=keys, limits=service.limits, metrics=metrics)
    _name_problems(app)
    return app


def _add_health(app: FastAPI, service: GeolocationService, metrics: ServerMetrics) -> None:
    readiness = CapacityLimiter(1)  # a thread of its own: requests that take all others do not make it look unready
    unready: dict[int | str, dict[str, Any]] = {
        503: {"description": "Not ready", "content": {problems.PROBLEM_TYPE: {}}}
    }

    @app.get("/healthz", tags=["server"])
    async def healthz() -> ServerHealth:
        """Whether the process lives."""
        return ServerHealth(status="ok")

    @app.get("/readyz", tags=["server"], responses=unready, response_model=ServerHealth)
    async def readyz() -> ServerHealth | Response:
        """Whether it can work: the system is open and the database answers."""
        try:
            await anyio.to_thread.run_sync(service.database.check, limiter=readiness)
        except SQLAlchemyError:
            return problem(503, "Not ready", "the database does not answer")
        return ServerHealth(status="ok")

    @app.get("/metrics", tags=["server"], response_class=Response, dependencies=[Depends(bearer)])
    async def prometheus_metrics() -> Response:
        """Metrics of this process in Prometheus's text format."""
        return Response(await in_thread(metrics.text), media_type=CONTENT_TYPE_LATEST)


def _name_problems(app: FastAPI) -> None:
    """Put the schema of problems into the OpenAPI document; no route names it as its own answer."""
    plain = app.openapi

    def openapi() -> dict[str, object]:
        document = plain()
        document["components"]["schemas"].setdefault("ProblemDetail", ProblemDetail.model_json_schema())
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation does
