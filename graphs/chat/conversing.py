"""A conversation over an open system: in memory, or saved in a thread's folder."""

from __future__ import annotations

from langgraph.checkpoint.memory import InMemorySaver

from agents.offline.explanations import share
from agents.schemas import Answer
from graphs.chat.graph import ChatParts, build_chat
from graphs.chat.photo_archive import KeptPhotos, PhotoFolder, ShelfOnly
from graphs.chat.session import Conversation
from graphs.chat.threads import SavedThread
from graphs.checkpoints import state_serializer
from graphs.geolocate import build_geolocate
from graphs.system import GeoSleuth


def open_conversation(system: GeoSleuth, thread: SavedThread | None = None, ask: bool = False) -> Conversation:
    """A conversation that may use everything the system has.

    Args:
        system: open, for as long as the conversation.
        thread: where it is saved and goes on; None: it ends with this process, and no photo is kept.
        ask: whether the machine may ask the person when two places are close.
    """
    photos: KeptPhotos = PhotoFolder(thread.photos, system.shelf) if thread else ShelfOnly(system.shelf)
    checkpointer = thread.checkpoints() if thread else InMemorySaver(serde=state_serializer())
    return Conversation(
        graph=build_chat(chat_parts(system, photos, ask), checkpointer),
        checkpointer=checkpointer,
        photos=photos,
        thread_id=thread.name if thread else "chat",
        coarse=system.settings.max_precision is not None,
        allow_metadata=system.settings.allow_metadata,
    )


def chat_parts(system: GeoSleuth, photos: KeptPhotos, ask: bool = False) -> ChatParts:
    """What the chat graph works with."""
    return ChatParts(
        bench=system.bench,
        geolocate=build_geolocate(system.bench, ask=ask),
        photos=photos,
        told=system.told,
        coarse=system.settings.max_precision is not None,
        summary=summary,
        audit=system.note,
    )


def summary(answer: Answer) -> str:
    """An answer in a few lines of text."""
    if answer.point is None:
        return f"No answer ({answer.status.value}). {answer.reasoning}"
    named = f"{answer.place.name}, " if answer.place else ""
    lines = [f"{named}{answer.point}; confidence {share(answer.confidence)}."]
    if answer.radius_50_km is not None and answer.radius_90_km is not None:
        note = "calibrated" if answer.radius_is_calibrated else "not calibrated"
        lines.append(
            f"Half of the time within {answer.radius_50_km:,.0f} km, nine times in ten within"
            f" {answer.radius_90_km:,.0f} km ({note})."
        )
    return "\n".join([*lines, answer.reasoning])
