"""The size of the pictures that models are shown: by provider, or as the user says."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import BaseMessage
from PIL import Image

from agents.chat_models.registry import LoadedModel
from agents.chat_models.spec import find_model
from agents.messages import is_picture
from core.errors import UserError
from graphs.geolocate import build_geolocate
from graphs.settings import make_settings
from retrieval.photos.photo import load_photo
from tests.fakes.machine import ScriptedModel, context, given, propose, scripted


def loaded(spec: str) -> LoadedModel:
    chat = ScriptedModel(policy=lambda *_: ("", propose(("Madrid", 40.42, -3.7))))
    return LoadedModel(name=spec, chat=chat, kind=find_model(spec))


def blocks(model: LoadedModel) -> list[dict[str, Any]]:
    assert isinstance(model.chat, ScriptedModel)
    contents = [message.content for message in model.chat.seen[0] if isinstance(message.content, list)]
    return [block for block in contents[0] if isinstance(block, dict) and block["type"] != "text"]


def size_px(block: dict[str, Any]) -> tuple[int, int]:
    encoded = block["base64"] if block["type"] == "image" else block["image_url"]["url"].partition(",")[2]
    return Image.open(io.BytesIO(base64.b64decode(encoded))).size


def shown_to(folder: Path, models: Sequence[LoadedModel], width_px: int = 4000, **changed: Any) -> None:
    """Run a jury over a photo of a file."""
    file = folder / "photo.jpg"
    Image.fromarray(np.full((width_px * 3 // 4, width_px, 3), 90, np.uint8)).save(file)
    photo = load_photo(file)
    at = replace(context(strategy="jury"), models=tuple(models), **changed)
    at.photo_store.add(photo)
    build_geolocate(at).invoke(given(photo_id=photo.id, photo_sha256=photo.sha256))  # type: ignore[call-overload]


def test_each_model_of_a_jury_gets_the_size_that_its_provider_makes_use_of(tmp_path: Path) -> None:
    specs = ("openai:a", "anthropic:b", "google_genai:c", "ollama:d")
    models = [loaded(spec) for spec in specs]
    shown_to(tmp_path, models)
    assert [size_px(*blocks(model))[0] for model in models] == [2048, 1568, 1536, 1024]


def test_the_users_size_holds_for_all_of_them(tmp_path: Path) -> None:
    models = [loaded("openai:a"), loaded("ollama:d")]
    shown_to(tmp_path, models, picture_px=700)
    assert [size_px(*blocks(model)) for model in models] == [(700, 525)] * 2


def test_a_small_photo_is_not_enlarged(tmp_path: Path) -> None:
    model = loaded("openai:a")
    shown_to(tmp_path, [model], width_px=640)
    assert size_px(*blocks(model)) == (640, 480)


def test_only_openai_is_told_a_detail(tmp_path: Path) -> None:
    models = [loaded("openai:a"), loaded("vllm:b@http://127.0.0.1:1/v1")]
    shown_to(tmp_path, models)
    [openai], [vllm] = (blocks(model) for model in models)
    assert openai["image_url"]["detail"] == "high"
    assert vllm.keys() == {"type", "base64", "mime_type"}


def test_the_detail_reaches_openais_request_in_both_of_its_protocols(tmp_path: Path) -> None:
    openai = pytest.importorskip("langchain_openai")
    model = loaded("openai:a")
    shown_to(tmp_path, [model], width_px=640)
    assert isinstance(model.chat, ScriptedModel)
    chats = [openai.ChatOpenAI(model="gpt-4o", api_key="x", use_responses_api=yes) for yes in (False, True)]
    payloads = [str(chat._get_request_payload(model.chat.seen[0])) for chat in chats]
    assert all("'detail': 'high'" in payload for payload in payloads)


def test_a_size_that_no_model_can_use_is_refused() -> None:
    with pytest.raises(UserError, match="model_picture_px"):
        make_settings(model_picture_px=10)


def begins_with(whole: BaseMessage, kept: BaseMessage) -> bool:
    """Whether a message is another one with text added at its end."""
    pictures, same = ([block for block in one.content if is_picture(block)] for one in (whole, kept))
    return pictures == same and whole.text.startswith(kept.text)


def test_each_request_begins_with_the_one_before_so_that_a_server_need_read_that_once(tmp_path: Path) -> None:
    """A server's prefix cache serves all but the end of a request's last message, which is sent once."""
    chat = scripted([("find_place", {"name": "Madrid"})])
    spec = "vllm:b@http://127.0.0.1:1/v1"
    model = LoadedModel(name=spec, chat=chat, kind=find_model(spec))
    file = tmp_path / "photo.jpg"
    Image.fromarray(np.full((300, 400, 3), 90, np.uint8)).save(file)
    photo = load_photo(file)
    at = replace(context(strategy="refine"), models=(model,))
    at.photo_store.add(photo)
    build_geolocate(at).invoke(given(photo_id=photo.id, photo_sha256=photo.sha256))  # type: ignore[call-overload]
    assert len(chat.seen) == 3, "a prediction, an investigation and a revision"
    assert any(message.type == "tool" for message in chat.seen[-1])
    for earlier, later in pairwise(chat.seen):
        assert len(later) > len(earlier)
        assert [one.content for one in later[: len(earlier) - 1]] == [one.content for one in earlier[:-1]]
        assert begins_with(earlier[-1], later[len(earlier) - 1])
