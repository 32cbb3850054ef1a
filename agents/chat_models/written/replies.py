"""Models without an API: requests are written to a folder or shown in a terminal, and somebody writes the replies.

`mailbox:[NAME@]FOLDER` waits for a reply file in each request's folder; `paste` for a reply copied into the terminal.
Waiting is no work: the run's budget of seconds stands still meanwhile (`core.waiting`).
"""

from __future__ import annotations

import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from pydantic import ConfigDict

from agents.chat_models.adapter import with_estimate
from agents.chat_models.base import LocalModel, Tool, current_sample
from agents.chat_models.dialects.conversations import merge_user_turns
from agents.chat_models.failures import ModelFailure
from agents.chat_models.kinds import MODELS
from agents.chat_models.spec import ModelOptions, ModelSpec
from agents.chat_models.tool_prompting import reply_schema, with_calls, with_tools_in_prompt
from agents.chat_models.written.pasting import TERMINAL, PastedReply
from agents.chat_models.written.request_folder import ReplyFiles, RequestFolder, WrittenRequest, written_request
from agents.structured_output.thoughts import split_thoughts
from core.errors import UserError
from core.waiting import pause, waiting

FIRST_POLL_S = 0.05
SLOWEST_POLL_S = 1.0


def load_written(spec: ModelSpec, options: ModelOptions) -> WrittenReplies:
    """The model of `paste` or `mailbox:[NAME@]FOLDER`.

    Raises:
        UserError: the folder cannot be made; no terminal to paste in.
    """
    asked = {"for": spec.target, "temperature": options.temperature, "max_output_tokens": options.max_output_tokens}
    if MODELS[spec.kind].needs_terminal:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UserError("the model paste needs a terminal to paste replies in: use mailbox:FOLDER elsewhere")
        own = tempfile.TemporaryDirectory(prefix="geosleuth-paste-")
        return PasteModel(own=own, folder=RequestFolder(Path(own.name)), asked=asked, limit_s=options.timeout_s)
    path = Path(spec.url).expanduser()
    try:
        folder = RequestFolder(path)
    except OSError as error:
        raise UserError(f"the mailbox {path} cannot be made ({error.strerror}): name a folder") from error
    return MailboxModel(folder=folder, asked=asked, limit_s=options.timeout_s)


class WrittenReplies(LocalModel):
    """A chat model whose replies are written by somebody who reads the requests; tools are in the prompt.

    Attributes:
        folder: that requests are written to.
        asked: options that every request tells.
        limit_s: longest wait for one reply, in seconds.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    folder: RequestFolder
    asked: dict[str, Any]
    limit_s: float

    @property
    def _llm_type(self) -> str:
        return "written"

    def reply(self, messages: Sequence[BaseMessage], tools: Sequence[Tool]) -> AIMessage:
        """What somebody writes, as a reply of a model."""
        sent = merge_user_turns(with_tools_in_prompt(messages, tools))
        wanted = reply_schema(tools) if tools else None
        request = written_request(sent, wanted, {**self.asked, "sample": current_sample()})
        with waiting():
            text = split_thoughts(self.written(request))[0]
        return with_estimate(with_calls(AIMessage(text), tools, id_stem=f"written-{request.key}"), sent)

    @abstractmethod
    def written(self, request: WrittenRequest) -> str:
        """What somebody writes.

        Raises:
            ModelFailure: nothing in time, or nothing that can be read.
        """


class MailboxModel(WrittenReplies):
    """Writes each request to a folder of its own and waits for a reply in it."""

    def written(self, request: WrittenRequest) -> str:
        """The reply file's text."""
        place = self.folder.place(request, _into_a_file(request))
        files, began = ReplyFiles(place), time.monotonic()
        for seconds in _polls():
            text = files.read()
            if text is not None:
                return text
            if time.monotonic() - began + seconds >= self.limit_s:
                break
            pause(seconds)
        again = "run the same again to go on waiting"
        raise ModelFailure(f"no reply in {place} within {self.limit_s:g} s: {again}", is_retryable=False)


def _into_a_file(request: WrittenRequest) -> str:
    who = f"It is addressed to {request.options['for']}. " if request.options.get("for") else ""
    plain = "your message as plain text in a file `reply.md`"
    if request.schema is None:
        return f"{who}Write {plain} beside this one."
    fits = "one JSON object that fits `schema.json`, and nothing around it, in a file `reply.json` beside this one"
    return f"{who}Write {fits}{f', or {plain}' if 'calls' in request.schema.get('properties', {}) else ''}."


def _polls() -> Iterator[float]:
    """Pauses between looks, in seconds: short at first, for programs, then such as a disk does not notice."""
    seconds = FIRST_POLL_S
    while True:
        yield seconds
        seconds = min(SLOWEST_POLL_S, seconds * 1.5)


class PasteModel(WrittenReplies):
    """Shows each request in the terminal and reads the reply that is pasted there.

    Attributes:
        own: the folder of the requests, which goes when the process ends.
    """

    own: tempfile.TemporaryDirectory[str]

    def written(self, request: WrittenRequest) -> str:
        """The pasted text."""
        place = self.folder.place(request, "Reply with that message alone.")
        with TERMINAL:
            _show(place, [*request.pictures])
            return PastedReply(sys.stdin.fileno(), self.limit_s).read()


def _show(place: Path, pictures: Sequence[str]) -> None:
    files = "".join(f", with the picture {place / name}" for name in pictures)
    lines = [
        f"==== To any chat service: the text below (also in {place / 'prompt.md'}){files} ====",
        (place / "prompt.md").read_text(encoding="utf-8"),
        "==== Paste its reply here, then a line with a dot alone; or give the path of a file with the reply ====",
    ]
    sys.stderr.write("\n".join([*lines, ""]))
    sys.stderr.flush()
