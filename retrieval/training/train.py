"""Train the `compact` encoder: distil, then align.

    python -m retrieval.training.train configs/compact.yaml [key=value ...]

Writes to `run`: `distil.pt` (a checkpoint each epoch; a stopped run goes on
from it), `bank.pt` (the frozen backbone's tokens) and `model.pt` (weights,
configuration, scores on the inner validation authors).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geo.errors import UserError
from geo.gazetteer import Gazetteer
from retrieval.fusion import Views
from retrieval.training import measure
from retrieval.training.align import TokenBank, align, fill_bank
from retrieval.training.cache import CropCache
from retrieval.training.config import TrainingConfig, load_config
from retrieval.training.distil import Distiller
from retrieval.training.model import CompactModel, load, save
from retrieval.training.photos import inner_mask


def train(config: TrainingConfig) -> dict[str, measure.Scores]:
    """Run both phases; scores on the inner validation authors, with the inner training authors as references."""
    torch.set_num_threads(config.threads)
    cache = CropCache(config)
    distiller = Distiller(config, cache)
    backbone = distiller.run(config.run / "distil.pt")
    bank = _bank(config, cache, distiller)
    gallery = torch.from_numpy(Gazetteer().coordinates().lat_lon_deg).float()
    model = align(config, bank, cache.photos, gallery)
    model.photos.backbone.load_state_dict(backbone.state_dict())
    scores = inner_scores(model, bank, inner_mask(cache.all_rows))
    state = {"model": model.state_dict(), "config": config.model_dump_json(), "inner_scores": json.dumps(scores)}
    save(config.run / "model.pt", state)
    return scores


def _bank(config: TrainingConfig, cache: CropCache, distiller: Distiller) -> TokenBank:
    path, checkpoint = config.run / "bank.pt", config.run / "distil.pt"
    if path.is_file() and path.stat().st_mtime > checkpoint.stat().st_mtime:
        return TokenBank(**load(path, "token bank"))
    bank = fill_bank(config, cache, distiller.averaged())
    save(path, bank._asdict())
    return bank


@torch.no_grad()
def whole_views(model: CompactModel, bank: TokenBank) -> Views:
    """The views of every photo as a whole (crop 0), through the bank."""
    device = next(model.parameters()).device
    parts = zip(torch.split(bank.tokens[:, 0], 128), torch.split(bank.distributions[:, 0], 128), strict=True)
    views = [model.photos.fusion(tokens.float().to(device), seen.float().to(device)) for tokens, seen in parts]
    return Views(*(torch.cat(column).cpu() for column in zip(*views, strict=True)))


def inner_scores(model: CompactModel, bank: TokenBank, inner_train: NDArray[np.bool_]) -> dict[str, measure.Scores]:
    """Nearest-photo and nearest-position scores of the inner validation photos.

    They only guide choices when the run left these photos out (`distil.photos=inner_train`).
    """
    positions = bank.positions.double().numpy()
    device = next(model.parameters()).device
    with torch.no_grad():
        places = model.points(bank.positions.to(device)).cpu()
    spaces = {**whole_views(model.eval(), bank)._asdict(), "teacher": bank.embeddings[:, 0]}
    wanted, known = positions[~inner_train], positions[inner_train]
    rows = {}
    for name, vectors in spaces.items():
        queries, references = _split(vectors, inner_train)
        rows[f"{name}, nearest photo"] = measure.nearest_scores(queries, wanted, references, known)
        rows[f"{name}, best of 20"] = measure.within_top(queries, wanted, references, known, 20)
        if name != "teacher":
            gallery = places.numpy()[inner_train]
            rows[f"{name}, nearest position"] = measure.nearest_scores(queries, wanted, gallery, known)
    return rows


def _split(vectors: Tensor, inner_train: NDArray[np.bool_]) -> tuple[measure.Vectors, measure.Vectors]:
    array = vectors.numpy()
    return array[~inner_train], array[inner_train]


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    if not arguments:
        raise SystemExit("usage: python -m retrieval.training.train CONFIG [key=value ...]")
    try:
        scores = train(load_config(Path(arguments[0]), arguments[1:]))
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(measure.table(scores) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
