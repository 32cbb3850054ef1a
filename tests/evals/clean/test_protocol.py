"""The clean protocol: near duplicates, photographers, placeholders; and what is reported of it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.errors import UserError
from evals.benchmarks.loading import Sample
from evals.clean import protocol
from evals.clean.perceptual_hash import (
    NEAR_DUPLICATE_BITS,
    PLAIN_SHARE,
    Fingerprint,
    bits_apart,
    difference_hash,
    fingerprint,
    fingerprint_of,
    plain_share,
)
from evals.clean.protocol import (
    Reference,
    check_known,
    describe,
    exclude_references,
    flags,
    read_reference_table,
    references,
)
from evals.runs.records import Flag
from geo.point import Point
from retrieval.photos.photo import decode_photo
from retrieval.stores.base import StoredItem

Pixels = NDArray[np.uint8]
HERE = Point(lat=1.0, lon=2.0)


def scene(seed: int) -> Pixels:
    """A picture with structure at all scales, unlike any other seed's."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(size, size, 3)) * 240 / size**0.5 for size in (4, 8, 16, 64)]
    parts = [np.asarray(Image.fromarray(_byte(layer + 128)).resize((320, 240))) for layer in layers]
    return _byte(np.mean(parts, axis=0))


def _byte(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(values, 0, 255).astype(np.uint8))


