"""The rules of the house (docs/how-it-works.md): imports point down, folders stay small, one name means one thing."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("core", "geo", "retrieval", "tools", "belief", "agents", "graphs", "evals", "apps")
MAX_MODULES = 15
"""Modules a folder may hold, `__init__.py` apart."""

# Words that had a private meaning here, and the field's word that replaced each. graphs/inference/ is moved as it was.
RETIRED = {
    r"[Ww]orkbench": "GeolocateContext",
    r"\bbench\b": "context",
    r"\bshel(f|ves)\b|PhotoShelf": "PhotoStore",
    r"\b(LMM|model)'s seat\b|\bin the seat\b|\bseated\b|\bseating\b": "chat model",
    r"\bpurse\b": "CostBudget",
    r"\b[Gg]lances?\b": "fingerprint",
    r"\b[Ss]ittings?\b": "run session",
    r"\b[Ll]ab\b|\bsleuths\b": "evaluated systems",
    r"(?<![-\"])\btwins?\b": "near-duplicate",
    r"\b[Ee]yes\b": "frozen backbones",
    r"\bpolite\b": "rate limited",
    r"\bScriptedMind\b": "ScriptedPolicy",
    r"\bbriefing\b": "prompt data",
}
WRITTEN = ("README.md", "docs/*.md")

# torch is an extra: only the trainer and the modules it trains may need it.
TORCH_ROOMS = (
    "retrieval/training/",
    "retrieval/encoders/fused",
    "retrieval/encoders/fusion",
    "retrieval/encoders/geoclip",
    "retrieval/location/",
    "retrieval/crossview/network",
    "retrieval/crossview/encoder",
    "retrieval/backbones/",
)


def modules(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


def imported_on_load(path: Path) -> Iterator[str]:
    """Absolute names of what the module imports when it is itself imported, so not inside functions."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If):
            yield from _names(ast.walk(node), path)


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything imported anywhere in the file, also inside functions."""
    yield from _names(ast.walk(ast.parse(path.read_text(encoding="utf-8"))), path)


def _names(nodes: Iterable[ast.AST], path: Path) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield f"{node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_point_down(floor: str) -> None:
    above = FLOORS[FLOORS.index(floor) + 1 :]
    wrong = [(path, name) for path in modules(floor) for name in imports(path) if name.split(".")[0] in above]
    assert not wrong


@pytest.mark.parametrize("floor", FLOORS)
def test_every_floor_is_built(floor: str) -> None:
    assert modules(floor)


def test_training_is_imported_by_nothing_outside_itself() -> None:
    outside = [path for floor in FLOORS for path in modules(floor) if "retrieval/training/" not in path.as_posix()]
    wrong = [(path, name) for path in outside for name in imports(path) if name.startswith("retrieval.training")]
    assert not wrong


def test_only_the_trained_modules_import_torch() -> None:
    wrong = [
        path.relative_to(ROOT).as_posix()
        for floor in FLOORS
        for path in modules(floor)
        if any(name.split(".")[0] == "torch" for name in imports(path))
        and not path.relative_to(ROOT).as_posix().startswith(TORCH_ROOMS)
    ]
    assert not wrong


def test_inference_loads_no_module_that_needs_torch() -> None:
    """A function may import one: it is called by those who have torch, and says what to install to the others."""
    rooms = tuple(room.removesuffix("/").replace("/", ".") for room in TORCH_ROOMS)
    wrong = [
        (path, name)
        for floor in FLOORS
        for path in modules(floor)
        if not path.relative_to(ROOT).as_posix().startswith(TORCH_ROOMS)
        for name in imported_on_load(path)
        if name.startswith(rooms)
    ]
    assert not wrong


def product_modules() -> list[Path]:
    return [path for floor in FLOORS for path in modules(floor)]


def test_no_folder_holds_too_many_modules() -> None:
    everywhere = [*product_modules(), *(path for top in ("tests", "benchmarks", "examples") for path in modules(top))]
    sizes = Counter(path.parent.relative_to(ROOT) for path in everywhere if path.name != "__init__.py")
    assert not {folder: size for folder, size in sizes.items() if size > MAX_MODULES}


def test_no_public_class_name_means_two_things() -> None:
    places: dict[str, list[str]] = {}
    for path in product_modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert not {name: files for name, files in places.items() if len(files) > 1}


@pytest.mark.parametrize("word", RETIRED)
def test_retired_words_stay_away(word: str) -> None:
    texts = [path for path in product_modules() if "inference" not in path.parts]
    texts += [path for pattern in WRITTEN for path in ROOT.glob(pattern) if path.name != "decisions.md"]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(word, line)
    ]
    assert not found, f"say {RETIRED[word]!r}"


def test_every_test_that_the_docs_name_exists() -> None:
    text = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)
    assert len(named) > 50
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file, _ in named if (ROOT / file).is_file()}
    assert not [f"{file}::{test}" for file, test in named if f"def {test}(" not in sources.get(file, "")]
