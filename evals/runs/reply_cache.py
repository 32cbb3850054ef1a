"""Replies of models, kept in SQLite: asking the same model the same again costs nothing, after a kill or a change.

A reply is found by the hash of what was asked (prompt with the photo, model, parameters). The same may be asked
several times about one photo (self-consistency samples): the n-th time gets the n-th reply ever given, so that
samples stay different and a resumed run gets the very same ones. The money really spent is counted here too,
because here it is known which replies were new.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.messages import AIMessage, message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, Generation
from typing_extensions import override

from core.errors import UserError
from evals.runs.cost import CostBudget

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT, n INTEGER, reply TEXT, run TEXT, usd REAL, PRIMARY KEY (key, n)
) WITHOUT ROWID
"""


class AskCounter:
    """How often each question was asked while one photo was worked on. Safe between threads.

    A question and its reply come in one thread. Where no reply came, its thread asks again or has ended: the next
    asking takes its number, so that a question repeated after a failure is no new sample.
    """

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()
        self._open: dict[str, dict[int, threading.Thread]] = {}
        self._lock = threading.Lock()

    def number(self, key: str) -> int:
        """Of this asking, from 0."""
        me = threading.current_thread()
        with self._lock:
            waiting = self._open.setdefault(key, {})
            given_up = [n for n, thread in waiting.items() if thread is me or not thread.is_alive()]
            n = min(given_up, default=self._times[key])
            self._times[key] = max(self._times[key], n + 1)
            waiting[n] = me
            return n

    def answered(self, key: str) -> int:
        """The number of this thread's asking, which waits no longer."""
        me = threading.current_thread()
        with self._lock:
            waiting = self._open.get(key, {})
            n = next((n for n, thread in waiting.items() if thread is me), 0)
            waiting.pop(n, None)
            return n


_asked: ContextVar[AskCounter | None] = ContextVar("asked", default=None)


@contextmanager
def one_answer() -> Iterator[None]:
    """Everything asked within is asked for one answer: repeated questions are counted from 0."""
    token = _asked.set(AskCounter())
    try:
        yield
    finally:
        _asked.reset(token)


class ReplyCache(BaseCache):
    """Replies by what was asked, in a SQLite file. Safe between threads, and between processes on one machine.

    Args:
        file: made if it is not there; None keeps replies in memory only.
        cost_budget: what every new reply is charged to, and asked before each new question.
        usd: price of a reply.
        run: whose money it is, so that a run that was killed still knows what it has spent.

    Raises:
        UserError: the file cannot be opened or is no SQLite database.
    """

    def __init__(
        self, file: Path | None, cost_budget: CostBudget, usd: Callable[[AIMessage], float], run: str = ""
    ) -> None:
        self._spending, self._usd, self._run = cost_budget, usd, run
        self._lock = threading.Lock()
        self._connection = _connect(file)
        self.hits = self.misses = 0

    @override
    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The reply to this asking; None if it is new.

        Raises:
            MoneySpentError: it is new, and the money limit would not hold one more call.
        """
        key, asked = _key(prompt, llm_string), _asked.get() or AskCounter()
        n = asked.number(key)
        with self._lock:
            row = self._connection.execute("SELECT reply FROM replies WHERE key = ? AND n = ?", (key, n)).fetchone()
            self.hits, self.misses = (self.hits + 1, self.misses) if row else (self.hits, self.misses + 1)
        if row is None:
            self._spending.reserve()
            return None
        asked.answered(key)
        return _parsed(row[0])

    @override
    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep a new reply, and charge it."""
        key, asked = _key(prompt, llm_string), _asked.get() or AskCounter()
        usd = sum(self._usd(message) for message in _messages(return_val))
        row = (key, asked.answered(key), _as_text(return_val), self._run, usd)
        with self._lock, self._connection:
            self._connection.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)", row)
        self._spending.charge(usd)

    def spent_usd(self) -> float:
        """What this run has spent on the replies kept here, by all its sittings."""
        with self._lock:
            found = self._connection.execute("SELECT SUM(usd) FROM replies WHERE run = ?", (self._run,)).fetchone()
        return float(found[0] or 0.0)

    @override
    def clear(self, **kwargs: Any) -> None:
        """Forget every reply."""
        with self._lock, self._connection:
            self._connection.execute("DELETE FROM replies")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()


def _connect(file: Path | None) -> sqlite3.Connection:
    try:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(file or ":memory:", check_same_thread=False, timeout=60.0)
        connection.execute("PRAGMA journal_mode=WAL")
        # A power cut may lose the last replies, which costs money again; a kill of the process loses none.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_SCHEMA)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"reply cache {file}: {error}; choose another with --cache") from error
    return connection


def _key(prompt: str, llm_string: str) -> str:
    return hashlib.sha256(f"{len(llm_string)}:{llm_string}{prompt}".encode()).hexdigest()


def _messages(replies: Sequence[Generation]) -> list[AIMessage]:
    said = [reply.message for reply in replies if isinstance(reply, ChatGeneration)]
    return [message for message in said if isinstance(message, AIMessage)]


def _as_text(replies: Sequence[Generation]) -> str:
    return json.dumps([message_to_dict(message) for message in _messages(replies)], default=str)


def _parsed(text: str) -> list[Generation]:
    messages = messages_from_dict(json.loads(text))
    return [ChatGeneration(message=message) for message in messages if isinstance(message, AIMessage)]
