"""The library of an installed tesseract, called in this process: its packs stay loaded from photo to photo.

Loading takes about 0.1 s of CPU a pack, which the program spends at each start. The functions are those of its C API
(https://tesseract-ocr.github.io/tessapi/5.x/a00008_source.html). What is loaded stays until the process ends.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import Image

SINGLE_LINE = 7
"""Page segmentation mode: all of the picture is one line of text."""

_HANDLE = ctypes.c_void_p


class TesseractLibrary:
    """Packs that are loaded. Safe between threads, one line at a time."""

    def __init__(self, functions: ctypes.CDLL, handle: int) -> None:
        self._functions, self._handle = functions, handle
        self._lock = threading.Lock()
        functions.TessBaseAPISetVariable(handle, b"debug_file", os.devnull.encode())  # else its notes go to stderr
        functions.TessBaseAPISetPageSegMode(handle, SINGLE_LINE)

    def rows(self, page: Image.Image, number: int) -> str:
        """Rows of the program's TSV, without its header, of a grey picture of one line; pages are numbered from 0."""
        grey = np.asarray(page.convert("L"))
        height, width = grey.shape
        with self._lock:
            self._functions.TessBaseAPISetImage(self._handle, grey.tobytes(), width, height, 1, width)
            text = self._functions.TessBaseAPIGetTsvText(self._handle, number)
        try:
            return ctypes.string_at(text).decode(errors="replace")
        finally:
            self._functions.TessDeleteText(text)


@cache
def load_library(version: str, packs: str) -> TesseractLibrary | None:
    """Load packs, once in a process.

    Args:
        version: of the program; a library of another one might read otherwise.
        packs: names with + between them.

    Returns:
        None where there is no library of this version, or where it cannot load the packs.
    """
    functions = find_library(version)
    if functions is None:
        return None
    handle = functions.TessBaseAPICreate()
    if functions.TessBaseAPIInit3(handle, None, packs.encode()):
        functions.TessBaseAPIDelete(handle)
        return None
    return TesseractLibrary(functions, handle)


@cache
def find_library(version: str) -> ctypes.CDLL | None:
    """The functions of the C API with their types; None where there is no library of this version."""
    name = ctypes.util.find_library("tesseract")
    if name is None:
        return None
    try:
        with _one_thread():
            found = ctypes.CDLL(name)
        found.TessVersion.restype = ctypes.c_char_p
        found.TessBaseAPICreate.restype = _HANDLE
        found.TessBaseAPIDelete.argtypes = [_HANDLE]
        found.TessBaseAPIInit3.argtypes = [_HANDLE, ctypes.c_char_p, ctypes.c_char_p]
        found.TessBaseAPISetPageSegMode.argtypes = [_HANDLE, ctypes.c_int]
        found.TessBaseAPISetVariable.argtypes = [_HANDLE, ctypes.c_char_p, ctypes.c_char_p]
        found.TessBaseAPISetImage.argtypes = [_HANDLE, ctypes.c_char_p, *[ctypes.c_int] * 4]
        found.TessBaseAPIGetTsvText.argtypes = [_HANDLE, ctypes.c_int]
        found.TessBaseAPIGetTsvText.restype = _HANDLE
        found.TessDeleteText.argtypes = [_HANDLE]
    except (OSError, AttributeError):
        return None
    return found if found.TessVersion().decode() == version else None


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenMP, loaded within, uses one thread: more of them cost more CPU and read a line no sooner."""
    name, before = "OMP_THREAD_LIMIT", os.environ.get("OMP_THREAD_LIMIT")
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
