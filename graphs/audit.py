"""One JSON line a query: which photo, what was asked, what was answered, what left the machine."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from agents.schemas import Answer
from geo.errors import UserError


def audit_line(answer: Answer, question: str, left_the_machine: Sequence[str]) -> str:
    """The line of a query; the photo appears as a hash, never as pixels or a file name."""
    return json.dumps(
        {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "photo_sha256": answer.photo_sha256,
            "question": question,
            "status": answer.status.value,
            "point": [answer.point.lat, answer.point.lon] if answer.point else None,
            "radius_50_km": answer.radius_50_km,
            "confidence": answer.confidence,
            "versions": answer.versions.model_dump(mode="json"),
            "left_the_machine": list(left_the_machine),
        },
        ensure_ascii=False,
    )


def append_line(file: Path, line: str) -> None:
    """Append one line in one write, so that lines of several processes do not mix; the file is its owner's only.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise UserError(f"audit log {file}: {error.strerror}; choose another with GEOSLEUTH_AUDIT_LOG") from error
