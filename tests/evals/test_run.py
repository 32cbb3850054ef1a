"""`python -m evals.run` as a whole: a small benchmark, the real system, a model behind HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from PIL import Image
from typing_extensions import override

from benchmarks.speed.fake_lmm import FakeLmm, reply
from evals import report
from evals import run as evals_run
from evals.clean.gap import gap_table
from evals.runs.records import RecordStatus, read_info, read_records
from evals.runs.transcripts import read_transcripts
from geo.point import Point
from geo.sphere import point_distance_km
from retrieval.atlas.build import build_photo_atlas
from retrieval.atlas.sources import PhotoItem
from retrieval.encoders.registry import load_encoder
from tests.evals.clean.test_protocol import copies, jpeg, scene
from tests.fakes.people.colleague import colleague, requests

PLACES = {"lisbon-tower.jpg": (38.6916, -9.2160), "b.jpg": (48.8584, 2.2945), "c.jpg": (35.6595, 139.7005)}
SECRETS = ("lisbon", "Secretcam", "a comment about Belém", "38.69", "38.6916")
UNAUTHORIZED = (
    b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 35\r\n\r\n"
    b'{"error": {"message": "wrong key"}}'
)
pytest.importorskip("langchain_openai")


class KeepingLmm(FakeLmm):
    """A model that keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.bodies: list[bytes] = []
        self.accepts_key = True

    @override
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Questions about photos are refused where the key is not accepted."""
        if self.accepts_key:
            return await super().serve(reader, writer)
        while body := await self._request(reader):
            writer.write(UNAUTHORIZED if b"photo-" in body else reply(body))
            await writer.drain()
        return None

    @property
    def about_photos(self) -> int:
        """Requests with a photo of ours; others try out what the server can do."""
        return sum(b"photo-" in body for body in self.bodies)

    @override
    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        body = await super()._request(reader)
        self.bodies.append(body)
        return body


@pytest.fixture
def lmm() -> Iterator[tuple[str, KeepingLmm]]:
    """A model's address, and the model."""
    model, port, stops = KeepingLmm(), Future[int](), Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    async def serve() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(model.serve, "127.0.0.1", 0, limit=1 << 26)
        port.set_result(server.sockets[0].getsockname()[1])
        stops.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    yield f"openai_compatible:fake@http://127.0.0.1:{port.result(30.0)}/v1", model
    loop, stop = stops.result()
    loop.call_soon_threadsafe(stop.set)
    thread.join()


