"""Reading what was fitted and written as JSON: calibrations, records of models."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from core.errors import UserError

Fitted = TypeVar("Fitted", bound=BaseModel)


def read_fitted(path: Path, kind: type[Fitted], called: str, command: str) -> Fitted:
    """A fitted thing from its file. JSON, never code.

    Args:
        path: the file.
        kind: what it has to be.
        called: its name in messages, such as "calibration".
        command: the module that makes such files, such as "evals.calibrate".

    Raises:
        UserError: no such file, or something else in it.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the {called} {path} ({error.strerror}): check the path") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        again = f"make it with `python -m {command}`"
        raise UserError(f"{path} is not a {called} ({where}: {first['msg']}): {again}") from error
