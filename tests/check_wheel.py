"""Builds the wheel, installs it without extras in a clean environment and uses it there: `python -m tests.check_wheel`.

This shows what a user of `pip install geosleuth` gets: no checkout, no extras, no torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
MAX_WEIGHTS_BYTES = 15_000_000


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command; its failure is ours."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build(folder: Path) -> Path:
    """A wheel built from the checkout."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


def check_contents(wheel: Path) -> None:
    """Weights, the prior and licences are in, and small; tests, benchmarks and runs are not."""
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    weights = sum(size for name, size in sizes.items() if name.startswith("retrieval/data/compact/"))
    assert 0 < weights < MAX_WEIGHTS_BYTES, f"compact weights take {weights} bytes"
    assert not [name for name in sizes if name.startswith(("tests/", "benchmarks/", "runs/"))]
    for name in ("LICENSE", "NOTICE"):
        assert any(path.endswith(f"licenses/{name}") for path in sizes), f"no {name}"
    for name in ("belief/py.typed", "belief/parameters.json", "belief/data/prior.npz"):
        assert sizes.get(name, -1) >= 0, f"no {name}"
    print(f"wheel: {wheel.stat().st_size / 1e6:.1f} MB, compact weights {weights / 1e6:.1f} MB")


def clean_environment(folder: Path, wheel: Path) -> Path:
    """The scripts folder of a new virtual environment that holds the wheel and its base dependencies only."""
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    run(scripts / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, cwd=folder.parent)
    return scripts


def check_use(scripts: Path, folder: Path) -> None:
    """The installed command answers about a photo, without torch, from another folder."""
    installed = {package["name"] for package in json.loads(run(scripts / "pip", "list", "--format=json", cwd=folder))}
    assert not installed & {"torch", "transformers", "scikit-learn"}, "an extra leaked into the base install"
    photo = folder / "photo.jpg"
    Image.radial_gradient("L").resize((320, 240)).convert("RGB").save(photo)
    run(scripts / "geosleuth", "doctor", cwd=folder)
    answer = json.loads(run(scripts / "geosleuth", "locate", photo, "--json", "--home", folder / "home", cwd=folder))
    assert answer["status"] in {"answered", "abstained"}
    build = ("atlas", "build", "few", "--gps", "50", "--home", folder / "home")
    run(scripts / "geosleuth", *build, cwd=folder)
    searched = run(
        scripts / "geosleuth", "locate", photo, "--json", "--atlas", "few", "--home", folder / "home", cwd=folder
    )
    assert json.loads(searched)["candidates"], "the packaged encoder found nothing"
    print(f"wheel: `geosleuth locate` {answer['status']} in a clean environment of {len(installed)} packages")


def check_library(scripts: Path, folder: Path) -> None:
    """Every public name can be imported, and a package that another distribution wrote over is named in one line."""
    code = "import geosleuth; print(geosleuth.__version__, *(getattr(geosleuth, name) for name in geosleuth.__all__))"
    print(f"wheel: `import geosleuth` {run(scripts / 'python', '-c', code, cwd=folder).split()[0]}")
    located = run(scripts / "python", "-c", "import agents; print(agents.__file__)", cwd=folder)
    Path(located.strip()).write_text("from .agent import Agent\n")
    done = subprocess.run([scripts / "geosleuth", "--help"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout
    assert "agents" in done.stderr, done.stderr


def main() -> None:
    """Build, look inside, install, use."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        check_contents(wheel)
        scripts = clean_environment(folder / "venv", wheel)
        check_use(scripts, folder)
        check_library(scripts, folder)
    print("wheel: 1 passed, 0 failed")


if __name__ == "__main__":
    main()