def telling_jpeg(seed: int) -> bytes:
    """A photo whose file says everything about itself."""
    exif = Image.Exif()
    exif[0x010F] = "Secretcam"
    exif.get_ifd(0x8825).update({1: "N", 2: (38.0, 41.0, 29.76), 3: "W", 4: (9.0, 12.0, 57.6)})
    stream = io.BytesIO()
    Image.fromarray(scene(seed)).save(stream, "JPEG", exif=exif, comment="a comment about Belém")
    return stream.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an atlas of four photos: a copy of a query, one by a query's photographer, and two strangers'."""
    folder = tmp_path_factory.mktemp("home")
    made = {
        "copy.jpg": (copies(scene(0))["recompressed"], "zoe", (38.6875, -9.2155)),
        "same-photographer.jpg": (scene(40), "bob", (48.8, 2.3)),
        "stranger1.jpg": (scene(41), "zoe", (-33.9, 18.4)),
        "stranger2.jpg": (scene(42), "zoe", (40.7, -74.0)),
    }
    items = []
    for name, (rgb, author, (lat, lon)) in made.items():
        (folder / name).write_bytes(jpeg(rgb))
        items.append(PhotoItem(name, folder / name, Point(lat=lat, lon=lon), author))
    build_photo_atlas(folder / "atlases" / "small", load_encoder("compact", 1), items)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of three photos."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    rows = ["IMG_ID,AUTHOR,LAT,LON,S3_Label"]
    for seed, ((name, (lat, lon)), author) in enumerate(zip(PLACES.items(), ("ann", "bob", "cem"), strict=True)):
        (folder / "images" / name).write_bytes(telling_jpeg(seed))
        rows.append(f"{name},{author},{lat},{lon},{seed}")
    (folder / "truth.csv").write_text("\n".join(rows))
    return folder


def run(data: Path, home: Path, out: Path, *more: str) -> int:
    common = ["folder", "--data", str(data), "--home", str(home), "--atlas", "small", "--out", str(out)]
    return evals_run.main([*common, "--threads", "1", "--no-signs", *more])


def test_a_run_from_photos_to_table(
    data: Path, home: Path, tmp_path: Path, lmm: tuple[str, KeepingLmm], capsys: pytest.CaptureFixture[str]
) -> None:
    address, model = lmm
    out = tmp_path / "run"
    options = ("--model", address, "--strategy", "retrieval,zero_shot,rag", "--cache", str(tmp_path / "cache"))
    assert run(data, home, out, *options) == 0
    records = read_records(out)
    order = [(photo, strategy) for photo in PLACES for strategy in ("retrieval", "zero_shot", "rag")]
    assert [record.key for record in records] == order
    for record in records:
        assert record.status is RecordStatus.ANSWERED
        assert record.point is not None
        truth, point = (Point(lat=lat, lon=lon) for lat, lon in (record.truth, record.point))
        assert record.distance_km == pytest.approx(point_distance_km(truth, point))
        assert record.truth_place is not None
        assert bool(record.candidates) == (record.strategy != "zero_shot"), "who skips retrieval pays nothing for it"
        assert len(record.raw_replies) == (record.strategy != "retrieval")
    assert records[0].strata["scene"] == "indoor"
    info = read_info(out)
    assert (info.photos, info.expected, info.partial) == (3, 3, None)
    assert "| 25 km |" in capsys.readouterr().out
    assert len((out / "audit.jsonl").read_text().splitlines()) == 9

    sent = b"\n".join(model.bodies).decode()
    assert "data:image/jpeg;base64" in sent
    assert not [secret for secret in SECRETS if secret in sent], "a model sees pixels and nothing else"

    asked = model.about_photos
    assert run(data, home, tmp_path / "again", *options) == 0
    assert asked == 6
    assert model.about_photos == asked, "replies came from the cache"
    again = read_records(tmp_path / "again")
    assert [one.untimed().line() for one in again] == [one.untimed().line() for one in records]


def test_a_run_stops_for_money_and_goes_on_with_more(
    data: Path, home: Path, tmp_path: Path, lmm: tuple[str, KeepingLmm], capsys: pytest.CaptureFixture[str]
) -> None:
    address, model = lmm
    (tmp_path / "prices.json").write_text(json.dumps({"openai_compatible:fake": {"input": 1000.0, "output": 0.0}}))
    options = ["--model", address, "--strategy", "zero_shot", "--prices", str(tmp_path / "prices.json")]
    options += ["--cache", str(tmp_path / "cache"), "--concurrency", "1"]
    assert run(data, home, tmp_path / "run", *options, "--max-usd", "3.6") == 1
    said = capsys.readouterr().err
    assert "the money limit" in said
    assert "US$ 2.5000 a photo" in said, "assumed: 2,500 tokens in"
    spent = read_info(tmp_path / "run").spent_usd
    assert 0.0 < spent <= 3.6
    assert 0 < len(read_records(tmp_path / "run")) < 3
    assert run(data, home, tmp_path / "run", *options, "--max-usd", "100") == 0
    assert model.about_photos == 3, "nothing was asked twice"
    assert read_info(tmp_path / "run").spent_usd == pytest.approx(3.0)


def test_a_table_with_exchanged_headers_is_run_when_asked_for(
    data: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exchanged = tmp_path / "exchanged"
    shutil.copytree(data, exchanged)
    table = (data / "truth.csv").read_text()
    (exchanged / "truth.csv").write_text(table.replace("LAT,LON", "LON,LAT"))
    assert run(exchanged, home, tmp_path / "run", "--strategy", "retrieval") == 2
    assert "evals.run: error: LAT and LON look swapped" in capsys.readouterr().err
    assert run(exchanged, home, tmp_path / "run", "--strategy", "retrieval", "--swap-lat-lon") == 0
    assert [record.truth for record in read_records(tmp_path / "run")] == list(PLACES.values())
    assert read_info(tmp_path / "run").arguments["swap_lat_lon"] is True
    page = tmp_path / "report.html"
    assert report.main([str(tmp_path / "run"), "--data", str(exchanged), "--out", str(page)]) == 0
    assert page.read_text().count("data:image/jpeg") == len(PLACES)


def test_the_clean_protocol_hides_what_gives_the_answer_away(data: Path, home: Path, tmp_path: Path) -> None:
    for protocol in ("published", "clean"):
        assert run(data, home, tmp_path / protocol, "--strategy", "retrieval", "--protocol", protocol) == 0
    seen = {
        protocol: [{c.item_id for c in record.candidates} for record in read_records(tmp_path / protocol)]
        for protocol in ("published", "clean")
    }
    everything = {"copy.jpg", "same-photographer.jpg", "stranger1.jpg", "stranger2.jpg"}
    assert seen["published"] == [everything] * 3
    assert seen["clean"] == [everything - {"copy.jpg"}, everything - {"same-photographer.jpg"}, everything]
    assert [record.excluded for record in read_records(tmp_path / "clean")] == [1, 1, 0]
    assert "photographer" in read_info(tmp_path / "clean").excluded_reference
    table = gap_table(tmp_path / "published", tmp_path / "clean")
    assert [row[1] for row in table.rows] == ["published", "clean", "gap"]
    assert table.rows[0][2:4] == ["33.3", "66.7"]
    assert table.rows[1][3] == "0.0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--strategy", "guesswork"), "unknown strategy"),
        (("--model", "nobody"), "unknown model"),
        (("--atlas", "nowhere"), "nowhere"),
        (("--strategy", ","), "names no strategy"),
        (("--data", "/nowhere"), "no folder /nowhere"),
    ],
)
def test_what_the_user_can_mend_is_told_in_one_line_before_a_photo_is_spent(
    data: Path, home: Path, tmp_path: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, home, tmp_path / "run", *options) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run" / "records.jsonl").exists()


def test_a_photo_that_is_none_is_an_error_and_stays_counted(data: Path, home: Path, tmp_path: Path) -> None:
    other = tmp_path / "data"
    (other / "images").mkdir(parents=True)
    (other / "truth.csv").write_text("IMG_ID,LAT,LON\ngood.jpg,1,2\nbad.jpg,3,4\n")
    (other / "images" / "good.jpg").write_bytes((data / "images" / "b.jpg").read_bytes())
    (other / "images" / "bad.jpg").write_bytes(b"not a photo")
    assert run(other, home, tmp_path / "run", "--strategy", "retrieval") == 0
    good, bad = read_records(tmp_path / "run")
    assert good.status is RecordStatus.ANSWERED
    assert bad.status is RecordStatus.ERROR
    assert bad.error is not None
    assert "PhotoError" in bad.error
    assert bad.photo_sha256 is not None


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's own strategies, each with a template of its own."""
    folder = tmp_path / "my_strategies"
    folder.mkdir()
    for name in ("signs", "roads"):
        fields = {"name": name, "summary": "", "steps": ["guess"], "commit_rule": "model"}
        (folder / f"{name}.json").write_text(json.dumps({**fields, "asks": [{"prompt": name}]}))
        (folder / f"{name}.md").write_text(f"Look at the {name} in photo $photo_id and call $tool_name.")
    monkeypatch.setenv("GEOSLEUTH_STRATEGIES_FOLDER", str(folder))
    return folder


