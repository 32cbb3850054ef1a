"""What training minimises: contrast between the views of a photo, its position and its place's name.

Pure functions of tensors, and an `Objective` put together from configuration. Terms, each switchable:

- image-gps, semantic-gps, fused-gps: the dual-view contrast of DualGeo (arXiv 2604.25533), symmetric InfoNCE;
- image-text, text-gps and a triplet (text, position, hardest photo): TransGeoCLIP (arXiv 2606.08918);
- a queue of further positions as negatives: GeoCLIP (arXiv 2309.16020), which contrasts one way only (`both_ways`);
- soft geographic targets, or one-hot targets with photos a few hundred metres apart left out of the negatives;
- a relational term that keeps neighbourhoods as a teacher sees them (after Park et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from retrieval.training.compact import losses

View = Literal["image", "semantic", "fused", "text", "gps"]
VIEWS: tuple[View, ...] = ("image", "semantic", "fused", "text", "gps")
TEACHER, QUEUE = "teacher", "queue"
"""Further embeddings that some terms use: a teacher's vectors of the photos, and vectors of the queue's positions."""


class Rows(NamedTuple):
    """Where the n photos of a batch were taken, and what else tells true negatives from false ones.

    Attributes:
        positions_deg: (n, 2), latitude first.
        queue_deg: (q, 2), positions of the queue; q may be 0.
        texts: (n,) integers, equal where two photos have the same text; None where there is no text view.
    """

    positions_deg: Tensor
    queue_deg: Tensor
    texts: Tensor | None = None


class TripletConfig(BaseModel):
    """TransGeoCLIP's triplet: a text is nearer to its position than to the most similar photo of another row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(0.5, ge=0.0)
    margin: float = Field(0.5, gt=0.0)


class ObjectiveConfig(BaseModel):
    """Which terms, how heavy, and what counts as a negative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: dict[str, float] = Field(
        default={"image-gps": 1.0, "semantic-gps": 1.0, "fused-gps": 1.0},
        description="weight of each contrast, named by its two views",
    )
    both_ways: bool = Field(True, description="False: only the first view of a pair asks the second, as GeoCLIP")
    triplet: TripletConfig | None = None
    relation: dict[Literal["image", "semantic", "fused"], float] = Field(
        default={}, description="weight of the relational term of each view; needs a teacher"
    )
    soft_targets_km: float = Field(0.0, ge=0.0, description="exp(-km / this) as targets; 0: only the own position")
    ignore_within_km: float = Field(0.0, ge=0.0, description="photos nearer than this are not each other's negatives")
    same_text_counts: bool = Field(True, description="photos with the same text are all right answers")
    temperature: float = Field(0.07, gt=0.0, description="where the learned temperatures start")
    temperature_limits: tuple[float, float] = (0.01, 0.5)
    shared_temperature: bool = Field(False, description="one temperature for all pairs instead of one each")

    @model_validator(mode="after")
    def _known(self) -> ObjectiveConfig:
        for name in self.pairs:
            split_pair(name)
        if not any(self.pairs.values()):
            raise ValueError("pairs: no pair has a weight, so there is nothing to learn")
        return self

    @property
    def views(self) -> set[View]:
        """The views that any term needs."""
        needed = {view for name, weight in self.pairs.items() if weight for view in split_pair(name)}
        triplet: set[View] = {"text", "gps", "image"} if self.triplet and self.triplet.weight else set()
        return needed | triplet | {view for view, weight in self.relation.items() if weight}


def split_pair(name: str) -> tuple[View, View]:
    """The two views of a pair's name such as `image-gps`.

    Raises:
        ValueError: not two different known views.
    """
    first, _, second = name.partition("-")
    known = {view: view for view in VIEWS}
    if first not in known or second not in known or first == second:
        raise ValueError(f"pair {name!r}: give two of {', '.join(VIEWS)}, such as image-gps")
    return known[first], known[second]


def one_hot_targets(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """Row i's right answer is column i: (rows, columns)."""
    return torch.eye(rows, columns, device=device)


