"""Near-duplicates: found whatever the file, of each group one is kept, held-out photos first."""

import io
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("yaml", reason="training needs the train extra")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from retrieval.training.config import FusionConfig, load_config  # noqa: E402
from retrieval.training.data.bad_samples import BadSamples, read_bad_samples  # noqa: E402
from retrieval.training.data.duplicates import close_pairs, find_duplicates, perceptual_hash, redundant  # noqa: E402
from retrieval.training.fusion_recipe import open_collection  # noqa: E402
from tests.fakes.training_samples import write_config, write_folder  # noqa: E402


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)


def bits_apart(one: Image.Image, other: Image.Image) -> int:
    return (perceptual_hash(np.asarray(one)) ^ perceptual_hash(np.asarray(other))).bit_count()


def test_a_hash_survives_scaling_compression_and_light_but_tells_photos_apart() -> None:
    original = picture(0)
    file = io.BytesIO()
    original.save(file, "JPEG", quality=20)
    brighter = original.point(lambda value: min(255, int(value * 1.15)))
    for changed in (original.resize((200, 150)), Image.open(file).convert("RGB"), brighter):
        assert bits_apart(original, changed) <= 4
    assert min(bits_apart(original, picture(seed)) for seed in range(1, 30)) > 10


@pytest.mark.parametrize("bits", [0, 3, 6])
def test_close_pairs_are_all_pairs_a_plain_loop_finds(bits: int) -> None:
    rng = np.random.default_rng(2)
    hashes = rng.integers(0, 2**63, 60, dtype=np.uint64)
    for row in range(1, 60, 2):  # every other one is its neighbour with a few bits changed
        flipped = rng.choice(64, size=(row // 2) % 8, replace=False)
        hashes[row] = hashes[row - 1] ^ np.uint64(sum(1 << int(bit) for bit in flipped))
    wanted = {
        (i, j) for i in range(60) for j in range(i + 1, 60) if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= bits
    }
    found = list(close_pairs(hashes, bits))
    assert len(found) == len(set(found))
    assert set(found) == wanted
    assert len(wanted) > 2


def test_of_each_group_one_row_is_kept() -> None:
    assert redundant(6, iter([(0, 1), (1, 2), (4, 5)]), [1, 1, 0, 0, 0, 0]) == {0: 2, 1: 2, 5: 4}


def test_a_copy_of_a_held_out_photo_is_not_trained_on(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 30)
    config = load_config(write_config(folder, data__max_bad_share=0.1))
    assert isinstance(config, FusionConfig)
    collection = open_collection(config, BadSamples(tmp_path / "bad.csv", 0.1))
    ids = collection.source.table.ids
    held, train = ids[int(collection.validation[0])], ids[int(collection.train[0])]
    for number in range(30):
        picture(number).save(folder / "photos" / "p" / f"{number}.jpg")
    copied = Image.open(folder / "photos" / held).resize((160, 120))
    copied.save(folder / "photos" / train, quality=60)
    found = find_duplicates(config)
    assert [(one.name, one.reason) for one in found] == [(train, f"near-duplicate of {held}")]
    assert read_bad_samples(tmp_path / "cache" / "duplicates.csv") == found
    dropping = config.model_copy(update={"data": config.data.model_copy(update={"drop_duplicates": True})})
    left = open_collection(dropping, BadSamples(tmp_path / "bad.csv", 0.1))
    assert len(left.train) == len(collection.train) - 1
    assert train not in {ids[int(row)] for row in left.train}
    assert len(left.validation) == len(collection.validation)