def test_a_run_does_not_go_on_over_a_changed_prompt(
    data: Path, home: Path, tmp_path: Path, own: Path, lmm: tuple[str, KeepingLmm], capsys: pytest.CaptureFixture[str]
) -> None:
    address, model = lmm
    out = tmp_path / "run"
    options = ["--model", address, "--strategy", "signs,roads,retrieval", "--no-cache", "--concurrency", "1"]
    assert run(data, home, out, *options) == 0
    before = {record.key: record for record in read_records(out)}
    asked, info = model.about_photos, read_info(out)
    assert {record.asked for record in before.values() if record.strategy == "signs"} != {""}
    texts = [info.asked_texts[sha256] for sha256 in info.asked["signs"].values() if sha256 in info.asked_texts]
    assert "Look at the signs in photo $photo_id and call $tool_name." in texts

    (own / "signs.md").write_text("Name the script of the signs in photo $photo_id, then call $tool_name.")
    capsys.readouterr()
    assert run(data, home, out, *options) == 2
    said = capsys.readouterr().err
    assert "the prompt my_strategies/signs.md has changed since this run began" in said
    assert "`--fresh-strategy signs` asks that strategy again" in said
    assert model.about_photos == asked
    assert run(data, home, out, *options, "--fresh-strategy", "roads") == 2
    assert run(data, home, out, *options, "--fresh-strategy", "sings") == 2
    assert "this run's strategies are signs, roads, retrieval" in capsys.readouterr().err

    assert run(data, home, out, *options, "--fresh-strategy", "signs") == 0
    assert model.about_photos == asked + 3, "one strategy is asked again"
    after, again = {record.key: record for record in read_records(out)}, read_info(out)
    assert {key for key in before if before[key].line() != after[key].line()} == {(name, "signs") for name in PLACES}
    kept = out / again.replaced[0].file
    assert kept.read_bytes() == b"".join(r.line() for r in before.values() if r.strategy == "signs")
    assert again.replaced[0].asked == info.asked["signs"]
    # The same command goes on, and asks nothing that was asked already.
    assert run(data, home, out, *options, "--fresh-strategy", "signs") == 0
    assert run(data, home, out, *options) == 0
    assert model.about_photos == asked + 3


