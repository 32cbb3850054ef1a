"""The losses of distillation and alignment, as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from geo.sphere import EARTH_RADIUS_KM
from retrieval.location.registry import unit_vectors


def pairwise_km(a_deg: Tensor, b_deg: Tensor) -> Tensor:
    """Great-circle distances in km between positions (n, 2) and (m, 2): (n, m).

    From the chord in double precision, which is exact enough for near points (unlike arccos of the dot product).
    """
    chord = torch.cdist(
        unit_vectors(a_deg.double()), unit_vectors(b_deg.double()), compute_mode="donot_use_mm_for_euclid_dist"
    )
    return (2.0 * EARTH_RADIUS_KM * torch.asin(torch.clamp(chord / 2.0, max=1.0))).float()


def geographic_targets(photos_deg: Tensor, places_deg: Tensor, softness_km: float) -> Tensor:
    """What share of a photo's belief each place deserves: exp(-distance / softness), rows summing to 1."""
    return torch.softmax(-pairwise_km(photos_deg, places_deg) / softness_km, dim=1)


def contrast(anchors: Tensor, others: Tensor, targets: Tensor, temperature: Tensor) -> Tensor:
    """Cross-entropy of softmax(cosine / temperature) against soft targets; InfoNCE when targets are one-hot.

    Args:
        anchors: (n, dim), L2-normalised.
        others: (m, dim), L2-normalised.
        targets: (n, m), rows summing to 1.
        temperature: a scalar.
    """
    log_probabilities = torch.log_softmax(anchors @ others.T / temperature, dim=1)
    return -(targets * log_probabilities).sum(dim=1).mean()


def relation(student: Tensor, teacher: Tensor, temperature: float = 0.1) -> Tensor:
    """KL divergence between the neighbourhoods of a batch as teacher and student see them (after Park et al. 2019).

    Args:
        student: (n, dim), L2-normalised.
        teacher: (n, dim of the teacher), L2-normalised.
        temperature: of both softmaxes; a vector is not its own neighbour.
    """
    itself = torch.eye(len(student), dtype=torch.bool, device=student.device)
    wanted = torch.softmax((teacher @ teacher.T / temperature).masked_fill(itself, -1e9), dim=1)
    found = torch.log_softmax((student @ student.T / temperature).masked_fill(itself, -1e9), dim=1)
    return torch.nn.functional.kl_div(found, wanted, reduction="batchmean")


def segmentation(class_logits: Tensor, distributions: Tensor) -> Tensor:
    """KL divergence of predicted from wanted class distributions, (batch, classes, h, w), averaged over cells."""
    found = torch.log_softmax(class_logits.float(), dim=1)
    pointwise = torch.nn.functional.kl_div(found, distributions, reduction="none")
    return pointwise.sum(dim=1).mean()
