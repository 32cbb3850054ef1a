"""The list of GPS encoders: positions (batch, 2) in degrees, latitude first, to L2-normalised vectors (batch, dim).

The vector of a position does not depend on the rest of the batch. Needs torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import nn

from core.errors import UserError
from retrieval.location.attention import LocationAttention
from retrieval.location.fourier import FourierCapsules
from retrieval.location.geoclip import GeoClipLocations


class LocationDescription(NamedTuple):
    """A GPS encoder that a configuration can name.

    Attributes:
        name: in configurations.
        summary: one line for people.
        source: the paper.
        build: called with `dim` and the options of the configuration.
    """

    name: str
    summary: str
    source: str
    build: Callable[..., nn.Module]


_ALL = (
    LocationDescription(
        "fourier_capsules",
        "random Fourier capsules on the 3-D unit vector: continuous at the antimeridian and the poles",
        "GeoCLIP, Vivanco Cepeda et al. 2023, without its map projection",
        FourierCapsules,
    ),
    LocationDescription(
        "geoclip",
        "random Fourier capsules on the equal-earth map, as published; holds GeoCLIP's released weights",
        "GeoCLIP, Vivanco Cepeda et al. 2023",
        GeoClipLocations,
    ),
    LocationDescription(
        "location_attention",
        "a transformer over scale tokens that attend to learned anchor places with a distance bias",
        "TransGeoCLIP (arXiv 2606.08918), with anchors in place of the batch",
        LocationAttention,
    ),
)

LOCATION_ENCODERS: Mapping[str, LocationDescription] = MappingProxyType({one.name: one for one in _ALL})


def build_location_encoder(name: str, dim: int, options: Mapping[str, Any] | None = None) -> nn.Module:
    """A fresh GPS encoder with random weights.

    Args:
        name: a name in `LOCATION_ENCODERS`.
        dim: of its vectors.
        options: keyword arguments of that encoder, such as `{"sigmas": [1, 16, 256]}`.

    Raises:
        UserError: an unknown name or option.
    """
    known = LOCATION_ENCODERS.get(name)
    if known is None:
        raise UserError(f"no location encoder {name!r}: use one of {', '.join(LOCATION_ENCODERS)}")
    allowed = [one for one in inspect.signature(known.build).parameters if one not in ("self", "dim")]
    wrong = sorted(set(options or {}) - set(allowed))
    if wrong:
        raise UserError(f"location encoder {name} has no option {', '.join(wrong)}: it has {', '.join(allowed)}")
    return known.build(dim=dim, **(options or {}))
