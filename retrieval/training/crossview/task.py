"""Photos, tiles, positions and texts of places in one space: the task of `recipe: crossview`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import UserError
from retrieval.backbones.base import ImageBackbone
from retrieval.crossview.encoder import load_backbones
from retrieval.crossview.network import CrossviewNetwork
from retrieval.location.registry import build_location_encoder
from retrieval.training.config import CrossviewConfig
from retrieval.training.contrastive_task import TEXT_IDS
from retrieval.training.crossview.config import CrossviewModel
from retrieval.training.crossview.places import PhotographedPlace, PhotoGroups, positions_deg
from retrieval.training.crossview.sampling import NO_NEIGHBOUR, hard_order, most_similar, nearest_places
from retrieval.training.crossview.views import PHOTOS, PLACE_IDS, TILES, WEIGHTS, PlaceLoader
from retrieval.training.data.bad_samples import BadSamples
from retrieval.training.data.loading import NO_AUGMENTATION, LoadedPhotos
from retrieval.training.distributed import ProcessGroup
from retrieval.training.gradient_cache import Part, Tensors, split_into_parts
from retrieval.training.losses import BatchLabels, Objective
from retrieval.training.text_tower import TextTower, build_text_tower
from retrieval.training.towers import POSITIONS, TEXTS
from retrieval.training.trainer import Batch
from retrieval.training.validation import Scores

RECALL_AT = (1, 5, 10)
EMBEDDED_AT_ONCE = 64


class CrossviewTowers(CrossviewNetwork):
    """The siamese network, with the encoders of positions and texts that only training needs."""

    def __init__(self, config: CrossviewModel, backbones: list[ImageBackbone]) -> None:
        super().__init__(config.shape, *backbones)
        options = config.location_options
        self.location = build_location_encoder(config.location, self.dim, options) if config.location else None
        self.text: TextTower | None = build_text_tower(config.text, self.dim) if config.text else None


def build_towers(config: CrossviewModel, seed: int) -> CrossviewTowers:
    """The networks of a configuration; weights that are not pretrained are drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CrossviewTowers(config, load_backbones(config.image, config.shape, seed))


class _Embedded(NamedTuple):
    """Rows (n,) of groups of photos, or of places, whose pictures could be read, and their vectors (n, dim)."""

    rows: NDArray[np.int64]
    vectors: Tensor


