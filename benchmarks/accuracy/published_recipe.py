"""DualGeo's published geographic reranker, re-implemented from its description for comparison.

DBSCAN on the haversine distance (ball tree, eps 50 km, at least 2 samples, Earth radius 6371 km); the centre is
the arithmetic mean of the latitudes and longitudes of the largest cluster, the first one on a tie, or of all
candidates where there is no cluster; candidates are reordered by their distance to it, worked out one by one.
Similarities are not used, and nothing is done about the antimeridian: those are properties of the recipe.

Source: arXiv 2604.25533, repository CJ310177/DualGeo (which runs it on the 20 most similar candidates).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

RECIPE_EARTH_KM = 6371.0


def published_order(lat_lon_deg: NDArray[np.float64], eps_km: float = 50.0, min_samples: int = 2) -> NDArray[np.int64]:
    """Order (n,) in which the recipe puts candidates at positions (n, 2)."""
    scan = DBSCAN(eps=eps_km / RECIPE_EARTH_KM, min_samples=min_samples, metric="haversine", algorithm="ball_tree")
    labels = scan.fit_predict(np.radians(lat_lon_deg))
    found, sizes = np.unique(labels[labels >= 0], return_counts=True)
    members = labels == found[sizes.argmax()] if len(found) else np.ones(len(labels), bool)
    centre = lat_lon_deg[members].mean(axis=0)
    return np.argsort([_scalar_haversine_km(position, centre) for position in lat_lon_deg])


def published_order_vectorised(lat_lon_deg: NDArray[np.float64]) -> NDArray[np.int64]:
    """The same order with the last step vectorised, to time the clustering rather than the loop."""
    scan = DBSCAN(eps=50.0 / RECIPE_EARTH_KM, min_samples=2, metric="haversine", algorithm="ball_tree")
    radians = np.radians(lat_lon_deg)
    labels = scan.fit_predict(radians)
    found, sizes = np.unique(labels[labels >= 0], return_counts=True)
    members = labels == found[sizes.argmax()] if len(found) else np.ones(len(labels), bool)
    lat, lon = np.radians(lat_lon_deg[members].mean(axis=0))
    half = np.sin((radians[:, 0] - lat) / 2) ** 2
    half += np.cos(lat) * np.cos(radians[:, 0]) * np.sin((radians[:, 1] - lon) / 2) ** 2
    return np.argsort(half)


def _scalar_haversine_km(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    lat1, lon1, lat2, lon2 = map(math.radians, (*one, *other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * RECIPE_EARTH_KM * math.asin(math.sqrt(half))
