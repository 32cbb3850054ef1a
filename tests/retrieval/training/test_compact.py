"""The training of `compact` on eight synthetic photos: it must overfit them in seconds."""

import csv
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("yaml", reason="training needs the train extra")

import numpy as np  # noqa: E402

from core.errors import UserError  # noqa: E402
from retrieval.training.compact.align import compute_token_bank  # noqa: E402
from retrieval.training.compact.crop_cache import CropCache, photos_of  # noqa: E402
from retrieval.training.compact.distillation import segmentation_loss  # noqa: E402
from retrieval.training.compact.recipe import align, distil, train_compact, whole_views  # noqa: E402
from retrieval.training.config import CompactConfig, load_compact_config  # noqa: E402
from retrieval.training.distributed import ProcessGroup  # noqa: E402

SHIPPED = Path(__file__).parents[3] / "configs" / "compact.yaml"
CPU = ProcessGroup(torch.device("cpu"))
SMALL = [
    "threads=1",
    "bf16=false",
    "device=cpu",
    "prepare.crops=4",
    "prepare.mixed_share=0.25",
    "model.size_px=64",
    "model.widths=[8, 16, 24, 32]",
    "model.blocks=[1, 1, 1]",
    "model.dim=32",
    "model.heads=2",
    "model.frequencies=16",
    "model.hidden=32",
    "distil.small_epochs=0",
    "distil.loop.epochs=20",
    "distil.loop.batch=8",
    "distil.loop.learning_rate=0.01",
    "distil.loop.bf16=false",
    "distil.loop.tensorboard=false",
    "align.loop.epochs=60",
    "align.loop.batch=8",
    "align.loop.learning_rate=0.005",
    "align.loop.bf16=false",
    "align.loop.tensorboard=false",
    "align.objective.temperature=0.07",
    "align.objective.relation={image: 0.5, fused: 0.5}",
    "align.negatives.jitter_km=1",
    "align.negatives.queue=32",
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CompactConfig:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("compact")
    paths = [f"data.{key}={folder / key}" for key in ("photos", "teachers", "cache")]
    paths += [f"data.table={folder / 'table.csv'}", f"run={folder / 'run'}"]
    config = load_compact_config(SHIPPED, [*SMALL, *paths])
    write_collection(config)
    return config


def write_collection(config: CompactConfig) -> None:
    """Thirteen photos by thirteen authors, eight of them for training, and made-up outputs of the teachers."""
    rng = np.random.default_rng(0)
    assert config.data.table is not None
    with config.data.table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["IMG_ID", "AUTHOR", "LAT", "LON"])
        for i in range(13):
            writer.writerow([f"{i}.jpg", f"author{i}", rng.uniform(-60, 60), rng.uniform(-180, 180)])
    n, config_crops = len(photos_of(config.data, "train").ids), config.prepare.crops
    colour = rng.integers(0, 256, (n, 1, 2, 2, 3))
    pixels = np.repeat(np.repeat(colour, 32, axis=2), 32, axis=3) + rng.integers(-9, 10, (n, config_crops, 64, 64, 3))
    tokens = np.repeat(rng.integers(0, 80, (n, 1, 2, 2, 1024)), config_crops, axis=1)
    segments = np.repeat(rng.dirichlet(np.full(19, 0.2), (n, 1, 4, 4)) * 255, config_crops, axis=1)
    config.data.cache.mkdir(parents=True)
    arrays = {"pixels": np.clip(pixels, 0, 255), "tokens": tokens, "segments": segments}
    for name, array in arrays.items():
        np.save(config.data.cache / f"{name}.npy", array.astype(np.uint8))
    np.save(config.data.cache / "done.npy", np.ones(n, dtype=bool))


def test_it_overfits_eight_photos_and_leaves_a_model_that_can_be_read_back(config: CompactConfig) -> None:
    cache = CropCache(config)
    assert len(cache.photos) == 8
    scores = train_compact(config, CPU, ["compact.yaml"])
    state = torch.load(config.run / "model.pt", weights_only=True)
    assert json.loads(state["inner_scores"]) == scores
    assert CompactConfig.model_validate_json(state["config"]) == config
    bank = compute_token_bank(config, cache, distil(config, cache, CPU), CPU.device)
    model = align(config, cache, bank, CPU)  # both phases are done: this reads them back
    places = model.points(bank.positions)
    for view in whole_views(model, bank):
        assert torch.equal((view @ places.T).argmax(dim=1), torch.arange(8))


def test_a_checkpoint_of_other_settings_is_refused_and_the_setting_is_named(config: CompactConfig) -> None:
    loop = config.distil.loop.model_copy(update={"epochs": 1, "checkpoint_steps": 1})
    short = config.model_copy(
        update={"run": config.run / "other", "distil": config.distil.model_copy(update={"loop": loop})}
    )
    distil(short, CropCache(short), CPU)
    faster = loop.model_copy(update={"learning_rate": 0.1})
    other = short.model_copy(update={"distil": short.distil.model_copy(update={"loop": faster})})
    with pytest.raises(UserError, match=r"other settings \(distil\.learning_rate\)"):
        distil(other, CropCache(other), CPU)


def test_a_missing_cache_is_a_user_error(config: CompactConfig, tmp_path: Path) -> None:
    data = config.data.model_copy(update={"cache": tmp_path})
    with pytest.raises(UserError, match=r"retrieval\.training\.data\.prepare"):
        CropCache(config.model_copy(update={"data": data}))


def test_the_segmentation_loss_is_zero_when_right_and_positive_otherwise() -> None:
    logits = torch.randn(2, 19, 3, 3, generator=torch.Generator().manual_seed(0))
    right = torch.softmax(logits, dim=1)
    assert float(segmentation_loss(logits, right)) == pytest.approx(0.0, abs=1e-6)
    assert float(segmentation_loss(logits, right.flip(1))) > 0.1
