"""`/v1/jobs`: batches of photos, which go on whatever becomes of the process that took them in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, File, Query, Response, UploadFile
from fastapi.responses import StreamingResponse

from apps.api.parameters import Choices, ItemId, ListLimit, ListOffset, Owner, Service
from apps.api.problems import problems
from apps.api.schemas import JobSummary
from apps.output.formatting import LocatedPhoto
from apps.output.geojson import geojson_pieces
from apps.output.results_file import PhotoResult
from apps.output.table import csv_lines
from apps.service.limits import ServiceLimits
from apps.service.uploads import is_zip, photos_in_zip, shown_name

router = APIRouter(prefix="/jobs", tags=["jobs"])


_CHUNK = 1 << 16


class ResultFormat(StrEnum):
    """How results come: a JSON record a line, a table, or a map layer."""

    JSONL = "jsonl"
    CSV = "csv"
    GEOJSON = "geojson"


_TYPES = {
    ResultFormat.JSONL: "application/x-ndjson",
    ResultFormat.CSV: "text/csv",
    ResultFormat.GEOJSON: "application/geo+json",
}
_RESULTS = {
    "description": "The photos that are located by now, in their order.",
    "content": {kind: {"schema": {"type": "string"}} for kind in _TYPES.values()},
}


@router.post("", status_code=202, responses=problems(409, 415))
def create_job(
    service: Service,
    owner: Owner,
    choices: Choices,
    files: Annotated[list[UploadFile], File(description="photos, or zips of photos")],
) -> JobSummary:
    """Locate many photos, in the background. A file that is no photo gets a failed record; the others go on."""
    service.systems.find(choices)
    job = service.jobs.create(owner, choices, _photos(files, service.limits))
    service.workers.wake()
    return JobSummary.of(job)


@router.get("", responses=problems())
def list_jobs(service: Service, owner: Owner, limit: ListLimit = 50, offset: ListOffset = 0) -> list[JobSummary]:
    """Your jobs, newest first."""
    return [JobSummary.of(row) for row in service.jobs.all_of(owner, limit, offset)]


@router.get("/{job_id}", responses=problems(404))
def get_job(service: Service, owner: Owner, job_id: ItemId) -> JobSummary:
    """How far a job is."""
    return JobSummary.of(service.jobs.find(owner, job_id))


@router.get("/{job_id}/results", response_class=Response, responses={200: _RESULTS, **problems(404)})
def get_results(
    service: Service,
    owner: Owner,
    job_id: ItemId,
    results_format: Annotated[ResultFormat, Query(alias="format")] = ResultFormat.JSONL,
) -> Response:
    """The results so far: JSON lines as `geosleuth locate --jsonl` writes them, CSV, or GeoJSON."""
    records = service.jobs.records(service.jobs.find(owner, job_id).id)
    return StreamingResponse(_chunks(_WRITERS[results_format](records)), media_type=_TYPES[results_format])


@router.post("/{job_id}/cancel", responses=problems(404, 409))
def cancel_job(service: Service, owner: Owner, job_id: ItemId) -> JobSummary:
    """Begin no more photos of a job; results that are there stay."""
    return JobSummary.of(service.jobs.cancel(owner, job_id))


@router.delete("/{job_id}", status_code=204, responses=problems(404, 409))
def delete_job(service: Service, owner: Owner, job_id: ItemId) -> None:
    """Delete a job with its photos and results; what is under way comes to nothing."""
    service.jobs.delete(owner, job_id)


def _photos(files: Iterable[UploadFile], limits: ServiceLimits) -> Iterator[tuple[str, bytes]]:
    for upload in files:
        if is_zip(upload.file):
            yield from photos_in_zip(upload.file, limits)
        else:
            # One byte more than is accepted: the photo's record then says that it is too large.
            yield shown_name(upload.filename), upload.file.read(limits.photo_bytes + 1)


def _chunks(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces joined to larger ones: each is sent by a thread of its own."""
    waiting, size = [], 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield "".join(waiting)
            waiting, size = [], 0
    yield "".join(waiting)


def _lines(records: Iterable[PhotoResult]) -> Iterator[str]:
    return (record.line() for record in records)


def _layer(records: Iterable[PhotoResult]) -> Iterator[str]:
    return geojson_pieces(LocatedPhoto(record.photo, record.answer) for record in records if record.answer)


_WRITERS: dict[ResultFormat, Callable[[Iterable[PhotoResult]], Iterator[str]]] = {
    ResultFormat.JSONL: _lines,
    ResultFormat.CSV: csv_lines,
    ResultFormat.GEOJSON: _layer,
}
