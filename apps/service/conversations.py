"""Turns of saved conversations: one at a time for each thread, whichever process answers it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from langchain_core.messages import AnyMessage

from agents.schemas import Answer, Cost, Frozen
from apps.service.choices import OfferedSystems, RunChoices
from apps.service.database import StateDatabase
from apps.service.errors import ConflictError, NotFoundError, UnusableError
from apps.service.events import ServiceEvent
from apps.service.leases import LeaseKeeper
from apps.service.limits import ServiceLimits, check_text
from apps.service.runs import RunPool, RunStream
from apps.service.threads import NO_NAMES, DatabasePhotoArchive, ThreadRow, ThreadTable
from graphs.chat.events import PersonAsked
from graphs.chat.opening import build_conversation
from graphs.chat.session import Conversation
from graphs.chat.state import ShownPhoto
from graphs.system import GeoSleuth
from retrieval.photos.photo import Photo
from retrieval.photos.together import joined_name

_PATIENCE_S = 60.0

Turn = Callable[[Conversation], Iterable[ServiceEvent]]


class SaidMessage(Frozen):
    """Something that was said in a thread."""

    role: str
    """`person` or `geosleuth`."""
    text: str


class ThreadPhoto(Frozen):
    """A photo of a thread and the present answer about it, no finer than allowed."""

    photo_id: str
    sha256: str
    name: str
    """Of all its photos where there are more."""
    answer: Answer | None
    more_photo_ids: tuple[str, ...] = ()
    """Further photos of the same place."""


class ThreadHistory(Frozen):
    """Everything that a thread has to show."""

    messages: tuple[SaidMessage, ...]
    photos: tuple[ThreadPhoto, ...]
    current_photo_id: str | None
    question: PersonAsked | None
    """What it waits to have answered: the next message is the answer."""
    is_unfinished: bool
    """Whether a turn was stopped or its process died: it can be resumed or taken back."""
    cost: Cost


@dataclass(frozen=True)
class Conversations:
    """Saved conversations over one system and one database."""

    table: ThreadTable
    systems: OfferedSystems
    database: StateDatabase
    leases: LeaseKeeper
    pool: RunPool
    limits: ServiceLimits

    def send(
        self,
        owner: str,
        thread_id: str,
        text: str,
        photos: Sequence[Photo] = (),
        live_areas: bool = False,
        same_place: bool = False,
        about_photo_id: str | None = None,
    ) -> RunStream:
        """A turn: a photo to locate, a question about the current one, or the answer to what was asked.

        Args:
            owner: whose thread it is.
            thread_id: the thread.
            text: words; may be empty beside a photo.
            photos: one to talk about from here on, or several of one place.
            live_areas: whether each change of the belief is an event with its areas.
            same_place: whether the photos are of the place that is talked about: they are added to its photos.
            about_photo_id: a photo of the thread to talk about from here on; None: the current one.

        Raises:
            NotFoundError: no such thread, or no such photo in it.
            ConflictError: a turn is being answered, or was not finished, or the caller keeps as much as is allowed.
            UnusableError: neither words nor a photo, words before the first photo, or too many.
            TooManyError: too much is under way.
        """
        check_text(text, self.limits)
        if not text.strip() and not photos:
            raise UnusableError("send words, a photo, or both")

        def check(conversation: Conversation) -> None:
            self.table.check_room(owner)
            waits = conversation.question is not None
            if conversation.is_unfinished and not waits:
                raise ConflictError("the last turn was not finished; resume it or take it back first")
            if waits and (photos or about_photo_id not in (None, conversation.photo_id)):
                raise ConflictError("a question waits for its answer; answer it in words, or take the turn back")
            if (not photos or same_place) and not conversation.shown:
                raise UnusableError("this thread has no photo yet; send one")
            if about_photo_id is not None:
                _shown(conversation, about_photo_id)

        def turn(conversation: Conversation) -> Iterable[ServiceEvent]:
            if about_photo_id is not None and about_photo_id != conversation.photo_id:
                conversation.turn_to(_shown(conversation, about_photo_id))
            if photos:
                return conversation.add(photos, text) if same_place else conversation.show(photos[0], text, photos[1:])
            return conversation.answer_question(text) if conversation.question else conversation.ask(text)

        return self._start(owner, thread_id, turn, check, photos, live_areas)

    def resume(self, owner: str, thread_id: str) -> RunStream:
        """Go on with a turn that was stopped, or whose process died, from its last finished step.

        Raises:
            NotFoundError: no such thread.
            ConflictError: nothing was stopped, or a turn is being answered.
            TooManyError: too much is under way.
        """

        def check(conversation: Conversation) -> None:
            if conversation.question or not conversation.is_unfinished:
                raise ConflictError("no turn of this thread was stopped")

        return self._start(owner, thread_id, lambda conversation: conversation.go_on(), check)

    def undo(self, owner: str, thread_id: str) -> str:
        """Take the last turn back; returns its words.

        Raises:
            NotFoundError: no such thread.
            ConflictError: there is no turn to take back, or one is being answered.
        """
        token = self.table.begin_turn(owner, thread_id)
        try:
            words = self._open(self.table.find(owner, thread_id)).undo()
        finally:
            self.table.end_turn(thread_id, token)
        if words is None:
            raise ConflictError("there is no turn to take back")
        return words

    def history(self, owner: str, thread_id: str) -> ThreadHistory:
        """What was said, shown and answered.

        Raises:
            NotFoundError: no such thread.
        """
        conversation = self._open_to_read(self.table.find(owner, thread_id))
        names, answers = self.table.photo_names(thread_id), conversation.answers
        return ThreadHistory(
            messages=tuple(map(_said, conversation.messages)),
            photos=tuple(
                ThreadPhoto(
                    photo_id=shown.photo_id,
                    sha256=shown.sha256,
                    name=joined_name([names.get(one.sha256, "") for one in shown.photos]),
                    answer=answers.get(shown.photo_id),
                    more_photo_ids=tuple(one.photo_id for one in shown.more),
                )
                for shown in conversation.shown
            ),
            current_photo_id=conversation.photo_id,
            question=conversation.question,
            is_unfinished=conversation.is_unfinished,
            cost=conversation.cost,
        )

    def photo_png(self, owner: str, thread_id: str, photo_id: str) -> bytes:
        """The pixels of a photo of a thread.

        Raises:
            NotFoundError: no such thread or photo.
        """
        row = self.table.find(owner, thread_id)
        every = (one for photo in self._open_to_read(row).shown for one in photo.photos)
        shown = next((photo for photo in every if photo.photo_id == photo_id), None)
        if shown is None:
            raise NotFoundError("no such photo in this thread")
        return self._archive(row, self.systems.find(_to_read(row.choices))).png(shown)

    def _start(
        self,
        owner: str,
        thread_id: str,
        turn: Turn,
        check: Callable[[Conversation], None],
        photos: Sequence[Photo] = (),
        live_areas: bool = False,
    ) -> RunStream:
        """Take the thread, see that the turn can be, and let it wait for its place in the pool."""
        with ExitStack() as taken:
            token = self.table.begin_turn(owner, thread_id)
            taken.callback(self.table.end_turn, thread_id, token)
            lease = self.leases.keep(lambda: self.table.renew_turn(thread_id, token))
            taken.callback(self.leases.let_go, lease)
            row = self.table.find(owner, thread_id)
            conversation = self._open(row, {photo.sha256: photo.name for photo in photos}, live_areas)
            check(conversation)

            def produce() -> Generator[ServiceEvent, None, None]:
                with closing(_iterator(turn(conversation))) as events:
                    for event in events:
                        if lease.lost.is_set():
                            raise ConflictError("this turn took too long to be seen; another process has the thread")
                        yield event

            def at_end() -> None:
                conversation.finish(_PATIENCE_S)
                ending.close()

            ending = taken.pop_all()  # first: the run may end at once
        try:
            return self.pool.start(owner, produce, at_end)
        except BaseException:
            ending.close()
            raise

    def _open(self, row: ThreadRow, names: Mapping[str, str] = NO_NAMES, live_areas: bool = False) -> Conversation:
        system = self.systems.find(row.choices)
        archive = self._archive(row, system, names)
        ask = system.settings.ask
        return build_conversation(system, self.database.checkpointer, archive, row.id, ask, live_areas)

    def _open_to_read(self, row: ThreadRow) -> Conversation:
        """The conversation, also where its model or an atlas is not offered any more: only its precision matters."""
        return self._open(replace(row, choices=_to_read(row.choices)))

    def _archive(self, row: ThreadRow, system: GeoSleuth, names: Mapping[str, str] = NO_NAMES) -> DatabasePhotoArchive:
        return self.table.archive(row, system.photo_store, names)


def _shown(conversation: Conversation, photo_id: str) -> ShownPhoto:
    shown = next((photo for photo in conversation.shown if photo.photo_id == photo_id), None)
    if shown is None:
        raise NotFoundError("no such photo in this thread")
    return shown


def _to_read(choices: RunChoices) -> RunChoices:
    return RunChoices(max_precision=choices.max_precision)


def _iterator(events: Iterable[ServiceEvent]) -> Generator[ServiceEvent, None, None]:
    yield from events


def _said(message: AnyMessage) -> SaidMessage:
    return SaidMessage(role="person" if message.type == "human" else "geosleuth", text=message.text)
