"""Settings: built once at the entry point and passed down as values. Explicit beats environment beats default."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Annotated, Any, Self

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from agents.chat_models.spec import find_jury, parse_spec, split_jury
from agents.schemas import Level
from agents.strategies import Strategy, find_strategy
from agents.strategy_files import load_strategies
from belief.decision import Aim
from core.errors import UserError, first_problem
from core.files import expanded_path, sha256_if_readable
from core.json_text import parse_json
from core.redaction import last_part, redacted
from graphs.budgets import Budgets
from retrieval.atlas.servers import remembered_servers
from tools.online.addresses import MAPILLARY_API, checked_url

_FOLDERS = ("home", "atlas_photos", "satellite_encoder", "satellite_pictures", "strategies_folder")
_FILES = ("prices", "calibration", "model_records", "checkpoints", "audit_log")
WORLD_ATLAS = "world"
"""The atlas of populated places, which is built when it is asked for by this name."""


NOT_OF_THE_ANSWER = frozenset(
    (
        *("home", "audit_log", "checkpoints", "threads", "atlas_servers", "state_url", "tile_cache_mb"),
        *("ask", "model_concurrency", "model_retries"),
    )
)
"""Settings that change where things lie, how fast they go, or whether a person is asked: not what is answered."""


SHARED_PATHS = tuple(name for name in (*_FOLDERS, *_FILES) if name not in NOT_OF_THE_ANSWER)
"""Settings that an answer depends on and that are files or folders of this machine."""


class Settings(BaseSettings):
    """Everything a user may choose. Environment: GEOSLEUTH_HOME, GEOSLEUTH_BUDGETS__SECONDS and so on."""

    model_config = SettingsConfigDict(
        env_prefix="GEOSLEUTH_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
    )

    home: Path = Field(
        default_factory=lambda: user_data_path("geosleuth"), description="atlases, caches and the audit log live here"
    )
    encoder: str = Field("compact", description="name of an encoder, or a folder with one")
    atlases: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="names of atlases under <home>/atlases; none: nothing is searched"
    )
    atlas_servers: tuple[str, ...] = Field(
        (), description="NAME@HOST:PORT: atlases whose Qdrant server on another machine may be sent photos' vectors"
    )
    atlas_photos: Path | None = Field(
        None,
        description="folder of the atlas's photos: model and page may show thumbnails of look-alikes; None: neither",
    )
    satellite_atlas: str | None = Field(
        None, description="name of an atlas of satellite tiles under <home>/atlases, which the photo is compared with"
    )
    satellite_encoder: Path | None = Field(None, description="folder of the encoder that made the satellite atlas")
    satellite_pictures: Path | None = Field(
        None, description="folder of its tiles' pictures: answers and the model show them; None: answers do not"
    )
    model: str = Field("offline", description="spec of the chat model, such as openai:NAME; of a jury, with commas")
    strategy: str = Field("refine", description="which steps run, what is asked, how the point is chosen")
    strategies_folder: Path | None = Field(None, description="your own strategies: .json or .toml, and .md")
    prices: Path | None = Field(None, description="file of models' prices; its rows replace list prices")
    model_timeout_s: float | None = Field(
        None, gt=0.0, description="for one attempt to ask the model; None: 120, or a day where somebody writes replies"
    )
    model_retries: int = Field(3, ge=0, description="after a rate limit, a server error or a lost connection")
    model_concurrency: int = Field(8, ge=1, description="requests to the model under way at once")
    model_picture_px: int | None = Field(
        None, ge=256, le=4096, description="long side of pictures that the model is shown; None: the provider's"
    )
    calibrated: bool = Field(True, description="correct radius and confidence where a calibration fits this system")
    calibration: Path | None = Field(None, description="a calibration's file; None: the belief's own radii")
    model_records: Path | None = Field(None, description="records of models' reliability; None: packaged ones")
    record_like: str | None = Field(
        None, description="known model whose record is that of models without one; None: a cautious pooled record"
    )
    ask: bool = Field(False, description="ask a person when two hypotheses are close")
    allow_metadata: bool = Field(False, description="report the position a file claims, beside the answer")
    max_precision: Level | None = Field(None, description="coarsen every answer to this level")
    read_signs: bool = Field(True, description="read text in photos; about a second a photo")
    satellite_source: str = Field(
        "blue-marble", description="satellite pictures: bundled, a provider of xyzservices, or an XYZ address"
    )
    street_map_source: str | None = Field(
        None, description="a provider of xyzservices, or an XYZ address: switches views of street maps on"
    )
    tile_cache_mb: int = Field(500, ge=1, description="disk for tiles of both, under <home>/tiles")
    geocoder: str = Field("geonames", description="where the tools find places: bundled, or a Nominatim service's URL")
    overpass: str | None = Field(None, description="URL of an Overpass interpreter: switches map_features on")
    mapillary: str = Field(MAPILLARY_API, description="URL of Mapillary's API; used with a token only")
    mapillary_token: SecretStr | None = Field(
        None, exclude=True, description="from the environment, never shown or saved: switches street_view on"
    )
    web_search: str | None = Field(None, description="URL of a SearXNG instance with JSON: switches web_search on")
    image_search: str | None = Field(
        None, description="URL of your own service that THE PHOTO IS SENT TO: switches reverse_image_search on"
    )
    weather: str | None = Field(None, description="URL of Open-Meteo's archive API: switches weather on")
    budgets: Budgets = Budgets()
    aim: Aim = Field(
        Aim.GEOSCORE, description="what the point is chosen for: a distance in km to lie within, or geoscore"
    )
    min_confidence: float = Field(
        0.0, ge=0.0, le=1.0, description="abstain where the chance within the aim's distance is less; 0 never abstains"
    )
    recall_limit: int = Field(100, ge=1, le=1000, description="candidates asked of each atlas")
    threads: int = Field(2, ge=1, le=1024, description="CPU threads of one encoder call")
    checkpoints: Path | None = Field(None, description="SQLite file that runs resume from; None keeps no checkpoints")
    state_url: SecretStr | None = Field(
        None,
        exclude=True,
        description="where `geosleuth serve` keeps threads, photos and jobs: sqlite:///FILE, or a Postgres server as"
        " postgresql://USER:PASSWORD@HOST/DATABASE; None: <home>/service.sqlite",
    )
    audit_log: Path | None = Field(None, description="one JSON line a query; None: <home>/audit.jsonl")

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        return ",".join(model.name for model in find_jury(name))

    @field_validator(*_FOLDERS, *_FILES, mode="before")
    @classmethod
    def _usable_path(cls, path: object, info: ValidationInfo) -> object:
        if isinstance(path, str) and not path.strip():
            raise ValueError("an empty name is no file or folder: leave it out for the usual one")
        if not isinstance(path, str | Path):
            return path
        try:
            found = expanded_path(path)
            is_folder = stat.S_ISDIR(found.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return found
        except (UserError, OSError) as error:
            raise ValueError(f"{error}") from error
        if is_folder != (info.field_name in _FOLDERS):
            raise ValueError(f"{found} is a {'folder: give a file' if is_folder else 'file: give a folder'}")
        return found

    @field_validator("atlases", mode="before")
    @classmethod
    def _each_atlas_once(cls, names: object) -> object:
        """Names as a list, as a JSON list, or with commas between them; the same one twice is one atlas."""
        if isinstance(names, str):
            names = parse_json(names) if names.lstrip().startswith("[") else re.split(r"\s*,\s*", names.strip())
        return tuple(dict.fromkeys(filter(None, names))) if isinstance(names, list | tuple) else names

    @model_validator(mode="after")
    def _known_tiles(self) -> Self:
        if self.satellite_atlas is not None and self.satellite_encoder is None:
            raise ValueError(
                "a satellite atlas needs the encoder that made it: give its folder with --satellite-encoder, or as"
                " GEOSLEUTH_SATELLITE_ENCODER"
            )
        return self

    @field_validator("overpass", "web_search", "image_search", "weather")
    @classmethod
    def _usable_address(cls, url: str | None) -> str | None:
        return checked_url(url) if url else None

    @field_validator("mapillary")
    @classmethod
    def _usable_api(cls, url: str) -> str:
        return checked_url(url)

    @model_validator(mode="after")
    def _known_strategy(self) -> Self:
        self.find_strategy(self.strategy).check_model_count(len(find_jury(self.model)))
        return self

    def find_strategy(self, name: str) -> Strategy:
        """The strategy of a name, the user's own ones first.

        Raises:
            UserError: no such strategy, or a folder that cannot be read.
        """
        own = load_strategies(self.strategies_folder) if self.strategies_folder else None
        return find_strategy(name, own)

    @property
    def allowed_servers(self) -> tuple[str, ...]:
        """Servers of other machines that atlases may send photos' vectors to: of the settings, and remembered ones.

        Raises:
            UserError: the file of remembered ones is damaged.
        """
        return (*self.atlas_servers, *remembered_servers(self.home))

    @property
    def atlas_folder(self) -> Path:
        """Where atlases live, one folder each."""
        return self.home / "atlases"

    @property
    def audit_path(self) -> Path:
        """The audit log: a line for each query."""
        return self.audit_log or self.home / "audit.jsonl"


def make_settings(**chosen: Any) -> Settings:
    """Settings from explicit choices (None: not chosen), then the environment, then the defaults.

    Raises:
        UserError: a value that cannot be used; the message names the setting and, for names, the valid ones.
    """
    try:
        return Settings(**{key: value for key, value in chosen.items() if value is not None})
    except ValidationError as error:
        raise UserError(f"setting {first_problem(error)}") from error
    except RecursionError as error:  # of the JSON of a setting of several parts
        raise UserError("a setting is JSON that is nested too deeply: give it as docs/usage.md says") from error
    except SettingsError as error:
        raise UserError(f"{error}: a setting of several parts is JSON in the environment") from error


def answering_settings(settings: Settings) -> dict[str, Any]:
    """Settings that can change an answer, as JSON values, for files that others may get.

    They hold no credentials, and of a file or a folder its name alone, with the beginning of the hash of what is read.
    """
    chosen = settings.model_dump(mode="json", exclude=set(NOT_OF_THE_ANSWER))
    chosen |= {name: _shared_path(Path(chosen[name])) for name in SHARED_PATHS if chosen.get(name)}
    chosen |= {"encoder": last_part(settings.encoder), "model": _shared_models(settings.model)}
    return {name: redacted(value) if isinstance(value, str) else value for name, value in chosen.items()}


def is_same_setting(name: str, earlier: Any, now: Any) -> bool:
    """Whether two values of `answering_settings` are one; earlier versions saved whole paths, and no hashes."""
    if earlier == now or not isinstance(earlier, str) or not isinstance(now, str):
        return bool(earlier == now)
    if name == "model":
        try:
            return _shared_models(earlier) == now
        except UserError:  # of a model that is not known any more
            return False
    is_path = name in (*SHARED_PATHS, "encoder") and Path(earlier).is_absolute()
    return is_path and last_part(earlier) == now.partition("@")[0]


def _shared_models(jury: str) -> str:
    return ",".join(parse_spec(spec).shared_text for spec in split_jury(jury))


def _shared_path(path: Path) -> str:
    """The name, and for a file the hash that tells two of one name apart."""
    digest = sha256_if_readable(path)
    return f"{path.name}@{digest[:12]}" if digest else path.name