def same_text_targets(texts: Tensor) -> Tensor:
    """All rows with the same text are right answers, in equal shares: (n, n), rows summing to 1."""
    same = (texts[:, None] == texts[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def near_but_wrong(photos_deg: Tensor, places_deg: Tensor, within_km: float) -> Tensor:
    """True where a place is another row's and yet within `within_km` of the photo: neither right nor wrong, (n, m)."""
    near = losses.pairwise_km(photos_deg, places_deg) < within_km
    itself = torch.eye(*near.shape, dtype=torch.bool, device=near.device)
    return near & ~itself


def contrast(
    anchors: Tensor, others: Tensor, targets: Tensor, temperature: Tensor | float, left_out: Tensor | None = None
) -> Tensor:
    """Cross-entropy of softmax(cosine / temperature) against targets; InfoNCE (van den Oord 2018) where one-hot.

    Args:
        anchors: (n, dim), L2-normalised.
        others: (m, dim), L2-normalised.
        targets: (n, m), rows summing to 1.
        temperature: a scalar.
        left_out: (n, m), true for pairs that take no part; their targets must be 0.
    """
    logits = (anchors @ others.T).float() / temperature
    if left_out is not None:
        logits = logits.masked_fill(left_out, -torch.inf)
    log_probabilities = torch.log_softmax(logits, dim=1)
    # 0 x -inf would be NaN where a pair is left out.
    weighed = torch.where(targets > 0, targets * log_probabilities, torch.zeros_like(targets))
    return -weighed.sum(dim=1).mean()


def triplet(texts: Tensor, places: Tensor, photos: Tensor, margin: float, right: Tensor | None = None) -> Tensor:
    """mean(max(0, margin + cos(text, hardest photo of another row) - cos(text, own place))), all (n, dim).

    Args:
        texts: the anchors.
        places: the positives.
        photos: the negatives come from these.
        margin: in units of cosine.
        right: (n, n), true where a photo is no negative of a text; None: only its own.
    """
    right = torch.eye(len(texts), dtype=torch.bool, device=texts.device) if right is None else right
    own = (texts * places).sum(dim=1).float()
    hardest = (texts @ photos.T).float().masked_fill(right, -torch.inf).amax(dim=1)
    # A row whose every other photo is a right answer has no negative and costs nothing.
    return torch.clamp(margin + hardest - own, min=0.0).mean()


class Objective(nn.Module):
    """The weighted sum of the terms of a configuration; holds the learned temperatures."""

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.config = config
        self._pairs = {name: split_pair(name) for name, weight in config.pairs.items() if weight}
        names = ["all"] if config.shared_temperature else [_key(name) for name in self._pairs]
        start = math.log(config.temperature)
        self.log_temperatures = nn.ParameterDict({name: nn.Parameter(torch.tensor(start)) for name in names})

    def temperature(self, pair: str) -> Tensor:
        """The present temperature of a pair, within its limits."""
        name = "all" if self.config.shared_temperature else _key(pair)
        low, high = self.config.temperature_limits
        raised: Tensor = self.log_temperatures[name].exp()
        return raised.clamp(low, high)

    def forward(self, embeddings: Mapping[str, Tensor], rows: Rows) -> dict[str, Tensor]:
        """The weighted terms, each a scalar; what is minimised is their sum.

        Args:
            embeddings: L2-normalised vectors (n, dim) of each needed view; `queue` (q, dim) and `teacher` where used.
            rows: of the same n photos.
        """
        terms = {name: self.config.pairs[name] * self._pair(name, embeddings, rows) for name in self._pairs}
        if self.config.triplet and self.config.triplet.weight:
            terms["triplet"] = self.config.triplet.weight * self._triplet(embeddings, rows)
        for view, weight in self.config.relation.items():
            if weight:
                terms[f"relation-{view}"] = weight * losses.relation(embeddings[view].float(), embeddings[TEACHER])
        return terms

    def _pair(self, name: str, embeddings: Mapping[str, Tensor], rows: Rows) -> Tensor:
        first, second = self._pairs[name]
        asked = self._direction(name, first, second, embeddings, rows)
        if not self.config.both_ways:
            return asked
        return 0.5 * (asked + self._direction(name, second, first, embeddings, rows))

    def _direction(self, name: str, asking: View, asked: View, embeddings: Mapping[str, Tensor], rows: Rows) -> Tensor:
        queued = asked == "gps" and len(rows.queue_deg) > 0
        others = torch.cat([embeddings[asked], embeddings[QUEUE]]) if queued else embeddings[asked]
        with_text = "text" in (asking, asked)
        targets, left_out = self.answers(rows, queued=queued, with_text=with_text)
        return contrast(embeddings[asking], others, targets, self.temperature(name), left_out)

    def answers(self, rows: Rows, *, queued: bool, with_text: bool) -> tuple[Tensor, Tensor | None]:
        """Targets (n, n or n + q) and which pairs take no part."""
        places = torch.cat([rows.positions_deg, rows.queue_deg]) if queued else rows.positions_deg
        if not with_text and self.config.soft_targets_km:
            return losses.geographic_targets(rows.positions_deg, places, self.config.soft_targets_km), None
        targets = self._hard_targets(rows, len(places), with_text)
        if not self.config.ignore_within_km:
            return targets, None
        near = near_but_wrong(rows.positions_deg, places, self.config.ignore_within_km)
        return targets, near & (targets == 0)

    def _hard_targets(self, rows: Rows, columns: int, with_text: bool) -> Tensor:
        count = len(rows.positions_deg)
        if with_text and self.config.same_text_counts and rows.texts is not None:
            return nn.functional.pad(same_text_targets(rows.texts), (0, columns - count))
        return one_hot_targets(count, columns, rows.positions_deg.device)

    def _triplet(self, embeddings: Mapping[str, Tensor], rows: Rows) -> Tensor:
        assert self.config.triplet is not None, "asked only where there is one"  # noqa: S101  # a programming error
        targets, left_out = self.answers(rows, queued=False, with_text=True)
        right = targets > 0 if left_out is None else (targets > 0) | left_out
        margin = self.config.triplet.margin
        return triplet(embeddings["text"], embeddings["gps"], embeddings["image"], margin, right)


def _key(pair: str) -> str:
    """A pair's name as torch allows it for a parameter."""
    return pair.replace("-", "_")
