"""Crops of the training photos with the outputs of the teachers of `compact`, computed once.

Files in `data.cache`: `pixels.npy` (photos, crops, size, size, 3) uint8,
`tokens.npy` (photos, crops, 7, 7, 1024) uint8, `segments.npy` (photos, crops,
14, 14, 19) and `scenes.npy` (photos, 33, 33, 19) uint8 probabilities x 255,
flags of what is done, and `photos.json`. A stopped run of `prepare_crops`
continues where it was. Only photos by training authors are read.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from core.errors import UserError
from retrieval.backbones.compact import CLASSES
from retrieval.backbones.tflite import SEGMENT_SHAPE, TOKEN_SHAPE
from retrieval.encoders.compact import Pixels, preprocess
from retrieval.splits import inner_split, part_indices
from retrieval.training.compact.teachers import TEACHER_PX, ImageTeacher, SegmentTeacher, teachers_folder
from retrieval.training.config import CompactConfig, DataConfig
from retrieval.training.data.crops import WHOLE, Box, crop, crop_grid, random_box
from retrieval.training.data.table import PhotoTable, read_photo_table


def photos_of(data: DataConfig, part: str) -> PhotoTable:
    """Read one part of the split by photographer, in the table's order.

    Raises:
        UserError: no such table, or a row that cannot be used.
    """
    if data.table is None:
        raise UserError("data.table: set it to a CSV with IMG_ID, AUTHOR, LAT, LON")
    table, bad = read_photo_table(data.table, data.columns)
    if bad:
        raise UserError(f"{bad[0].where} ({bad[0].name}): {bad[0].reason}; {len(bad)} such rows: mend the table")
    return table.take(part_indices(table.authors, part))


def inner_train_mask(train: PhotoTable) -> NDArray[np.bool_]:
    """True, (n,), for the training photos by inner training authors."""
    return np.array([part == "inner_train" for part in inner_split(train.authors)])


def read_rgb(data: DataConfig, name: str) -> NDArray[np.uint8]:
    """Read a photo's pixels, uint8 (height, width, 3).

    Raises:
        UserError: no folder is configured.
    """
    if data.photos is None:
        raise UserError("data.photos: set it to the folder of the photos")
    with Image.open(data.photos / name) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


SEGMENT_GRID = 14
Bytes = NDArray[np.uint8]


class CropBatch(NamedTuple):
    """Crops with the teachers' outputs.

    Attributes:
        pixels: float32 (batch, 3, size, size) in 0..255.
        tokens: float32 (batch, 49, 1024).
        segments: float32 (batch, 19, 14, 14), probabilities.
    """

    pixels: Tensor
    tokens: Tensor
    segments: Tensor


class CropCache:
    """The cached crops of the photos a run may train on; memory-mapped, read by (photo, crop) pairs.

    Raises:
        UserError: the crops were not prepared, or not all of them.
    """

    def __init__(self, config: CompactConfig) -> None:
        self._folder = config.data.cache
        if not self._open("done").all():
            raise UserError(f"{self._folder} is half prepared: run python -m retrieval.training.data.prepare again")
        self.table = photos_of(config.data, "train")
        chosen = np.ones(len(self.table.ids), dtype=np.bool_)
        if config.data.train_part == "inner_train":
            chosen = inner_train_mask(self.table)
        self.photos: NDArray[np.int64] = np.flatnonzero(chosen)
        self.crops, self.plain_crops = config.prepare.crops, _plain_crops(config)
        self.pixels, self.tokens, self.segments = (self._open(name) for name in ("pixels", "tokens", "segments"))

    def pairs(self) -> NDArray[np.int64]:
        """All (photo, crop) pairs of the photos of this run, (n, 2)."""
        grid = np.meshgrid(self.photos, np.arange(self.crops), indexing="ij")
        return np.stack(grid, axis=-1).reshape(-1, 2)

    def batch(self, pairs: NDArray[np.int64], device: torch.device) -> CropBatch:
        """The crops of (photo, crop) pairs, (batch, 2)."""
        photo, crop_number = pairs.T
        pixels, tokens, segments = (
            torch.from_numpy(np.ascontiguousarray(array[photo, crop_number])).to(device)
            for array in (self.pixels, self.tokens, self.segments)
        )
        return CropBatch(
            pixels.permute(0, 3, 1, 2).float(),
            tokens.flatten(1, 2).float(),
            segments.permute(0, 3, 1, 2).float() / 255.0,
        )

    def embeddings(self) -> Tensor:
        """The teacher's mean tokens of every crop of every photo, float32 (photos, crops, 1024)."""
        means = [crops.reshape(self.crops, -1, crops.shape[-1]).mean(axis=1, dtype=np.float32) for crops in self.tokens]
        return torch.from_numpy(np.stack(means))

    def _open(self, name: str) -> Bytes:
        path: Path = self._folder / f"{name}.npy"
        if not path.is_file():
            raise UserError(f"nothing prepared in {self._folder}: run python -m retrieval.training.data.prepare first")
        array: Bytes = np.load(path, mmap_mode="r")
        return array


