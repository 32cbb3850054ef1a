"""The panel beside the map picture: the photo, the place, how sure, the alternatives and the legend."""

from __future__ import annotations

from PIL import Image

from agents.schemas import Answer, Hypothesis
from apps.maps.png_tools import (
    AMBER,
    CYAN,
    GREEN,
    INK,
    MUTED,
    PAPER,
    PINK,
    RULE,
    SCALE,
    Sheet,
    shortened,
    wrapped,
)
from apps.output.formatting import (
    alternatives,
    certainty_note,
    evidence_label,
    heading,
    km,
    percent,
    printable,
    source_text,
)
from apps.output.located_photo import LocatedPhoto

_MARGIN = 24.0
_PHOTO_HEIGHT = 243.0


def draw_panel(sheet: Sheet, located: LocatedPhoto, thumbnail: Image.Image | None, left: float) -> None:
    """Fill the sheet from `left` to its right edge."""
    answer = located.answer
    inner = _Column(sheet, left + _MARGIN, sheet.image.width / SCALE - left - 2 * _MARGIN)
    if thumbnail is not None:
        inner.photo(thumbnail)
    inner.title(heading(answer))
    inner.facts(answer)
    inner.alternatives(answer)
    inner.evidence(answer)
    inner.legend(answer)


class _Column:
    """Things one under another."""

    def __init__(self, sheet: Sheet, left: float, width: float) -> None:
        self.sheet, self.left, self.width = sheet, left, width
        self.y = _MARGIN

    def photo(self, picture: Image.Image) -> None:
        scale = min(self.width / picture.width, _PHOTO_HEIGHT / picture.height)
        size = (picture.width * scale, picture.height * scale)
        self.sheet.box((self.left, self.y), (self.left + self.width, self.y + size[1]), (20, 30, 50), 8)
        self.sheet.paste(picture, (self.left + (self.width - size[0]) / 2, self.y), size, 8)
        self.y += size[1] + 18

    def title(self, text: str) -> None:
        for line in wrapped(text, 24, self.width, 2, bold=True):
            self.sheet.text((self.left, self.y), line, 24, PAPER, bold=True)
            self.y += 30
        self.y += 2

    def facts(self, answer: Answer) -> None:
        if answer.point is None:
            for line in wrapped(printable(answer.reasoning), 13.5, self.width, 4):
                self.line(line, 13.5, MUTED, 19)
            self.y += 6
            return
        self.line(str(answer.point), 14, MUTED, 26)
        self.bar("confidence", percent(answer.confidence), answer.confidence)
        if answer.radius_50_km is not None and answer.radius_90_km is not None:
            self.pair("50 % within", km(answer.radius_50_km), "90 % within", km(answer.radius_90_km))
            self.line(certainty_note(answer), 11.5, MUTED, 22)

    def line(self, text: str, size: float, colour: tuple[int, ...], step: float) -> None:
        self.sheet.text((self.left, self.y), shortened(text, size, self.width), size, colour)
        self.y += step

    def bar(self, label: str, value: str, share: float) -> None:
        self.sheet.text((self.left, self.y), label, 12.5, MUTED)
        self.sheet.text((self.left + self.width, self.y), value, 12.5, PAPER, bold=True, anchor="ra")
        self.y += 20
        self.meter(self.left, self.width, share, AMBER)
        self.y += 16

    def meter(self, left: float, width: float, share: float, colour: tuple[int, ...]) -> None:
        self.sheet.box((left, self.y), (left + width, self.y + 5), RULE, 2.5)
        self.sheet.box((left, self.y), (left + max(5.0, width * share), self.y + 5), colour, 2.5)

    def pair(self, label: str, value: str, other_label: str, other_value: str) -> None:
        for column, (name, text) in enumerate(((label, value), (other_label, other_value))):
            x = self.left + column * self.width / 2
            self.sheet.text((x, self.y), name, 12.5, MUTED)
            self.sheet.text((x, self.y + 17), text, 17, PAPER, bold=True)
        self.y += 44

    def alternatives(self, answer: Answer) -> None:
        others = alternatives(answer)
        if not others:
            return
        self.rule()
        for number, hypothesis in enumerate(others, 1 if answer.point is None else 2):
            self.alternative(number, hypothesis)
        self.y += 4

    def alternative(self, number: int, hypothesis: Hypothesis) -> None:
        centre = (self.left + 9, self.y + 9)
        self.sheet.circles([centre], 9, (*CYAN, 255), (*CYAN, 255))
        self.sheet.text(centre, str(number), 11, INK, bold=True, anchor="mm")
        name = shortened(printable(hypothesis.name), 13.5, self.width - 80)
        self.sheet.text((self.left + 27, self.y + 9), name, 13.5, PAPER, anchor="lm")
        share = percent(hypothesis.probability)
        self.sheet.text((self.left + self.width, self.y + 9), share, 13, MUTED, anchor="rm")
        self.y += 25

    def evidence(self, answer: Answer) -> None:
        room = self.sheet.image.height / SCALE - self.y - 2 * _MARGIN - 24
        claims = [item for item in answer.evidence if item.source is not None][: max(0, int(room // 56))]
        if not claims:
            return
        self.rule()
        for item in claims:
            for line in wrapped(printable(item.claim), 12.5, self.width, 2):
                self.line(line, 12.5, PAPER, 17)
            self.line(f"{evidence_label(item)} · {source_text(item.source)}", 11, MUTED, 22)

    def rule(self) -> None:
        self.sheet.box((self.left, self.y), (self.left + self.width, self.y + 1), RULE)
        self.y += 12

    def legend(self, answer: Answer) -> None:
        entries = [("answer", AMBER), ("alternative", CYAN), ("candidate", PINK)]
        if answer.metadata_position is not None:
            entries.append(("metadata", GREEN))
        x, y = self.left, self.sheet.image.height / SCALE - _MARGIN - 6
        for label, colour in entries:
            self.sheet.circles([(x + 5, y)], 5, (*colour, 255), (*colour, 255))
            self.sheet.text((x + 15, y), label, 11.5, MUTED, anchor="lm")
            x += 84 if label != "alternative" else 96
        self.sheet.text((self.left + self.width, y), "GeoSleuth", 11.5, MUTED, bold=True, anchor="rm")
