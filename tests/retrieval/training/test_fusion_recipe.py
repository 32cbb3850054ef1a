"""The trainer from configuration to encoder folder, on CPU, in seconds."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("yaml", reason="training needs the train extra")

import numpy as np  # noqa: E402

from retrieval.encoders.registry import load_encoder  # noqa: E402
from retrieval.photos.photo import load_photo  # noqa: E402
from retrieval.training.config import FusionConfig, load_config  # noqa: E402
from retrieval.training.data.bad_samples import BadSamples  # noqa: E402
from retrieval.training.data.loading import LIMITS, LoadRequest, PhotoDataset  # noqa: E402
from retrieval.training.distributed import ProcessGroup  # noqa: E402
from retrieval.training.frozen_backbones import FrozenBackbones  # noqa: E402
from retrieval.training.fusion_recipe import open_collection, train_fusion  # noqa: E402
from retrieval.training.run_folder import load_exactly, read_weights  # noqa: E402
from retrieval.training.towers import Towers  # noqa: E402
from tests.fakes.training_samples import losses, write_config, write_folder  # noqa: E402

ROOT = Path(__file__).parents[3]
CPU = ProcessGroup(torch.device("cpu"))


def load(path: Path, *overrides: str) -> FusionConfig:
    config = load_config(path, overrides)
    assert isinstance(config, FusionConfig)
    return config


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: 40 photos, 24 of them trained on, 3 epochs of 3 steps."""
    torch.set_num_threads(1)
    folder = write_folder(tmp_path_factory.mktemp("unbroken"), 40)
    train_fusion(load(write_config(folder)), CPU, ["config.yaml"])
    return folder


KILLED_AFTER_STEP_5 = """
import os, signal, sys
from retrieval.training import run_folder, train
log = run_folder.TrainingRunFolder.log
def deadly(self, line):
    log(self, line)
    if line["step"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
run_folder.TrainingRunFolder.log = deadly
train.main(sys.argv[1:])
"""
"""The last checkpoint is of step 4, so there is a step to be done again."""


def start(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)


def test_a_run_leaves_everything_needed_to_use_and_repeat_it(unbroken: Path) -> None:
    run = unbroken / "run"
    assert {path.name for path in run.iterdir()} == {
        "config.yaml",
        "run.json",
        "metrics.jsonl",
        "checkpoint.pt",
        "best.safetensors",
        "card.json",
    }
    facts = json.loads((run / "run.json").read_text())
    assert facts["packages"]["torch"]
    card = json.loads((run / "card.json").read_text())
    assert card["training"]["photos"] == 24
    assert set(card["validation"]["scores"]) >= {"@1km", "@2500km", "geoscore", "median_km"}
    config = load(run / "config.yaml")
    towers = Towers(config.model, FrozenBackbones(config.model, CPU.device).shape, seed=0)
    load_exactly(towers, read_weights(run / "best.safetensors"), run)


def test_the_run_folder_is_an_encoder(unbroken: Path) -> None:
    encoder = load_encoder(unbroken / "run")
    config = load(unbroken / "run" / "config.yaml")
    towers = Towers(config.model, FrozenBackbones(config.model, CPU.device).shape, seed=0)
    load_exactly(towers, read_weights(unbroken / "run" / "best.safetensors"), "run")
    photo = load_photo(unbroken / "photos" / "p" / "3.jpg", limits=LIMITS)
    view = FrozenBackbones(config.model, CPU.device).view_cropper().view(0, photo.rgb)
    with torch.no_grad():
        wanted = towers.eval()(
            FrozenBackbones(config.model, CPU.device).extract({name: one[None] for name, one in view.items()})
        )
        places = towers.location(torch.tensor([[48.9, 2.3]]))
    found = encoder.encode_photos([photo])
    for name in ("image", "semantic", "fused"):
        np.testing.assert_allclose(getattr(found, name), wanted[name].numpy(), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_points(np.array([[48.9, 2.3]])), places.numpy(), atol=1e-6)


def test_a_row_without_a_place_name_gets_the_gazetteers(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 20)
    table = (folder / "table.csv").read_text(encoding="utf-8")
    (folder / "table.csv").write_text(table.replace(",Sydney,New South Wales,Australia", ",,,"), encoding="utf-8")
    texts = open_collection(load(write_config(folder)), BadSamples(tmp_path / "bad.csv", 0.0)).source.table.texts
    assert texts[0] == "Paris, Île-de-France, France"
    assert texts[1].endswith("Australia")


def test_every_step_is_logged_once_and_the_loss_falls(unbroken: Path) -> None:
    lines = [json.loads(line) for line in (unbroken / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 10))
    assert all(line["photos"] == 8 and line["images_per_s"] > 0 for line in steps)
    assert {"image-gps", "semantic-gps", "fused-gps", "image-text", "text-gps", "triplet"} == set(steps[0]["terms"])
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert [line["step"] for line in lines if "validation" in line] == [3, 6, 9]


def test_a_run_without_progress_stops_early(tmp_path: Path) -> None:
    changes = {"loop__learning_rate": 1e-12, "loop__epochs": 50, "loop__patience": 2, "loop__average": 0.0}
    train_fusion(load(write_config(write_folder(tmp_path, 20), **changes)), CPU, [])
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len([line for line in lines if "validation" in line]) == 3


def test_the_trainer_overfits_eight_photos(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 13)
    changes = {"negatives__queue": 0, "loop__epochs": 40, "loop__validate_epochs": 40, "data__augment": False}
    config = load(write_config(folder, **changes, loop__average=0.0, loop__checkpoint_steps=1000))
    train_fusion(config, CPU, [])
    collection = open_collection(config, BadSamples(tmp_path / "bad.csv", 0.0))
    assert len(collection.train) == 8
    backbones = FrozenBackbones(config.model, CPU.device)
    towers = Towers(config.model, backbones.shape, seed=0)
    load_exactly(towers, read_weights(tmp_path / "run" / "best.safetensors"), "run")
    photos = PhotoDataset(collection.source, backbones.view_cropper(), towers.text, 0, 1.0)
    loaded = photos[LoadRequest(collection.train, -1)]
    found = towers.eval()(backbones.extract(loaded.tensors))
    for view in ("image", "semantic", "fused"):
        assert torch.equal((found[view] @ found["gps"].T).argmax(dim=1), torch.arange(8)), view


def test_a_killed_run_resumes_with_the_loss_curve_of_an_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    write_config(unbroken, run=str(tmp_path))
    killed = start("-c", KILLED_AFTER_STEP_5, str(unbroken / "config.yaml"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(losses(tmp_path)) == 5
    resumed = start("-m", "retrieval.training.train", str(unbroken / "config.yaml"))
    assert resumed.returncode == 0, resumed.stderr
    assert losses(tmp_path) == losses(unbroken / "run")
    weights, wanted = (read_weights(run / "best.safetensors") for run in (tmp_path, unbroken / "run"))
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_two_processes_equal_one_with_the_same_global_batch(unbroken: Path, tmp_path: Path) -> None:
    write_config(unbroken, run=str(tmp_path))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "retrieval.training.train"]
    pair = start(*launch, str(unbroken / "config.yaml"), "loop.chunk=2")
    assert pair.returncode == 0, pair.stderr
    assert losses(tmp_path) == pytest.approx(losses(unbroken / "run"), rel=1e-4)
    weights, wanted = (read_weights(run / "best.safetensors") for run in (tmp_path, unbroken / "run"))
    for name, one in wanted.items():
        torch.testing.assert_close(weights[name], one, atol=2e-3, rtol=1e-2, msg=name)
