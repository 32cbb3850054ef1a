"""What one server accepts: sizes, rates, and how much is done at once. All are set by hand."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from apps.service.errors import ConflictError, UnusableError
from core.errors import UserError, first_problem


class ServiceLimits(BaseSettings):
    """Limits of a server; a request beyond one is refused, never cut. Environment: GEOSLEUTH_SERVE_RUNS_AT_ONCE …"""

    model_config = SettingsConfigDict(env_prefix="GEOSLEUTH_SERVE_", frozen=True, extra="forbid")

    photo_bytes: int = Field(20_000_000, gt=0, description="bytes of one photo's file")
    place_bytes: int = Field(60_000_000, gt=0, description="bytes of all photos of one place in one request")
    photo_megapixels: float = Field(50.0, gt=0.0, description="width times height of a photo, before it is scaled")
    text_characters: int = Field(4_000, gt=0, description="of a question or a message")
    runs_at_once: int = Field(2, ge=1, description="photos located and turns answered at the same time")
    runs_waiting: int = Field(64, ge=0, description="more that may wait for their turn")
    runs_at_once_per_key: int | None = Field(None, ge=1, description="of one API key; by default as many as there are")
    runs_per_key: int = Field(40, ge=1, description="of one API key, running or waiting")
    requests_at_once: int = Field(128, ge=1, description="requests of all callers under way, streams included")
    requests_per_minute: int = Field(600, ge=1, description="of one API key, or of one address where there are no keys")
    job_photos: int = Field(1_000, ge=1, description="photos of one job")
    job_bytes: int = Field(500_000_000, gt=0, description="bytes of one job's upload, and of what a zip holds")
    jobs_per_key: int = Field(100, ge=1, description="jobs that are kept at a time")
    encoder_batch: int = Field(1, ge=1, description="photos of several callers that are encoded together; 1: none")
    job_workers: int = Field(1, ge=0, description="photos of jobs located at the same time; 0 leaves them to others")
    threads_per_key: int = Field(1_000, ge=1, description="threads that are kept at a time")
    bytes_per_key: int = Field(
        5_000_000_000, gt=0, description="of one key's photos that are kept at a time, in jobs and threads together"
    )
    lease_s: float = Field(30.0, gt=0.0, description="after a worker has died, so long until another takes its work")
    unread_events: int = Field(2_000, ge=10, description="events kept for a reader who is slow; then they are cut off")
    atlases: tuple[str, ...] = Field((), description="atlases that a caller may choose, beside the server's own")
    models: tuple[str, ...] = Field((), description="chat models that a caller may choose, beside the server's own")


def check_text(text: str, limits: ServiceLimits) -> None:
    """See that a question or a message is not too long.

    Raises:
        UnusableError: it is.
    """
    if len(text) > limits.text_characters:
        raise UnusableError(f"the text has {len(text)} characters; at most {limits.text_characters} are read")


def check_kept_bytes(kept_bytes: int, limits: ServiceLimits) -> None:
    """See that a caller keeps no more bytes of photos than allowed.

    Raises:
        ConflictError: it would be more.
    """
    if kept_bytes > limits.bytes_per_key:
        most, would_be = limits.bytes_per_key / 1e6, kept_bytes / 1e6
        raise ConflictError(
            f"your jobs and threads may keep {most:g} MB of photos, and with this they would have {would_be:.3g} MB:"
            " delete threads or jobs"
        )


def make_limits(**chosen: Any) -> ServiceLimits:
    """Limits from explicit choices (None: not chosen), then the environment, then the defaults.

    Raises:
        UserError: a value that cannot be used.
    """
    try:
        return ServiceLimits(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        raise UserError(f"limit {first_problem(error)}") from error
    except SettingsError as error:
        raise UserError(f"{error}: a limit of several parts is JSON in the environment") from error
