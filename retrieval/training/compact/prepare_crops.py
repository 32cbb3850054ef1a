"""Cache what the teachers of `compact` say about random crops of the training photos.

Writes to `data.cache`: `pixels.npy` (photos, crops, size, size, 3) uint8,
`tokens.npy` (photos, crops, 7, 7, 1024) uint8, `segments.npy` (photos, crops,
14, 14, 19) and `scenes.npy` (photos, 33, 33, 19) uint8 probabilities x 255,
flags of what is done, and `photos.json`. A run that
was stopped goes on where it was. Only training authors are read.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from core.errors import UserError
from retrieval.encoders.compact import Pixels, preprocess
from retrieval.training.compact.photos import CompactPhoto, photo_path, read_rgb, training_rows
from retrieval.training.compact.teachers import (
    SEGMENT_SHAPE,
    TEACHER_PX,
    TOKEN_SHAPE,
    ImageTeacher,
    SegmentTeacher,
    teachers_folder,
)
from retrieval.training.config import TrainingConfig
from retrieval.training.data.crops import WHOLE, Box, crop, cut, random_box

SEGMENT_GRID = 14
CLASSES = 19


class CropSet(NamedTuple):
    """All crops of one photo with what the teachers say about them; shapes as in the module's text."""

    pixels: Pixels
    tokens: NDArray[np.uint8]
    segments: NDArray[np.uint8]


class View(NamedTuple):
    """One crop: as the teacher sees it, as the student sees it, and its class probabilities (14, 14, 19)."""

    teacher: Pixels
    student: Pixels
    classes: NDArray[np.float32]


class CropMaker:
    """Draws the crops of one photo and asks the teachers about each."""

    def __init__(self, config: TrainingConfig, rows: list[CompactPhoto]) -> None:
        self._config, self._rows = config, rows
        self._image = ImageTeacher(teachers_folder(config.data))
        self._segment = SegmentTeacher(teachers_folder(config.data))

    def scene(self, index: int) -> NDArray[np.uint8]:
        """Class probabilities x 255 (33, 33, 19) of the whole photo `index`; crops are cut out of it."""
        rgb = read_rgb(photo_path(self._config.data, self._rows[index]))
        return to_bytes(self._segment.distributions(rgb))

    def make(self, index: int) -> CropSet:
        """The crops of photo `index`; a function of the seed and the index alone."""
        rng = np.random.default_rng([self._config.seed, index])
        views = [self._view(index, WHOLE)]
        plain = self._config.prepare.crops - round(self._config.prepare.crops * self._config.prepare.mixed_share)
        for number in range(1, self._config.prepare.crops):
            view = self._view(index, random_box(rng, self._config.prepare.min_area))
            views.append(view if number < plain else self._blend(view, rng))
        tokens = np.stack([self._image.tokens(view.teacher) for view in views])
        pixels, segments = (view.student for view in views), (to_bytes(view.classes) for view in views)
        return CropSet(np.stack(list(pixels)), tokens, np.stack(list(segments)))

    def _view(self, index: int, box: Box) -> View:
        rgb = read_rgb(photo_path(self._config.data, self._rows[index]))
        scenes: NDArray[np.uint8] = np.load(self._config.data.cache / "scenes.npy", mmap_mode="r")
        classes = cut(scenes[index].astype(np.float32) / 255.0, box, SEGMENT_GRID)
        cropped = crop(rgb, box)
        return View(preprocess(cropped, TEACHER_PX), preprocess(cropped, self._config.model.size_px), classes)

    def _blend(self, view: View, rng: np.random.Generator) -> View:
        """Mixup (Zhang et al. 2018) with another photo: more pictures, labelled by the teacher itself."""
        other = self._view(int(rng.integers(len(self._rows))), random_box(rng, self._config.prepare.min_area))
        share = rng.uniform(0.3, 0.7)
        teacher, student = _mixed(view.teacher, other.teacher, share), _mixed(view.student, other.student, share)
        classes = share * view.classes + (1 - share) * other.classes
        return View(teacher, student, np.asarray(classes, dtype=np.float32))


def _mixed(one: Pixels, other: Pixels, share: float) -> Pixels:
    return np.asarray(np.rint(share * one.astype(np.float32) + (1 - share) * other.astype(np.float32)), dtype=np.uint8)


def to_bytes(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities x 255, rounded."""
    return np.asarray(np.rint(probabilities * 255.0), dtype=np.uint8)


def prepare_crops(config: TrainingConfig) -> None:
    """Fill the cache for every training photo that is not in it yet."""
    rows = training_rows(config.data)
    arrays = _open_cache(config, rows)
    context = get_context("spawn")
    with ProcessPoolExecutor(
        config.prepare.workers, mp_context=context, initializer=_start, initargs=(config, rows)
    ) as pool:
        todo = [int(i) for i in np.flatnonzero(~arrays["seen"])]
        for index, scene in zip(todo, tqdm(pool.map(_scene, todo), total=len(todo), desc="segment"), strict=True):
            arrays["scenes"][index], arrays["seen"][index] = scene, True
        _flush(arrays)
        todo = [int(i) for i in np.flatnonzero(~arrays["done"])]
        for index, crops in zip(todo, tqdm(pool.map(_crops, todo), total=len(todo), desc="crops"), strict=True):
            for name, value in crops._asdict().items():
                arrays[name][index] = value
            arrays["done"][index] = True
    _flush(arrays)


def _flush(arrays: dict[str, np.memmap[Any, Any]]) -> None:
    for array in arrays.values():
        array.flush()


def _open_cache(config: TrainingConfig, rows: list[CompactPhoto]) -> dict[str, np.memmap[Any, Any]]:
    cache = config.data.cache
    cache.mkdir(parents=True, exist_ok=True)
    recipe = {
        "prepare": config.prepare.model_dump(exclude={"workers"}),
        "seed": config.seed,
        "size_px": config.model.size_px,
        "photos": [row.name for row in rows],
    }
    record = cache / "photos.json"
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")) != recipe:
        raise UserError(f"{cache} was prepared with other settings: delete it or set data.cache to a new folder")
    record.write_text(json.dumps(recipe), encoding="utf-8")
    n, size = (len(rows), config.prepare.crops), config.model.size_px
    shapes: dict[str, tuple[int, ...]] = {
        "pixels": (*n, size, size, 3),
        "tokens": (*n, *TOKEN_SHAPE),
        "segments": (*n, SEGMENT_GRID, SEGMENT_GRID, CLASSES),
        "scenes": (len(rows), *SEGMENT_SHAPE),
    }
    flags = ("seen", "done")
    arrays = {name: _memmap(cache / f"{name}.npy", np.uint8, shape) for name, shape in shapes.items()}
    return arrays | {name: _memmap(cache / f"{name}.npy", np.bool_, (len(rows),)) for name in flags}


def _memmap(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    return np.lib.format.open_memmap(path, mode="r+" if path.is_file() else "w+", dtype=dtype, shape=shape)


_maker: CropMaker | None = None


def _start(config: TrainingConfig, rows: list[CompactPhoto]) -> None:
    global _maker
    _maker = CropMaker(config, rows)


def _worker() -> CropMaker:
    assert _maker is not None, "the pool's initializer ran"  # noqa: S101  # a programming error, not the user's
    return _maker


def _scene(index: int) -> NDArray[np.uint8]:
    return _worker().scene(index)


def _crops(index: int) -> CropSet:
    return _worker().make(index)
