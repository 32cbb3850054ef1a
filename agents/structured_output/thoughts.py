"""Reasoning that a model writes into its reply between tags such as <think>: taken out before it is read or shown.

Templates of several open models open the tag in the prompt, so that a reply begins within it and only closes it; a
reply that was cut off opens it and never closes it.
"""

from __future__ import annotations

import re

_NAME = r"(?:think|thinking|thoughts?|reasoning)"
_OPENING = rf"<{_NAME}>|\[THINK\]|◁think▷"
_CLOSING = rf"</{_NAME}>|\[/THINK\]|◁/think▷"
_TAG = re.compile(rf"(?P<opens>{_OPENING})|{_CLOSING}", re.IGNORECASE)
_TAG_STARTS = "<[◁"
MAX_TAG_CHARACTERS = 12


def split_thoughts(text: str) -> tuple[str, str]:
    """The reply without its reasoning, and the reasoning; a text without tags comes back as it is.

    >>> split_thoughts("<think>Lisbon? No.</think>Porto")
    ('Porto', 'Lisbon? No.')
    >>> split_thoughts("Lisbon? No.</think>Porto"), split_thoughts("Porto <think>or")
    (('Porto', 'Lisbon? No.'), ('Porto', 'or'))
    """
    said, thought, start, is_inside = "", "", 0, False
    for tag in _TAG.finditer(text):
        part, start = text[start : tag.start()], tag.end()
        if is_inside:
            thought += part
        elif tag["opens"]:
            said += part
        else:  # it closes what the prompt had opened: all so far was reasoning
            said, thought = "", f"{thought}{said}{part}"
        is_inside = bool(tag["opens"])
    if start == 0:
        return text, ""
    return (said if is_inside else said + text[start:]).strip(), (thought + text[start:] * is_inside).strip()


def begins_inside_thought(text: str) -> bool:
    """Whether a reply closes reasoning that it has not opened."""
    first = _TAG.search(text)
    return first is not None and not first["opens"]


class ThoughtFilter:
    """Passes on what of a stream of text is no reasoning.

    Args:
        may_begin_inside: whether the reply may begin within reasoning that the prompt opened. Then nothing is passed
            on before a tag closes it, or the text has ended.
    """

    def __init__(self, may_begin_inside: bool) -> None:
        self._waits = may_begin_inside
        self._is_inside = False
        self._has_passed = False
        self._pending = ""

    def feed(self, piece: str) -> str:
        """What may be shown after one more piece."""
        start = max(0, len(self._pending) - MAX_TAG_CHARACTERS) if self._waits else 0
        self._pending += piece
        if self._waits and not _TAG.search(self._pending, start):
            return ""
        shown = "".join(self._complete_parts())
        self._pending, held = self._split_at_possible_tag()
        shown += "" if self._is_inside else self._pending
        self._pending = held
        return self._without_leading_space(shown)

    def finish(self) -> str:
        """What was held back, at the end of the stream."""
        rest, self._pending = self._pending, ""
        return "" if self._is_inside else self._without_leading_space(split_thoughts(rest)[0])

    def _complete_parts(self) -> list[str]:
        """Text to be shown before each tag of what is pending; what is behind the last one stays pending."""
        shown: list[str] = []
        while tag := _TAG.search(self._pending):
            before, self._pending = self._pending[: tag.start()], self._pending[tag.end() :]
            closes_unopened = not tag["opens"] and not self._is_inside
            if not self._is_inside and not closes_unopened:
                shown.append(before)
            self._is_inside, self._waits = bool(tag["opens"]), False
        return shown

    def _split_at_possible_tag(self) -> tuple[str, str]:
        """What is pending, cut where a tag may have begun whose end is still to come."""
        tail = max(0, len(self._pending) - MAX_TAG_CHARACTERS + 1)
        begun = max(self._pending.rfind(sign, tail) for sign in _TAG_STARTS)
        return (self._pending, "") if begun < 0 else (self._pending[:begun], self._pending[begun:])

    def _without_leading_space(self, text: str) -> str:
        shown = text if self._has_passed else text.lstrip()
        self._has_passed = self._has_passed or bool(shown)
        return shown
