"""A tiny MMLandmarks in its published layout: photos and tiles of one colour a landmark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_landmarks(folder: Path, train: int = 20, query: int = 6, index: int = 10) -> Path:
    """Landmarks with two photos, two tiles (the last is the latest) and a text each, and tiles of nothing."""
    number = 0
    for part, count in (("train", train), ("query", query)):
        rows = {name: ["landmark_id,images"] for name in ("ground", "satellite")}
        rows |= {"": ["landmark_id,CommonsCategory,lat,lon"], "text": ["landmark_id,json"]}
        for landmark in range(number, number + count):
            at = f"{30 + landmark / 10:.3f},{-100 + landmark / 10:.3f}"
            rows[""].append(f'{landmark},"Bridge, of {landmark}",{at}')
            for view in ("ground", "satellite"):
                ids = [f"{landmark:04x}{view[0]}{i}{'0' * 10}" for i in range(2)]
                rows[view].append(f"{landmark},{' '.join(ids)}")
                for picture in ids:
                    _save(folder, part, view, picture, landmark)
            text = f"{landmark:04x}t{'0' * 11}"
            rows["text"].append(f"{landmark},{text}")
            _file(folder, part, "text", text, ".json").write_text(
                json.dumps({"Lead": f"Bridge {landmark} is a bridge. It is old.\nMore.", "History": "Long."})
            )
        for name, lines in rows.items():
            table = folder / part / f"mml_{part}{'_' if name else ''}{name}.csv"
            table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        number += count
    lines = ["images,lat,lon,year"]
    for tile in range(index):
        picture = f"{tile:04x}i{'0' * 11}"
        lines.append(f"{picture},{40 + tile / 10:.3f},-90,2020")
        _save(folder, "index", "satellite", picture, 1000 + tile)
    (folder / "index" / "mml_index_satellite.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _save(folder: Path, part: str, view: str, picture: str, colour: int) -> None:
    rng = np.random.default_rng(colour)
    rgb = np.clip(rng.integers(20, 236, 3) + rng.integers(-15, 16, (32, 32, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(rgb).save(_file(folder, part, view, picture, ".jpg" if view == "ground" else ".png"))


def _file(folder: Path, part: str, view: str, name: str, ending: str) -> Path:
    path = folder / part / view / name[0] / name[1] / name[2] / (name + ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
