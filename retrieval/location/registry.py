"""The list of GPS encoders: positions (batch, 2) in degrees, latitude first, to L2-normalised vectors (batch, dim).

The vector of a position does not depend on the rest of the batch. Needs torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from core.errors import UserError
from retrieval.location.attention import LocationAttention
from retrieval.location.fourier import FourierCapsules
from retrieval.location.geoclip import GeoClipLocations

LOCATION_ENCODERS: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {"fourier_capsules": FourierCapsules, "geoclip": GeoClipLocations, "location_attention": LocationAttention}
)
"""By the name in configurations; called with `dim` and the configuration's options."""


def build_location_encoder(name: str, dim: int, options: Mapping[str, Any] | None = None) -> nn.Module:
    """A fresh GPS encoder with random weights.

    Args:
        options: keyword arguments of that encoder, such as `{"sigmas": [1, 16, 256]}`.

    Raises:
        UserError: an unknown name or option.
    """
    known = LOCATION_ENCODERS.get(name)
    if known is None:
        raise UserError(f"no location encoder {name!r}: use one of {', '.join(LOCATION_ENCODERS)}")
    allowed = [one for one in inspect.signature(known).parameters if one not in ("self", "dim")]
    wrong = sorted(set(options or {}) - set(allowed))
    if wrong:
        raise UserError(f"location encoder {name} has no option {', '.join(wrong)}: it has {', '.join(allowed)}")
    return known(dim=dim, **(options or {}))
