"""The `geoclip` package's own `predict` beside ours: seconds a photo, memory, and whether the places are the same.

    pip install --no-deps geoclip
    python -m benchmarks.speed.geoclip_package [--photos FOLDER] [--count 3]

`predict` embeds its whole gallery of 100,000 coordinates for every photo; `--encoder geoclip` does that once, into an
atlas, which is searched. Both have CLIP ViT-L/14 with the same random weights, the released projection and the released
GPS encoder, in a process of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.dev_photos import DEFAULT_DATA
from geo.sphere import distance_km
from retrieval.atlas.atlas import open_atlas
from retrieval.atlas.build import build_gps_atlas
from retrieval.backbones.device import compute_on
from retrieval.backbones.hugging_face import ClipBackbone
from retrieval.backbones.registry import BACKBONES
from retrieval.encoders.geoclip import GeoClipEncoder, LazyClip
from retrieval.encoders.geoclip_release import CLIP, find_release, read_gallery
from retrieval.photos.photo import load_photo, photo_paths

Locate = Callable[[Path], tuple[float, float]]
SAME_PLACE_KM = 1.0
SEED = 0


def package() -> Any:
    """GeoCLIP as its package makes it, CLIP with random weights."""
    from geoclip import GeoCLIP

    torch.manual_seed(SEED)
    return GeoCLIP(clip_pretrained=False).eval()


def save_clip(file: Path) -> None:
    """Write the package's random CLIP in the layout of CLIP's `model.safetensors`."""
    state = package().image_encoder.CLIP.state_dict()
    save_file(
        {name: value.contiguous() for name, value in state.items() if name.startswith(("vision", "visual"))}, file
    )


def package_locate() -> Locate:
    """The package's `predict`: its most likely coordinates."""
    model = package()

    def locate(photo: Path) -> tuple[float, float]:
        lat, lon = model.predict(str(photo), 1)[0][0].tolist()
        return lat, lon

    return locate


def our_locate(folder: Path, clip: Path) -> Locate:
    """The encoder and a search of the atlas of the same gallery, which is built here if it is not there yet."""
    lazy = LazyClip("random", lambda: ClipBackbone(BACKBONES[CLIP], "pretrained", clip, 0))
    release = find_release()
    encoder = GeoClipEncoder(release, lazy, compute_on("cpu", "float32"))
    gallery = read_gallery(release.gallery)
    build_gps_atlas(folder, encoder, gallery, [str(row) for row in range(len(gallery))])
    atlas = open_atlas(folder, encoder)

    def locate(photo: Path) -> tuple[float, float]:
        best = atlas.search(encoder.encode_photos([load_photo(photo)]).fused[0], 1)[0].point
        return best.lat, best.lon

    return locate


def measured(locate: Locate, photos: Sequence[Path]) -> dict[str, Any]:
    """What the photos after a first one cost, and where they are."""
    locate(photos[0])
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    places = [locate(photo) for photo in photos]
    return {
        "wall_s": (time.perf_counter() - wall_s) / len(photos),
        "cpu_s": (time.process_time() - cpu_s) / len(photos),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "places": places,
    }


def in_a_process(what: str, scratch: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Run one part of this module in a new process of one thread; its JSON, if it prints any."""
    own = ["--photos", str(chosen.photos), "--count", str(chosen.count), "--scratch", str(scratch)]
    command = [sys.executable, "-m", "benchmarks.speed.geoclip_package", "--only", what, *own]
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=variables)  # noqa: S603 - our own
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=DEFAULT_DATA / "im2gps3k_dev" / "images")
    parser.add_argument(
        "--count", type=int, default=3, help="photos located by each; the package takes a minute a photo"
    )
    parser.add_argument("--only", choices=("weights", "package", "build", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        print(json.dumps(_part(chosen)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _compare(Path(folder), chosen)


def _part(chosen: argparse.Namespace) -> dict[str, Any]:
    clip, atlas = chosen.scratch / "model.safetensors", chosen.scratch / "atlas"
    photos = photo_paths([chosen.photos])[: chosen.count]
    if chosen.only == "weights":
        save_clip(clip)
        return {}
    if chosen.only == "package":
        return measured(package_locate(), photos)
    begun_s = time.process_time()
    locate = our_locate(atlas, clip)
    return {"cpu_s": time.process_time() - begun_s} if chosen.only == "build" else measured(locate, photos)


def _compare(scratch: Path, chosen: argparse.Namespace) -> None:
    in_a_process("weights", scratch, chosen)
    built = in_a_process("build", scratch, chosen)
    found = {name: in_a_process(name, scratch, chosen) for name in ("package", "ours")}
    print("| | s a photo | CPU s a photo | peak MB |\n|---|---|---|---|")
    for name, one in found.items():
        print(f"| {name} | {one['wall_s']:.2f} | {one['cpu_s']:.2f} | {one['peak_mb']:,.0f} |")
    away_km = distance_km(np.array(found["package"]["places"]), np.array(found["ours"]["places"]))
    print(
        f"\n{found['package']['cpu_s'] / found['ours']['cpu_s']:.0f} times the photos for the same CPU time;", end=" "
    )
    print(f"the atlas took {built['cpu_s']:.0f} s of CPU once;", end=" ")
    print(f"same first place: {int((away_km < SAME_PLACE_KM).sum())} of {chosen.count}")


if __name__ == "__main__":
    main()
