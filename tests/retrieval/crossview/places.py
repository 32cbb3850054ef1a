"""A tiny collection of places for the tests of cross-view training: photos and tiles of one colour each."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image


def write_places(folder: Path, count: int, photos: int = 2) -> Path:
    """Places on a line, each with a colour that its photos and its tile share, as layout `table`."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    with (folder / "places.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["photo", "tile", "lat", "lon", "place", "text", "part"])
        for number in range(count):
            colour = np.random.default_rng(number).integers(20, 236, 3)
            tile = f"pictures/{number}.png"
            _save(folder / tile, colour, number)
            for photo in range(photos):
                name = f"pictures/{number}-{photo}.png"
                _save(folder / name, colour, 100 * number + photo + 7)
                part, at = "validation" if number % 5 == 0 else "train", f"{10 + number / 50:.4f}"
                table.writerow([name, tile, at, "20.0", f"place {number}", f"Town {number}", part])
    return folder


def _save(path: Path, colour: np.ndarray, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(-15, 16, (32, 32, 3))
    Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(path)


def write_crossview_config(folder: Path, **changes: Any) -> Path:
    """A configuration that trains in seconds on `write_places`; changes replace keys, as `loop__epochs=2`."""
    tree: dict[str, Any] = {
        "name": "tiny-crossview",
        "recipe": "crossview",
        "seed": 3,
        "device": "cpu",
        "threads": 1,
        "run": str(folder / "run"),
        "data": {"folder": str(folder), "photos": 2, "workers": 0},
        "model": {
            "image": {"backbone": "compact-narrow", "weights": "tiny"},
            "shape": {"dim": 8, "shared": False},
            "sizes": {"ground_px": [32, 32], "tile_px": [32, 32]},
        },
        "objective": {"pairs": {"image-satellite": 1.0}, "label_smoothing": 0.1, "temperature": 0.2},
        "sampling": {"near_epochs": 1, "similar_every": 2, "neighbours": 4, "among": 8},
        "loop": {
            "epochs": 4,
            "batch": 8,
            "learning_rate": 0.01,
            "checkpoint_steps": 2,
            "select": "r@1",
            "tensorboard": False,
        },
    }
    for key, value in changes.items():
        *sections, leaf = key.split("__")
        inner = tree
        for section in sections:
            inner = inner[section]
        inner[leaf] = value
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path