def jpeg(rgb: Pixels, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def look(rgb: Pixels) -> Fingerprint:
    return fingerprint(decode_photo(jpeg(rgb), "photo.jpg"))


def query(photo: str, author: str | None = None) -> Sample:
    return Sample(photo, Path(photo), HERE, author)


def apart(a: Pixels, b: Pixels) -> int:
    return int(bits_apart(difference_hash(a)[None], difference_hash(b))[0])


def copies(rgb: Pixels) -> dict[str, Pixels]:
    image = Image.fromarray(rgb)
    return {
        "recompressed": np.asarray(Image.open(io.BytesIO(jpeg(rgb, 30))).convert("RGB")),
        "halved": np.asarray(image.resize((160, 120))),
        "brighter": _byte(rgb * 1.2),
    }


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near_duplicates_and_other_pictures_are_not(seed: int) -> None:
    rgb = scene(seed)
    assert {kind: apart(rgb, copy) <= NEAR_DUPLICATE_BITS for kind, copy in copies(rgb).items()} == dict.fromkeys(
        copies(rgb), True
    )
    assert all(apart(rgb, scene(other)) > NEAR_DUPLICATE_BITS for other in range(5, 15))


def test_a_hash_by_hand() -> None:
    falling = np.repeat(np.arange(255, 0, -15, dtype=np.uint8)[None, :, None], 16, axis=0).repeat(3, axis=2)
    assert falling.shape == (16, 17, 3)
    assert difference_hash(falling).tolist() == [255] * 32, "each cell is brighter than its right neighbour"
    assert difference_hash(falling[:, ::-1]).tolist() == [0] * 32
    assert bits_apart(np.array([[255] * 32, [0] * 32], np.uint8), np.array([254] * 32, np.uint8)).tolist() == [32, 224]


def placeholder() -> Pixels:
    """Like Flickr's "this photo is no longer available": a small sign on plain grey."""
    image = Image.new("RGB", (500, 375), (238, 238, 238))
    draw = ImageDraw.Draw(image)
    draw.rectangle((220, 150, 280, 200), outline=(150, 150, 150), width=3)
    draw.text((150, 230), "This photo is no longer available", fill=(120, 120, 120))
    return np.asarray(image)


def test_a_placeholder_is_plain_and_a_scene_is_not() -> None:
    assert plain_share(placeholder()) >= PLAIN_SHARE
    assert plain_share(scene(1)) < 0.5
    assert plain_share(np.full((50, 50, 3), 7, np.uint8)) == 1.0


def test_flags_name_placeholders_and_doubles_within_the_benchmark() -> None:
    everywhere = scene(3)
    photos = {
        "plain.jpg": ("ann", placeholder()),
        "one.jpg": ("ann", scene(1)),
        "copy.jpg": ("bob", copies(scene(1))["recompressed"]),
        "a.jpg": ("ann", everywhere),
        "b.jpg": ("bob", everywhere),
        "c.jpg": ("cem", everywhere),
        "other.jpg": ("dan", scene(9)),
    }
    queries = [query(name, author) for name, (author, _) in photos.items()]
    found = flags([*queries, query("broken.jpg")], [*(look(rgb) for _, rgb in photos.values()), None])
    expected: list[tuple[Flag, ...]] = [
        (Flag.PLACEHOLDER,),
        (Flag.NEAR_DUPLICATE,),
        (Flag.NEAR_DUPLICATE,),
        *[(Flag.PLACEHOLDER, Flag.NEAR_DUPLICATE)] * 3,
        (),
        (),
    ]
    assert found == expected


def known_references() -> list[Reference]:
    return [
        Reference("by-ann.jpg", "ann", difference_hash(scene(20))),
        Reference("copy-of-one.jpg", "zoe", difference_hash(copies(scene(1))["brighter"])),
        Reference("one.jpg", None, None),
        Reference("other.jpg", "zoe", difference_hash(scene(21))),
    ]


def test_a_query_cannot_see_its_photographer_its_copy_or_itself() -> None:
    queries = [query("one.jpg", "ann"), query("two.jpg", "nobody"), query("three.jpg"), query("broken.jpg", "ann")]
    seen = [look(scene(1)), look(scene(2)), look(scene(3)), None]
    exclusion = exclude_references(queries, seen, known_references(), 0.98)
    first, second, third = (one.photo_id for one in seen if one)
    assert set(exclusion.exclude(first)["item_id"]) == {"by-ann.jpg", "copy-of-one.jpg", "one.jpg"}
    assert not set(exclusion.exclude(second)["item_id"])
    assert not set(exclusion.exclude(third)["item_id"])
    assert exclusion.exclude("photo-unknown") == {}
    assert exclusion.excluded([first]) == 3
    exclusion.record_near_duplicates(first, ["found-by-embedding.jpg", "one.jpg"])
    assert exclusion.excluded([first]) == 4
    assert exclusion.excluded([second]) == 0


def test_what_was_hidden_and_what_could_not_be_known_is_reported() -> None:
    queries = [query("one.jpg", "ann"), query("three.jpg")]
    exclusion = exclude_references(queries, [look(scene(1)), look(scene(3))], known_references(), 0.97)
    said = describe(queries, known_references(), exclusion)
    assert "known for 3 of 4; 1 queries have none" in said
    assert "(known for 3)" in said
    assert "0.97" in said


def test_a_clean_run_without_known_photographers_is_refused() -> None:
    nameless = [Reference("a.jpg", None, difference_hash(scene(1)))]
    with pytest.raises(UserError, match="--reference-table"):
        check_known(nameless, ["photos"])
    check_known([], ["world"])
    check_known(known_references(), ["photos"])


def test_the_tables_word_comes_before_the_atlas_own() -> None:
    stored = [StoredItem(0, HERE, "a.jpg", {"author": "old"}), StoredItem(1, HERE, "b.jpg", {"author": "bob"})]
    table = {"a.jpg": Reference("a.jpg", "new", difference_hash(scene(1)))}
    found = references(stored, table)
    assert [(one.author, one.hash is not None) for one in found] == [("new", True), ("bob", False)]


def test_a_reference_table_is_written_and_read_again(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(scene(1)))
    (tmp_path / "photos" / "b.jpg").write_bytes(b"no photo")
    (tmp_path / "table.csv").write_text("IMG_ID,AUTHOR,LAT,LON\na.jpg,ann,1,2\nb.jpg,,3,4\n")
    out = tmp_path / "reference.csv"
    assert protocol.main([str(tmp_path / "table.csv"), str(tmp_path / "photos"), "--out", str(out)]) == 0
    table = read_reference_table(out)
    seen = fingerprint_of(tmp_path / "photos" / "a.jpg")
    assert seen is not None
    assert table["a.jpg"].author == "ann"
    assert table["a.jpg"].hash is not None
    assert table["a.jpg"].hash.tolist() == seen.hash.tolist()
    assert table["b.jpg"] == Reference("b.jpg", None, None)


@pytest.mark.parametrize("text", ["author\nann\n", "item_id,hash\na,zz\n", "item_id,hash\na,abcd\n"])
def test_a_reference_table_that_cannot_be_used_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match="reference table"):
        read_reference_table(tmp_path / "t.csv")
