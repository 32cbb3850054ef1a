"""Replies of models, kept in SQLite: asking the same model the same again costs nothing, after a kill or a change.

A reply is found by the hash of what was asked (prompt with the photo, model, parameters). The same question may be
asked several times about one photo (self-consistency samples): the n-th asking gets the n-th reply ever given, so
that samples stay different and a resumed run gets the very same ones. Each reply is stored with its price and the
run that paid for it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.tracers.context import register_configure_hook
from typing_extensions import override

from core.errors import UserError
from core.files import make_private_database
from core.json_text import parse_json

_DAMAGED = (KeyError, TypeError, ValueError)
"""What is raised where a row holds no reply."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT, n INTEGER, reply TEXT, run TEXT, usd REAL, PRIMARY KEY (key, n)
) WITHOUT ROWID
"""


class ModelCalls(BaseCallbackHandler):
    """The calls of models about one photo: numbers repeated questions, and undoes what a failed call has begun.

    A call that fails gives its number back, so that the same question asked again is no new sample. Safe between
    threads: each call is begun and ended in one context.
    """

    def __init__(self) -> None:
        self._taken: dict[str, set[int]] = defaultdict(set)
        self._lock = threading.Lock()

    def begin(self, key: str) -> int:
        """Begin a call in this context; returns which asking of the question it is, from 0."""
        with self._lock:
            number = next(n for n in count() if n not in self._taken[key])
            self._taken[key].add(number)
        _number.set(number)
        _undo.set((lambda: self._give_back(key, number),))
        return number

    @override
    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        """The call of this context failed."""
        for undo in _undo.get():
            undo()
        _undo.set(())

    def _give_back(self, key: str, number: int) -> None:
        with self._lock:
            self._taken[key].discard(number)


_calls: ContextVar[ModelCalls | None] = ContextVar("model_calls", default=None)
register_configure_hook(_calls, inheritable=True)
_number: ContextVar[int] = ContextVar("number_of_this_asking", default=0)
_undo: ContextVar[tuple[Callable[[], None], ...]] = ContextVar("undo_if_this_call_fails", default=())


@contextmanager
def calls_about_one_photo() -> Iterator[None]:
    """Within, repeated questions are numbered from 0, also in threads that take this context along."""
    token = _calls.set(ModelCalls())
    try:
        yield
    finally:
        _calls.reset(token)


def undo_if_call_fails(undo: Callable[[], None]) -> None:
    """Have `undo` called if the model call that this context has begun fails."""
    _undo.set((*_undo.get(), undo))


class ReplyCache(BaseCache):
    """Replies by what was asked, in a SQLite file. Safe between threads, and between processes on one machine.

    Args:
        file: made if it is not there; None keeps replies in memory only.
        usd: price of a reply.
        run: who pays for new replies, so that a run that was killed still knows what it has spent.

    Raises:
        UserError: the file cannot be opened or is no SQLite database.
    """

    def __init__(self, file: Path | None, usd: Callable[[AIMessage], float], run: str = "") -> None:
        self._usd, self._run, self._file = usd, run, file
        self._lock = threading.Lock()
        self._connection = _connect(file)

    @override
    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The reply to this asking; None if it is new."""
        key = _key(prompt, llm_string)
        number = (_calls.get() or ModelCalls()).begin(key)
        with self._open() as connection:
            row = connection.execute("SELECT reply FROM replies WHERE key = ? AND n = ?", (key, number)).fetchone()
            found = None if row is None else _parsed(row[0])
        if found is not None:
            _undo.set(())
        return found

    @override
    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        _undo.set(())
        row = (_key(prompt, llm_string), _number.get(), _as_text(return_val), self._run, self.usd(return_val))
        with self._open() as connection, connection:
            connection.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)", row)

    def usd(self, replies: Sequence[Generation]) -> float:
        """The price of replies."""
        return sum(self._usd(message) for message in _messages(replies))

    def spent_usd(self) -> float:
        """What this run has spent on the replies kept here, in all its sessions."""
        with self._open() as connection:
            found = connection.execute("SELECT SUM(usd) FROM replies WHERE run = ?", (self._run,)).fetchone()
        return float(found[0] or 0.0)

    @override
    def clear(self, **kwargs: Any) -> None:
        with self._open() as connection, connection:
            connection.execute("DELETE FROM replies")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database, one thread at a time.

        Raises:
            UserError: it is damaged, or the disk is full.
        """
        try:
            with self._lock:
                yield self._connection
        except (sqlite3.Error, *_DAMAGED) as error:
            raise UserError(f"reply cache {self._file}: {error}; delete it, or choose another with --cache") from error


def _connect(file: Path | None) -> sqlite3.Connection:
    try:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            make_private_database(file)
        connection = sqlite3.connect(file or ":memory:", check_same_thread=False, timeout=60.0)
        connection.execute("PRAGMA journal_mode=WAL")
        # A power cut may lose the last replies, which costs money again; a kill of the process loses none.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_SCHEMA)
    except (OSError, UnicodeError, sqlite3.Error) as error:  # UnicodeError: of a damaged schema
        raise UserError(f"reply cache {file}: {error}; choose another with --cache") from error
    return connection


def _key(prompt: str, llm_string: str) -> str:
    return hashlib.sha256(f"{len(llm_string)}:{llm_string}{prompt}".encode()).hexdigest()


def _messages(replies: Sequence[Generation]) -> list[AIMessage]:
    messages = [reply.message for reply in replies if isinstance(reply, ChatGeneration)]
    return [message for message in messages if isinstance(message, AIMessage)]


def _as_text(replies: Sequence[Generation]) -> str:
    return json.dumps([message_to_dict(message) for message in _messages(replies)], default=str)


def _parsed(text: str) -> list[Generation]:
    messages = messages_from_dict(parse_json(text))
    return [ChatGeneration(message=message) for message in messages if isinstance(message, AIMessage)]