def test_an_option_of_the_model_is_part_of_what_was_asked(
    data: Path, home: Path, tmp_path: Path, lmm: tuple[str, KeepingLmm], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", lmm[0], "--strategy", "zero_shot,retrieval", "--no-cache"]
    assert run(data, home, tmp_path / "run", *options, "--temperature", "0.1") == 0
    assert run(data, home, tmp_path / "run", *options, "--temperature", "0.9") == 2
    said = capsys.readouterr().err
    assert "the model option temperature has changed since this run began" in said
    assert "`--fresh-strategy zero_shot` asks" in said, "a strategy without a model is not concerned"


@pytest.mark.usefixtures("own")
def test_a_dead_model_ends_the_run_and_its_photos_are_asked_again(
    data: Path, home: Path, tmp_path: Path, lmm: tuple[str, KeepingLmm], capsys: pytest.CaptureFixture[str]
) -> None:
    address, model = lmm
    options = ["--model", address, "--strategy", "signs,roads,zero_shot", "--no-cache", "--concurrency", "1"]
    assert run(data, home, tmp_path / "warm", *options) == 0
    asked, model.accepts_key = model.about_photos, False
    capsys.readouterr()
    assert run(data, home, tmp_path / "run", *options) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "stopped: the model cannot be reached; 5 of 9 records" in said
    assert "the key is not accepted" in said
    failed = read_records(tmp_path / "run")
    assert {record.status for record in failed} == {RecordStatus.FAILED}
    assert {record.is_model_unreachable for record in failed} == {True}
    model.accepts_key = True
    assert run(data, home, tmp_path / "run", *options) == 0
    assert {record.status for record in read_records(tmp_path / "run")} == {RecordStatus.ANSWERED}
    assert model.about_photos == asked + 5 + 9


def test_what_was_said_is_kept_without_pictures(
    data: Path, home: Path, tmp_path: Path, lmm: tuple[str, KeepingLmm]
) -> None:
    assert run(data, home, tmp_path, "--model", lmm[0], "--strategy", "chain_of_thought", "--no-cache") == 0
    kept = read_transcripts(tmp_path)
    assert kept.keys() == {(photo, "chain_of_thought") for photo in PLACES}
    first, second = kept["b.jpg", "chain_of_thought"].calls
    assert [message.role for message in first.sent] == ["system", "user"]
    assert first.sent[1].text.startswith("[picture]")
    assert (second.repeated, [message.role for message in second.sent]) == (3, ["user"])
    assert second.tokens == {"input": 1000, "output": 50, "cached": 0}
    assert second.reply is not None
    assert "base64" not in (tmp_path / "transcripts.jsonl").read_text()


def test_a_colleague_answers_a_run_through_a_mailbox(data: Path, home: Path, tmp_path: Path) -> None:
    box = tmp_path / "box"
    options = ("--model", f"mailbox:anna@{box}", "--strategy", "zero_shot,self_consistency", "--concurrency", "8")
    with colleague(box):
        assert run(data, home, tmp_path / "run", *options) == 0
    records = read_records(tmp_path / "run")
    assert {(record.status, record.model) for record in records} == {(RecordStatus.ANSWERED, f"mailbox:anna@{box}")}
    assert len(requests(box)) == len(PLACES) * (1 + 5)
    written = "".join(file.read_text() for one in requests(box) for file in one.glob("*.[mj]*"))
    assert not [secret for secret in SECRETS if secret in written]
    assert run(data, home, tmp_path / "again", *options) == 0, "nobody answers now"
    assert len(requests(box)) == len(PLACES) * (1 + 5)


def test_pasting_is_not_for_runs(data: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, home, tmp_path / "run", "--model", "paste", "--strategy", "zero_shot") == 2
    assert "use mailbox:FOLDER in evaluations" in capsys.readouterr().err
