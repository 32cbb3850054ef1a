"""What a store needs to know, one frozen model an engine. Secrets are never written out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HnswSettings(_Settings):
    """The HNSW graph (Malkov & Yashunin 2018)."""

    m: int = Field(16, ge=4, description="edges a node")
    ef_construct: int = Field(128, ge=8, description="candidates kept while building")
    ef_search: int = Field(128, ge=8, description="candidates kept while searching")


class EdgeSettings(_Settings):
    """Qdrant Edge: in this process, in a folder.

    `scan` reads int8 copies of all vectors and rescores the best with the originals: built in seconds, and its recall
    does not depend on how the vectors lie. `hnsw` walks a graph over the same copies: for larger collections.
    """

    engine: Literal["qdrant-edge"] = "qdrant-edge"
    index: Literal["scan", "hnsw"] = "scan"
    hnsw: HnswSettings = HnswSettings(ef_search=256)


class ServerSettings(_Settings):
    """A Qdrant server or cluster. Only the server holds vectors; the atlas folder holds the manifest.

    `api_key` is left out whenever the settings are written, so it has to be given again to open.
    """

    engine: Literal["qdrant-server"] = "qdrant-server"
    url: str = "http://localhost:6333"
    api_key: SecretStr | None = Field(None, exclude=True, repr=False)
    collection: str | None = Field(None, description="None: geosleuth-<atlas name>")
    shards: int = Field(1, ge=1)
    replicas: int = Field(1, ge=1)
    quantisation: Literal["none", "int8"] = "none"
    on_disk: bool = Field(False, description="keep the original vectors on disk, for collections larger than memory")
    timeout_s: int = Field(60, ge=1)
    hnsw: HnswSettings = HnswSettings()


class FaissSettings(_Settings):
    """FAISS over a folder; needs the `faiss` extra."""

    engine: Literal["faiss"] = "faiss"
    index: Literal["flat", "ivf", "hnsw"] = "hnsw"
    lists: int = Field(0, ge=0, description="IVF cells; 0: four times the square root of the number of items")
    probes: int = Field(32, ge=1, description="IVF cells visited by a search")
    gpu: Literal["auto", "never"] = Field("auto", description="auto: use every GPU FAISS sees, for flat and IVF")
    hnsw: HnswSettings = HnswSettings(m=32)


StoreSettings = Annotated[EdgeSettings | ServerSettings | FaissSettings, Field(discriminator="engine")]
