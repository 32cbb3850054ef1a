"""Recorded models: a real model's answers about photos, read from a file and replayed at no cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from agents.chat_models.base import LocalModel, Tool
from agents.chat_models.failures import ModelFailure
from agents.chat_models.spec import ModelOptions, ModelSpec
from agents.messages import read_data
from agents.structured_output.arguments import mend
from agents.structured_output.position import parse_position
from agents.structured_output.thoughts import split_thoughts
from core.errors import UserError
from core.files import sha256_of_file
from retrieval.photos.photo import name_sha256, photo_id_of


class RecordedRow(BaseModel):
    """One recorded answer, to a photo given by its file name or its hash."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    photo: str | None = None
    photo_sha256: str | None = None
    response: str | None = None

    @field_validator("response")
    @classmethod
    def _without_reasoning(cls, text: str | None) -> str | None:
        return split_thoughts(text)[0] if text else text


def load_recorded(spec: ModelSpec, options: ModelOptions) -> RecordedModel:
    """The model of `recorded:FILE[@PHOTOS]`.

    Raises:
        UserError: the file or the folder cannot be read, a row cannot be used, or names need a folder to find hashes.
    """
    path = Path(spec.target)
    rows = read_rows(path)
    named = sorted({row.photo for row in rows if row.photo_sha256 is None and row.photo})
    if not options.has_photos:
        hashes = {name: name_sha256(name) for name in named}
    elif spec.url or not named:
        hashes = _hashes(path, named, Path(spec.url)) if spec.url else {}
    else:
        raise UserError(f"{path} names photos by file name: say where they are, recorded:{path}@PHOTOS_FOLDER")
    said = {row.photo_sha256 or hashes.get(row.photo or "", ""): row.response or "" for row in rows}
    said.pop("", None)
    return RecordedModel(label=spec.text, said={photo_id_of(sha256): text for sha256, text in said.items()})


def read_rows(path: Path) -> list[RecordedRow]:
    """Rows of a JSONL file of answers.

    Raises:
        UserError: the file cannot be read or a row cannot be used; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # JSON may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the recorded answers {path} cannot be read ({error}): give a JSONL file") from error
    return [_row(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _row(path: Path, number: int, line: str) -> RecordedRow:
    shape = '{"photo": NAME, "response": TEXT} or {"photo_sha256": HEX, "response": TEXT}'
    try:
        row = RecordedRow.model_validate_json(line)
    except ValidationError as error:
        raise UserError(f"{path}, line {number}, is not {shape}") from error
    if not row.photo and not row.photo_sha256:
        raise UserError(f"{path}, line {number}, names no photo: write {shape}")
    return row


def _hashes(path: Path, names: Sequence[str], folder: Path) -> dict[str, str]:
    """SHA-256 of the named files that are in the folder; those that are not there have no answer."""
    if not folder.is_dir():
        raise UserError(f"the photos of {path}: {folder} is no folder")
    files = {name: folder / name for name in names if Path(name).name == name and (folder / name).is_file()}
    if names and not files:
        raise UserError(f"the photos of {path}: none of its {len(names)} names is in {folder}")
    return {name: sha256_of_file(file) for name, file in files.items()}


class RecordedModel(LocalModel):
    """Replies to questions for a position or hypotheses with the recorded text, and to all others with nothing.

    Attributes:
        label: the spec.
        said: replies by photo id.
    """

    label: str
    said: Mapping[str, str]

    @property
    def _llm_type(self) -> str:
        return "recorded"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.label}

    def reply(self, messages: Sequence[BaseMessage], tools: Sequence[Tool]) -> AIMessage:
        """The recorded text, with a call of the tool that takes a position or hypotheses.

        Raises:
            ModelFailure: no reply was recorded for the photo.
        """
        photo_id = _photo_id(messages)
        text = self.said.get(photo_id)
        if text is None:
            raise ModelFailure(f"no answer about {photo_id or 'a photo'} was recorded", is_retryable=False)
        functions = [tool["function"] for tool in tools]
        wanted = next((function for function in functions if _takes_places(function["parameters"])), None)
        if wanted is None:
            return _silence(functions, photo_id) if functions else AIMessage(text)
        arguments = place_arguments(text, wanted["parameters"])
        call = ToolCall(name=wanted["name"], args=arguments or {}, id=f"recorded-{photo_id}")
        return AIMessage(text, tool_calls=[call] if arguments else [])


def _photo_id(messages: Sequence[BaseMessage]) -> str:
    """The id of the photo mentioned last."""
    ids = [read_data(message).get("photo_id") for message in messages if isinstance(message, HumanMessage)]
    return next((str(photo_id) for photo_id in reversed(ids) if photo_id), "")


def _takes_places(parameters: Mapping[str, Any]) -> bool:
    """Whether a tool states where the photo was taken; tools that look a position up take no reason."""
    fields = parameters.get("properties", {})
    return "hypotheses" in fields or {"lat", "lon", "why"} <= fields.keys()


def _silence(functions: Sequence[Mapping[str, Any]], photo_id: str) -> AIMessage:
    """An empty call of the one tool asked for, if it may be empty; no call where there is a choice."""
    if len(functions) != 1 or functions[0]["parameters"].get("required"):
        return AIMessage("")
    name = functions[0]["name"]
    return AIMessage("", tool_calls=[ToolCall(name=name, args={}, id=f"recorded-{name}-{photo_id}")])


def place_arguments(text: str, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments of a tool that takes hypotheses (all places) or a position (the most confident one).

    None if the text gives neither position nor name.
    """
    reply = parse_position(text)
    if not reply.place:
        return None
    wants_all = "hypotheses" in parameters["properties"]
    arguments = {"hypotheses": [*map(dict, reply.places)]} if wants_all else dict(reply.place)
    mended: dict[str, Any] = mend(arguments, parameters)
    return mended
