"""What GeoSleuth does with one photo, alone and with a model that looks at it: `python -m examples.demo [--out DIR]`.

The photo is `china.jpg`, which ships with scikit-learn. First it is located without any model. Then a multimodal
model's reading of it is replayed: a recording, so neither key nor network is needed. `--photo PATH` takes a photo of
yours; nothing was recorded about that, so it is located without a model only.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from apps.cli import main as geosleuth

RECORDING = Path(__file__).parent / "frontier-2026-11.jsonl"

INTRODUCTION = """\
GeoSleuth says where a photo was taken, as a probability over the Earth, and what each piece of evidence told.
Here it locates one photo twice: {photo}
"""

ALONE = """
─── 1. Nobody looks at the photo: no model, no atlas, no key ───
"""

WITH_A_MODEL = """
─── 2. A model looks at the photo ───
A recording, replayed: what a frontier multimodal model of November 2026 said of this photo. It was given the pixels
as photo.png and nothing else: no file name, no metadata, no tools. GeoSleuth weighs the places it named by that
model's record: how far off its places were on 199 photos whose place is known.
"""

NEXT = """
The maps: {maps}
With a photo and a model of yours:  geosleuth locate photo.jpg --model openai:gpt-4o --map map.html
What is there and what is missing:  geosleuth doctor
"""


def summer_palace() -> Path:
    """The photo of the Summer Palace (danielbuechele, CC BY 2.0) inside the installed scikit-learn."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise SystemExit("the demo photo ships with scikit-learn: pip install 'geosleuth[demo]', or pass --photo PATH")
    return Path(spec.origin).parent / "datasets" / "images" / "china.jpg"


def main() -> None:
    """Print each answer, and write its map as a page and as a picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="a photo of yours")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the maps")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    photo = arguments.photo or summer_palace()
    say(INTRODUCTION.format(photo=photo.name))
    say(ALONE)
    maps = [locate(photo, "offline", arguments.out / "alone")]
    if arguments.photo is None:
        say(WITH_A_MODEL)
        # Relative, so that the answer names it the same wherever the checkout is.
        maps.append(locate(photo, f"recorded:{os.path.relpath(RECORDING)}", arguments.out / "with_a_model"))
    say(NEXT.format(maps=", ".join(map(str, maps))))


def locate(photo: Path, model: str, out: Path) -> Path:
    """Locate the photo with a model; returns the page with the map, beside which the picture lies."""
    page = out.with_suffix(".html")
    geosleuth(["locate", str(photo), "--model", model, "--map", str(page), "--png", str(out.with_suffix(".png"))])
    return page


def say(text: str) -> None:
    """Print at once, in order with what the command prints."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
