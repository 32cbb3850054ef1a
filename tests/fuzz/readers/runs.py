"""Folders of evaluation runs: records, what a run was, transcripts, cached replies, half downloads."""

from __future__ import annotations

import tempfile
from pathlib import Path

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

from core.download import _Partial
from evals.runs.folder import RunFolder
from evals.runs.records import read_info, read_records, read_scores
from evals.runs.reply_cache import ReplyCache, calls_about_one_photo
from evals.runs.transcripts import Transcript, TranscriptCall, TranscriptMessage, read_transcripts
from tests.fakes.eval_runs import made_record, queries, run_info
from tests.fuzz.cases import Files, Target

_PHOTOS = 3


def _run() -> Files:
    said = TranscriptMessage(role="user", text="where?")
    call = TranscriptCall(model="m", repeated=0, sent=(said,), reply=said)
    transcript = Transcript(photo="0000.jpg", strategy="quick", asked="", calls=(call,))
    return {
        "records.jsonl": b"".join(made_record(query).line() for query in queries(_PHOTOS)),
        "run.json": run_info(_PHOTOS).model_dump_json(indent=2).encode() + b"\n",
        "transcripts.jsonl": transcript.model_dump_json().encode() + b"\n",
    }


def _score(folder: Path) -> object:
    read_transcripts(folder)
    return read_info(folder), read_scores(folder), read_records(folder)


def _go_on(folder: Path) -> object:
    with RunFolder(folder, run_info(_PHOTOS)) as opened:
        opened.forget(lambda score: score.model_failed)
        return list(opened.scores)


def _cache() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "replies.sqlite"
        cache = ReplyCache(file, lambda _: 0.1)
        with calls_about_one_photo():
            assert cache.lookup("where?", "model") is None
            cache.update("where?", "model", [ChatGeneration(message=AIMessage("here"))])
        cache.close()
        return {"replies.sqlite": file.read_bytes()}


def _look_up(folder: Path) -> object:
    cache = ReplyCache(folder / "replies.sqlite", lambda _: 0.1)
    try:
        with calls_about_one_photo():
            found = cache.lookup("where?", "model")
        cache.update("else?", "model", [ChatGeneration(message=AIMessage("there"))])
        return cache.spent_usd(), found
    finally:
        cache.close()


def _note(folder: Path) -> object:
    version = _Partial(folder / "x.part", folder / "x.part.json").version("https://example.org/x")
    assert version is None or isinstance(version, str)
    return version


TARGETS = (
    Target("run-scores", _run, _score),
    Target("run-resumed", _run, _go_on, changed=("records.jsonl", "run.json")),
    Target("reply-cache", _cache, _look_up, is_text=False),
    Target("download-note", lambda: {"x.part.json": b'{"url": "https://example.org/x", "version": "v1"}'}, _note),
)
