"""A request to a model as a folder that anybody can answer: the conversation as text, its pictures, the reply's schema.

    FOLDER/0003-5d41402abc4b/prompt.md      the whole conversation, and what is wanted
                             photo.png      the pictures, without metadata; picture-2.png, ...
                             schema.json    JSON schema of the reply, unless it is free text
                             request.json   the same as data: messages, options, which request it continues
                             reply.json     written by whoever answers; or reply.md, reply.txt for plain text

Folders and files are their owner's only. A request is found again by what is asked, so a run that is started again
asks nothing twice. Replies are untrusted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import filelock
from langchain_core.messages import BaseMessage
from PIL import Image, UnidentifiedImageError

from agents.chat_models.failures import ModelFailure
from agents.messages import PASSED_PICTURE, is_picture
from core.files import OWNER_ONLY, make_private_folder, write_atomic
from core.json_text import parse_json

REPLY_FILES = ("reply.json", "reply.md", "reply.txt")
MAX_REPLY_BYTES = 1_000_000
SETTLED_S = 2.0
"""A reply that is no JSON may be half-written: it is taken once it has stayed unchanged for so long."""

_NUMBER = re.compile(r"(\d{4,})-[0-9a-f]{12}")
_PICTURE = re.compile(r"\s*\[picture: [^\]\n]*\]\s*")
_ROLES = {"system": "system", "human": "user", "ai": "assistant"}
_HEADINGS = {"system": "Instructions", "user": "User", "assistant": "You, earlier"}
_LOCK = threading.Lock()


class TextMessage(NamedTuple):
    """A message as text, in which `[picture: NAME]` stands where a picture belongs.

    Attributes:
        role: system, user or assistant.
        text: printable characters and line feeds.
    """

    role: str
    text: str


class WrittenRequest(NamedTuple):
    """What a model is asked, as text and pictures.

    Attributes:
        messages: the whole conversation.
        pictures: by file name, in the base64 form of the messages.
        schema: of the reply; None: plain text.
        options: what else replies depend on: whom the request is for, temperature, which sample of several it is.
    """

    messages: tuple[TextMessage, ...]
    pictures: Mapping[str, str]
    schema: Mapping[str, Any] | None
    options: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Twelve hex digits of the hash of everything."""
        return _digest([self.messages, [*self.pictures.items()], self.schema, self.options])[:12]


def written_request(
    messages: Sequence[BaseMessage], schema: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> WrittenRequest:
    """The request of a conversation without tool messages.

    Raises:
        ModelFailure: a picture that is not in the message itself.
    """
    pictures: dict[str, str] = {}
    texts = tuple(TextMessage(_ROLES[message.type], _text(message, pictures)) for message in messages)
    return WrittenRequest(texts, pictures, schema, options)


def _text(message: BaseMessage, pictures: dict[str, str]) -> str:
    blocks = message.content if isinstance(message.content, list) else [message.content]
    parts = [_picture(block, pictures) if is_picture(block) else _block_text(block) for block in blocks]
    return "\n\n".join(part for part in parts if part)


def _block_text(block: str | Mapping[str, Any]) -> str:
    """Text without characters that a terminal would obey."""
    text = block if isinstance(block, str) else str(block.get("text", ""))
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text).strip()


