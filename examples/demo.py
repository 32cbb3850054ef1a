"""Locate one real photo with the embedded defaults: `python -m examples.demo [--photo PATH] [--out DIR]`.

Without a photo it takes `china.jpg`, a picture of the Summer Palace in Beijing that ships with scikit-learn.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from apps.cli import main as geosleuth


def summer_palace() -> Path:
    """The photo of the Summer Palace (danielbuechele, CC BY 2.0) inside the installed scikit-learn."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise SystemExit("the demo photo ships with scikit-learn: pip install 'geosleuth[demo]', or pass --photo PATH")
    return Path(spec.origin).parent / "datasets" / "images" / "china.jpg"


def main() -> None:
    """Write the answer's map as a page and as a picture, and print the answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photo", type=Path, help="a photo of yours")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the map")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    page, picture = arguments.out / "demo.html", arguments.out / "demo.png"
    photo = arguments.photo or summer_palace()
    geosleuth(["locate", str(photo), "--map", str(page), "--png", str(picture)])


if __name__ == "__main__":
    main()