class CrossviewTask:
    """Implements `retrieval.training.trainer.Task`.

    Args:
        groups: of all photos; those of training first.
        trained: how many of the groups are trained on.
    """

    def __init__(
        self,
        config: CrossviewConfig,
        places: list[PhotographedPlace],
        groups: PhotoGroups,
        trained: int,
        loader: PlaceLoader,
        towers: CrossviewTowers,
        bad_samples: BadSamples,
        process_group: ProcessGroup,
    ) -> None:
        self.model, self.objective = towers, Objective(config.objective).to(process_group.device)
        self._config, self._places, self._groups, self._loader = config, places, groups, loader
        self._bad_samples, self._process_group = bad_samples, process_group
        self._place = groups.place[:trained]
        self._held_out = np.arange(trained, len(groups.place))
        self.steps_per_epoch = trained // config.loop.batch
        # Places of training, as rows of their own: neighbours are rows of these.
        self._known, self._row = np.unique(self._place, return_inverse=True)
        self._neighbours: Tensor | None = None

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first..last-1; neighbours are found anew at the start of some epochs."""
        step = first
        while step < last:
            epoch, inside = divmod(step, self.steps_per_epoch)
            if inside == 0 or self._neighbours is None:
                self._find_neighbours(epoch)
            neighbours = None if self._neighbours is None else self._neighbours.numpy().astype(np.int64)
            rng = np.random.default_rng([self._config.seed, epoch])
            order = hard_order(self._row, neighbours, self._config.loop.batch, self._config.sampling, rng)
            steps = order.reshape(self.steps_per_epoch, -1)[inside : inside + last - step]
            local = self._process_group.local_slice(self._config.loop.batch)
            for loaded in self._loader.load([rows[local] for rows in steps], epoch):
                self._bad_samples.add(loaded.bad_samples, len(self._groups.place))
                if not loaded.tensors:
                    raise UserError(f"none of the pictures of a batch can be read: see {self._bad_samples.path}")
                yield self._batch(loaded.tensors)
                step += 1

    def _batch(self, tensors: dict[str, Tensor]) -> Batch:
        labels = {name: tensors[name] for name in (POSITIONS, PLACE_IDS)}
        if TEXT_IDS in tensors:
            labels[TEXT_IDS] = tensors.pop(TEXT_IDS)
        inputs = {name: tensor for name, tensor in tensors.items() if name != PLACE_IDS}
        return Batch(split_into_parts(PHOTOS, inputs, self._config.loop.chunk), labels)

    def embed(self, part: Part) -> dict[str, Tensor]:
        """Vectors of places by view."""
        views, tensors = self._config.objective.views, part.tensors
        vectors = {"image": self.model(tensors[PHOTOS], tensors[WEIGHTS])}
        if "satellite" in views:
            vectors["satellite"] = self.model.tiles(tensors[TILES])
        if "gps" in views and self.model.location is not None:
            vectors["gps"] = self.model.location(tensors[POSITIONS])
        if "text" in views and self.model.text is not None:
            vectors["text"] = self.model.text(tensors[TEXTS])
        return vectors

    def loss(self, embeddings: Tensors, labels: Tensors) -> dict[str, Tensor]:
        """The objective's terms; rows of one place are each other's positives."""
        positions = labels[POSITIONS]
        batch = BatchLabels(positions, positions[:0], labels.get(TEXT_IDS), labels[PLACE_IDS])
        terms: dict[str, Tensor] = self.objective(embeddings, batch)
        return terms

    def after_step(self, labels: Tensors) -> None:
        """Does nothing."""

    @torch.no_grad()
    def validate(self) -> Scores:
        """Share of groups of photos whose own tile is among the k most similar of all validation tiles.

        Places with a picture that cannot be read are listed and left out.
        """
        held_out = self._groups.place[self._held_out]
        places = chosen_places(held_out, self._config.validation.places, self._config.seed)
        photos = self._embedded_photos(self._held_out[np.isin(held_out, places)])
        tiles = self._embedded_tiles(places)
        place = self._groups.place[photos.rows]
        has_tile = np.isin(place, tiles.rows)
        own = torch.from_numpy(np.searchsorted(tiles.rows, place[has_tile]))
        return recalls(photos.vectors[has_tile] @ tiles.vectors.T, own)

    def state(self) -> dict[str, Any]:
        """The neighbours."""
        return {"neighbours": self._neighbours}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._neighbours = state["neighbours"]

    def _find_neighbours(self, epoch: int) -> None:
        sampling, among = self._config.sampling, self._config.sampling.among
        if not sampling.neighbours or len(self._known) < 3:
            return
        if epoch < sampling.near_epochs:
            if self._neighbours is None:
                self._neighbours = nearest_places(positions_deg([self._places[i] for i in self._known]), among).int()
            return
        due = sampling.similar_every and (epoch - sampling.near_epochs) % sampling.similar_every == 0
        if due:
            self._neighbours = self._similar_places(among).int()

    @torch.no_grad()
    def _similar_places(self, among: int) -> Tensor:
        """Rows of the places whose tiles are most similar to each place's photos; -1 where pictures cannot be read."""
        self.model.eval()
        photos = self._shared(np.unique(self._row, return_index=True)[1], self._embedded_photos)
        tiles = self._shared(self._known, self._embedded_tiles)
        self.model.train()
        with_tile = np.searchsorted(self._known, tiles.rows)
        kept = np.isin(self._row[photos.rows], with_tile)
        rows = self._row[photos.rows][kept]
        own = torch.from_numpy(np.searchsorted(with_tile, rows))
        similar = most_similar(photos.vectors[kept], tiles.vectors, own, among)
        found = torch.full((len(self._known), min(among, len(self._known) - 1)), NO_NEIGHBOUR, dtype=torch.int64)
        found[rows, : similar.shape[1]] = torch.from_numpy(with_tile)[similar]
        return found

    def _shared(self, rows: NDArray[np.int64], embed: Callable[[NDArray[np.int64]], _Embedded]) -> _Embedded:
        """Embed rows, each process its part of them, and give all to every process."""
        together = self._process_group
        if len(rows) < together.size:
            return embed(rows)
        own = embed(rows[together.local_slice(len(rows))])
        device = together.device
        found = together.gather(torch.from_numpy(own.rows).to(device)).cpu().numpy()
        return _Embedded(found, together.gather(own.vectors.to(device)).cpu())

    def _embedded_photos(self, rows: NDArray[np.int64]) -> _Embedded:
        loaded = self._loader.load(_in_parts(rows), NO_AUGMENTATION)
        return self._embedded(loaded, lambda tensors: self.model(tensors[PHOTOS], tensors[WEIGHTS]))

    def _embedded_tiles(self, places: NDArray[np.int64]) -> _Embedded:
        return self._embedded(
            self._loader.load_tiles(_in_parts(places)), lambda tensors: self.model.tiles(tensors[TILES])
        )

    def _embedded(self, batches: Iterable[LoadedPhotos], embed: Callable[[dict[str, Tensor]], Tensor]) -> _Embedded:
        rows, vectors = list[int](), list[Tensor]()
        for loaded in batches:
            self._bad_samples.add(loaded.bad_samples, len(self._groups.place))
            if loaded.tensors:
                rows += loaded.rows
                with torch.autocast(self._process_group.device.type, torch.bfloat16, enabled=self._config.loop.bf16):
                    vectors.append(embed(loaded.tensors).float().cpu())
        if not rows:
            raise UserError(f"none of the pictures can be read: see {self._bad_samples.path}")
        return _Embedded(np.array(rows, dtype=np.int64), torch.cat(vectors))


def _in_parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(rows, -(-len(rows) // EMBEDDED_AT_ONCE))


def chosen_places(place: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """At most `count` of the places of some groups, drawn from the seed, in rising order.

    >>> chosen_places(np.array([3, 3, 5, 8]), 9, 1).tolist()
    [3, 5, 8]
    """
    places = np.unique(place)
    return np.sort(np.random.default_rng(seed).permutation(places)[:count])


def recalls(similarity: Tensor, own: Tensor) -> Scores:
    """R@1, R@5, R@10 and R@1% of similarities (n, m), in which column `own` (n,) is the right one of each row.

    Others that are as similar come before it, so that vectors that are all alike find nothing.

    >>> recalls(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]))["r@1"]
    0.5
    >>> recalls(torch.ones(2, 2), torch.tensor([0, 1]))["r@1"]
    0.0
    """
    of_own = similarity.gather(1, own[:, None])
    rank = (similarity >= of_own).sum(dim=1) - 1
    limits = {f"r@{k}": k for k in RECALL_AT} | {"r@1%": max(1, similarity.shape[1] // 100)}
    return {name: float((rank < limit).float().mean()) for name, limit in limits.items()}
