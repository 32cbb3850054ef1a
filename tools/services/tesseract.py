"""Lines of text in scripts that RapidOCR does not read, by the program `tesseract` where it is installed.

An optional system package (Debian: tesseract-ocr with tesseract-ocr-script-* or language packs). All lines of a photo
go to one process with the packs of all scripts, which gives each word to the pack that reads it with most confidence:
about 0.1 s of CPU a pack and 0.1 s a line (docs/results.md, "Scripts of signs"). Lines of photos that are read by
several threads at once share a process. Where the program's library can be loaded, it reads in this process instead,
the same words, and the packs are loaded once (`tools/services/tesseract_library.py`).
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.batching import Batching
from tools.services.language_id import DENSE_SCRIPTS, NO_SCRIPT, dominant_script, letter_script
from tools.services.tesseract_library import SINGLE_LINE, TesseractLibrary, find_library, load_library

# Packs of a language, for those scripts whose own pack (named as the script) is not installed.
LANGUAGE_PACKS: Mapping[str, tuple[str, ...]] = {
    "Arabic": ("ara", "fas", "urd", "pus"),
    "Armenian": ("hye",),
    "Bengali": ("ben",),
    "Cyrillic": ("rus", "ukr", "bul", "bel", "srp", "mkd", "kaz", "kir", "mon"),
    "Devanagari": ("hin", "mar", "nep"),
    "Ethiopic": ("amh", "tir"),
    "Georgian": ("kat",),
    "Greek": ("ell",),
    "Gujarati": ("guj",),
    "Gurmukhi": ("pan",),
    "Hangul": ("kor",),
    "Hebrew": ("heb",),
    "Kannada": ("kan",),
    "Khmer": ("khm",),
    "Lao": ("lao",),
    "Malayalam": ("mal",),
    "Myanmar": ("mya",),
    "Sinhala": ("sin",),
    "Tamil": ("tam",),
    "Telugu": ("tel",),
    "Thai": ("tha",),
}
HOW_TO_INSTALL = "apt-get install tesseract-ocr tesseract-ocr-script-cyrl (or -arab, -thai, …; all: tesseract-ocr-all)"

LINE_PX, MARGIN_PX = 44, 10
FRAME_SHARE = 0.08
MIN_LETTERS, MIN_LETTERS_DENSE = 3, 2
_UNSPACED_SCRIPTS = frozenset({"Thai", "Lao", "Khmer", "Myanmar"})
_WORD_LEVEL = "5"
_HEADER = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"

SHARED_LINES = 48
"""Of several photos in one process: they take a fraction of the time that one photo may. Set by hand."""


class TesseractError(Exception):
    """The program is installed and does not do its work; the message says what it said."""


class Reading(NamedTuple):
    """What was read in one line; the confidence (0 to 1) is the mean over its letters."""

    text: str
    script: str
    confidence: float


def has_enough_letters(reading: Reading) -> bool:
    """Whether it can be more than texture that happens to look like a letter or two; Hangul packs more in each."""
    least = MIN_LETTERS_DENSE if reading.script in DENSE_SCRIPTS else MIN_LETTERS
    return sum(c.isalpha() for c in reading.text) >= least


class Tesseract:
    """The installed program and its packs; nothing runs before it is needed. Safe between threads.

    Args:
        program: name or path.
        timeout_s: of one process, for all lines of a photo or a few of several.
        in_process: whether its library may read instead; a crash of that ends this process.
    """

    def __init__(self, program: str = "tesseract", timeout_s: float = 30.0, *, in_process: bool = True) -> None:
        self._name = program
        self._timeout_s = timeout_s
        self._in_process = in_process
        self._batching = Batching(self._read, SHARED_LINES)

    @cached_property
    def _program(self) -> str | None:
        # Looked for at the first use: a system may be opened in an event loop, where files must not be touched.
        return shutil.which(self._name)

    @property
    def is_installed(self) -> bool:
        """Whether the program is there at all."""
        return self._program is not None

    @cached_property
    def packs(self) -> dict[str, tuple[str, ...]]:
        """The installed packs of each script that is read with them; a script's own pack before its languages'.

        Raises:
            TesseractError: the program fails.
        """
        if not self.is_installed:
            return {}
        installed = self._run("--list-langs").decode(errors="replace").splitlines()[1:]
        by_name = {name.rsplit("/", 1)[-1]: name for name in installed}
        packs = {
            script: tuple(by_name[name] for name in ((script,) if script in by_name else names) if name in by_name)
            for script, names in LANGUAGE_PACKS.items()
        }
        return {script: names for script, names in packs.items() if names}

    def read(self, lines: Sequence[NDArray[np.uint8]]) -> list[Reading | None]:
        """Each line as it is read with the installed packs; None where no letter of their scripts is read.

        Args:
            lines: upright uint8 crops (height, width, 3) of one line each.

        Raises:
            TesseractError: the program fails, takes too long or writes something else than its table.
        """
        if not lines or not self.packs:
            return [None] * len(lines)
        return list(self._batching(lines))

    def _read(self, lines: Sequence[NDArray[np.uint8]]) -> list[Reading | None]:
        pages = [_page(line) for line in lines]
        library = self._library
        words = _words_by_page(self._rows(library, pages) if library else self._table(pages))
        return [_reading(words.get(page, ()), self.packs) for page in range(1, len(lines) + 1)]

    @property
    def _pack_names(self) -> str:
        return "+".join(name for names in self.packs.values() for name in names)

    @cached_property
    def _library(self) -> TesseractLibrary | None:
        """The program's library; None where it cannot be loaded."""
        return load_library(self._version, self._pack_names) if self._in_process else None

    @property
    def has_library(self) -> bool:
        """Whether there is a library of the program's version; nothing is loaded.

        Raises:
            TesseractError: the program fails.
        """
        return self._in_process and find_library(self._version) is not None

    @property
    def _version(self) -> str:
        first, *_ = self._run("--version").decode(errors="replace").splitlines() or [""]
        return first.removeprefix("tesseract ")

    def _rows(self, library: TesseractLibrary, pages: Sequence[Image.Image]) -> str:
        until, rows = time.monotonic() + self._timeout_s, list[str]()
        for number, page in enumerate(pages):
            rows.append(library.rows(page, number))
            if time.monotonic() > until:
                raise TesseractError(f"tesseract took longer than {self._timeout_s:g} s")
        return _HEADER + "".join(rows)

    def _table(self, pages: Sequence[Image.Image]) -> str:
        arguments = ("stdin", "stdout", "-l", self._pack_names, "--psm", str(SINGLE_LINE), "tsv")
        return self._run(*arguments, stdin=_tiff(pages)).decode(errors="replace")

    def _run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = [str(self._program), *arguments]
        one_thread = os.environ | {"OMP_THREAD_LIMIT": "1"}
        try:
            done = subprocess.run(  # noqa: S603 - no shell; the arguments are names of installed packs
                command, input=stdin, capture_output=True, timeout=self._timeout_s, check=False, env=one_thread
            )
        except subprocess.TimeoutExpired as error:
            raise TesseractError(f"tesseract took longer than {self._timeout_s:g} s") from error
        except OSError as error:
            raise TesseractError(f"tesseract cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise TesseractError(f"tesseract ended with status {done.returncode}: {said[-1] if said else 'no message'}")
        return done.stdout


def _tiff(pages: Sequence[Image.Image]) -> bytes:
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    return stream.getvalue()


def _page(line: NDArray[np.uint8]) -> Image.Image:
    """Dark letters on their own ground; most pixels of a line are ground. The frame of a sign is cut off."""
    grey = ImageOps.autocontrast(Image.fromarray(line).convert("L"), cutoff=1)
    frame = round(FRAME_SHARE * grey.height)
    grey = grey.crop((frame, frame, max(frame + 1, grey.width - frame), grey.height - frame))
    grey = grey.resize((max(MARGIN_PX, round(grey.width * LINE_PX / grey.height)), LINE_PX), Image.Resampling.LANCZOS)
    ground = float(np.median(np.asarray(grey)))
    if ground < np.asarray(grey).mean():
        grey, ground = ImageOps.invert(grey), 255.0 - ground
    return ImageOps.expand(grey, MARGIN_PX, round(ground))


def _words_by_page(table: str) -> dict[int, list[tuple[str, float]]]:
    """Words with their confidence from tesseract's TSV, by page."""
    rows = csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE)
    if not {"level", "page_num", "conf", "text"} <= set(rows.fieldnames or ()):
        raise TesseractError("tesseract wrote no table of words")
    words: dict[int, list[tuple[str, float]]] = {}
    for row in rows:
        text = _visible(row["text"] or "")
        # In Thai and its like a word may be a single vowel sign; frames are read as bars.
        if row["level"] == _WORD_LEVEL and any(unicodedata.category(c)[0] in "LMN" for c in text):
            words.setdefault(int(row["page_num"]), []).append((text, float(row["conf"]) / 100.0))
    return words


def _visible(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c) != "Cf").strip()


def _reading(words: Sequence[tuple[str, float]], scripts: Iterable[str]) -> Reading | None:
    """The words of a line together, if most letters are of a script that is looked for."""
    letters = [sum(letter_script(c) != NO_SCRIPT for c in text) for text, _ in words]
    script = dominant_script("".join(text for text, _ in words))
    if script not in scripts:
        return None
    confidence = float(np.average([confidence for _, confidence in words], weights=letters))
    return Reading(("" if script in _UNSPACED_SCRIPTS else " ").join(text for text, _ in words), script, confidence)
