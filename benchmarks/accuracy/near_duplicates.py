"""What counts as nearly the same picture: copies of photos against photos of other people.

    python -m benchmarks.accuracy.near_duplicates --data ../shared/data

On the training and calibration photos; the thresholds of the clean protocol were chosen on this.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from benchmarks.dev_photos import DEFAULT_DATA, load_dev_photos
from evals.clean.perceptual_hash import NEAR_DUPLICATE_BITS, bits_apart, difference_hash, plain_share
from evals.clean.protocol import NEAR_DUPLICATE_SIMILARITY
from retrieval.encoders.registry import load_encoder
from retrieval.photos.photo import Photo, load_photo

COPIED = 200


def copies(image: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """What people do to photos before they show them again."""
    width, height = image.size
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    yield "recompressed at quality 40", Image.open(stream).convert("RGB")
    yield "halved", image.resize((width // 2, height // 2))
    yield "brighter by a quarter", ImageEnhance.Brightness(image).enhance(1.25)
    yield "more contrast", ImageEnhance.Contrast(image).enhance(1.3)
    for percent in (3, 6, 10):
        x, y = round(percent / 200 * width), round(percent / 200 * height)
        yield f"{percent} % cropped off", image.crop((x, y, width - x, height - y))


def strangers(hashes: NDArray[np.uint8], vectors: NDArray[np.float32], authors: NDArray[np.str_]) -> str:
    """How near photos of different people come to each other."""
    nearest, most = [], []
    for i, author in enumerate(authors):
        others = authors != author
        nearest.append(int(bits_apart(hashes[others], hashes[i]).min()))
        most.append(float((vectors[others] @ vectors[i]).max()))
    near_duplicates = (
        np.mean(np.array(nearest) <= NEAR_DUPLICATE_BITS),
        np.mean(np.array(most) >= NEAR_DUPLICATE_SIMILARITY),
    )
    return (
        f"{len(authors)} photos: nearest stranger {min(nearest)} bits away, most similar {max(most):.4f};"
        f" taken for near duplicates {near_duplicates[0]:.1%} by hash, {near_duplicates[1]:.1%} by embedding"
    )


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    every, encoder = load_dev_photos(parser.parse_args().data), load_encoder("compact")
    parts = [every.part("train"), every.part("calibration")]
    photos = [load_photo(path) for part in parts for path in part.paths]
    authors = np.array([author for part in parts for author in part.authors])
    hashes = np.stack([difference_hash(photo.rgb) for photo in photos])
    vectors = encoder.encode_photos(photos).fused
    print(strangers(hashes, vectors, authors))
    print("plainest:", ", ".join(f"{share:.2f}" for share in sorted(plain_share(p.rgb) for p in photos)[-3:]))
    found: dict[str, list[tuple[bool, bool]]] = {}
    for i in np.random.default_rng(0).choice(len(photos), COPIED, replace=False):
        for name, copy in copies(Image.fromarray(photos[i].rgb)):
            rgb = np.asarray(copy)
            by_hash = int(bits_apart(hashes[i : i + 1], difference_hash(rgb))[0]) <= NEAR_DUPLICATE_BITS
            vector = encoder.encode_photos([Photo(rgb, "0" * 64, "copy")]).fused[0]
            found.setdefault(name, []).append((by_hash, float(vector @ vectors[i]) >= NEAR_DUPLICATE_SIMILARITY))
    for name, hits in found.items():
        shares = np.mean(hits, axis=0)
        either = np.mean(np.any(hits, axis=1))
        print(f"{name}: {shares[0]:.0%} by hash, {shares[1]:.0%} by embedding, {either:.0%} by either")


if __name__ == "__main__":
    main()
