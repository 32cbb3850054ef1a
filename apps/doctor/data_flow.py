"""Checks of what each kind of model needs, and of what would leave this machine. No key is ever shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agents.chat_models.kinds import MODELS, ModelDescription
from agents.chat_models.prices import PRICES_PACKAGE
from agents.chat_models.spec import find_jury
from apps.doctor.report import Finding, State, installed
from core.errors import UserError
from core.redaction import host_of
from graphs.events.telemetry import INSTALL, spans_go_to, spans_wanted
from graphs.online_services import EMBEDDED_PLACES, atlas_servers, data_sent, view_host
from graphs.settings import Settings

LANGSMITH_SWITCHES = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2")
_HIDING = ("LANGSMITH_HIDE_INPUTS", "LANGSMITH_HIDE_OUTPUTS")
_LANGSMITH_URL = "https://api.smith.langchain.com"
_STAYS = "stays on this machine"


def models(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Each kind of model: its package, and whether its key is there."""
    for model in MODELS.values():
        goes = f"; photos go to {model.leaves_the_machine}" if model.leaves_the_machine else f"; {_STAYS}"
        about = f"{model.summary}{goes}"
        yield _served(model, about, environment) if model.is_served else Finding(model.name, State.OK, about)


def _served(model: ModelDescription, about: str, environment: Mapping[str, str]) -> Finding:
    found = installed(model.package)
    if found is None:
        get = f"pip install 'geosleuth[{model.extra}]'"
        return Finding(model.name, State.MISSING, f"{model.package} is not installed", about, get)
    if model.keys and not any(environment.get(key, "").strip() for key in model.keys):
        get = f"set {model.keys[0]}"
        return Finding(model.name, State.MISSING, f"{model.package} {found}, no key", about, get)
    key = "; key present" if model.keys else ""
    return Finding(model.name, State.OK, f"{about}; {model.package} {found}{key}{_prices(model)}")


def _prices(model: ModelDescription) -> str:
    """The source of list prices; the data of genai-prices is as old as its version."""
    if model.prices is None:
        return ""
    found = installed(PRICES_PACKAGE)
    return f"; prices of {PRICES_PACKAGE} {found}" if found else f"; prices unknown: {PRICES_PACKAGE} is not installed"


def leaving(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that leaves the machine when a photo is located or discussed under these settings, and its host."""
    for model in find_jury(settings.model):
        also = ", thumbnails of the atlas's photos" if settings.atlas_photos else ""
        yield _goes("model", f"{model.name}: photos and questions{also}", model.leaves_the_machine)
    yield _views("satellite views", settings.satellite_source)
    if settings.street_map_source:
        yield _views("street maps", settings.street_map_source)
    places = settings.geocoder
    yield _goes(
        "geocoder", "positions, and names read on signs", None if places == EMBEDDED_PLACES else host_of(places)
    )
    yield from _atlas_servers(settings)
    for sent in data_sent(settings):
        yield _goes(sent.tool, sent.what, sent.host)
    yield _langsmith(environment)
    yield _opentelemetry(environment)


def _views(name: str, source: str) -> Finding:
    try:
        return _goes(name, "positions of hypotheses", view_host(source))
    except UserError as error:
        return Finding(name, State.PROBLEM, str(error))


def _atlas_servers(settings: Settings) -> Iterator[Finding]:
    try:
        servers = atlas_servers(settings)
    except UserError:  # a damaged manifest, which is found with the atlases
        return
    for server in servers:
        allowed = "" if server in settings.allowed_servers else ", once GEOSLEUTH_ATLAS_SERVERS allows it"
        yield _goes(f"atlas {server}", "the photo's vector", f"the Qdrant server {server.rpartition('@')[2]}{allowed}")


def _goes(name: str, what: str, host: str | None) -> Finding:
    """The destination of some data. The user configured it, so it is no problem, but it is shown."""
    if host is None:
        return Finding(name, State.OK, f"nothing: {_STAYS}")
    return Finding(name, State.OK, f"{what} GO TO {host}")


def _langsmith(environment: Mapping[str, str]) -> Finding:
    on = [name for name in LANGSMITH_SWITCHES if environment.get(name, "").lower() in ("1", "true")]
    if not on:
        return Finding("LangSmith", State.OK, f"nothing: {_STAYS}")
    host = host_of(environment.get("LANGSMITH_ENDPOINT") or _LANGSMITH_URL)
    if all(environment.get(name, "").lower() == "true" for name in _HIDING):
        detail = f"names and times of every step GO TO {host}; inputs and outputs are hidden"
        return Finding("LangSmith", State.OK, detail)
    detail = f"photos, questions and tool results of every run GO TO {host}"
    get = f"unset {on[0]}, or set {' and '.join(f'{name}=true' for name in _HIDING)}"
    return Finding("LangSmith", State.PROBLEM, detail, get=get)


def _opentelemetry(environment: Mapping[str, str]) -> Finding:
    if not spans_wanted(environment):
        return Finding("OpenTelemetry", State.OK, f"nothing: {_STAYS}")
    detail = f"names, times and hashes of every step, no content, GO TO {spans_go_to(environment)}"
    if installed("opentelemetry-sdk") is None:
        problem = "the environment asks for it, and it is not installed"
        return Finding("OpenTelemetry", State.PROBLEM, problem, get=INSTALL)
    return Finding("OpenTelemetry", State.OK, detail)
