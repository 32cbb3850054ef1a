"""receive: move the photos of a person's message into the photo archive; the conversation keeps no pixels."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage

from agents.schemas import Cost, Level
from core.errors import UserError
from graphs.chat.photo_archive import PhotoArchive
from graphs.chat.state import FINEST, ChatState, Coarsen, ShownPhoto, coarsened_answer
from retrieval.photos.photo import Photo, PhotoLimits, decode_photo
from retrieval.photos.together import MOST_TOGETHER
from tools.untrusted_text import OPENING, untrusted

MAX_PHOTO_BYTES = 20_000_000
MAX_TEXT_CHARACTERS = 4_000
SENT_NAME = "the photo sent"
_LIMITS = PhotoLimits(max_bytes=MAX_PHOTO_BYTES)
_DATA_URL = re.compile(r"data:image/[a-zA-Z0-9.+-]{1,40};base64,")


def receive(photos: PhotoArchive, coarsen: Coarsen, limit: Level | None, state: ChatState) -> dict[str, Any]:
    """Begin a turn: archive the photos that came with the message, and keep only the message's words."""
    turn: dict[str, Any] = {"working": [], "rounds": 0, "spent": Cost(), "reply": "", "is_new": False, "changed": False}
    turn["precision"] = (limit or FINEST).value
    message = state["messages"][-1] if state.get("messages") else None
    if not isinstance(message, HumanMessage):
        return {**turn, "reply": "Send one message of the person: text, and perhaps a photo."}
    bare = HumanMessage(words_of(message), id=message.id)
    try:
        sent = _sent_photos(message)
        shown = _kept(photos, state, sent) if sent else _asked_about(photos, state)
    except UserError as error:
        return {**turn, "messages": [bare], "reply": str(error)}
    return {**turn, "messages": [bare], **_current(state, shown, coarsen)}


def _current(state: ChatState, shown: ShownPhoto | None, coarsen: Coarsen) -> dict[str, Any]:
    if shown is None:
        return {"reply": "Show a photo first: send it as a base64 image block of a message."}
    case = state.get("cases", {}).get(shown.photo_id)
    is_located = shown.is_located_by(case)
    now = {"answer": coarsened_answer(case, coarsen)} if case and is_located else {}
    return {"photo_id": shown.photo_id, "photos": [shown], "is_new": not is_located, **now}


def _kept(photos: PhotoArchive, state: ChatState, sent: Sequence[Photo]) -> ShownPhoto:
    """The photos of a message, which are of one place; one alone that was shown with others stays with them."""
    shown = photos.keep_together(sent)
    known = next((photo for photo in state.get("photos", []) if photo.photo_id == shown.photo_id), shown)
    return shown if shown.more else known


def _asked_about(photos: PhotoArchive, state: ChatState) -> ShownPhoto | None:
    """The current photo, in the photo store again if this process has not seen it."""
    photo_id = state.get("photo_id")
    if not photo_id:
        return None
    shown = next((photo for photo in state.get("photos", []) if photo.photo_id == photo_id), None)
    if shown is None:
        raise UserError(f"no photo {untrusted(photo_id)!r} in this conversation; show it first")
    photos.bring(shown)
    return shown


def words_of(message: AnyMessage) -> str:
    """The text of a message, at most 4,000 characters, without invisible ones and without our data's mark."""
    lines = message.text[:MAX_TEXT_CHARACTERS].splitlines()
    printable = ("".join(char for char in line if char.isprintable()) for line in lines)
    return "\n".join(printable).replace(OPENING, "").strip()


def _sent_photos(message: HumanMessage) -> list[Photo]:
    """The pictures in a message: several are of one place.

    Raises:
        UserError: a link, which is never followed; not base64; too large; not a photo.
    """
    content = message.content if isinstance(message.content, list) else []
    blocks = [block for block in content if isinstance(block, dict)]
    pictures = [block for block in blocks if block.get("type") in ("image", "image_url")]
    if len(pictures) > MOST_TOGETHER:
        raise UserError(f"{len(pictures)} photos in one message: at most {MOST_TOGETHER} of one place are taken")
    return [decode_photo(_bytes(picture), SENT_NAME, limits=_LIMITS) for picture in pictures]


def _bytes(block: Mapping[str, Any]) -> bytes:
    text = _base64_text(block)
    if len(text) > MAX_PHOTO_BYTES * 4 // 3 + 4:
        raise UserError(f"the photo is larger than {MAX_PHOTO_BYTES // 1_000_000} MB; scale it down")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError("the photo is not valid base64; send the file's bytes, encoded") from error


def _base64_text(block: Mapping[str, Any]) -> str:
    """The base64 of LangChain's image block, of its older form, or of OpenAI's data URL."""
    url = block.get("url") or block.get("image_url")
    address = url.get("url") if isinstance(url, Mapping) else url
    if isinstance(address, str):
        opening = _DATA_URL.match(address)
        if opening is None:
            raise UserError("links to photos are not followed; send the photo itself as base64")
        return address[opening.end() :]
    text = block.get("base64") or block.get("data")
    if not isinstance(text, str):
        raise UserError("the image block holds no base64; send {'type': 'image', 'base64': ..., 'mime_type': ...}")
    return text