def _plain_crops(config: CompactConfig) -> int:
    """How many of a photo's crops are not blended with another photo."""
    return config.prepare.crops - round(config.prepare.crops * config.prepare.mixed_share)


class TeacherCrops(NamedTuple):
    """All crops of one photo with the teachers' outputs; shapes as in the module's text, without `photos`."""

    pixels: Pixels
    tokens: Bytes
    segments: Bytes


class TeacherCrop(NamedTuple):
    """One crop at the teacher's and at the student's size, and its class probabilities (14, 14, 19)."""

    teacher: Pixels
    student: Pixels
    classes: NDArray[np.float32]


class CropMaker:
    """Draws the crops of one photo and runs the teachers on each."""

    def __init__(self, config: CompactConfig, names: list[str]) -> None:
        self._config, self._names = config, names
        self._image = ImageTeacher(teachers_folder(config.data))
        self._segment = SegmentTeacher(teachers_folder(config.data))

    def scene(self, index: int) -> Bytes:
        """Class probabilities x 255 (33, 33, 19) of the whole photo `index`; crops are cut out of it."""
        return _to_bytes(self._segment.distributions(self._rgb(index)))

    def crops(self, index: int) -> TeacherCrops:
        """The crops of photo `index`; a function of the seed and the index alone."""
        rng = np.random.default_rng([self._config.seed, index])
        crops = [self._crop(index, WHOLE)]
        plain = _plain_crops(self._config)
        for number in range(1, self._config.prepare.crops):
            drawn = self._crop(index, random_box(rng, self._config.prepare.min_area))
            crops.append(drawn if number < plain else self._blend(drawn, rng))
        return TeacherCrops(
            np.stack([one.student for one in crops]),
            np.stack([self._image.tokens(one.teacher) for one in crops]),
            np.stack([_to_bytes(one.classes) for one in crops]),
        )

    def _rgb(self, index: int) -> Pixels:
        return read_rgb(self._config.data, self._names[index])

    def _crop(self, index: int, box: Box) -> TeacherCrop:
        scenes: Bytes = np.load(self._config.data.cache / "scenes.npy", mmap_mode="r")
        classes = crop_grid(scenes[index].astype(np.float32) / 255.0, box, SEGMENT_GRID)
        rgb = crop(self._rgb(index), box)
        return TeacherCrop(preprocess(rgb, TEACHER_PX), preprocess(rgb, self._config.model.size_px), classes)

    def _blend(self, one: TeacherCrop, rng: np.random.Generator) -> TeacherCrop:
        """Mixup (Zhang et al. 2018) with a crop of another photo; the image teacher labels the blended picture."""
        other = self._crop(int(rng.integers(len(self._names))), random_box(rng, self._config.prepare.min_area))
        share = rng.uniform(0.3, 0.7)
        teacher = _mixed_pixels(one.teacher, other.teacher, share)
        student = _mixed_pixels(one.student, other.student, share)
        classes = share * one.classes + (1 - share) * other.classes
        return TeacherCrop(teacher, student, np.asarray(classes, dtype=np.float32))


