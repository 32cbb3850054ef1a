"""Contrastive losses between the views of a photo, its position, its place's name and its place seen from above.

Functions of tensors, and an `Objective` that sums the terms named in the configuration:

- image-gps, semantic-gps, fused-gps: symmetric InfoNCE of the two views of DualGeo (arXiv 2604.25533);
- image-text, text-gps and a triplet (text, position, hardest photo): TransGeoCLIP (arXiv 2606.08918);
- image-satellite and text-satellite: symmetric InfoNCE with label smoothing of Sample4Geo (arXiv 2303.11851), with
  several positives where rows of a batch show one place;
- a queue of further positions as negatives: GeoCLIP (arXiv 2309.16020), whose loss has one direction (`both_ways`);
- soft geographic targets, or one-hot targets with photos a few hundred metres apart excluded as false negatives;
- relational distillation: neighbourhoods within the batch as in a teacher's space (after Park et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from core.frozen import Frozen
from geo.sphere import EARTH_RADIUS_KM
from retrieval.location.fourier import unit_vectors

View = Literal["image", "semantic", "fused", "text", "gps", "satellite"]
VIEWS: tuple[View, ...] = ("image", "semantic", "fused", "text", "gps", "satellite")
TEACHER, QUEUE = "teacher", "queue"
"""Further embeddings that some terms use: a teacher's vectors of the photos, and vectors of the queue's positions."""


class BatchLabels(NamedTuple):
    """Where the n photos of a batch were taken, and what else tells true negatives from false ones.

    Attributes:
        positions_deg: (n, 2), latitude first.
        queue_deg: (q, 2), positions of the queue; q may be 0.
        text_ids: (n,) integers, equal where two photos have the same text; None where there is no text view.
        place_ids: (n,) integers, equal where two rows show one place, which are then each other's positives; None:
            every row is a place of its own.
    """

    positions_deg: Tensor
    queue_deg: Tensor
    text_ids: Tensor | None = None
    place_ids: Tensor | None = None


class TripletConfig(Frozen):
    """TransGeoCLIP's triplet: a text is nearer to its position than to the most similar photo of another row."""

    weight: float = Field(0.5, ge=0.0)
    margin: float = Field(0.5, gt=0.0)


class ObjectiveConfig(Frozen):
    """Which terms with which weights, and what counts as a negative."""

    pairs: dict[str, float] = Field(
        default={"image-gps": 1.0, "semantic-gps": 1.0, "fused-gps": 1.0},
        description="weight of each InfoNCE term, named by its two views",
    )
    both_ways: bool = Field(True, description="False: only the first view of a pair is the anchor, as in GeoCLIP")
    triplet: TripletConfig | None = None
    relation: dict[Literal["image", "semantic", "fused"], float] = Field(
        default={}, description="weight of the relational term of each view; needs a teacher"
    )
    soft_targets_km: float = Field(0.0, ge=0.0, description="exp(-km / this) as targets; 0: only the own position")
    ignore_within_km: float = Field(0.0, ge=0.0, description="photos nearer than this are not each other's negatives")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="share of the targets spread over all rows")
    same_text_counts: bool = Field(True, description="photos with the same text are all positives")
    temperature: float = Field(0.07, gt=0.0, description="initial value of the learned temperatures")
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


def pairwise_km(a_deg: Tensor, b_deg: Tensor) -> Tensor:
    """Great-circle distances in km, float32 (n, m), between positions (n, 2) and (m, 2) in degrees.

    From the chord in double precision, which is exact enough for near points (unlike arccos of the dot product).
    """
    chord = torch.cdist(
        unit_vectors(a_deg.double()), unit_vectors(b_deg.double()), compute_mode="donot_use_mm_for_euclid_dist"
    )
    return (2.0 * EARTH_RADIUS_KM * torch.asin(torch.clamp(chord / 2.0, max=1.0))).float()


def geographic_targets(photos_deg: Tensor, places_deg: Tensor, softness_km: float) -> Tensor:
    """Soft targets (n, m) proportional to exp(-distance / softness), rows summing to 1."""
    return torch.softmax(-pairwise_km(photos_deg, places_deg) / softness_km, dim=1)


