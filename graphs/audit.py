"""One JSON line a query: which photo, what was asked, what was answered, what left the machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.schemas import Answer
from core.errors import UserError
from core.files import OWNER_ONLY
from core.jsonl_log import append_line
from core.redaction import redacted

_BEGINNING = b'{"time": "'


def audit_entry(answer: Answer | None, question: str, left_the_machine: Sequence[str]) -> str:
    """The line of a query, or of a turn of a conversation; the photo appears as a hash, never as pixels or a name.

    `answer` is None in a conversation that no photo was shown in yet.
    """
    about = {"photo_sha256": None, "status": None} if answer is None else _about(answer)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"time": now, "question": question, **about, "left_the_machine": list(map(redacted, left_the_machine))}
    return json.dumps(line, ensure_ascii=False)


def _about(answer: Answer) -> dict[str, Any]:
    return {
        "photo_sha256": answer.photo_sha256,
        **({"more_photo_sha256s": answer.more_photo_sha256s} if answer.more_photo_sha256s else {}),
        "status": answer.status.value,
        "point": [answer.point.lat, answer.point.lon] if answer.point else None,
        "radius_50_km": answer.radius_50_km,
        "confidence": answer.confidence,
        "versions": answer.versions.model_dump(mode="json"),
    }


def write_audit_line(file: Path, line: str) -> None:
    """Append one line in one write, so that lines of several processes do not mix; the file is its owner's only.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not _is_ours(file):
            raise UserError(f"audit log {file}: holds something else; choose another with GEOSLEUTH_AUDIT_LOG")
        append_line(file, f"{line}\n".encode("utf-8", "replace"), OWNER_ONLY)  # a terminal may send broken text
    except OSError as error:
        raise UserError(f"audit log {file}: {error.strerror}; choose another with GEOSLEUTH_AUDIT_LOG") from error


def _is_ours(file: Path) -> bool:
    """Whether a file is an audit log, is not there yet, or is a device."""
    if not file.is_file():
        return True
    with file.open("rb") as stream:
        return stream.read(len(_BEGINNING)) in (b"", _BEGINNING)