def _mixed_pixels(one: Pixels, other: Pixels, share: float) -> Pixels:
    return np.asarray(np.rint(share * one.astype(np.float32) + (1 - share) * other.astype(np.float32)), dtype=np.uint8)


def _to_bytes(probabilities: NDArray[np.float32]) -> Bytes:
    """Probabilities x 255, rounded."""
    return np.asarray(np.rint(probabilities * 255.0), dtype=np.uint8)


def prepare_crops(config: CompactConfig) -> None:
    """Fill the cache for every training photo that is not in it yet.

    Raises:
        UserError: the cache was made with other settings.
    """
    names = photos_of(config.data, "train").ids
    arrays = _writable_arrays(config, names)
    context, initial = get_context("spawn"), (config, names)
    with ProcessPoolExecutor(config.prepare.workers, context, _start_worker, initial) as pool:
        todo = np.flatnonzero(~arrays["seen"]).tolist()
        for index, scene in zip(todo, tqdm(pool.map(_scene, todo), total=len(todo), desc="segment"), strict=True):
            arrays["scenes"][index], arrays["seen"][index] = scene, True
        _flush(arrays)
        todo = np.flatnonzero(~arrays["done"]).tolist()
        for index, crops in zip(todo, tqdm(pool.map(_crops, todo), total=len(todo), desc="crops"), strict=True):
            for name, value in crops._asdict().items():
                arrays[name][index] = value
            arrays["done"][index] = True
    _flush(arrays)


def _flush(arrays: dict[str, np.memmap[Any, Any]]) -> None:
    for array in arrays.values():
        array.flush()


def _writable_arrays(config: CompactConfig, names: list[str]) -> dict[str, np.memmap[Any, Any]]:
    cache = config.data.cache
    cache.mkdir(parents=True, exist_ok=True)
    recipe = {
        "prepare": config.prepare.model_dump(exclude={"workers"}),
        "seed": config.seed,
        "size_px": config.model.size_px,
        "photos": names,
    }
    record = cache / "photos.json"
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")) != recipe:
        raise UserError(f"{cache} was prepared with other settings: delete it or set data.cache to a new folder")
    record.write_text(json.dumps(recipe), encoding="utf-8")
    crops, size = (len(names), config.prepare.crops), config.model.size_px
    shapes: dict[str, tuple[int, ...]] = {
        "pixels": (*crops, size, size, 3),
        "tokens": (*crops, *TOKEN_SHAPE),
        "segments": (*crops, SEGMENT_GRID, SEGMENT_GRID, CLASSES),
        "scenes": (len(names), *SEGMENT_SHAPE),
    }
    arrays = {name: _memmap(cache / f"{name}.npy", np.uint8, shape) for name, shape in shapes.items()}
    return arrays | {name: _memmap(cache / f"{name}.npy", np.bool_, (len(names),)) for name in ("seen", "done")}


def _memmap(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    return np.lib.format.open_memmap(path, mode="r+" if path.is_file() else "w+", dtype=dtype, shape=shape)


_maker: CropMaker | None = None
"""The teachers of a worker process, loaded once."""


def _start_worker(config: CompactConfig, names: list[str]) -> None:
    global _maker
    _maker = CropMaker(config, names)


def _worker_maker() -> CropMaker:
    assert _maker is not None, "the pool's initializer ran"  # noqa: S101  # a programming error, not the user's
    return _maker


def _scene(index: int) -> Bytes:
    return _worker_maker().scene(index)


def _crops(index: int) -> TeacherCrops:
    return _worker_maker().crops(index)
