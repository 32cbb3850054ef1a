"""The HTTP API over a real server on this machine: answers, streams, threads, jobs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sse_starlette.sse import AppStatus

from agents.schemas import Answer
from apps.api.app import create_app
from apps.output.results_file import PhotoResult
from apps.service.access import ApiKeys
from core.errors import UserError
from tests.fakes.photo_files import jpeg
from tests.fakes.services import events_of, gated, listening, service

KEYS = {"anna": "a" * 20, "bert": "b" * 20}


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name]}"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with two keys."""
    keys = ApiKeys.of(f"{name}:{key}" for name, key in KEYS.items())
    with (
        service(tmp_path_factory.mktemp("home"), photo_bytes=200_000) as opened,
        listening(create_app(opened, keys)) as at,
    ):
        yield at


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return jpeg(tmp_path_factory.mktemp("photos") / "a.jpg").read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Photos of one place."""
    folder = tmp_path_factory.mktemp("place")
    return [jpeg(folder / f"{seed}.jpg", seed=seed).read_bytes() for seed in range(3)]


@pytest.fixture
def anna(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/v1", headers=bearer("anna"), trust_env=False, timeout=120) as client:
        yield client


@pytest.fixture
def bert(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/v1", headers=bearer("bert"), trust_env=False, timeout=120) as client:
        yield client


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], bool(body["title"]), bool(body["detail"])) == (status, True, True)
    return body


def test_an_answer_and_the_same_as_a_stream(anna: httpx.Client, photo: bytes) -> None:
    files = {"photo": ("holiday.jpg", photo)}
    plain = anna.post("/locate", files=files, data={"question": "where?"})
    assert plain.status_code == 200
    answer = Answer.model_validate(plain.json())
    with anna.stream("POST", "/locate", files=files, headers={"accept": "text/event-stream"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = list(events_of(response))
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    names = [name for _, name, _ in events]
    assert (names[0], set(names[1:-1]), names[-1]) == ("accepted", {"step"}, "answer")
    streamed = Answer.model_validate(json.loads(events[-1][2])["answer"])
    assert (streamed.point, streamed.chance_within_km) == (answer.point, answer.chance_within_km)


def test_a_stream_ends_with_an_error_when_the_server_stops(
    tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    with service(tmp_path, model=gated(gate)) as opened, listening(create_app(opened, ApiKeys({}))) as at:
        asked: dict[str, Any] = {"files": {"photo": photo}, "headers": {"accept": "text/event-stream"}}
        with httpx.stream("POST", f"{at}/v1/locate", trust_env=False, timeout=60, **asked) as response:
            events = events_of(response)
            assert next(events)[1] == "accepted"
            monkeypatch.setattr(AppStatus, "should_exit", True)  # as uvicorn's signal handler has it
            *_, (_, name, data) = events
        gate.touch()
    assert (name, json.loads(data)["status"], "stopping" in data) == ("error", 503, True)


def test_choices_and_clues_are_checked(anna: httpx.Client, photo: bytes) -> None:
    def locate(**data: str) -> httpx.Response:
        return anna.post("/locate", files={"photo": photo}, data=data)

    coarse = Answer.model_validate(locate(max_precision="country", strategy="zero_shot").json())
    assert (coarse.areas, coarse.versions.strategy) == ((), "zero_shot")
    assert locate(taken_at="2026-07-01T10:00:00Z", sun_height_deg="40").status_code == 200
    wrong = ({"strategy": "clusters"}, {"model": "openai:gpt-4o"}, {"max_precision": "planet"}, {"taken_at": "noon"})
    for data in (*wrong, {"question": "x" * 4001}, {"sun_height_deg": "91"}):
        refused(locate(**data), 422)
    refused(anna.post("/locate"), 422)
    refused(anna.post("/search", files={"photo": photo}), 422)
    refused(anna.post("/search", files={"photo": photo}, data={"lat": "1"}), 422)


def test_parts_of_one_request_are_photos_of_one_place(anna: httpx.Client, place: list[bytes]) -> None:
    def locate(photos: list[bytes], **data: str) -> httpx.Response:
        return anna.post("/locate", files=[("photo", (f"{n}.jpg", one)) for n, one in enumerate(photos)], data=data)

    answer = Answer.model_validate(locate(place).json())
    assert answer.photo_sha256s == tuple(hashlib.sha256(one).hexdigest() for one in place)
    assert "1.jpg is the same file as 0.jpg" in refused(locate([place[0], place[0]]), 422)["detail"]
    refused(locate([place[0]] * 9), 422)
    refused(locate([place[0], b"no photo"]), 415)


def test_photos_of_the_place_that_is_talked_about_join_it(anna: httpx.Client, place: list[bytes]) -> None:
    path = f"/threads/{anna.post('/threads', json={}).json()['id']}"

    def send(*photos: int, **data: str) -> httpx.Response:
        files = [("photo", (f"{n}.jpg", place[n])) for n in photos]
        return anna.post(f"{path}/messages", files=files, data={"text": "where?", **data})

    refused(send(0, same_place="true"), 422)
    assert len(Answer.model_validate(send(0, 1).json()["answer"]).photo_sha256s) == 2
    added = Answer.model_validate(send(2, same_place="true").json()["answer"])
    assert added.photo_sha256s == tuple(hashlib.sha256(one).hexdigest() for one in place)
    refused(send(1, same_place="true"), 422)
    [shown] = anna.get(path).json()["history"]["photos"]
    assert (shown["name"], len(shown["more_photo_ids"])) == ("0.jpg + 1.jpg + 2.jpg", 2)
    for photo_id in (shown["photo_id"], *shown["more_photo_ids"]):
        assert anna.get(f"{path}/photos/{photo_id}").content[:4] == b"\x89PNG"
    assert anna.post(f"{path}/undo").json() == {"words": "where?"}
    assert len(anna.get(path).json()["history"]["photos"][0]["more_photo_ids"]) == 1
    assert anna.delete(path).status_code == 204


def test_a_message_is_about_the_photo_that_it_names(anna: httpx.Client, place: list[bytes]) -> None:
    path = f"/threads/{anna.post('/threads', json={}).json()['id']}"

    def say(text: str, **data: str) -> httpx.Response:
        return anna.post(f"{path}/messages", data={"text": text, **data})

    for photo in place[:2]:
        assert anna.post(f"{path}/messages", files={"photo": ("a.jpg", photo)}).status_code == 200
    first, second = (one["photo_id"] for one in anna.get(path).json()["history"]["photos"])
    hashes = [hashlib.sha256(photo).hexdigest() for photo in place]
    assert say("why?").json()["answer"]["photo_sha256"] == hashes[1]
    assert say("why?", about_photo_id=first).json()["answer"]["photo_sha256"] == hashes[0]
    assert say("why?").json()["answer"]["photo_sha256"] == hashes[0]
    assert anna.get(path).json()["history"]["current_photo_id"] == first
    joined = {"same_place": "true", "about_photo_id": second}
    reply = anna.post(f"{path}/messages", files={"photo": ("b.jpg", place[2])}, data=joined)
    added = Answer.model_validate(reply.json()["answer"])
    assert added.photo_sha256s == (hashes[1], hashes[2])
    refused(say("why?", about_photo_id="0" * 64), 404)
    assert anna.get(path).json()["history"]["current_photo_id"] == second
    assert anna.delete(path).status_code == 204


def test_a_thread_from_its_photo_to_its_end(anna: httpx.Client, bert: httpx.Client, photo: bytes) -> None:
    thread = anna.post("/threads", json={"title": "holiday"}).json()
    path = f"/threads/{thread['id']}"
    refused(anna.post(f"{path}/messages", data={"text": "why?"}), 422)
    first = anna.post(f"{path}/messages", data={"text": "where?"}, files={"photo": ("a.jpg", photo)}).json()
    assert Answer.model_validate(first["answer"]).photo_sha256
    with anna.stream(
        "POST", f"{path}/messages", data={"text": "it is not in Belgium"}, headers={"accept": "text/event-stream"}
    ) as response:
        names = [name for _, name, _ in events_of(response)]
    assert (names[0], names[-1]) == ("accepted", "reply")
    detail = anna.get(path).json()
    assert [said["role"] for said in detail["history"]["messages"]] == ["person", "geosleuth"] * 2
    [shown] = detail["history"]["photos"]
    picture = anna.get(f"{path}/photos/{shown['photo_id']}")
    assert (picture.headers["content-type"], picture.content[:4]) == ("image/png", b"\x89PNG")
    assert anna.post(f"{path}/undo").json() == {"words": "it is not in Belgium"}
    assert anna.patch(path, json={"title": "work"}).json()["title"] == "work"
    assert [one["id"] for one in anna.get("/threads").json()] == [thread["id"]]
    refused(anna.post(f"{path}/resume"), 409)
    for hidden in (bert.get(path), bert.delete(path), bert.get(f"{path}/photos/{shown['photo_id']}")):
        refused(hidden, 404)
    assert bert.get("/threads").json() == []
    assert anna.delete(path).status_code == 204
    refused(anna.get(path), 404)


def test_a_job_of_photos_and_a_zip(anna: httpx.Client, bert: httpx.Client, photo: bytes, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("b/2.jpg", jpeg(tmp_path / "2.jpg", 2).read_bytes())
        archive.writestr("b/notes.txt", "no photo")
    files = [
        ("1.jpg", photo),
        ("more.zip", packed.getvalue()),
        ("=3.jpg", b"no photo"),
        ("4.jpg", b"\xff\xd8" * 150_000),
    ]
    created = anna.post("/jobs", files=[("files", file) for file in files])
    assert created.status_code == 202
    path = f"/jobs/{created.json()['id']}"
    while (job := anna.get(path).json())["status"] != "done":
        time.sleep(0.05)
    assert job["counts"] == {"queued": 0, "running": 0, "done": 4, "cancelled": 0}
    lines = anna.get(f"{path}/results").content.splitlines()
    records = [PhotoResult.parse(line) for line in lines]
    assert [(row.photo, row.status.value) for row in records] == [
        ("1.jpg", "answered"),
        ("b/2.jpg", "answered"),
        ("=3.jpg", "failed"),
        ("4.jpg", "failed"),
    ]
    assert "larger than the limit" in str(records[3].error)
    table = list(csv.DictReader(io.StringIO(anna.get(f"{path}/results", params={"format": "csv"}).text)))
    assert [row["photo"] for row in table] == ["1.jpg", "b/2.jpg", "'=3.jpg", "4.jpg"]
    layer = anna.get(f"{path}/results", params={"format": "geojson"}).json()
    assert {feature["properties"]["photo"] for feature in layer["features"]} == {"1.jpg", "b/2.jpg"}
    for hidden in (bert.get(path), bert.delete(path), bert.get(f"{path}/results"), bert.post(f"{path}/cancel")):
        refused(hidden, 404)
    refused(anna.get(f"{path}/results", params={"format": "pdf"}), 422)
    assert anna.post(f"{path}/cancel").json()["status"] == "cancelled"
    assert anna.delete(path).status_code == 204
    refused(anna.get(path), 404)


def test_without_a_key_only_health_is_told(url: str, photo: bytes) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert client.get(path).status_code == 200
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEYS["anna"]}, {"X-API-Key": "wrong"}):
            refused(client.get("/v1/offer", headers=wrong), 401)
            refused(client.get("/metrics", headers=wrong), 401)
            refused(client.post("/v1/locate", headers=wrong, files={"photo": photo}), 401)
        assert client.get("/v1/offer", headers={"X-API-Key": KEYS["bert"]}).status_code == 200
        refused(client.get("/v1/nothing", headers=bearer("anna")), 404)
        refused(client.put("/v1/locate", headers=bearer("anna")), 405)


def test_metrics_count_requests_by_route(anna: httpx.Client, url: str) -> None:
    anna.get("/threads/none")
    text = httpx.get(f"{url}/metrics", headers=bearer("anna"), trust_env=False).text
    assert 'geosleuth_requests_total{method="GET",route="/v1/threads/{thread_id}",status="404"}' in text
    assert "geosleuth_runs_under_way 0.0" in text
    assert 'geosleuth_job_items{status="queued"} 0.0' in text


def test_a_server_without_keys_answers_no_other_site(tmp_path: Path) -> None:
    with service(tmp_path) as opened, listening(create_app(opened, ApiKeys({}))) as url:
        own = url.removeprefix("http://")
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.get("/v1/offer").status_code == 200
            assert client.get("/v1/offer", headers={"Origin": url}).status_code == 200
            for headers in (
                {"Host": "evil.example"},
                {"Host": f"{own}.evil.example"},
                {"Origin": "https://evil.example"},
                {"Origin": "null"},
            ):
                for path in ("/v1/offer", "/healthz"):
                    refused(client.get(path, headers=headers), 403)


def test_more_than_allowed_is_told_when_to_come_again(tmp_path: Path, photo: bytes) -> None:
    gate = tmp_path / "gate"
    with (
        service(tmp_path, None, gated(gate), runs_at_once=1, runs_waiting=0, requests_per_minute=6) as opened,
        listening(create_app(opened, ApiKeys({}))) as url,
        httpx.Client(base_url=f"{url}/v1", trust_env=False, timeout=60) as client,
    ):
        first = threading.Thread(target=lambda: client.post("/locate", files={"photo": photo}))
        first.start()
        while opened.pool.under_way == 0:
            time.sleep(0.01)
        full = client.post("/locate", files={"photo": photo})
        refused(full, 429)
        assert int(full.headers["retry-after"]) >= 1
        gate.touch()
        first.join()
        statuses = [client.get("/offer") for _ in range(6)]
        assert "slow down" in refused(statuses[-1], 429)["detail"]
        assert 1 <= int(statuses[-1].headers["retry-after"]) <= 10
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200


def test_a_client_that_leaves_ends_its_run(tmp_path: Path, photo: bytes) -> None:
    gate = tmp_path / "gate"
    with (
        service(tmp_path, None, gated(gate)) as opened,
        listening(create_app(opened, ApiKeys({}))) as url,
        httpx.Client(trust_env=False, timeout=60) as client,
    ):
        sent: dict[str, Any] = {"files": {"photo": photo}, "headers": {"accept": "text/event-stream"}}
        with client.stream("POST", f"{url}/v1/locate", **sent) as response:
            assert next(events_of(response))[1] == "accepted"
        with pytest.raises(httpx.ReadTimeout):
            client.post(f"{url}/v1/locate", files={"photo": photo}, timeout=1.0)
        assert opened.pool.under_way == 2
        time.sleep(1.0)
        gate.touch()
        while opened.pool.under_way:
            time.sleep(0.02)


def test_the_name_of_a_key_fits_into_the_database() -> None:
    with pytest.raises(UserError, match="more than 64 characters"):
        ApiKeys.of([f"{'a' * 65}:{'k' * 32}"])