def _picture(block: Any, pictures: dict[str, str]) -> str:
    """The words in place of a picture, which is named; the same picture has one name."""
    link = block.get("image_url")
    url = link.get("url", "") if isinstance(link, dict) else str(link or "")
    data = block.get("base64") or (url.partition(",")[2] if url.startswith("data:") else "")
    if not data:
        raise ModelFailure("a picture of the conversation is not in its message", is_retryable=False)
    known = next((name for name, picture in pictures.items() if picture == data), None)
    name = known or (f"picture-{len(pictures) + 1}.png" if pictures else "photo.png")
    pictures[name] = data
    return f"[picture: {name}]"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def prompt_text(request: WrittenRequest, how_to_reply: str, continues: str = "", known: int = 0) -> str:
    """The request as text that needs no other: what is wanted, then the conversation.

    Args:
        request: the messages.
        how_to_reply: where the reply goes, and in what form.
        continues: id of the earlier request that this one continues; empty: none.
        known: how many of the messages were in that one.
    """
    lines = [
        "Below is a whole conversation; you write its next message. Nothing else needs to be known, and nothing may be"
        " looked up about the picture's file.",
        *([f"Its pictures are the files {', '.join(request.pictures)}."] if request.pictures else []),
        how_to_reply,
        *([f"It continues request {continues}: what is new begins at the line NEW."] if continues else []),
    ]
    for number, message in enumerate(request.messages):
        new = [f"======== NEW since request {continues} ========"] if continues and number == known else []
        lines += [*new, f"-------- {_HEADINGS[message.role]} --------", message.text]
    return "\n\n".join(lines) + "\n"


class RequestFolder:
    """The folder that requests are written to. Safe between threads and processes.

    Args:
        folder: made if it is not there.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():  # one that is there may be shared on purpose
            make_private_folder(folder)
        self._folder = folder
        self._by_start: dict[str, list[str]] = {}
        self._indexed: set[str] = set()

    def place(self, request: WrittenRequest, how_to_reply: str) -> Path:
        """The request's folder, which is written beside and renamed if it is not there.

        Raises:
            ModelFailure: it cannot be written.
        """
        try:
            with _LOCK, filelock.FileLock(self._folder / ".lock", timeout=60.0):
                found = next(self._folder.glob(f"*-{request.key}"), None)
                return found or self._write(request, how_to_reply)
        except (OSError, filelock.Timeout) as error:
            problem = f"the request cannot be written to {self._folder} ({error})"
            raise ModelFailure(problem, is_retryable=False) from error

    def _write(self, request: WrittenRequest, how_to_reply: str) -> Path:
        names = self._index()
        number = 1 + max((int(match[1]) for name in names if (match := _NUMBER.fullmatch(name))), default=0)
        name = f"{number:04d}-{request.key}"
        part = self._folder / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        make_private_folder(part)
        continues, known = self._earlier(request)
        described = {
            "id": name,
            **request.options,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "continues": continues or None,
            "pictures": [*request.pictures],
            "messages": [message._asdict() for message in request.messages],
        }
        for picture, data in request.pictures.items():
            write_atomic(part / picture, _as_png(data), OWNER_ONLY, sync=False)
        if request.schema is not None:
            _write_json(part / "schema.json", request.schema)
        _write_json(part / "request.json", described)
        text = prompt_text(request, how_to_reply, continues, known)
        write_atomic(part / "prompt.md", text, OWNER_ONLY, sync=False)
        return part.rename(self._folder / name)

    def _index(self) -> list[str]:
        """Names of all requests; new ones are indexed by all that comes before their last message."""
        names = sorted(path.name for path in self._folder.iterdir() if _NUMBER.fullmatch(path.name))
        for name in names:
            if name not in self._indexed:
                self._indexed.add(name)
                described = self._read(name)
                start = _start(_messages_of(described), described.get("sample"))
                self._by_start.setdefault(start, []).append(name)
        return names

    def _read(self, name: str) -> dict[str, Any]:
        try:
            described = parse_json((self._folder / name / "request.json").read_bytes())
        except (OSError, ValueError):  # emptied by hand: nothing continues it
            return {}
        return described if isinstance(described, dict) else {}

    def _earlier(self, request: WrittenRequest) -> tuple[str, int]:
        """The latest request that this one continues, and how many messages they share; nothing and 0: none.

        The earlier one may say more in its last message: what tools there were to call.
        """
        for known in reversed([n for n, message in enumerate(request.messages) if message.role == "assistant"]):
            shared = request.messages[:known]
            for name in reversed(self._by_start.get(_start(shared, request.options.get("sample")), [])):
                described = self._read(name)
                same_options = all(described.get(key) == value for key, value in request.options.items())
                last = next((message.text for message in reversed(_messages_of(described))), "")
                if same_options and shared and _lasting(last).startswith(_lasting(shared[-1].text)):
                    return name, known
        return "", 0


def _messages_of(described: Mapping[str, Any]) -> list[TextMessage]:
    """The messages of a request that is there; none where somebody has made something else of them."""
    messages = described.get("messages")
    texts = [
        TextMessage(message["role"], message["text"])
        for message in (messages if isinstance(messages, list) else [])
        if isinstance(message, dict) and all(isinstance(message.get(key), str) for key in TextMessage._fields)
    ]
    return texts if isinstance(messages, list) and len(texts) == len(messages) else []


def _start(messages: Sequence[TextMessage], sample: Any) -> str:
    return _digest([[_lasting(message.text) for message in messages[:-1]], sample])


def _lasting(text: str) -> str:
    """The text as later requests repeat it: they may leave a picture out that was shown before."""
    return _PICTURE.sub("", text.replace(PASSED_PICTURE, "")).strip()


def _write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n", OWNER_ONLY, sync=False)


def _as_png(data: str) -> bytes:
    """The pixels alone: no metadata.

    Raises:
        ModelFailure: it is no picture.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            pixels = Image.new("RGB", image.size)
            pixels.paste(image.convert("RGB"))
    except (binascii.Error, UnidentifiedImageError, OSError, ValueError) as error:
        raise ModelFailure("a picture of the conversation cannot be read", is_retryable=False) from error
    buffer = io.BytesIO()
    pixels.save(buffer, format="PNG")
    return buffer.getvalue()


