"""The one exception that means "the user can mend this", and the words for what pydantic finds wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.redaction import redacted

if TYPE_CHECKING:
    from pydantic import ValidationError

INTERRUPTED = 130
"""Exit status of a command that was interrupted."""


class UserError(Exception):
    """Something missing or wrong that the user can mend.

    The message is one line: what is wrong, why, and what to do about it.
    The command line prints it and exits with a non-zero status; anything
    else that escapes is a bug. Credentials in it, as in a URL, are left out,
    and so are the line breaks of what it quotes.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(" ".join(line.strip() for line in redacted(problem).splitlines()))


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, as `field: problem`; the problem alone where it is of the whole."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
