"""Errors as problem+json (RFC 9457): status, title, and a sentence on what to do."""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from apps.service.errors import ServiceError, TooManyError, service_error
from apps.service.events import RunFailed
from core.errors import UserError
from core.redaction import redacted

PROBLEM_TYPE = "application/problem+json"


class ProblemDetail(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    type: str = Field("about:blank", description="no page says more than `title` and `detail`")
    title: str
    status: int
    detail: str


_EXAMPLES = {
    400: ("The request cannot be carried out", "the body is not what its Content-Type says"),
    401: ("No valid API key", "send the header Authorization: Bearer KEY"),
    403: ("Not from here", "this server answers pages of its own address only"),
    404: ("Not found", "no such thread; it may have been deleted"),
    408: ("Too slow", "the body did not come in time"),
    409: ("Not now", "a turn of this thread is being answered; wait for it"),
    413: ("Too large", "holiday.jpg: is larger than the limit of 20 MB"),
    415: ("Not a photo", "holiday.jpg: is not a JPEG, PNG, WebP, HEIC, AVIF, TIFF or GIF image"),
    422: ("Cannot be used", "the strategy 'x' is not offered; see refine, zero_shot"),
    429: ("Too many requests", "66 photos and turns are waiting already; try again soon"),
    500: ("A fault in the program", "the request failed; the server's log says why"),
    503: ("The server cannot do this now", "the server is stopping; send the photo again, or resume the turn"),
}
_EVERYWHERE = (400, 401, 403, 408, 413, 422, 429, 500)


def problems(*more: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of the problems that a route may answer with: those of every route, and more."""
    return {status: _documented(status) for status in sorted({*_EVERYWHERE, *more})}


def _documented(status: int) -> dict[str, Any]:
    title, detail = _EXAMPLES[status]
    example = ProblemDetail(title=title, status=status, detail=detail).model_dump()
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetail"}, "example": example}}
    headers = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}}
    return {"description": title, "content": content, **({"headers": headers} if status == 429 else {})}


class RunFailedError(Exception):
    """A run that was waited for ended in this event."""

    def __init__(self, event: RunFailed) -> None:
        super().__init__(event.detail)
        self.event = event


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem as a response."""
    body = ProblemDetail(title=title, status=status, detail=detail)
    return JSONResponse(body.model_dump(), status, headers, media_type=PROBLEM_TYPE)


def service_problem(error: ServiceError) -> JSONResponse:
    """A refusal of the application core as a response."""
    headers = {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))} if isinstance(error, TooManyError) else None
    return problem(error.status, error.title, str(error), headers)


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem."""
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(RunFailedError, _run_failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _fault)


def _user_error(_: Request, error: Exception) -> JSONResponse:
    known = service_error(error)
    return service_problem(known) if known else problem(422, "Cannot be used", str(error))


def _run_failed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RunFailedError)  # noqa: S101 - registered for this class
    return problem(error.event.status, error.event.title, error.event.detail)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return problem(422, "Cannot be used", redacted(f"{where}: {first['msg']}" if where else str(first["msg"])))


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    title = _EXAMPLES.get(error.status_code, (str(error.detail), ""))[0]
    return problem(error.status_code, title, redacted(str(error.detail)), dict(error.headers or {}))


def _fault(_: Request, error: Exception) -> JSONResponse:
    logging.getLogger("geosleuth.service").error("a request failed", exc_info=error)
    return problem(500, *_EXAMPLES[500])
