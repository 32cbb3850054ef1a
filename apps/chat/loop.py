"""The loop of a conversation: a line is a question, an answer or a command; Ctrl-C stops the turn, not the chat."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from apps.chat.view import ChatView, cost_lines, photo_line
from apps.options import Outputs
from apps.output.files import check_outputs, write_files
from apps.output.formatting import LocatedPhoto, printable
from core.errors import UserError
from core.files import expanded_path, make_private
from retrieval.photos.photo import Photo, load_photo
from retrieval.photos.thumbnail import strip_jpeg
from retrieval.photos.together import joined_name

if TYPE_CHECKING:
    from apps.commands.opening import OpenConversation
    from graphs.chat.state import ShownPhoto

PROMPT = "> "
_HISTORY_LINES = 1000
_PATIENCE_S = 2.0


class LineReader:
    """Reads lines from standard input. At a terminal, earlier lines come back with the arrow keys.

    Args:
        history: a file of earlier lines; None: none are kept beyond this process.
    """

    def __init__(self, history: Path | None) -> None:
        self._history = history
        self.is_terminal = sys.stdin.isatty()
        if self.is_terminal:
            self._load()

    def read(self, prompt: str = PROMPT) -> str | None:
        """The next line; None at the end.

        Raises:
            KeyboardInterrupt: Ctrl-C at the prompt.
        """
        if not self.is_terminal:
            line = sys.stdin.readline()
            return line.rstrip("\n") if line else None
        try:
            return input(prompt)
        except EOFError:
            return None

    def close(self) -> None:
        """Save the history, readable by its owner only."""
        if not self.is_terminal or self._history is None:
            return
        import readline

        with contextlib.suppress(OSError):  # the history is a convenience
            make_private(self._history)
            readline.set_history_length(_HISTORY_LINES)
            readline.write_history_file(self._history)

    def _load(self) -> None:
        # Importing readline gives `input` editing and history.
        import readline

        if self._history is not None:
            with contextlib.suppress(OSError):  # none yet, or not readable
                readline.read_history_file(self._history)


HELP = """\
Type a question about the photo: why? · why not Portugal? · compare with Porto · what would change your mind?
or what you know: it is not Portugal · the sign is Czech · it is near a tram depot in Brno · forget that
  /photo PATH   show another photo         /photo N   talk about photo N again
  /photo A B    several of one place       /add PATH  add photos of the current place
  /photos       the photos shown           /why       what speaks for the answer, without asking the model
  /table        places × evidence          /cost      what this conversation has cost
  /map [FILE]   write a map (HTML)
  /undo         take the last turn back    /resume    go on with a turn that was stopped
  /help         this                       /quit      leave"""

_DEFAULT_MAP = "geosleuth-chat.html"


class ChatLoop:
    """Reads lines and runs each as a command or as a turn of the conversation."""

    def __init__(self, opened: OpenConversation, view: ChatView, reader: LineReader) -> None:
        self._system, self._conversation, self._thread = opened.system, opened.conversation, opened.thread
        self._view, self._reader = view, reader
        self._names: dict[str, str] = {}
        self._commands: dict[str, Callable[[str], None]] = {
            "/photo": self._photo,
            "/add": self._add,
            "/photos": self._photos,
            "/why": self._why,
            "/table": self._table,
            "/map": self._map,
            "/cost": self._cost,
            "/undo": self._undo,
            "/resume": self._resume,
            "/help": lambda _: self._view.show(HELP),
        }

    def run(self, photo: Photo | None, name: str) -> int:
        """Run until the person leaves; returns the exit status."""
        self._greet()
        if photo is not None:
            self._run_turn(partial(self._show, [(photo, name)]))
        try:
            while (line := self._next_line()) is not None:
                if line.strip() in ("/quit", "/exit"):
                    break
                if line.strip():
                    if not self._reader.is_terminal:
                        self._view.note(f"> {printable(line)}")  # so that a transcript reads like a conversation
                    self._run_turn(partial(self._handle, line.strip()))
        finally:
            self._reader.close()
        return 0

    def _greet(self) -> None:
        shown = self._conversation.shown
        if shown:
            self._view.note(f"thread {self._thread.name if self._thread else ''}: {len(shown)} photo(s); /help")
            if asked := self._conversation.question:
                self._view.question(asked)
            elif self._conversation.is_unfinished:
                self._view.note("the last turn was not finished; /resume goes on with it")
        elif self._reader.is_terminal:
            self._view.note("/photo PATH shows a photo, /help says what else there is, Ctrl-D leaves")

    def _next_line(self) -> str | None:
        while True:
            try:
                return self._reader.read()
            except KeyboardInterrupt:
                self._view.note("\n/quit or Ctrl-D leaves")

    def _run_turn(self, act: Callable[[], None]) -> None:
        """Run one turn; an error that the person can mend, or Ctrl-C, ends the turn and not the conversation."""
        try:
            act()
        except UserError as error:
            self._view.note(f"error: {printable(str(error))}", style="red")
        except KeyboardInterrupt:
            from agents.chat_models.written.pasting import wait_for_terminal

            wait_for_terminal(_PATIENCE_S)
            self._view.note("\nstopped; /resume goes on with this turn, /undo takes it back", style="yellow")

    def _handle(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word in self._commands:
            self._commands[word](rest.strip())
        elif word.startswith("/"):
            raise UserError(f"no command {word}: /help lists them")
        elif not self._conversation.shown:
            raise UserError("no photo yet: /photo PATH shows one, and then ask about it")
        elif self._conversation.question:
            self._view.follow(self._conversation.answer_question(line), self._unlocated_name())
        else:
            self._view.follow(self._conversation.ask(line), None)

    def _unlocated_name(self) -> str | None:
        """The name of the current photo, if it is not located yet."""
        current = next((s for s in self._conversation.shown if s.photo_id == self._conversation.photo_id), None)
        return self._name(current) if current and current.photo_id not in self._conversation.cases else None

    def _show(self, photos: Sequence[tuple[Photo, str]]) -> None:
        """Show a photo, or several of one place."""
        (photo, name), *more = photos
        self._remember_names(photos)
        if photo.id in self._conversation.cases and not more:
            self._view.note(f"{printable(name)} is in this conversation already; ask about it")
            self._switch_to(next(s for s in self._conversation.shown if s.photo_id == photo.id))
        else:
            events = self._conversation.show(photo, more=[other for other, _ in more])
            self._view.follow(events, joined_name([name for _, name in photos]))

    def _add(self, rest: str) -> None:
        if not rest:
            raise UserError("/add needs a file: another photo of the current place")
        photos = _loaded(rest)
        events = self._conversation.add([photo for photo, _ in photos])
        self._remember_names(photos)
        current = next(s for s in self._conversation.shown if s.photo_id == self._conversation.photo_id)
        self._view.follow(events, joined_name([self._name(current), *(name for _, name in photos)]))

    def _remember_names(self, photos: Sequence[tuple[Photo, str]]) -> None:
        for photo, name in photos:
            self._names[photo.id] = name
            if self._thread:
                self._thread.name_photo(photo.id, name)

    def _photo(self, rest: str) -> None:
        if not rest:
            raise UserError("/photo needs a file, or the number of a photo in /photos")
        shown = self._conversation.shown
        numbered = {str(number): one for number, one in enumerate(shown, 1)}
        if rest.isdecimal() and not os.path.exists(rest):  # Path.exists raises where a name is too long
            if rest not in numbered:
                raise UserError(f"no photo {rest[:20]}: there are {len(shown)}")
            self._switch_to(numbered[rest])
        else:
            self._show(_loaded(rest))

    def _switch_to(self, shown: ShownPhoto) -> None:
        self._conversation.turn_to(shown)
        self._view.note(f"talking about {printable(self._name(shown))}")

    def _photos(self, _: str) -> None:
        for number, shown in enumerate(self._conversation.shown, 1):
            answer = self._conversation.answers.get(shown.photo_id)
            is_current = shown.photo_id == self._conversation.photo_id
            self._view.show(photo_line(number, self._name(shown), answer, is_current))
        if not self._conversation.shown:
            self._view.note("no photo yet: /photo PATH shows one")

    def _why(self, _: str) -> None:
        from agents.offline.explanations import why
        from graphs.chat.prompt_data import follow_up_data

        case = self._conversation.cases.get(self._conversation.photo_id or "")
        if case is None:
            raise UserError("no photo is located yet: /photo PATH shows one")
        data = follow_up_data(self._system.context, case, "", self._conversation.is_coarse, self._system.coarsened)
        self._view.show(printable_lines(why(data)))

    def _table(self, _: str) -> None:
        answer = self._conversation.answers.get(self._conversation.photo_id or "")
        if answer is None:
            raise UserError("no photo is located yet: /photo PATH shows one")
        self._view.table(answer)

    def _map(self, rest: str) -> None:
        cases = self._conversation.cases
        located = [self._located(shown) for shown in self._conversation.shown if shown.photo_id in cases]
        if not located:
            raise UserError("no photo is located yet: /photo PATH shows one")
        outputs = Outputs(page=expanded_path(rest or _DEFAULT_MAP))
        check_outputs(outputs, None, ())  # before a map is drawn, which takes seconds
        write_files(located, outputs)

    def _located(self, shown: ShownPhoto) -> LocatedPhoto:
        self._conversation.photos.bring(shown)
        picture = strip_jpeg([self._system.photo_store.get(photo.photo_id) for photo in shown.photos])
        return LocatedPhoto(self._name(shown), self._conversation.answers[shown.photo_id], picture)

    def _cost(self, _: str) -> None:
        self._view.show(cost_lines(self._conversation.cost, self._conversation.answers.values()))

    def _undo(self, _: str) -> None:
        words = self._conversation.undo()
        if words is None:
            raise UserError("there is nothing to take back")
        what = f"“{printable(words, 60)}”" if words else "the last photo"
        self._view.note(f"took back {what}; {len(self._conversation.shown)} photo(s) in this conversation")

    def _resume(self, _: str) -> None:
        if asked := self._conversation.question:
            self._view.question(asked)
        elif self._conversation.is_unfinished:
            self._view.follow(self._conversation.go_on(), self._unlocated_name())
        else:
            raise UserError("nothing was stopped")

    def _name(self, shown: ShownPhoto) -> str:
        """What the person calls a photo, or the photos of a place."""
        ids = [photo.photo_id for photo in shown.photos]
        saved = {photo_id: self._thread.photo_name(photo_id) if self._thread else photo_id for photo_id in ids}
        return joined_name([self._names.get(photo_id, saved[photo_id]) for photo_id in ids])


def _loaded(paths: str) -> list[tuple[Photo, str]]:
    """The photos of a line, with their names: one path as it is, spaces and all, or several as a shell reads them.

    Raises:
        UserError: a file that is no photo.
    """
    try:
        several = shlex.split(paths)
    except ValueError:  # a quotation mark in a name
        several = []
    files = [expanded_path(paths)]
    if len(several) > 1 and not os.path.exists(files[0]):
        files = [expanded_path(part) for part in several]
    return [(load_photo(file), file.name) for file in files]


def printable_lines(text: str) -> str:
    """Untrusted text of several lines: each is made printable and keeps its indentation."""
    return "\n".join(f"{line[: len(line) - len(line.lstrip())]}{printable(line)}" for line in text.splitlines())
