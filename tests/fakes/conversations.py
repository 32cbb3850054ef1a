"""A conversation in the small world of the state machine's tests."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from PIL import Image

from agents.messages import read_data
from agents.schemas import Answer, Level
from graphs.chat.events import ChatEvent, PersonAsked, TurnEnded
from graphs.chat.graph import build_chat
from graphs.chat.nodes import ChatParts
from graphs.chat.photo_archive import PhotoArchive
from graphs.chat.session import Conversation
from graphs.chat.transcript import ChatTranscript
from graphs.checkpoints import open_checkpoints
from graphs.context import GeolocateContext
from graphs.geolocate import build_geolocate
from retrieval.photos.photo import Photo
from tests.fakes.machine import ScriptedModel, context, photo

ROOT = Path(__file__).parents[2]


Calls = list[tuple[str, dict[str, Any]]]
Reaction = Callable[[dict[str, Any], set[str]], tuple[str, Calls]]
MADRID = {"name": "Madrid, Spain", "lat": 40.42, "lon": -3.7, "radius_km": 20.0}


def answering(react: Reaction, kind: type[ScriptedModel] = ScriptedModel) -> ScriptedModel:
    """A model that locates plainly and meets follow-ups by a function of their data."""

    def policy(messages: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        data = {
            key: value for message in messages if message.type == "human" for key, value in read_data(message).items()
        }
        if "person_asks" in data:
            return react(data, offered)
        if "ProposeHypotheses" in offered:
            return "", [("ProposeHypotheses", {"hypotheses": [MADRID]})]
        return "", [("ReviseHypotheses", {"settled": True})] if offered == {"ReviseHypotheses"} else []

    return kind(policy=policy)


def talk(
    at: GeolocateContext | None = None,
    *,
    ask: bool = False,
    saver: BaseCheckpointSaver[str] | None = None,
    photos: PhotoArchive | None = None,
    audit: list[tuple[Answer | None, str]] | None = None,
    coarsened: Any = None,
) -> Conversation:
    """A conversation over fakes; `coarsened` makes answers as coarse as countries."""
    work = at or context(("Lisbon",))
    kept = photos or PhotoArchive(work.photo_store)
    checkpointer = saver or open_checkpoints(None)
    lines = [] if audit is None else audit
    limit = Level.COUNTRY if coarsened else None
    parts = ChatParts(
        context=work,
        geolocate=build_geolocate(work, ask=ask),
        photos=kept,
        coarsen=coarsened or (lambda answer: answer),
        max_precision=limit,
        summary=lambda answer: answer.reasoning,
        audit=lambda answer, asked: lines.append((answer, asked)),
        transcript=ChatTranscript(checkpointer, "t"),
    )
    graph = build_chat(parts, checkpointer)
    return Conversation(
        graph=graph,
        checkpointer=checkpointer,
        photos=kept,
        thread_id="t",
        coarsen=coarsened or (lambda answer: answer),
        max_precision=limit,
    )


def ended(events: Iterable[ChatEvent]) -> TurnEnded:
    """What a turn was answered with."""
    last = list(events)[-1]
    assert isinstance(last, TurnEnded), last
    return last


def asked(events: Iterable[ChatEvent]) -> PersonAsked:
    """What the machine asked in a turn."""
    last = list(events)[-1]
    assert isinstance(last, PersonAsked), last
    return last


def shot(shade: int = 120) -> Photo:
    """A photo with a hash of its own, and with metadata that must not get out."""
    plain = photo(shade)
    return replace(plain, sha256=hashlib.sha256(plain.rgb.tobytes()).hexdigest())


def jpeg_base64(shade: int = 120, size: tuple[int, int] = (64, 48)) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def in_a_process(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, in the source tree."""
    command: Sequence[str] = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
