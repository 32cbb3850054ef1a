"""The whole training on eight synthetic photos: it must learn them by heart in seconds."""

import csv
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("yaml", reason="training needs the train extra")

import numpy as np  # noqa: E402

from geo.errors import UserError  # noqa: E402
from geo.sphere import distance_km  # noqa: E402
from retrieval.training.align import PositionQueue, align, fill_bank, jitter_positions  # noqa: E402
from retrieval.training.cache import CropCache  # noqa: E402
from retrieval.training.config import TrainingConfig, load_config  # noqa: E402
from retrieval.training.distil import Distiller  # noqa: E402
from retrieval.training.photos import training_rows  # noqa: E402
from retrieval.training.train import train, whole_views  # noqa: E402

SHIPPED = Path(__file__).parents[2] / "configs" / "compact.yaml"
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
    "distil.epochs=20",
    "distil.small_epochs=0",
    "distil.batch=8",
    "distil.learning_rate=0.01",
    "align.epochs=60",
    "align.temperature=0.07",
    "align.jitter_km=1",
    "align.batch=8",
    "align.queue=32",
    "align.learning_rate=0.005",
    "align.relation_weight=0.5",
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    folder = tmp_path_factory.mktemp("training")
    paths = [f"data.{key}={folder / key}" for key in ("photos", "teachers", "cache")]
    config = load_config(SHIPPED, [*SMALL, *paths, f"data.table={folder / 'table.csv'}", f"run={folder / 'run'}"])
    write_collection(config)
    return config


def write_collection(config: TrainingConfig) -> None:
    """Thirteen photos by thirteen authors, eight of them for training, and what made-up teachers say of them."""
    rng = np.random.default_rng(0)
    with config.data.table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["IMG_ID", "AUTHOR", "LAT", "LON"])
        for i in range(13):
            writer.writerow([f"{i}.jpg", f"author{i}", rng.uniform(-60, 60), rng.uniform(-180, 180)])
    n, config_crops = len(training_rows(config.data)), config.prepare.crops
    colour = rng.integers(0, 256, (n, 1, 2, 2, 3))
    pixels = np.repeat(np.repeat(colour, 32, axis=2), 32, axis=3) + rng.integers(-9, 10, (n, config_crops, 64, 64, 3))
    tokens = np.repeat(rng.integers(0, 80, (n, 1, 2, 2, 1024)), config_crops, axis=1)
    segments = np.repeat(rng.dirichlet(np.full(19, 0.2), (n, 1, 4, 4)) * 255, config_crops, axis=1)
    config.data.cache.mkdir(parents=True)
    arrays = {"pixels": np.clip(pixels, 0, 255), "tokens": tokens, "segments": segments}
    for name, array in arrays.items():
        np.save(config.data.cache / f"{name}.npy", array.astype(np.uint8))
    np.save(config.data.cache / "done.npy", np.ones(n, dtype=bool))


def test_it_learns_eight_photos_by_heart(config: TrainingConfig) -> None:
    torch.set_num_threads(1)
    cache = CropCache(config)
    assert len(cache.photos) == 8
    distiller = Distiller(config, cache)
    bank = fill_bank(config, cache, distiller.run(config.run / "heart.pt"))
    model = align(config, bank, cache.photos, bank.positions)
    places = model.points(bank.positions)
    for view in whole_views(model, bank):
        assert torch.equal((view @ places.T).argmax(dim=1), torch.arange(8))


def test_distillation_goes_on_where_it_was_stopped(config: TrainingConfig) -> None:
    torch.set_num_threads(1)
    cache = CropCache(config)
    straight = Distiller(config, cache).run(config.run / "straight.pt")
    stopped = Distiller(config, cache)
    stopped._train_epoch()
    stopped.epoch = 1
    stopped._store(config.run / "stopped.pt")
    resumed = Distiller(config, cache).run(config.run / "stopped.pt")
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_checkpoint_of_other_settings_is_refused(config: TrainingConfig) -> None:
    checkpoint = config.run / "other.pt"
    Distiller(config, CropCache(config))._store(checkpoint)
    other = config.model_copy(update={"distil": config.distil.model_copy(update={"learning_rate": 0.1})})
    with pytest.raises(UserError, match="other settings"):
        Distiller(other, CropCache(other)).run(checkpoint)


def test_a_run_leaves_a_model_that_can_be_read_back(config: TrainingConfig) -> None:
    scores = train(config)
    state = torch.load(config.run / "model.pt", weights_only=True)
    assert json.loads(state["inner_scores"]) == scores
    assert TrainingConfig.model_validate_json(state["config"]) == config
    assert "fused, nearest photo" in scores


def test_the_queue_forgets_the_oldest_and_draws_the_rest_from_the_gallery() -> None:
    gallery = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    queue = PositionQueue(6, gallery, torch.Generator().manual_seed(0))
    for value in (10.0, 20.0):
        queue.push(torch.full((2, 2), value))
    positions = queue.positions()
    assert positions.shape == (6, 2)
    assert positions[:3, 0].tolist() == [10.0, 20.0, 20.0]
    assert set(positions[3:, 0].tolist()) <= {1.0, 2.0}


def test_jitter_moves_by_about_the_given_distance_everywhere() -> None:
    places = torch.tensor([[0.0, 179.99], [60.0, 0.0]]).repeat(500, 1)
    moved = jitter_positions(places, 20.0, torch.Generator().manual_seed(0))
    km = distance_km(places.numpy(), moved.numpy())
    assert np.sqrt(np.mean(km**2, where=np.arange(1000) % 2 == 0)) == pytest.approx(20.0 * np.sqrt(2.0), rel=0.1)
    assert np.sqrt(np.mean(km**2, where=np.arange(1000) % 2 == 1)) == pytest.approx(20.0 * np.sqrt(2.0), rel=0.1)
    assert moved[:, 1].abs().max() <= 180.0


@pytest.mark.parametrize(
    ("override", "message"),
    [("distil.epochs", "key=value"), ("distil.epohcs=1", "epohcs"), ("distil.epochs=many", "distil.epochs")],
)
def test_a_wrong_override_is_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config(SHIPPED, [override])
    assert "\n" not in str(caught.value)


def test_missing_files_are_the_users_to_mend(config: TrainingConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such"):
        load_config(tmp_path / "no-such.yaml")
    data = config.data.model_copy(update={"cache": tmp_path})
    with pytest.raises(UserError, match=r"retrieval\.training\.prepare"):
        CropCache(config.model_copy(update={"data": data}))
