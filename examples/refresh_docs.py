"""Run the commands that README and docs show and write what they print: `python -m examples.refresh_docs [--check]`.

A fenced block marked `console` holds lines that begin with `$ ` and, below each, what the command prints; it is run in
a folder with `china.jpg` and `trip/` (two photos of scikit-learn and one file that is no photo), with a new data home.
Between `<!-- generated: imports -->` and `<!-- end of generated -->` stands a diagram made from the imports. `--check`
writes nothing and fails where a page differs, seconds and hashes apart.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from examples.demo import summer_palace

ROOT = Path(__file__).parents[1]
FLOORS = ("core", "geo", "retrieval", "tools", "belief", "agents", "graphs", "evals", "apps")
SHOWN_HOME = "/home/you/.local/share/geosleuth"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", flags=re.MULTILINE | re.DOTALL)
DIAGRAM = re.compile(r"(?<=<!-- generated: imports -->\n).*?(?=<!-- end of generated -->)", flags=re.DOTALL)
VOLATILE = re.compile(r"\b\d+(\.\d+)? s\b|\b[0-9a-f]{10,64}\b|\bsize +[\d.]+ MB")
"""What differs from run to run or machine to machine: seconds, hashes of results, sizes on disk."""


def prepare(folder: Path) -> dict[str, str]:
    """Put the photos into a folder, try one, and return the environment that commands run in."""
    photos = summer_palace().parent
    (folder / "trip").mkdir()
    shutil.copy(photos / "china.jpg", folder)
    for name in ("china.jpg", "flower.jpg"):
        shutil.copy(photos / name, folder / "trip")
    (folder / "trip" / "notes.jpg").write_text("Not a photo.\n", encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEOSLEUTH_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    environment = kept | {"PATH": path, "GEOSLEUTH_HOME": str(folder / "home"), "COLUMNS": "100", "TERM": "dumb"}
    printed = run("geosleuth locate china.jpg --no-signs || echo FAILED", folder, environment)
    if printed.endswith("FAILED\n"):
        raise SystemExit(f"the first command of all failed, so nothing was refreshed:\n{printed}")
    return environment


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command prints on both streams, as a reader would see it."""
    sys.stderr.write(f"$ {command}\n")
    done = subprocess.run(  # noqa: S603 - the commands of our own pages
        ["bash", "-c", command],  # noqa: S607 - as their readers run them
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    printed = done.stdout.replace(str(folder / "home"), SHOWN_HOME)
    return "".join(f"{line.rstrip()}\n" for line in printed.splitlines())


def refreshed_block(block: str, folder: Path, environment: dict[str, str]) -> str:
    """A block with the output of its commands; the old one where only what is volatile differs."""
    commands = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    new = "".join(f"$ {command}\n{run(command, folder, environment)}" for command in commands)
    return block if comparable(new) == comparable(block) else new


def comparable(text: str) -> str:
    """A text without what is volatile, and without the padding that depends on its width."""
    return re.sub(r" +", " ", VOLATILE.sub("…", text))


def import_counts() -> Counter[tuple[str, str]]:
    """How many modules of each floor import from each other floor."""
    counts: Counter[tuple[str, str]] = Counter()
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            counts.update((floor, other) for other in set(_imported(path)) if other in FLOORS and other != floor)
    return counts


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)


def diagram() -> str:
    """The floors with their folders, and how they import one another, as a Mermaid flow chart."""
    lines = ["```mermaid", "flowchart TD"]
    for floor in reversed(FLOORS):
        folders = sorted(path.parent.name for path in (ROOT / floor).glob("*/__init__.py"))
        lines.append(f'  {floor}["<b>{floor}</b><br/>{" · ".join(folders)}"]')
    for (importer, imported), count in sorted(import_counts().items()):
        lines.append(f"  {importer} -->|{count}| {imported}")
    return "\n".join([*lines, "```", ""])


def main() -> None:
    """Refresh or check every page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page differs")
    check = parser.parse_args().check
    different = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = prepare(folder)
        for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
            old = page.read_text(encoding="utf-8")
            new = DIAGRAM.sub(lambda _: diagram(), old)
            new = BLOCK.sub(lambda found: refreshed_block(found.group(), folder, environment), new)
            if new == old:
                continue
            different = True
            sys.stdout.writelines(
                difflib.unified_diff(old.splitlines(True), new.splitlines(True), page.name, f"{page.name}, refreshed")
            )
            if not check:
                page.write_text(new, encoding="utf-8")
    if check and different:
        raise SystemExit("pages differ from what their commands print: run `python -m examples.refresh_docs`")


if __name__ == "__main__":
    main()
