"""A recorded model: what a real one once answered about each photo, replayed through the machine at no cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, ValidationError

from agents.chat_models.failures import ModelFailure
from agents.chat_models.spec import ModelSpec
from agents.messages import read_data
from agents.structured_output.arguments import mend
from agents.structured_output.position import ReplyStatus, parse_position
from core.errors import UserError
from retrieval.photos.photo import photo_id_of


class RecordedRow(BaseModel):
    """One answer: about a photo of a name or a hash."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    photo: str | None = None
    photo_sha256: str | None = None
    response: str | None = None


def load_recorded(spec: ModelSpec) -> RecordedModel:
    """The model of `recorded:FILE[@PHOTOS]`.

    Raises:
        UserError: the file or the folder cannot be read, a row cannot be used, or names need a folder to find hashes.
    """
    path = Path(spec.target)
    rows = read_rows(path)
    named = sorted({row.photo for row in rows if row.photo_sha256 is None and row.photo})
    hashes = _hashes(path, named, Path(spec.url)) if spec.url else {}
    if named and not spec.url:
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
        lines = path.read_text(encoding="utf-8").splitlines()
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
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


class RecordedModel(BaseChatModel):
    """Answers questions for a position or hypotheses with what was recorded, and says nothing more.

    Attributes:
        label: the spec.
        said: replies by photo id.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    label: str
    said: Mapping[str, str]

    @property
    def _llm_type(self) -> str:
        return "recorded"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.label}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools; only one that takes a position or hypotheses is ever called."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - the base class's signature
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._answer(messages, kwargs.get("tools", []))
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _answer(self, messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]) -> AIMessage:
        photo_id = _photo_id(messages)
        text = self.said.get(photo_id)
        if text is None:
            raise ModelFailure(f"no answer about {photo_id or 'a photo'} was recorded", is_retryable=False)
        functions = [tool["function"] for tool in tools]
        wanted = next((function for function in functions if _takes_places(function["parameters"])), None)
        if functions and wanted is None:
            return _silence(functions, photo_id)
        arguments = place_arguments(text, wanted["parameters"]) if wanted else None
        calls = (
            [ToolCall(name=wanted["name"], args=arguments, id=f"recorded-{photo_id}")] if wanted and arguments else []
        )
        return AIMessage(text, tool_calls=calls)


def _photo_id(messages: Sequence[BaseMessage]) -> str:
    """Of the photo spoken of last."""
    ids = [read_data(message).get("photo_id") for message in messages if isinstance(message, HumanMessage)]
    return next((str(photo_id) for photo_id in reversed(ids) if photo_id), "")


def _takes_places(parameters: Mapping[str, Any]) -> bool:
    """Whether a tool is for saying where the photo was taken; tools that look a position up ask for no reason."""
    fields = parameters.get("properties", {})
    return "hypotheses" in fields or {"lat", "lon", "why"} <= fields.keys()


def _silence(functions: Sequence[Mapping[str, Any]], photo_id: str) -> AIMessage:
    """An empty call of the one tool asked for, if it may be empty; no call where there is a choice."""
    if len(functions) != 1 or functions[0]["parameters"].get("required"):
        return AIMessage("")
    name = functions[0]["name"]
    return AIMessage("", tool_calls=[ToolCall(name=name, args={}, id=f"recorded-{name}-{photo_id}")])


def place_arguments(text: str, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments of a tool that takes a position or hypotheses; None where the text gives neither position nor name."""
    read = parse_position(text)
    if read.status is ReplyStatus.REFUSED:
        return None
    known: dict[str, Any] = {"name": read.named}
    if read.position:
        said = read.position
        known |= {"lat": said.lat, "lon": said.lon, "confidence": said.confidence, "why": said.reason}
    place = {key: value for key, value in known.items() if value is not None}
    if not place:
        return None
    fields = parameters["properties"]
    arguments = {"hypotheses": [place]} if "hypotheses" in fields else place
    mended: dict[str, Any] = mend(arguments, parameters)
    return mended
