"""A conversation as an application holds it: turns as streams of events, undo, resume, what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command, StreamMode

from agents.schemas import Answer, Cost, CredibleArea, Level
from core.errors import UserError
from graphs.chat.cancellation import CancellableRun, CancellationCallback
from graphs.chat.events import BeliefChanged, ChatEvent, PersonAsked, events_of, person_asked, written_so_far
from graphs.chat.graph import Chat
from graphs.chat.photo_archive import PhotoArchive
from graphs.chat.state import Case, ChatState, Coarsen, ShownPhoto, coarsened_answer, is_finer
from graphs.chat.transcript import ChatTranscript
from graphs.checkpoints import UNDONE_TURNS, PrunesTurns, is_passing
from graphs.state import GeolocateState
from retrieval.photos.photo import Photo
from retrieval.photos.together import check_together

LEFT_OUT = "(left out: it was said when finer answers were allowed)"


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One thread of the chat graph.

    Attributes:
        graph: compiled with `checkpointer`.
        checkpointer: holds the thread.
        photos: where photos are put.
        thread_id: names it in the checkpoints.
        coarsen: makes an answer no finer than the settings allow.
        max_precision: the finest level of what is told, if there is a limit: events hold no more of a step than its
            name, and what was said when it could be finer is left out.
        allow_metadata: whether the position that a file claims may be reported.
        check: refuses photos, by their names and hashes, that cannot be one query.
        areas: the areas of the belief of a run's state, if a change of it is to be an event; None: it is none.
        runs: turns whose threads have not ended; one that was stopped may still wait for a slow call.
    """

    graph: Chat
    checkpointer: BaseCheckpointSaver[str]
    photos: PhotoArchive
    thread_id: str
    coarsen: Coarsen = lambda answer: answer
    max_precision: Level | None = None
    allow_metadata: bool = False
    check: Callable[[Sequence[str], Sequence[str]], None] = check_together
    areas: Callable[[GeolocateState], tuple[CredibleArea, ...]] | None = None
    runs: list[CancellableRun[Any]] = field(default_factory=list)

    @property
    def is_coarse(self) -> bool:
        """Whether answers are coarsened."""
        return self.max_precision is not None

    def finish(self, seconds: float) -> bool:
        """Wait for stopped turns to end; whether all have, so that the system may be closed."""
        return all(run.wait(seconds) for run in self.runs)

    def show(self, photo: Photo, text: str = "", more: Sequence[Photo] = ()) -> Iterator[ChatEvent]:
        """A turn about a photo, or several of one place: locate the place if it is new, else discuss it.

        A photo that was shown with others, and is now shown alone, stays with them.

        Raises:
            UserError: pixels that cannot be saved, or photos that cannot be one query.
        """
        self.check([one.name for one in (photo, *more)], [one.sha256 for one in (photo, *more)])
        first, *others = map(self._kept, (photo, *more))
        known = next((shown for shown in self.shown if shown.photo_id == first.photo_id), None)
        return self._about(first, tuple(others) or (known.more if known else ()), text)

    def add(self, photos: Sequence[Photo], text: str = "") -> Iterator[ChatEvent]:
        """A turn with further photos of the current place: it is located again, by all of its photos.

        Raises:
            UserError: there is no current photo, pixels cannot be saved, or the photos cannot be one query.
        """
        current = next((shown for shown in self.shown if shown.photo_id == self.photo_id), None)
        if current is None:
            raise UserError("no photo yet: show one, then add others of the same place")
        known = current.photos
        names = [*(photo.photo_id for photo in known), *(photo.name for photo in photos)]
        self.check(names, [*(photo.sha256 for photo in known), *(photo.sha256 for photo in photos)])
        return self._about(current, (*current.more, *map(self._kept, photos)), text)

    def _kept(self, photo: Photo) -> ShownPhoto:
        shown = self.photos.keep(photo)
        claimed = photo.metadata.position if photo.metadata and self.allow_metadata else None
        return shown.model_copy(update={"claimed": claimed})

    def _about(self, photo: ShownPhoto, more: tuple[ShownPhoto, ...], text: str) -> Iterator[ChatEvent]:
        shown = photo.model_copy(update={"more": more})
        return self._turn({"messages": [HumanMessage(text)], "photo_id": shown.photo_id, "photos": [shown]})

    def ask(self, text: str) -> Iterator[ChatEvent]:
        """A turn of words about the current photo."""
        return self._turn({"messages": [HumanMessage(text)]})

    def turn_to(self, shown: ShownPhoto) -> None:
        """Talk about another photo of this conversation from here on."""
        values = {"photo_id": shown.photo_id, "answer": self.answers.get(shown.photo_id)}
        self.graph.update_state(self._config(), values, as_node="tell")

    def answer_question(self, text: str) -> Iterator[ChatEvent]:
        """Answer the question that the turn waits for; it goes on from its checkpoint."""
        return self._turn(Command(resume=text))

    def go_on(self) -> Iterator[ChatEvent]:
        """Go on with a turn that was stopped or died, from its last finished step.

        Raises:
            MissingPhotoError: the pixels of a photo are not kept any more.
        """
        for shown in self._values().get("photos", []):
            self.photos.bring(shown)
        return self._turn(None)

    @property
    def question(self) -> PersonAsked | None:
        """The question that a turn waits to have answered, if one does."""
        snapshot = self.graph.get_state(self._config())
        return next((person_asked(interrupt.value, self.is_coarse) for interrupt in snapshot.interrupts), None)

    @property
    def is_unfinished(self) -> bool:
        """Whether a turn was stopped, died or waits for the person."""
        return bool(self.graph.get_state(self._config()).tasks)

    @property
    def messages(self) -> Sequence[AnyMessage]:
        """The words of the person and the replies, in order."""
        values = self._values()
        earlier = ChatTranscript(self.checkpointer, self.thread_id).before(values.get("earlier_turns", 0))
        return [self._told(message) for message in (*earlier, *values.get("messages", []))]

    def _told(self, message: AnyMessage) -> AnyMessage:
        is_reply = message.type == "ai"
        hidden = is_reply and is_finer(message.additional_kwargs.get("precision"), self.max_precision)
        return AIMessage(LEFT_OUT, id=message.id) if hidden else message

    @property
    def photo_id(self) -> str | None:
        """The photo that is talked about."""
        return self._values().get("photo_id")

    @property
    def shown(self) -> Sequence[ShownPhoto]:
        """Every photo, in the order it was shown."""
        return self._values().get("photos", [])

    @property
    def cases(self) -> Mapping[str, Case]:
        """What is known about each located photo, by its id; of one that others have joined since, nothing yet."""
        values = self._values()
        shown = {photo.photo_id: photo for photo in values.get("photos", [])}
        cases = values.get("cases", {}).items()
        return {key: case for key, case in cases if key not in shown or shown[key].is_located_by(case)}

    @property
    def answers(self) -> Mapping[str, Answer]:
        """The present answer about each located photo by its id, no finer than the settings allow."""
        return {photo_id: coarsened_answer(case, self.coarsen) for photo_id, case in self.cases.items()}

    @property
    def cost(self) -> Cost:
        """The cost of all turns."""
        return self._values().get("total", Cost())

    def undo(self) -> str | None:
        """Go back to where the last turn began; the words of that turn, None if there was none, or none is kept."""
        before = self._before_last_turn()
        if before is None:
            return None
        people = [message.text for message in self._values().get("messages", []) if message.type == "human"]
        if before == {}:
            self.checkpointer.delete_thread(self.thread_id)
        else:
            self.graph.update_state(cast(RunnableConfig, before), None, as_node="__copy__")
        return people[-1] if people else ""

    def prune(self) -> None:
        """Drop what neither undoing the last turns nor going on needs, unless a turn is unfinished.

        On a full disk nothing can be dropped; the next turn does it.
        """
        snapshot = self.graph.get_state(self._config())
        last = snapshot.config.get("configurable", {}).get("checkpoint_id")
        if not last or snapshot.tasks or not isinstance(self.checkpointer, PrunesTurns):
            return
        try:
            self.checkpointer.prune_turns(self.thread_id, last, UNDONE_TURNS)
        except Exception as error:
            if not is_passing(error):
                raise

    def _before_last_turn(self) -> Mapping[str, Any] | None:
        """The checkpoint before the last turn's input; {} if that was the first; None if there was no turn."""
        snapshot = self.graph.get_state(self._config())
        while snapshot.metadata is not None:
            if snapshot.metadata.get("source") == "input":
                return snapshot.parent_config or {}
            if snapshot.parent_config is None:
                return None
            snapshot = self.graph.get_state(snapshot.parent_config)
        return None

    def _values(self) -> ChatState:
        return cast(ChatState, self.graph.get_state(self._config()).values)

    def _config(self) -> RunnableConfig:
        return {"configurable": {"thread_id": self.thread_id}, "recursion_limit": 1000}

    def _turn(self, given: Any) -> Iterator[ChatEvent]:
        stopper = CancellationCallback()
        config: RunnableConfig = {**self._config(), "callbacks": [stopper]}
        modes: list[StreamMode] = ["updates", "messages", "custom"]
        if self.areas:
            modes.append("values")
        run = CancellableRun[Any](
            stopper,
            lambda: self.graph.stream(given, config, stream_mode=modes, subgraphs=True, durability="sync"),
        )
        self.runs[:] = [*(earlier for earlier in self.runs if not earlier.wait(0.0)), run]
        with _naming_full_disk():
            yield from self._follow(run)
        self.prune()

    def _follow(self, run: CancellableRun[Any]) -> Iterator[ChatEvent]:
        written, believed = "", None
        for inside, mode, part in run:
            if inside and mode == "updates" and "__interrupt__" in part:
                continue  # reported once, by the outer graph
            if mode == "values":
                if inside and self.areas and part.get("hypotheses") and part["hypotheses"] is not believed:
                    believed = part["hypotheses"]
                    yield BeliefChanged(areas=self.areas(cast(GeolocateState, part)))
                continue
            for event in events_of(mode, part, written, self.is_coarse):
                written = written_so_far(written, event)
                yield event


@contextmanager
def _naming_full_disk() -> Iterator[None]:
    """Raises UserError where a turn cannot be saved; its steps so far are, and nothing before it is touched."""
    try:
        yield
    except Exception as error:
        if not is_passing(error):
            raise
        problem = f"the turn could not be saved ({' '.join(str(error).split())}): make room"
        raise UserError(f"{problem}, then go on with it (/resume) or take it back (/undo)") from error
