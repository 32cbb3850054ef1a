"""Check that our packages are ours: their names are common words, and other distributions use some of them too."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("core", "geo", "retrieval", "tools", "belief", "agents", "graphs", "evals", "apps")
_ADVICE = (
    "install geosleuth in an environment of its own (pipx install geosleuth, uv tool install geosleuth, or a new venv)"
)


def package_conflict() -> str | None:
    """One line that says which of our packages cannot be imported because of another one; None if all is well."""
    ours = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        found = _location(name)
        if found is None:
            return f"the package {name} of geosleuth is missing from {ours}: {_ADVICE}"
        if found != ours / name:
            return f"the package {name} of geosleuth is hidden by another one at {found}: {_ADVICE}"
    if overwritten := _overwritten_package(ours):
        return (
            f"the package {overwritten} of geosleuth was overwritten by another one at {ours / overwritten}: {_ADVICE}"
        )
    return None


def _location(name: str) -> Path | None:
    """The folder, or the file, that an import of this name would load."""
    spec = find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin or "").resolve()


def _overwritten_package(ours: Path) -> Path | None:
    """A package whose `__init__.py` is not the installed one: pip lets another distribution write over it."""
    try:
        installed = files("geosleuth") or []
    except PackageNotFoundError:  # a checkout that is not installed
        return None
    for file in installed:
        if file.name != "__init__.py" or file.size is None:  # a checkout's own list of files has no sizes
            continue
        path = Path(str(file.locate())).resolve()
        is_ours = path.parent.parent == ours and path.parent.name in PACKAGES
        if is_ours and not (path.is_file() and path.stat().st_size == file.size):
            return path.parent
    return None


LEAST_ADDRESS_SPACE_BYTES = 3_000_000_000
"""By hand: with less, native libraries abort where they map files and stacks; 2 GB were too few for a build."""


def address_space_problem() -> str | None:
    """Why this process would not get far: it may address too little memory (`ulimit -v`); None: it may enough."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] if hasattr(resource, "RLIMIT_AS") else resource.RLIM_INFINITY
    if limit == resource.RLIM_INFINITY or limit >= LEAST_ADDRESS_SPACE_BYTES:
        return None
    return (
        f"this process may address {limit / 1e9:.1f} GB of memory and needs {LEAST_ADDRESS_SPACE_BYTES / 1e9:.0f}:"
        " raise the limit (`ulimit -v unlimited`)"
    )
