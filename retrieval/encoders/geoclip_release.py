"""GeoCLIP's release: the weights and the coordinate gallery inside the installed `geoclip` package.

The package is read, never imported: importing it would need torchvision.
Install it with `pip install --no-deps geoclip`. MIT licence.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from retrieval.backbones.weights import WEIGHT_FILES, find_weights

CLIP = "clip-vit-l14"
HOW_TO_GET = "pip install --no-deps geoclip"


class GeoClipRelease(NamedTuple):
    """Where the files are.

    Attributes:
        image_projection: CLIP embedding (768) to the joint space (512).
        location: the GPS encoder.
        gallery: CSV of coordinates, columns LAT and LON.
    """

    image_projection: Path
    location: Path
    gallery: Path


class GeoClipFiles(NamedTuple):
    """The release, and the weights of the CLIP that it was trained on."""

    release: GeoClipRelease
    clip: Path


def find_files(weights_folder: Path | None) -> GeoClipFiles:
    """The files of this machine.

    Args:
        weights_folder: holds CLIP's `model.safetensors`; None looks in the caches.

    Raises:
        UserError: CLIP's weights or the `geoclip` package are not here, and how to get them.
    """
    return GeoClipFiles(find_release(), find_weights(WEIGHT_FILES[CLIP], CLIP, weights_folder))


def find_release() -> GeoClipRelease:
    """The files of the installed package.

    Raises:
        UserError: the package is not installed, or lacks one of them.
    """
    spec = importlib.util.find_spec("geoclip")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise UserError(f"the geoclip encoder needs the weights in the `geoclip` package: {HOW_TO_GET}")
    model = Path(places[0]) / "model"
    release = GeoClipRelease(
        model / "weights" / "image_encoder_mlp_weights.pth",
        model / "weights" / "location_encoder_weights.pth",
        model / "gps_gallery" / "coordinates_100K.csv",
    )
    for path in release:
        if not path.is_file():
            raise UserError(f"the installed `geoclip` package has no {path.name}: {HOW_TO_GET} 'geoclip>=1.2'")
    return release


def read_gallery(path: Path) -> NDArray[np.float64]:
    """The coordinates (n, 2) in degrees, latitude first.

    Raises:
        UserError: not such a table.
    """
    try:
        with path.open(encoding="utf-8") as file:
            columns = file.readline().strip().upper()
            found = np.loadtxt(file, delimiter=",", ndmin=2, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the gallery {path} ({error}): {HOW_TO_GET}") from error
    in_range = found.shape[1:] == (2,) and bool((np.abs(found) <= (90.0, 180.0)).all())
    if columns != "LAT,LON" or not in_range:
        raise UserError(f"{path} is no table of LAT and LON in degrees: {HOW_TO_GET}")
    return found
