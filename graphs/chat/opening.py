"""Opening a conversation over an open system: where it is saved, and the parts of its graph."""

from __future__ import annotations

from functools import partial

from langgraph.checkpoint.base import BaseCheckpointSaver

from agents.offline.explanations import share
from agents.schemas import Answer, CredibleArea
from graphs.assessment.assess import assess
from graphs.chat.graph import build_chat
from graphs.chat.nodes import ChatParts
from graphs.chat.photo_archive import FolderPhotoArchive, PhotoArchive
from graphs.chat.session import Conversation
from graphs.chat.threads import SavedThread
from graphs.chat.transcript import ChatTranscript
from graphs.checkpoints import open_checkpoints
from graphs.context import GeolocateContext
from graphs.geolocate import build_geolocate
from graphs.nodes.commit import credible_areas
from graphs.state import GeolocateState
from graphs.system import GeoSleuth

_LIVE_SHARES = (0.5, 0.9)


def open_conversation(system: GeoSleuth, thread: SavedThread | None = None, ask: bool = False) -> Conversation:
    """A conversation that may use everything the system has.

    Args:
        system: open, for as long as the conversation.
        thread: where it is saved and goes on; None: it ends with this process, and no photo is kept.
        ask: whether the person may be asked when two places are close.
    """
    photo_store = system.photo_store
    photos = FolderPhotoArchive(thread.photos, photo_store) if thread else PhotoArchive(photo_store)
    checkpointer = thread.checkpoints() if thread else open_checkpoints(None)
    return build_conversation(system, checkpointer, photos, thread.name if thread else "chat", ask)


def build_conversation(
    system: GeoSleuth,
    checkpointer: BaseCheckpointSaver[str],
    photos: PhotoArchive,
    thread_id: str,
    ask: bool = False,
    live_areas: bool = False,
) -> Conversation:
    """The conversation that a checkpointer holds under a thread's id; it begins where there is none.

    Args:
        system: open, for as long as the conversation.
        checkpointer: where the thread is saved.
        photos: where its photos are saved.
        thread_id: its name in the checkpoints.
        ask: whether the person may be asked when two places are close.
        live_areas: whether each change of the belief is an event; where answers are coarsened, none is.
    """
    is_coarse = system.settings.max_precision is not None
    conversation = Conversation(
        graph=build_chat(
            chat_parts(system, photos, ask and not is_coarse, ChatTranscript(checkpointer, thread_id)), checkpointer
        ),
        checkpointer=checkpointer,
        photos=photos,
        thread_id=thread_id,
        coarsen=system.coarsened,
        max_precision=system.settings.max_precision,
        allow_metadata=system.settings.allow_metadata,
        check=system.check_together,
        areas=partial(_areas, system.context) if live_areas and not is_coarse else None,
    )
    conversation.prune()  # of what an earlier version, or a process that was killed, left
    return conversation


def _areas(context: GeolocateContext, state: GeolocateState) -> tuple[CredibleArea, ...]:
    return credible_areas(assess(context, state).belief, _LIVE_SHARES)


def chat_parts(
    system: GeoSleuth, photos: PhotoArchive, ask: bool = False, transcript: ChatTranscript | None = None
) -> ChatParts:
    """The parts of the chat graph, from an open system."""
    return ChatParts(
        context=system.context,
        geolocate=build_geolocate(system.context, ask=ask),
        photos=photos,
        coarsen=system.coarsened,
        max_precision=system.settings.max_precision,
        summary=summary,
        audit=system.write_audit_line,
        transcript=transcript,
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
    if answer.chance_within_km:
        within = [f"{km:,} km {share(chance)}" for km, chance in sorted(answer.chance_within_km.items())]
        lines.append(f"Chance within {', '.join(within)}.")
    return "\n".join([*lines, answer.reasoning])
