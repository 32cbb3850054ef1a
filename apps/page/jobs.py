"""`/v1/jobs/…/table`: what a batch has found, as the page lists it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from apps.api.parameters import ItemId, Owner, Service
from apps.maps.page_data import answer_bounds
from apps.output.formatting import heading, km, percent, printable, radii_text
from apps.output.results_file import PhotoResult

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("/{job_id}/table", include_in_schema=False)
def get_table(service: Service, owner: Owner, job_id: ItemId) -> list[dict[str, Any]]:
    """The photos that are located by now, in their order."""
    return [_row(record) for record in service.jobs.records(service.jobs.find(owner, job_id).id)]


def _row(record: PhotoResult) -> dict[str, Any]:
    answer = record.answer
    row = {"name": printable(record.photo), "status": record.status.value, "error": printable(record.error or "")}
    if answer is None:
        return row | {"heading": "", "point": None, "confidence": "", "radius": "", "summary": []}
    found = {
        "heading": heading(answer),
        "confidence": percent(answer.confidence) if answer.point else "",
        "radius": km(answer.radius_50_km) if answer.radius_50_km is not None else "",
        "summary": [text for text in (radii_text(answer),) if text],
    }
    if answer.point is None:
        return row | found | {"point": None}
    point = answer.point
    return row | found | {"point": [point.lon, point.lat], "bounds": answer_bounds(answer, point.lon)}
