"""A mailbox: requests as folders that anybody can answer, by a colleague who sees nothing but their files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from PIL import Image

from agents.chat_models.registry import load_model
from agents.chat_models.spec import ModelOptions
from agents.chat_models.written.request_folder import MAX_REPLY_BYTES
from agents.reply_schemas import GivePosition
from agents.schemas import Answer
from agents.structured_output.ask import ask, ask_structured
from agents.structured_output.position import ReplyStatus
from core.errors import UserError
from graphs.settings import make_settings
from graphs.system import GeoSleuth
from retrieval.photos.photo import load_photo
from tests.fakes.people.colleague import BRNO, colleague, fitting, requests
from tests.fakes.photo_files import jpeg

ROOT = Path(__file__).parents[3]
NOW = ModelOptions(timeout_s=0.3)


def locate(folder: Path, model: str, strategy: str = "refine", **settings: Any) -> Answer:
    chosen = make_settings(model=model, strategy=strategy, home=folder / "home", read_signs=False, **settings)
    with GeoSleuth.open(chosen) as system:
        return system.locate(load_photo(jpeg(folder / "secret_lisbon.jpg")))


def is_brno(answer: Answer) -> bool:
    return answer.point is not None and abs(answer.point.lat - 49.2) < 0.5 and abs(answer.point.lon - 16.6) < 0.5


def described(request: Path) -> dict[str, Any]:
    return dict(json.loads((request / "request.json").read_text()))


def test_refine_goes_through_a_mailbox_and_each_request_can_be_answered_alone(tmp_path: Path) -> None:
    box = tmp_path / "box"
    with colleague(box):
        answer = locate(tmp_path, f"mailbox:anna@{box}", budgets={"seconds": 60.0})
    assert is_brno(answer)
    assert (answer.versions.model, answer.cost.usd) == (f"mailbox:anna@{box}", 0.0)
    assert answer.cost.tokens > 0
    assert "written by whoever read the requests" in answer.reasoning
    first, second, *_ = requests(box)
    prompt = (second / "prompt.md").read_text()
    assert f"It continues request {first.name}" in prompt
    above, _, new = prompt.partition(f"NEW since request {first.name}")
    assert "[picture: photo.png]\n\nPhoto photo-" in above
    assert "it looks so" in new, "the earlier reply is part of what is new"
    assert "You can call these tools" in new
    assert "addressed to anna" in prompt
    assert described(second)["continues"] == first.name
    assert described(first)["continues"] is None
    assert "hypotheses" in json.loads((first / "schema.json").read_text())["properties"]
    with Image.open(first / "photo.png") as picture:
        assert (picture.format, picture.size, picture.info) == ("PNG", (96, 64), {})
    written = "".join(file.read_text() for one in requests(box) for file in one.glob("*.[mj]*"))
    assert "lisbon" not in written.casefold()
    assert "[picture: photo.png]" in prompt


def test_a_run_that_was_killed_finds_its_requests_and_replies_again(tmp_path: Path) -> None:
    box, photo = tmp_path / "box", jpeg(tmp_path / "secret_lisbon.jpg")
    command = [sys.executable, "-m", "geosleuth", "locate", str(photo), "--model", f"mailbox:{box}", "--no-signs"]
    environment = {**os.environ, "GEOSLEUTH_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not requests(box):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    [first] = requests(box)
    asked_at = (first / "prompt.md").stat().st_mtime_ns
    helper = subprocess.Popen([sys.executable, "-m", "tests.fakes.people.colleague", str(box)], cwd=ROOT)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    finally:
        helper.kill()
        helper.wait()
    assert done.returncode == 0, done.stderr
    assert "Brno" in done.stdout
    assert "write a reply into each request's folder" in done.stderr
    after = requests(box)
    assert after[0] == first
    assert (first / "prompt.md").stat().st_mtime_ns == asked_at
    again = locate(tmp_path, f"mailbox:{box}")
    assert is_brno(again)
    assert requests(box) == after, "all replies were there"


def test_samples_are_requests_of_their_own_and_open_side_by_side(tmp_path: Path) -> None:
    box = tmp_path / "box"
    most_open = 0

    def in_fours(_: Path, schema: dict[str, Any]) -> None:
        nonlocal most_open
        for _attempt in range(200):
            still_open = [one for one in requests(box) if not (one / "reply.json").exists()]
            if len(still_open) >= 4 or len(requests(box)) == 5:
                break
            time.sleep(0.05)
        most_open = max(most_open, len(still_open))
        for one in still_open:
            fitting(one, schema)

    with colleague(box, in_fours):
        assert is_brno(locate(tmp_path, f"mailbox:{box}", "self_consistency"))
    assert sorted(described(one)["sample"] for one in requests(box)) == [0, 1, 2, 3, 4]
    assert {described(one)["temperature"] for one in requests(box)} == {0.7}
    assert most_open == 4
    locate(tmp_path, f"mailbox:{box}", "self_consistency")
    assert len(requests(box)) == 5


def test_a_jury_of_colleagues_shares_a_folder(tmp_path: Path) -> None:
    box = tmp_path / "box"
    with colleague(box):
        answer = locate(tmp_path, f"mailbox:anna@{box},mailbox:ben@{box}", "jury")
    assert is_brno(answer)
    assert {described(one)["for"] for one in requests(box)} == {"anna", "ben"}
    assert {*answer.cost_by_model} == {f"mailbox:anna@{box}", f"mailbox:ben@{box}"}


def test_a_reply_that_does_not_fit_is_sent_back_once_with_the_reason(tmp_path: Path) -> None:
    def wrong_at_first(request: Path, _: dict[str, Any]) -> None:
        far = {**BRNO, "lat": 490.2}
        (request / "reply.json").write_text(json.dumps(BRNO if described(request)["continues"] else far))

    with colleague(tmp_path / "box", wrong_at_first):
        assert is_brno(locate(tmp_path, f"mailbox:{tmp_path / 'box'}", "zero_shot"))
    first, second = requests(tmp_path / "box")
    new = (second / "prompt.md").read_text().partition(f"NEW since request {first.name}")[2]
    assert "could not be used" in new
    assert "lat" in new.partition("could not be used")[2].partition("schema")[0]


def test_waiting_is_no_work_and_a_runs_seconds_do_not_end_it(tmp_path: Path) -> None:
    def late(request: Path, schema: dict[str, Any]) -> None:
        time.sleep(1.5)
        fitting(request, schema)

    with colleague(tmp_path / "box", late):
        answer = locate(tmp_path, f"mailbox:{tmp_path / 'box'}", "zero_shot", budgets={"seconds": 1.0})
    assert is_brno(answer)
    assert answer.cost.seconds < 1.5


def test_a_time_limit_ends_a_wait_and_the_reason_names_the_folder(tmp_path: Path) -> None:
    answer = locate(tmp_path, f"mailbox:{tmp_path / 'box'}", "zero_shot", model_timeout_s=0.3)
    assert answer.model_status == "failed"
    assert answer.point is None
    [request] = requests(tmp_path / "box")
    assert f"no reply in {request} within 0.3 s" in answer.reasoning
    assert load_model(f"mailbox:{tmp_path}").options.timeout_s == 86_400.0
    assert load_model("offline").options.timeout_s == 120.0


def question(box: Path, options: ModelOptions = NOW) -> Any:
    return ask_structured(load_model(f"mailbox:{box}", options), [HumanMessage("Where?")], GivePosition)


def asked_request(box: Path) -> Path:
    """A request that was asked, and left without a reply."""
    assert question(box).status is ReplyStatus.FAILED
    [request] = requests(box)
    return request


def test_half_a_reply_is_waited_for(tmp_path: Path) -> None:
    request = asked_request(tmp_path / "box")
    whole = json.dumps(BRNO)

    def finish() -> None:
        (request / "reply.json").write_text(whole)

    (request / "reply.json").write_text(whole[:20])
    threading.Timer(0.7, finish).start()
    reply = question(tmp_path / "box", ModelOptions(timeout_s=60.0))
    assert (reply.status, reply.value.lat) == (ReplyStatus.OK, 49.2)
    assert len(requests(tmp_path / "box")) == 1


def test_a_reply_in_prose_or_fenced_is_read_once_it_is_settled(tmp_path: Path) -> None:
    request = asked_request(tmp_path / "box")
    (request / "reply.txt").write_text(f"Here you are:\n```json\n{json.dumps(BRNO)}\n```\n")
    os.utime(request / "reply.txt", (time.time() - 60, time.time() - 60))
    assert question(tmp_path / "box").value.lon == 16.6


def test_free_text_needs_no_schema(tmp_path: Path) -> None:
    with colleague(tmp_path):
        reply = ask(load_model(f"mailbox:{tmp_path}"), [HumanMessage("Why Brno?\x1b[2J")])
    assert reply.value is not None
    assert reply.value.text == "It is Brno, by the trams."
    [request] = requests(tmp_path)
    assert not (request / "schema.json").exists()
    assert "\x1b" not in (request / "prompt.md").read_text()


@pytest.mark.parametrize("name", ["reply.json", "reply.md"])
def test_replies_that_are_no_plain_file_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    request = asked_request(tmp_path / "box")
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(BRNO))
    (request / name).symlink_to(secret)
    assert "is a link" in question(tmp_path / "box").problem
    (request / name).unlink()
    os.mkfifo(request / name)
    assert "is no file" in question(tmp_path / "box").problem
    (request / name).unlink()
    (request / name).write_bytes(b" " * (MAX_REPLY_BYTES + 1))
    assert "more than 1,000,000 bytes" in question(tmp_path / "box").problem
    shutil.rmtree(request)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    request.symlink_to(elsewhere)
    assert "become a link" in question(tmp_path / "box").problem


def test_a_mailbox_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        load_model(f"mailbox:{tmp_path / 'file'}")
