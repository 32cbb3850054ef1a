"""`/v1/threads`: conversations about photos, kept until they are deleted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from apps.api.locate import EVENTS
from apps.api.parameters import ItemId, ListLimit, ListOffset, Owner, Service, in_thread, uploaded_photos
from apps.api.problems import problems
from apps.api.schemas import NO_NUL, NewThread, TakenBack, ThreadDetail, ThreadReply, ThreadSummary
from apps.api.streams import event_response, last_event, wants_events
from apps.service.choices import SERVERS_CHOICE
from apps.service.runs import RunStream
from graphs.chat.events import PersonAsked, TurnEnded
from retrieval.photos.together import MOST_TOGETHER

router = APIRouter(prefix="/threads", tags=["threads"])

_PNG = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}


@router.post("", status_code=201, responses=problems(409))
def create_thread(service: Service, owner: Owner, new: NewThread) -> ThreadSummary:
    """Begin a thread; its first message brings the photo."""
    choices = new.choices or SERVERS_CHOICE
    service.systems.find(choices)
    return ThreadSummary.of(service.threads.create(owner, new.title or "", choices))


@router.get("", responses=problems())
def list_threads(service: Service, owner: Owner, limit: ListLimit = 50, offset: ListOffset = 0) -> list[ThreadSummary]:
    """Your threads, the latest turn first."""
    return [ThreadSummary.of(row) for row in service.threads.all_of(owner, limit, offset)]


@router.get("/{thread_id}", responses=problems(404))
def get_thread(service: Service, owner: Owner, thread_id: ItemId) -> ThreadDetail:
    """A thread with everything said, shown and answered in it."""
    summary = ThreadSummary.of(service.threads.find(owner, thread_id))
    return ThreadDetail(**dict(summary), history=service.conversations.history(owner, thread_id))


@router.patch("/{thread_id}", responses=problems(404))
def change_thread(service: Service, owner: Owner, thread_id: ItemId, new: NewThread) -> ThreadSummary:
    """Give a thread another title, or other choices from its next turn on."""
    if new.choices:
        service.systems.find(new.choices)
    return ThreadSummary.of(service.threads.change(owner, thread_id, new.title, new.choices))


@router.delete("/{thread_id}", status_code=204, responses=problems(404, 409))
def delete_thread(service: Service, owner: Owner, thread_id: ItemId) -> None:
    """Delete a thread with its photos."""
    service.threads.delete(owner, thread_id)


@router.post(
    "/{thread_id}/messages", response_model=ThreadReply, responses={200: EVENTS, **problems(404, 409, 415, 503)}
)
async def send_message(
    request: Request,
    service: Service,
    owner: Owner,
    thread_id: ItemId,
    text: Annotated[str, Form(description="a question, a fact, or the answer to a question")] = "",
    photo: Annotated[
        list[UploadFile] | None,
        File(description="a photo to talk about from here on, or several of one place", max_length=MOST_TOGETHER),
    ] = None,
    same_place: Annotated[bool, Form(description="the photos are of the place that is talked about")] = False,
    live_areas: Annotated[bool, Form(description="stream an event `belief` with its areas at each change")] = False,
    about_photo_id: Annotated[
        str | None,
        Form(max_length=200, pattern=NO_NUL, description="a photo of the thread to talk about from here on"),
    ] = None,
) -> Response | ThreadReply:
    """Send words, a photo, or both, and get the reply.

    With `Accept: text/event-stream` all that happens comes as it happens: `accepted`, `step`, `tool` and `token` …,
    then `reply`, `question` or `error`. Where it ends with a question, the next message is its answer.
    """
    shown = await uploaded_photos(request, photo or [])
    send = service.conversations.send
    stream = await in_thread(send, owner, thread_id, text, shown, live_areas, same_place, about_photo_id)
    return await _answered(request, stream)


@router.post("/{thread_id}/resume", response_model=ThreadReply, responses={200: EVENTS, **problems(404, 409, 503)})
async def resume_turn(request: Request, service: Service, owner: Owner, thread_id: ItemId) -> Response | ThreadReply:
    """Go on with a turn that was stopped, or whose process died, from its last finished step."""
    return await _answered(request, await in_thread(service.conversations.resume, owner, thread_id))


@router.post("/{thread_id}/undo", responses=problems(404, 409))
def undo_turn(service: Service, owner: Owner, thread_id: ItemId) -> TakenBack:
    """Take the last turn back."""
    return TakenBack(words=service.conversations.undo(owner, thread_id))


@router.get("/{thread_id}/photos/{photo_id}", response_class=Response, responses={200: _PNG, **problems(404)})
def get_photo(service: Service, owner: Owner, thread_id: ItemId, photo_id: ItemId) -> Response:
    """The pixels of a photo of a thread, without metadata."""
    png = service.conversations.photo_png(owner, thread_id, photo_id)
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, no-store"})


async def _answered(request: Request, stream: RunStream) -> Response | ThreadReply:
    if wants_events(request):
        return event_response(stream)
    last = await last_event(request, stream)
    if isinstance(last, PersonAsked):
        return ThreadReply(text=None, answer=None, question=last)
    if not isinstance(last, TurnEnded):
        raise RuntimeError(f"a turn ended with {type(last).__name__}")
    return ThreadReply(text=last.text, answer=last.answer, question=None)
