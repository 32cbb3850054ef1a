"""A caller chooses atlases; the others of the server are not searched. Thumbnails of candidates, and whose they are."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from agents.schemas import Answer
from apps.api.app import create_app
from apps.cli import main
from apps.service.access import ApiKeys
from apps.service.choices import RunChoices
from apps.service.errors import UnusableError
from apps.service.limits import ServiceLimits
from apps.service.service import GeolocationService
from graphs.settings import make_settings
from tests.fakes.photo_files import noise
from tests.fakes.services import listening
from tests.retrieval.encoders.gated import GatedEncoder, wait_until

KEYS = {"anna": "a" * 20, "bert": "b" * 20}


class Served(NamedTuple):
    """A server that searches `near` and offers `far` beside it, and a photo of both."""

    service: GeolocationService
    url: str
    photo: bytes

    def client(self, name: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {KEYS[name]}"}
        return httpx.Client(base_url=f"{self.url}/v1", headers=headers, trust_env=False, timeout=120)


def build_atlases(home: Path, encoder: Path) -> None:
    noise(7).save(home / "a.png")
    for name, place in (("near", "50.08,14.43"), ("far", "-33.9,151.2")):
        (home / f"{name}.csv").write_text(f"IMG_ID,LAT,LON\na.png,{place}\n")
        table = ("--photos", home, "--table", home / f"{name}.csv", "--encoder", encoder, "--home", home)
        main(["atlas", "build", name, *map(str, table)])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("atlases")
    build_atlases(home, encoder)
    settings = make_settings(home=home, encoder=str(encoder), atlases=("near",), read_signs=False)
    keys = ApiKeys.of(f"{name}:{key}" for name, key in KEYS.items())
    with (
        GeolocationService.open(settings, ServiceLimits(atlases=("far",), encoder_batch=4, runs_at_once=4)) as opened,
        listening(create_app(opened, keys)) as url,
    ):
        yield Served(opened, url, (home / "a.png").read_bytes())


@pytest.fixture
def anna(served: Served) -> Iterator[httpx.Client]:
    with served.client("anna") as client:
        yield client


def _found(answer: Answer) -> tuple[tuple[str, ...], set[str]]:
    return answer.versions.atlases, {candidate.atlas for candidate in answer.candidates}


def test_the_offer_says_which_there_are_and_which_are_searched(anna: httpx.Client) -> None:
    offer = anna.get("/offer").json()
    assert (offer["atlases"], offer["searched_atlases"]) == (["near", "far"], ["near"])
    assert anna.get("/offer", params={"atlases": ["far", "near"]}).json()["searched_atlases"] == ["near", "far"]


@pytest.mark.parametrize("chosen", [[], ["near"], ["far"], ["far", "near"]])
def test_only_the_chosen_are_searched(anna: httpx.Client, served: Served, chosen: list[str]) -> None:
    expected = tuple(name for name in ("near", "far") if name in (chosen or ["near"]))
    files = {"photo": ("a.png", served.photo)}
    answered = anna.post("/locate", files=files, data={"atlases": chosen})
    assert _found(Answer.model_validate_json(answered.content)) == (expected, set(expected))
    similar = anna.post("/search", files=files, data={"atlases": chosen}).json()["candidates"]
    assert {one["atlas"] for one in similar} == set(expected)


def test_photos_of_several_callers_are_encoded_together_and_counted(
    served: Served, anna: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = served.service.system.components.encoder
    assert encoder is not None
    gated = GatedEncoder(encoder._encoder)
    monkeypatch.setattr(encoder, "_encoder", gated)
    before = dict(encoder.batch_sizes)
    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(_search, served, 100)]
        wait_until(lambda: gated.inside == 1)
        searches += [pool.submit(_search, served, seed) for seed in (101, 102, 103)]
        wait_until(lambda: len(encoder._batching._waiting) == 3)
        gated.gate.set()
        assert {one.result() for one in searches} == {200}
    assert [len(names) for names in gated.calls] == [1, 3]
    metrics = anna.get(f"{served.url}/metrics").text
    alone = before.get(1, 0) + 1
    for line in (
        f'geosleuth_encoder_batch_photos_bucket{{le="1.0"}} {alone}.0',
        f'geosleuth_encoder_batch_photos_bucket{{le="4.0"}} {alone + 1}.0',
        f"geosleuth_encoder_batch_photos_count {alone + 1}.0",
        f"geosleuth_encoder_batch_photos_sum {alone + 3}.0",
    ):
        assert line in metrics


def _search(served: Served, seed: int) -> int:
    file = io.BytesIO()
    noise(seed).save(file, "PNG")
    with served.client("bert") as client:
        return client.post("/search", files={"photo": ("b.png", file.getvalue())}).status_code


def test_an_unknown_name_is_refused_and_those_offered_are_named(anna: httpx.Client, served: Served) -> None:
    files = {"photo": ("a.png", served.photo)}
    unknown = {"atlases": ["near", "mars"]}
    answers = [
        anna.post("/locate", files=files, data=unknown),
        anna.post("/search", files=files, data=unknown),
        anna.post("/jobs", files={"files": ("a.png", served.photo)}, data=unknown),
        anna.post("/threads", json={"choices": unknown}),
        anna.get("/offer", params=unknown),
    ]
    for answer in answers:
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert "near, far" in answer.json()["detail"]
    assert anna.get("/jobs").json() == []


def test_a_thread_remembers_its_atlases(anna: httpx.Client, served: Served) -> None:
    thread = anna.post("/threads", json={"choices": {"atlases": ["far"]}}).json()
    assert thread["choices"]["atlases"] == ["far"]
    messages = f"/threads/{thread['id']}/messages"
    first = anna.post(messages, files={"photo": ("a.png", served.photo)}).json()
    assert _found(Answer.model_validate(first["answer"])) == (("far",), {"far"})
    changed = anna.patch(f"/threads/{thread['id']}", json={"choices": {"atlases": ["near", "far"]}}).json()
    assert changed["choices"]["atlases"] == ["near", "far"]
    again = anna.post(messages, files={"photo": ("b.png", served.photo + b"more")}).json()
    assert _found(Answer.model_validate(again["answer"]))[0] == ("near", "far")


def test_a_job_searches_its_atlases(served: Served) -> None:
    choices = RunChoices(atlases=("far",))
    job = served.service.jobs.create("anna", choices, [("a.png", served.photo)])
    served.service.workers.wake()
    with served.client("anna") as client:
        while client.get(f"/jobs/{job.id}").json()["status"] != "done":
            time.sleep(0.05)
    (record,) = served.service.jobs.records(job.id)
    assert record.answer is not None
    assert _found(record.answer) == (("far",), {"far"})


def test_a_thread_of_an_atlas_that_is_gone_can_be_read_and_changed(served: Served) -> None:
    row = served.service.threads.create("anna", "old", RunChoices(atlases=("gone",)))
    with served.client("anna") as client:
        assert client.get(f"/threads/{row.id}").json()["choices"]["atlases"] == ["gone"]
        files = {"photo": ("a.png", served.photo)}
        assert client.post(f"/threads/{row.id}/messages", files=files).status_code == 422
        assert client.patch(f"/threads/{row.id}", json={"choices": {}}).json()["choices"]["atlases"] is None
        assert client.post(f"/threads/{row.id}/messages", files=files).status_code == 200


def test_systems_share_what_is_the_same_and_are_few(served: Served) -> None:
    systems = served.service.systems
    far, both = (systems.find(RunChoices(atlases=names)) for names in (("far",), ("far", "near")))
    assert far.components.atlases["far"] is both.components.atlases["far"]
    assert far.components.encoder is both.components.encoder
    assert both is systems.find(RunChoices(atlases=("near", "far")))  # the order does not matter
    assert systems.find(RunChoices(atlases=("near",))) is systems.find(RunChoices())
    assert far.clients.imagery is served.service.system.clients.imagery
    with pytest.raises(UnusableError, match="near, far"):
        systems.find(RunChoices(atlases=("mars",)))


def test_a_thumbnail_needs_the_setting_and_the_owner(anna: httpx.Client, served: Served) -> None:
    thread = anna.post("/threads", json={}).json()["id"]
    reply = anna.post(f"/threads/{thread}/messages", files={"photo": ("a.png", served.photo)})
    assert reply.is_success
    photo = anna.get(f"/threads/{thread}").json()["history"]["photos"][0]["photo_id"]
    path, which = f"/threads/{thread}/photos/{photo}/candidate", {"atlas": "near", "item_id": "a.png"}

    def refusal(client: httpx.Client) -> Any:
        answer = client.get(path, params=which)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        return answer.json()["detail"]

    assert refusal(anna) == "this server has no photo of this candidate"
    with served.client("bert") as bert:
        assert refusal(bert) == "no such thread; it may have been deleted"