def equal_id_targets(ids: Tensor) -> Tensor:
    """Targets (n, n) where all rows with the same text, or of one place, are positives with equal shares."""
    same = (ids[:, None] == ids[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def smoothed(targets: Tensor, smoothing: float, excluded: Tensor | None = None) -> Tensor:
    """Targets (n, m) of which a share is spread evenly over all pairs that are not excluded (Szegedy et al. 2016).

    >>> smoothed(torch.tensor([[1.0, 0.0]]), 0.1).tolist()
    [[0.949999988079071, 0.05000000074505806]]
    """
    if not smoothing:
        return targets
    allowed = torch.ones_like(targets) if excluded is None else (~excluded).to(targets.dtype)
    return (1.0 - smoothing) * targets + smoothing * allowed / allowed.sum(dim=1, keepdim=True)


def false_negatives(photos_deg: Tensor, places_deg: Tensor, within_km: float) -> Tensor:
    """True, (n, m), where a place belongs to another row but lies within `within_km` of the photo."""
    near = pairwise_km(photos_deg, places_deg) < within_km
    itself = torch.eye(*near.shape, dtype=torch.bool, device=near.device)
    return near & ~itself


def info_nce(
    anchors: Tensor, others: Tensor, targets: Tensor, temperature: Tensor | float, excluded: Tensor | None = None
) -> Tensor:
    """Cross-entropy of softmax(cosine / temperature) against targets; InfoNCE (van den Oord 2018) where one-hot.

    Args:
        anchors: (n, dim), L2-normalised.
        others: (m, dim), L2-normalised.
        targets: (n, m), rows summing to 1.
        excluded: (n, m), true for pairs left out of the softmax; their targets must be 0.
    """
    logits = (anchors @ others.T).float() / temperature
    if excluded is not None:
        logits = logits.masked_fill(excluded, -torch.inf)
    log_probabilities = torch.log_softmax(logits, dim=1)
    # 0 x -inf would be NaN where a pair is excluded.
    weighted = torch.where(targets > 0, targets * log_probabilities, torch.zeros_like(targets))
    return -weighted.sum(dim=1).mean()


def triplet_loss(
    texts: Tensor, places: Tensor, photos: Tensor, margin: float, positives: Tensor | None = None
) -> Tensor:
    """mean(max(0, margin + cos(text, hardest photo of another row) - cos(text, own place))); a scalar.

    Args:
        texts: (n, dim), L2-normalised, the anchors.
        places: (n, dim), L2-normalised, the positives.
        photos: (n, dim), L2-normalised, the negatives.
        margin: in units of cosine.
        positives: (n, n), true where a photo is no negative of a text; None: only the text's own photo.
    """
    positives = torch.eye(len(texts), dtype=torch.bool, device=texts.device) if positives is None else positives
    own = (texts * places).sum(dim=1).float()
    hardest = (texts @ photos.T).float().masked_fill(positives, -torch.inf).amax(dim=1)
    # A row without any negative has hardest = -inf and costs nothing.
    return torch.clamp(margin + hardest - own, min=0.0).mean()


def relational_loss(student: Tensor, teacher: Tensor, temperature: float = 0.1) -> Tensor:
    """KL divergence of the student's from the teacher's neighbourhoods within a batch (after Park et al. 2019).

    Args:
        student: (n, dim), L2-normalised.
        teacher: (n, dim of the teacher), L2-normalised.
    """
    itself = torch.eye(len(student), dtype=torch.bool, device=student.device)
    wanted = torch.softmax((teacher @ teacher.T / temperature).masked_fill(itself, -1e9), dim=1)
    found = torch.log_softmax((student @ student.T / temperature).masked_fill(itself, -1e9), dim=1)
    return nn.functional.kl_div(found, wanted, reduction="batchmean")


class Objective(nn.Module):
    """The weighted sum of the terms of a configuration; holds the learned temperatures."""

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.config = config
        self._pairs = {name: split_pair(name) for name, weight in config.pairs.items() if weight}
        names = ["all"] if config.shared_temperature else [_parameter_name(name) for name in self._pairs]
        start = math.log(config.temperature)
        self.log_temperatures = nn.ParameterDict({name: nn.Parameter(torch.tensor(start)) for name in names})

    def temperature(self, pair: str) -> Tensor:
        """The present temperature of a pair, a scalar within its limits."""
        name = "all" if self.config.shared_temperature else _parameter_name(pair)
        low, high = self.config.temperature_limits
        temperature: Tensor = self.log_temperatures[name].exp()
        return temperature.clamp(low, high)

    def forward(self, embeddings: Mapping[str, Tensor], labels: BatchLabels) -> dict[str, Tensor]:
        """The weighted terms, each a scalar; their sum is minimised.

        Args:
            embeddings: L2-normalised vectors (n, dim) of each needed view; `queue` (q, dim) and `teacher` where used.
        """
        terms = {name: self.config.pairs[name] * self._pair(name, embeddings, labels) for name in self._pairs}
        if self.config.triplet and self.config.triplet.weight:
            terms["triplet"] = self.config.triplet.weight * self._triplet(self.config.triplet, embeddings, labels)
        for view, weight in self.config.relation.items():
            if weight:
                terms[f"relation-{view}"] = weight * relational_loss(embeddings[view].float(), embeddings[TEACHER])
        return terms

    def _pair(self, name: str, embeddings: Mapping[str, Tensor], labels: BatchLabels) -> Tensor:
        first, second = self._pairs[name]
        forth = self._direction(name, first, second, embeddings, labels)
        if not self.config.both_ways:
            return forth
        return 0.5 * (forth + self._direction(name, second, first, embeddings, labels))

    def _direction(
        self, name: str, anchor: View, other: View, embeddings: Mapping[str, Tensor], labels: BatchLabels
    ) -> Tensor:
        queued = other == "gps" and len(labels.queue_deg) > 0
        others = torch.cat([embeddings[other], embeddings[QUEUE]]) if queued else embeddings[other]
        targets, excluded = self.targets(labels, queued=queued, with_text="text" in (anchor, other))
        targets = smoothed(targets, self.config.label_smoothing, excluded)
        return info_nce(embeddings[anchor], others, targets, self.temperature(name), excluded)

    def targets(self, labels: BatchLabels, *, queued: bool, with_text: bool) -> tuple[Tensor, Tensor | None]:
        """Targets (n, n), or (n, n + q) if `queued`, and a mask of the same shape of the pairs to exclude."""
        places = torch.cat([labels.positions_deg, labels.queue_deg]) if queued else labels.positions_deg
        if not with_text and self.config.soft_targets_km:
            return geographic_targets(labels.positions_deg, places, self.config.soft_targets_km), None
        targets = self._hard_targets(labels, len(places), with_text)
        if not self.config.ignore_within_km:
            return targets, None
        near = false_negatives(labels.positions_deg, places, self.config.ignore_within_km)
        return targets, near & (targets == 0)

    def _hard_targets(self, labels: BatchLabels, columns: int, with_text: bool) -> Tensor:
        count = len(labels.positions_deg)
        if with_text and self.config.same_text_counts and labels.text_ids is not None:
            return nn.functional.pad(equal_id_targets(labels.text_ids), (0, columns - count))
        if labels.place_ids is not None:
            return nn.functional.pad(equal_id_targets(labels.place_ids), (0, columns - count))
        return torch.eye(count, columns, device=labels.positions_deg.device)

    def _triplet(self, config: TripletConfig, embeddings: Mapping[str, Tensor], labels: BatchLabels) -> Tensor:
        targets, excluded = self.targets(labels, queued=False, with_text=True)
        positives = targets > 0 if excluded is None else (targets > 0) | excluded
        return triplet_loss(embeddings["text"], embeddings["gps"], embeddings["image"], config.margin, positives)


def _parameter_name(pair: str) -> str:
    """A pair's name as torch allows it for a parameter, without the hyphen."""
    return pair.replace("-", "_")
