"""Photo files of every format that is read, with metadata, and archives of photos."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from pillow_heif import register_heif_opener

from evals.benchmarks.archives import unpack
from retrieval.photos.photo import PhotoError, load_photo
from tests.fakes.photo_files import noise
from tests.fuzz.cases import Files, Target

_ORIENTATION, _GPS = 0x0112, 0x8825


def _example(kind: str) -> Files:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    exif.get_ifd(_GPS).update({1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)})
    register_heif_opener()
    more: dict[str, Any] = {
        "GIF": {"save_all": True, "append_images": [noise(2)]},
        "TIFF": {"compression": "tiff_lzw", "tiffinfo": {_ORIENTATION: 6}},
    }
    noise(1).save(buffer, kind, **more.get(kind, {"exif": exif}))
    return {"photo": buffer.getvalue()}


def _read(folder: Path) -> object:
    photo = load_photo(folder / "photo")
    height, width = photo.rgb.shape[:2]
    photo.crop(0.0, 0.0, 0.5, 0.5, min_side_px=1)
    assert min(height, width) >= 1
    return height, width, photo.metadata


def _packed(kind: str) -> Files:
    photo, table = _example("JPEG")["photo"], b"IMG_ID,LAT,LON\na.jpg,1,2\n"
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in (("images/a.jpg", photo), ("truth.csv", table)):
                packed.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        return {"archive": buffer.getvalue()}
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (("images/a.jpg", photo), ("truth.csv", table)):
            one = tarfile.TarInfo(name)
            one.size = len(data)
            tar.addfile(one, io.BytesIO(data))
    whole = buffer.getvalue()
    return {"archive": {"tar": whole, "tar.gz": gzip.compress(whole, mtime=0), "tar.xz": lzma.compress(whole)}[kind]}


def _unpack(folder: Path) -> object:
    taken = unpack(folder / "archive", folder / "out")
    outside = {path.name for path in folder.iterdir()} - {"archive", "out"}
    assert not outside, f"written outside: {outside}"
    return taken


TARGETS = (
    *(
        Target(f"photo-{kind.lower()}", partial(_example, kind), _read, (PhotoError,), is_text=False, memory_mb=1500.0)
        for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIF")
    ),
    *(
        Target(f"archive-{kind}", partial(_packed, kind), _unpack, is_text=False)
        for kind in ("zip", "tar", "tar.gz", "tar.xz")
    ),
)
