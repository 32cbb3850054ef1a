"""Where the photos of a conversation are found again: in memory, or as pixels in a folder of its owner's only.

What is kept are the decoded pixels (PNG, lossless, so that they give the same answer), named by the hash of the
file they came from. The file itself, its metadata and its name are not kept with them.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from core.errors import UserError
from core.files import OWNER_ONLY, make_private_folder, write_atomic
from graphs.chat.state import ShownPhoto
from retrieval.photos.photo import Photo, PhotoError, decode_photo
from retrieval.photos.store import PhotoStore
from retrieval.photos.together import check_together


class MissingPhotoError(UserError):
    """A photo of the conversation is not kept any more; showing it again mends that."""


class PhotoArchive:
    """Keeps nothing but what the photo store holds: a conversation that ends with its process."""

    def __init__(self, photo_store: PhotoStore) -> None:
        self._photo_store = photo_store

    def keep(self, photo: Photo) -> ShownPhoto:
        """Put a photo in the photo store."""
        return ShownPhoto(photo_id=self._photo_store.add(photo), sha256=photo.sha256)

    def keep_together(self, photos: Sequence[Photo]) -> ShownPhoto:
        """The same for several photos of one place.

        Raises:
            UserError: too many, one twice, or pixels that cannot be saved.
        """
        check_together([photo.name for photo in photos], [photo.sha256 for photo in photos])
        first, *more = map(self.keep, photos)
        return first.model_copy(update={"more": tuple(more)})

    def bring(self, shown: ShownPhoto) -> None:
        """Put photos that were kept in the photo store again, unless they are there.

        Raises:
            MissingPhotoError: one is not kept any more.
        """
        for photo in shown.photos:
            if photo.photo_id not in self._photo_store.ids():
                self._bring(photo)

    def _bring(self, shown: ShownPhoto) -> None:
        raise MissingPhotoError(f"{shown.photo_id} is not here any more; show the photo again")


class SavedPhotoArchive(PhotoArchive, ABC):
    """Keeps pixels outside this process; where, a subclass says."""

    def keep(self, photo: Photo) -> ShownPhoto:
        """Put a photo in the photo store and save its pixels.

        Raises:
            UserError: they cannot be saved.
        """
        shown = super().keep(photo)
        if not self._has(shown):
            self._save(shown, png_of(photo))
        return shown

    def _bring(self, shown: ShownPhoto) -> None:
        try:
            pixels = decode_photo(self.png(shown), f"{shown.sha256}.png")
        except PhotoError as error:
            raise MissingPhotoError(f"{shown.photo_id}: what is kept of it is damaged; show the photo again") from error
        self._photo_store.add(Photo(pixels.rgb, shown.sha256, pixels.name))

    @abstractmethod
    def png(self, shown: ShownPhoto) -> bytes:
        """The saved pixels.

        Raises:
            MissingPhotoError: they are not kept any more.
        """

    @abstractmethod
    def _has(self, shown: ShownPhoto) -> bool: ...

    @abstractmethod
    def _save(self, shown: ShownPhoto, png: bytes) -> None: ...


class FolderPhotoArchive(SavedPhotoArchive):
    """Keeps pixels in a folder; delete the folder to forget them."""

    def __init__(self, folder: Path, photo_store: PhotoStore) -> None:
        super().__init__(photo_store)
        self._folder = folder

    def png(self, shown: ShownPhoto) -> bytes:
        """The content of its file."""
        try:
            return self._file(shown).read_bytes()
        except OSError as error:
            raise MissingPhotoError(
                f"{shown.photo_id}: its pixels are not kept in {self._folder} any more; show the photo again"
            ) from error

    def _has(self, shown: ShownPhoto) -> bool:
        return self._file(shown).exists()

    def _save(self, shown: ShownPhoto, png: bytes) -> None:
        file = self._file(shown)
        try:
            make_private_folder(self._folder)
            write_atomic(file, png, OWNER_ONLY, many_writers=True)
        except OSError as error:
            raise UserError(f"photos of the conversation {file}: {error.strerror}; choose another --home") from error

    def _file(self, shown: ShownPhoto) -> Path:
        return self._folder / f"{shown.sha256}.png"


def png_of(photo: Photo) -> bytes:
    """The decoded pixels as a PNG, without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(photo.rgb)).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
