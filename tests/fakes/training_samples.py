"""Tiny collections for tests of the trainer: coloured squares by invented photographers, as a folder and as tars."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

PLACES = [
    ("Paris", "Île-de-France", "France", 48.86, 2.35),
    ("Sydney", "New South Wales", "Australia", -33.87, 151.21),
    ("Nairobi", "Nairobi", "Kenya", -1.29, 36.82),
    ("Lima", "Lima", "Peru", -12.05, -77.04),
    ("Suva", "Rewa", "Fiji", -18.14, 178.44),
]
HEADER = ["IMG_ID", "AUTHOR", "LAT", "LON", "city", "state", "country"]


def jpeg(seed: int, size: tuple[int, int] = (48, 40)) -> bytes:
    """A picture of four colours that depend on the seed."""
    colours = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    picture = Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    return file.getvalue()


def rows(count: int) -> list[list[str]]:
    """One photo an author, so that a split by author is a split of the photos; places near the five cities."""
    rng, found = np.random.default_rng(1), []
    for i in range(count):
        city, region, country, lat, lon = PLACES[i % len(PLACES)]
        moved = rng.uniform(-1.5, 1.5, 2)
        found.append(
            [f"p/{i}.jpg", f"author{i}", f"{lat + moved[0]:.5f}", f"{lon + moved[1]:.5f}", city, region, country]
        )
    return found


def write_table(path: Path, table: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *table])
    return path


def write_folder(folder: Path, count: int) -> Path:
    """Photos below `folder/photos`, and `folder/table.csv`."""
    for i, row in enumerate(rows(count)):
        path = folder / "photos" / row[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(i))
    write_table(folder / "table.csv", rows(count))
    return folder


def write_shards(folder: Path, count: int, shards: int = 2, sidecars: bool = True) -> list[Path]:
    """The same photos in tars: `p_7.jpg`, with `p_7.json` beside it if asked for."""
    paths = [folder / f"shard-{number:03d}.tar" for number in range(shards)]
    for number, path in enumerate(paths):
        with tarfile.open(path, "w") as tar:
            for i, row in list(enumerate(rows(count)))[number::shards]:
                name = row[0].replace("/", "_")
                _add(tar, name, jpeg(i))
                if sidecars:
                    facts: dict[str, Any] = dict(zip(HEADER, row, strict=True))
                    _add(tar, name.replace(".jpg", ".json"), json.dumps(facts).encode())
    return paths


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def small_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """A configuration that trains in a second; `changes` replace keys, written `loop__batch=4`."""
    tree: dict[str, Any] = {
        "name": "small",
        "recipe": "fusion",
        "seed": 7,
        "device": "cpu",
        "threads": 1,
        "run": str(folder / "run"),
        "data": {
            "photos": str(folder / "photos"),
            "table": str(folder / "table.csv"),
            "cache": str(folder / "cache"),
            "prepared": False,
            "workers": 0,
            "min_area": 0.8,
        },
        "model": {
            "dim": 32,
            "image": {"backbone": "mobilenet-v1-tflite", "weights": "tiny"},
            "semantics": {"backbone": "deeplab-tflite", "weights": "tiny", "grid": 3},
            "fusion": {"heads": 2, "dropout": 0.0},
            "location": {
                "encoder": "fourier_capsules",
                "options": {"sigmas": [1, 16], "frequencies": 16, "hidden": 32},
            },
            "text": {"encoder": "chars", "width": 16},
        },
        "objective": {
            "pairs": {"image-gps": 1.0, "semantic-gps": 1.0, "fused-gps": 1.0, "image-text": 0.5, "text-gps": 0.5},
            "triplet": {"weight": 0.5, "margin": 0.5},
            "ignore_within_km": 0.5,
        },
        "negatives": {"queue": 16},
        "loop": {
            "epochs": 3,
            "batch": 8,
            "learning_rate": 0.01,
            "checkpoint_steps": 2,
            "average": 0.9,
            "tensorboard": False,
        },
    }
    for key, value in changes.items():
        *sections, leaf = key.split("__")
        inner = tree
        for section in sections:
            inner = inner[section]
        inner[leaf] = value
    return tree


def write_config(folder: Path, **changes: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(small_config(folder, **changes)), encoding="utf-8")
    return path


def losses(run: Path) -> list[float]:
    """The loss of each step, in the order logged."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]
