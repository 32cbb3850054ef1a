"""A tiny world for matching: textures as tiles of two towns, photos of the same textures, an encoder of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.files import sha256_of_file
from geo.point import Point
from geo.tiles import TileBounds

TOWNS = (Point(lat=48.86, lon=2.34), Point(lat=41.39, lon=2.16))
"""Paris and Barcelona."""
SIDE = 5
TILE_DEG = 0.003
MATCHED = 12
"""A place of the first town."""


def texture(place: int, noise: int = 0) -> NDArray[np.uint8]:
    """Blocks of colours (96, 96, 3) that photos and tile of a place share, but for noise."""
    blocks = np.random.default_rng(place).integers(0, 256, (6, 6, 3))
    grain = np.random.default_rng([place, noise]).integers(-6, 7, (96, 96, 3))
    seen = np.clip(blocks.repeat(16, axis=0).repeat(16, axis=1) + grain, 0, 255)
    return np.asarray(seen, dtype=np.uint8)


def place_bounds(place: int) -> TileBounds:
    """The tile of a place."""
    town, (row, column) = TOWNS[place // SIDE**2], divmod(place % SIDE**2, SIDE)
    south, west = town.lat + (row - SIDE / 2) * TILE_DEG, town.lon + (column - SIDE / 2) * TILE_DEG
    return TileBounds(south, west, south + TILE_DEG, west + TILE_DEG)


def write_tiles(folder: Path, source: str = "Somebody", date: str = "2021-05") -> Path:
    """A table of the tiles with their pictures beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tiles.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["tile", "south", "west", "north", "east", "source", "date"])
        for place in range(len(TOWNS) * SIDE**2):
            Image.fromarray(texture(place)).save(folder / f"{place}.png")
            table.writerow([f"{place}.png", *place_bounds(place), source, date])
    return folder / "tiles.csv"


def write_photos(folder: Path, places: range) -> Path:
    """Photos of places and the table of their positions."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "photos.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["IMG_ID", "LAT", "LON", "AUTHOR"])
        for place in places:
            Image.fromarray(texture(place, 1)).save(folder / f"photo{place}.png")
            centre = place_bounds(place).centre
            table.writerow([f"photo{place}.png", centre.lat, centre.lon, f"author {place}"])
    return folder / "photos.csv"


def write_crossview_encoder(folder: Path) -> Path:
    """An encoder with shared random weights, whitened: a photo resembles the tile of the same texture, and no other."""
    import torch
    from safetensors.torch import save_file

    from retrieval.crossview.encoder import CrossviewBackbone, load_backbones
    from retrieval.crossview.network import CrossviewNetwork, CrossviewShape, ViewSizes, prepare_view

    folder.mkdir(parents=True, exist_ok=True)
    start, shape = CrossviewBackbone(backbone="compact-narrow", weights="random"), CrossviewShape(dim=48)
    sizes = ViewSizes(ground_px=(64, 64), tile_px=(64, 64))
    network = CrossviewNetwork(shape, *load_backbones(start, shape))
    pixels = torch.from_numpy(np.stack([prepare_view(texture(place), sizes.tile_px) for place in range(100)]))
    with torch.inference_mode():
        assert isinstance(network.project, torch.nn.Linear)
        pooled = network.norm(network.ground(pixels).mean(dim=1)).double()
        spread, axes = torch.linalg.eigh(torch.cov(pooled.T))
        whitening = (axes / torch.sqrt(spread.clamp(min=1e-9))).T
        network.project.weight.copy_(whitening[-48:])
        network.project.bias.copy_(-whitening[-48:] @ pooled.mean(dim=0))
    save_file(network.state_dict(), folder / "weights.safetensors")
    card = {
        "name": "textures",
        "kind": "crossview",
        "files": {"weights.safetensors": sha256_of_file(folder / "weights.safetensors")},
        "backbone": start.model_dump(mode="json"),
        "shape": shape.model_dump(mode="json"),
        "sizes": sizes.model_dump(mode="json"),
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder
