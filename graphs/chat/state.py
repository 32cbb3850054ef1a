"""The state of a conversation about photos: narrow input, full state, narrow output.

It holds no pixels: a photo that comes in a message is put into the photo store and leaves the message at once. What is
known about each photo, its case, is the state that the geolocation of it ended with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypedDict, cast, get_type_hints

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages

from agents.schemas import Answer, Cost, Frozen, Level, add_cost
from geo.point import Point
from graphs.state import FullState, PhotoInput

Case = dict[str, Any]
"""Values of the geolocation's channels for one photo, but for its conversation with the model."""

ALL_KEYS: tuple[str, ...] = tuple(get_type_hints(FullState))


Coarsen = Callable[[Answer], Answer]
"""Makes an answer no finer than the settings allow; one that is as coarse already stays as it is."""


def coarsened_answer(case: Case, coarsen: Coarsen) -> Answer:
    """The answer of a case, no finer than the settings allow, nor than they allowed when it was given."""
    # Threads saved by version 0.1.0 have it under "told".
    return coarsen(cast(Answer, case["coarsened"] if "coarsened" in case else case["told"]))


FINEST = Level.STREET
_LEVELS = tuple(Level)


def is_finer(precision: str | None, limit: Level | None) -> bool:
    """Whether what was said at a precision may be finer than a limit; None: it is not known, or there is no limit."""
    said = FINEST if precision is None else Level(precision)
    return _LEVELS.index(said) < _LEVELS.index(limit or FINEST)


class ShownPhoto(Frozen):
    """A photo of the conversation, with the others of its place if several are asked about together."""

    photo_id: str
    sha256: str
    claimed: Point | None = None
    """The position that the file claims, only if the user allowed metadata."""
    more: tuple[ShownPhoto, ...] = ()
    """Further photos of the same place."""

    @property
    def photos(self) -> tuple[ShownPhoto, ...]:
        """All photos of the place, this one first."""
        return (self, *self.more)

    def query(self, question: str) -> PhotoInput:
        """What the geolocation of the place is given."""
        claims = [photo for photo in self.photos if photo.claimed]
        return PhotoInput(
            photo_id=self.photo_id,
            photo_sha256=self.sha256,
            more_photo_ids=[photo.photo_id for photo in self.more],
            more_photo_sha256s=[photo.sha256 for photo in self.more],
            question=question,
            metadata_position=claims[0].claimed if claims else None,
            metadata_sha256=claims[0].sha256 if claims else "",
        )

    def is_located_by(self, case: Case | None) -> bool:
        """Whether a case is about these photos, all of them and no other."""
        more = {photo.photo_id for photo in self.more}
        return case is not None and set(case.get("more_photo_ids", ())) == more


def add_photos(known: Sequence[ShownPhoto], new: Sequence[ShownPhoto]) -> list[ShownPhoto]:
    """Photos in the order they were first shown, each once, as it was shown last."""
    return list({photo.photo_id: photo for photo in [*known, *new]}.values())


def merge_cases(known: Mapping[str, Case], new: Mapping[str, Case]) -> dict[str, Case]:
    """Cases by photo id; a newer one replaces the older."""
    return {**known, **new}


class ChatInput(TypedDict, total=False):
    """Input of a turn."""

    messages: list[AnyMessage]
    """One message of the person: text, and perhaps a photo as a base64 image block. Links are not followed."""
    photo_id: str
    """A photo of this conversation to talk about, or one that the caller has put into the photo store itself."""
    photos: list[ShownPhoto]
    """Photos that the caller has put into the photo store itself."""


class ChatOutput(TypedDict):
    """Output of a turn."""

    messages: list[AnyMessage]
    """The words of the last turns, the reply last; of all, where the application keeps no transcript."""
    photo_id: str | None
    """The photo it is about."""
    answer: Answer | None
    """The present answer about that photo; None before the first photo."""


class ChatState(TypedDict):
    """Everything a conversation knows. Fields without a reducer are replaced by what a node returns."""

    messages: Annotated[list[AnyMessage], add_messages]
    """The words of the person and the replies, without pixels, tool calls and data."""
    earlier_turns: int
    """Turns whose words are in the transcript and not in `messages` any more."""
    photo_id: str | None
    """The photo that is talked about."""
    photos: Annotated[list[ShownPhoto], add_photos]
    """Every photo shown, in order."""
    cases: Annotated[dict[str, Case], merge_cases]
    """Each located photo's case, by photo id."""
    answer: Answer | None
    """The present answer about the current photo, coarsened if the settings say so."""
    working: list[AnyMessage]
    """The model's side of this turn: data shown to it, its tool calls, their results."""
    rounds: int
    """How many times the model was asked in this turn."""
    spent: Cost
    """The cost of this turn."""
    total: Annotated[Cost, add_cost]
    """The cost of all turns."""
    reply: str
    """The text that ends this turn; may say what went wrong."""
    precision: str
    """The finest level that the answers of this turn could have when it began; `street` is no limit."""
    is_new: bool
    """Whether the current photo has to be located in this turn."""
    changed: bool
    """Whether this turn changed hypotheses or evidence, so that the answer has to be committed again."""
