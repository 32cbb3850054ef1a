"""Health and readiness say how the server is, however much it has to do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from apps.api.app import create_app
from apps.service.access import ApiKeys
from apps.service.database import StateDatabase
from tests.fakes.services import listening, service

THREADS = 40
"""Those that anyio has for blocking calls."""


def test_a_server_whose_threads_are_all_taken_is_alive_and_ready(tmp_path: Path) -> None:
    taken, may_end = threading.Semaphore(0), threading.Event()
    with service(tmp_path) as opened, ThreadPoolExecutor(THREADS) as clients:
        app = create_app(opened, ApiKeys({}))

        @app.get("/blocked")
        def blocked() -> None:
            taken.release()
            may_end.wait(60)

        with listening(app) as url:
            for _ in range(THREADS):
                clients.submit(httpx.get, f"{url}/blocked", trust_env=False, timeout=60)
            try:
                assert all(taken.acquire(timeout=30) for _ in range(THREADS))
                for path in ("/healthz", "/readyz"):
                    assert httpx.get(f"{url}{path}", trust_env=False, timeout=30).status_code == 200
            finally:
                may_end.set()


def test_a_server_without_its_database_is_alive_and_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: StateDatabase) -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("gone"))

    with service(tmp_path) as opened, listening(create_app(opened, ApiKeys({}))) as url:
        monkeypatch.setattr(StateDatabase, "check", away)
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        unready = httpx.get(f"{url}/readyz", trust_env=False)
    assert (unready.status_code, unready.json()["detail"]) == (503, "the database does not answer")
