"""`geosleuth serve` in processes of its own: where it listens, whom it lets in, and what a kill leaves behind."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from apps.cli import run
from apps.output.results_file import PhotoResult
from apps.service.database import JOB_ITEMS, StateDatabase
from tests.apps.conftest import environment
from tests.fakes.photo_files import jpeg
from tests.fakes.services import server_process

PHOTOS = 5


def test_it_refuses_a_public_address_without_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GEOSLEUTH_API_KEY", raising=False)
    assert run(["serve", "--host", "0.0.0.0", "--home", str(tmp_path)]) == 2  # noqa: S104 - refused
    assert "API keys" in capsys.readouterr().err
    keys = tmp_path / "keys"
    keys.write_text("anna:short\n")
    assert run(["serve", "--api-keys", str(keys), "--home", str(tmp_path)]) == 2
    assert "openssl" in capsys.readouterr().err
    assert not (tmp_path / "service.sqlite").exists()


def test_a_job_survives_the_kill_of_one_of_two_servers_and_each_photo_ends_once(
    postgres_url: str, tmp_path: Path
) -> None:
    """Two processes on one Postgres server: one is killed while it works, the other ends what both had begun."""
    key = "k" * 20
    own = {"GEOSLEUTH_STATE_URL": postgres_url, "GEOSLEUTH_SERVE_LEASE_S": "1.5", "GEOSLEUTH_API_KEY": f"anna:{key}"}
    command = ("geosleuth", "serve", "--port", "0", "--no-signs")
    started = [
        server_process(command, environment(tmp_path / name) | own, tmp_path / f"{name}.log") for name in ("one", "two")
    ]
    files = [("files", (f"{n}.jpg", jpeg(tmp_path / f"{n}.jpg", n).read_bytes())) for n in range(PHOTOS)]
    client = httpx.Client(headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=60)
    with started[0] as (first_url, first), started[1] as (second_url, second), client:
        job = client.post(f"{first_url}/v1/jobs", files=files).json()["id"]
        while client.get(f"{first_url}/v1/jobs/{job}").json()["counts"]["done"] < 1:
            time.sleep(0.01)
        first.kill()
        while client.get(f"{second_url}/v1/jobs/{job}").json()["status"] != "done":
            time.sleep(0.05)
        lines = client.get(f"{second_url}/v1/jobs/{job}/results").content.splitlines()
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
    records = [PhotoResult.parse(line) for line in lines]
    assert Counter(row.photo for row in records) == Counter(f"{n}.jpg" for n in range(PHOTOS))
    assert {row.status.value for row in records} == {"answered"}
    with StateDatabase.open(postgres_url, tmp_path) as database, database.read() as connection:
        attempts = connection.execute(sa.select(JOB_ITEMS.c.attempts)).scalars().all()
    # Only what the killed process had in hand was begun again.
    assert sum(attempts) <= PHOTOS + 1