class ReplyFiles:
    """Reads the reply to a request, once it is there as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}

    def read(self) -> str | None:
        """The reply's text; None while there is none, or while it may be half-written.

        Raises:
            ModelFailure: a reply that is a link, no file, or too large.
        """
        if self._folder.is_symlink():
            raise ModelFailure(f"{self._folder} has become a link", is_retryable=False)
        for name in REPLY_FILES:
            found = read_reply_file(self._folder / name)
            text = found.text.strip() if found else ""
            if found and text and (_is_json(text) or self._is_settled(name, found)):
                return _unquoted(text)
        return None

    def _is_settled(self, name: str, found: ReplyFile) -> bool:
        now = time.monotonic()
        version = (found.modified_ns, len(found.text))
        before, since = self._seen.get(name, (None, now))
        self._seen[name] = (version, since if before == version else now)
        return max(now - self._seen[name][1], time.time() - found.modified_ns / 1e9) >= SETTLED_S


class ReplyFile(NamedTuple):
    """A file's text, and when it was last changed."""

    text: str
    modified_ns: int


def read_reply_file(path: Path) -> ReplyFile | None:
    """A file of a reply; None if there is none.

    Raises:
        ModelFailure: a link, no file, or too large.
    """
    if path.is_symlink():
        raise ModelFailure(f"{path} is a link: write the reply itself there", is_retryable=False)
    try:
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelFailure(f"{path} cannot be read ({error.strerror})", is_retryable=False) from error
    status = os.fstat(opened)
    if not stat.S_ISREG(status.st_mode):
        os.close(opened)
        raise ModelFailure(f"{path} is no file", is_retryable=False)
    with os.fdopen(opened, "rb") as stream:
        data = stream.read(MAX_REPLY_BYTES + 1)
    if len(data) > MAX_REPLY_BYTES:
        raise ModelFailure(f"{path} has more than {MAX_REPLY_BYTES:,} bytes", is_retryable=False)
    return ReplyFile(data.decode("utf-8-sig", errors="replace"), status.st_mtime_ns)


def _is_json(text: str) -> bool:
    try:
        return isinstance(parse_json(text), dict | list | str)
    except ValueError:
        return False


def _unquoted(text: str) -> str:
    """The text of a reply that is one JSON string."""
    value = parse_json(text) if text.startswith('"') and _is_json(text) else text
    return value if isinstance(value, str) else text
