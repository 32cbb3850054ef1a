"""What a caller did wrong or has to wait for, with the HTTP status that says so; interfaces word nothing themselves."""

from __future__ import annotations

from typing import ClassVar

from core.errors import UserError
from core.redaction import redacted
from retrieval.photos.photo import NotAPhotoError, PhotoError, PhotoTooLargeError
from retrieval.stores.base import StoreUnreachableError


class ServiceError(UserError):
    """A request that is not carried out; `title` names the kind, the message says what to do."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request cannot be carried out"


class NotFoundError(ServiceError):
    """No such thread, job or photo, or it is somebody else's."""

    status = 404
    title = "Not found"


class ConflictError(ServiceError):
    """The thread or job is in a state in which this cannot be done, or the caller has as much as is kept."""

    status = 409
    title = "Not now"


class TooLargeError(ServiceError):
    """More bytes, photos or pixels than are accepted."""

    status = 413
    title = "Too large"


class UnsupportedTypeError(ServiceError):
    """By its content, what was sent is not what is taken here."""

    status = 415
    title = "Not a photo"


class UnusableError(ServiceError):
    """Well formed, and still of no use: a damaged photo, an unknown strategy."""

    status = 422
    title = "Cannot be used"


class UnavailableError(ServiceError):
    """The request is in order; the server lacks something that its operator has to mend."""

    status = 503
    title = "The server cannot do this now"


class TooManyError(ServiceError):
    """More at once, or in a minute, than is allowed."""

    status = 429
    title = "Too many requests"

    def __init__(self, problem: str, retry_after_s: float) -> None:
        super().__init__(problem)
        self.retry_after_s = retry_after_s


def service_error(error: Exception) -> ServiceError | None:
    """The error as a caller is told; None for a bug, of which a caller learns no more than that there was one."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, PhotoTooLargeError):
        return TooLargeError(str(error))
    if isinstance(error, NotAPhotoError):
        return UnsupportedTypeError(str(error))
    if isinstance(error, StoreUnreachableError):
        return UnavailableError("the server's atlas cannot be searched now; try again later, its log says why")
    if isinstance(error, PhotoError | UserError):
        return UnusableError(redacted(str(error)))
    return None
