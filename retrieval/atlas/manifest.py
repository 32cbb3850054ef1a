"""The manifest of an atlas: its contents, the encoder that made it, and whether it is finished."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from core.errors import UserError, first_problem
from core.files import write_atomic
from core.frozen import Frozen
from retrieval.candidate import AtlasKind
from retrieval.encoders.base import EncoderIdentity
from retrieval.stores.base import StoreSettings

MANIFEST_FILE = "atlas.json"
FAILED_FILE = "failed.jsonl"
STORE_FOLDER = "vectors"
SHARD_FOLDER = "shards"
"""In a draft: what the workers of a build have encoded and is not in the store yet."""


class AtlasError(UserError):
    """An atlas that cannot be used as it is; the message says what to do."""


class AddedSource(Frozen):
    """Photos that were added to a complete atlas: where they came from, the digest of their list, how many were new."""

    source: str
    source_sha256: str
    total: int = Field(ge=0)


class AtlasManifest(Frozen):
    """The content of `atlas.json`. Written whole, and replaced whole."""

    format_version: Literal[1] = 1
    name: str
    kind: AtlasKind
    encoder: EncoderIdentity
    store: StoreSettings
    state: Literal["building", "complete"]
    source: str = Field(description="where the items came from, for people")
    source_sha256: str = Field(description="of the list of items to be built, so that only the same build resumes")
    total: int = Field(ge=0, description="items in the source, and of those added")
    count: int = Field(0, ge=0, description="items in the store, once complete")
    failed: int = Field(0, ge=0, description="items that could not be used, listed in failed.jsonl")
    checksum: str | None = Field(None, description="of every item with its vector, once complete")
    vectors: str = Field(STORE_FOLDER, pattern=rf"^{STORE_FOLDER}(-\d+)?$", description="folder of the store")
    added: tuple[AddedSource, ...] = Field((), description="what was added to the atlas once it was complete")

    @property
    def sources(self) -> str:
        """Where everything in it came from, for people."""
        return "; ".join([self.source, *(each.source for each in self.added)])


def draft_of(folder: Path) -> Path:
    """Where an atlas is built before it takes its place."""
    return folder.with_name(f".{folder.name}.building")


def read_manifest(folder: Path) -> AtlasManifest:
    """The manifest of an atlas folder, whatever its state.

    Raises:
        AtlasError: no such folder, no manifest, or one that is damaged or of another format.
    """
    if not os.path.isdir(folder):  # Path.is_dir raises where a name is too long to be one
        if os.path.isfile(draft_of(folder) / MANIFEST_FILE):
            raise half_built(folder.name)
        raise AtlasError(f"no atlas at {folder}: build one with `geosleuth atlas build`")
    try:
        text = (folder / MANIFEST_FILE).read_bytes()
    except FileNotFoundError as error:
        raise AtlasError(f"{folder} is no atlas, it has no {MANIFEST_FILE}: give the atlas's own folder") from error
    except OSError as error:
        raise AtlasError(f"cannot read {folder / MANIFEST_FILE} ({error.strerror}): mend its permissions") from error
    try:
        return AtlasManifest.model_validate_json(text)
    except ValidationError as error:
        raise AtlasError(
            f"the manifest {folder / MANIFEST_FILE} is damaged or of another version ({first_problem(error)}):"
            " build the atlas again with --replace"
        ) from error


def write_manifest(folder: Path, manifest: AtlasManifest) -> None:
    """Replace the manifest in one step, so that a kill leaves the old one or the new one."""
    write_atomic(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")


def check_encoder(manifest: AtlasManifest, encoder: EncoderIdentity) -> None:
    """Refuse an atlas whose vectors another encoder made.

    Raises:
        AtlasError: the encoders differ.
    """
    if manifest.encoder != encoder:
        raise AtlasError(
            f"atlas {manifest.name} was made by encoder {describe(manifest.encoder)}, not {describe(encoder)}:"
            " choose that encoder or build another atlas"
        )


def check_complete(manifest: AtlasManifest) -> None:
    """Refuse an atlas whose build has not ended, or that holds nothing.

    Raises:
        AtlasError: it is half-built or empty.
    """
    if manifest.state != "complete":
        raise half_built(manifest.name)
    if not manifest.count:
        raise AtlasError(f"atlas {manifest.name} holds nothing: build it again with --replace")


def half_built(name: str) -> AtlasError:
    """The error for an atlas whose build has not ended."""
    return AtlasError(f"atlas {name} is half-built: run the same build again to finish it")


def describe(encoder: EncoderIdentity) -> str:
    """An encoder's identity in a few words."""
    return f"{encoder.name}@{encoder.revision} ({encoder.dim}-d)"
