"""Mistakes of users and full disks: one line naming the key, file or row, before training where possible."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("yaml", reason="training needs the train extra")

from safetensors.torch import save_file  # noqa: E402

from core.errors import UserError  # noqa: E402
from retrieval.training.config import FusionConfig, load_config  # noqa: E402
from retrieval.training.data.bad_samples import BadSample, read_bad_samples  # noqa: E402
from retrieval.training.data.prepare import prepare_maps  # noqa: E402
from retrieval.training.distributed import ProcessGroup, pick_device  # noqa: E402
from retrieval.training.frozen_backbones import FrozenBackbones  # noqa: E402
from retrieval.training.fusion_recipe import train_fusion  # noqa: E402
from retrieval.training.run_folder import TrainingRunFolder  # noqa: E402
from retrieval.training.towers import Towers  # noqa: E402
from tests.fakes.training_samples import write_config, write_folder  # noqa: E402

CPU = ProcessGroup(torch.device("cpu"))


def load(path: Path, *overrides: str) -> FusionConfig:
    config = load_config(path, overrides)
    assert isinstance(config, FusionConfig)
    return config


def fit(folder: Path, *overrides: str, **changes: Any) -> dict[str, float]:
    torch.set_num_threads(1)
    return train_fusion(load(write_config(folder, **changes), *overrides), CPU, [])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.epohcs=1", r"loop\.epohcs: unknown key; did you mean epochs\?"),
        ("model.fusion.head=1", r"model\.fusion\.head: unknown key; did you mean heads\?"),
        ("colour=red", r"colour: unknown key; there are name, seed"),
        ("loop.epochs=many", r"loop\.epochs: Input should be a valid integer"),
        ("loop.epochs", "not of the form key=value"),
        ("name.first=1", "name is no section"),
        ("recipe=soup", "recipe: give one of compact, fusion, crossview, not 'soup'"),
        ("device=gpu", "device: String should match"),
        ("objective.pairs={image-gsp: 1}", "pair 'image-gsp': give two of image, semantic"),
        ("model.semantics=null", "uses the semantic view, but model.semantics is not set"),
        ("model.text=null", "set both or neither"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(write_config(tmp_path), override)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the configuration .*none\.yaml"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    with pytest.raises(UserError, match="is no configuration"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "torn.yaml").write_text("a: [1, 2\n")
    with pytest.raises(UserError, match="is not valid YAML"):
        load_config(tmp_path / "torn.yaml")


@pytest.mark.parametrize("name", [path.name for path in (Path(__file__).parents[3] / "configs").glob("*.yaml")])
def test_every_shipped_configuration_is_valid(name: str) -> None:
    assert load_config(Path(__file__).parents[3] / "configs" / name).name == name.removesuffix(".yaml")


def test_an_unreadable_photo_is_left_out_and_listed_and_not_replaced(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 40)
    for number in (1, 3, 17):
        (folder / "photos" / "p" / f"{number}.jpg").write_bytes(b"\xff\xd8 this is no photo")
    fit(folder, data__max_bad_share=0.2, loop__epochs=1)
    bad = read_bad_samples(tmp_path / "run" / "bad_samples.csv")
    assert {one.name for one in bad} <= {"p/1.jpg", "p/3.jpg", "p/17.jpg"}
    assert bad
    assert all("decoded" in one.reason or "image" in one.reason for one in bad), bad
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    photos = sum(line["photos"] for line in lines if "loss" in line)
    listed = {int(one.name[2:-4]) for one in bad}
    assert photos < 24, "the batches hold only what could be read"
    assert photos >= 24 - len(listed)


def test_too_many_unreadable_photos_stop_the_run(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 40)
    for path in sorted((folder / "photos" / "p").iterdir())[:12]:
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"max_bad_share=0\.05 allows: first line \d+ \(p/\d+\.jpg: is empty"):
        fit(folder, data__max_bad_share=0.05)


def test_an_unreadable_disk_is_found_before_the_first_step(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 20)
    for path in (folder / "photos" / "p").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the first photos can be read"):
        fit(folder, data__max_bad_share=0.9)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_one_photographer_cannot_be_split(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 12)
    table = (folder / "table.csv").read_text()
    for i in range(12):
        table = table.replace(f",author{i},", ",me,")
    (folder / "table.csv").write_text(table)
    with pytest.raises(UserError, match="split by photographer, so several are needed"):
        fit(folder)


def test_weights_of_another_shape_are_refused_and_the_tensor_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 20)
    config = load(write_config(folder, model__dim=16))
    towers = Towers(config.model, FrozenBackbones(config.model, CPU.device).shape, seed=0)
    save_file({name: one.clone() for name, one in towers.state_dict().items()}, tmp_path / "narrow.safetensors")
    with pytest.raises(UserError, match=r"narrow\.safetensors: fusion\.\S+ has shape \(.*, the configuration needs"):
        fit(folder, model__start=str(tmp_path / "narrow.safetensors"))
    with pytest.raises(UserError, match="no weights at"):
        fit(folder, model__start=str(tmp_path / "none.safetensors"))


def test_a_batch_larger_than_the_collection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"loop\.batch: 100 is more than the photos there are"):
        fit(write_folder(tmp_path, 20), loop__batch=100)


def test_a_lack_of_space_is_found_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(UserError, match=r"no space for checkpoints: .* has 0\.0 GB free and this run needs about"):
        fit(write_folder(tmp_path, 20))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_a_user_error_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    run = TrainingRunFolder(tmp_path)
    run.save_state("checkpoint.pt", {"recipe": "{}", "step": 1})
    (tmp_path / "checkpoint.pt.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"no space left for .*checkpoint\.pt: free some and run the same command"):
        run.save_state("checkpoint.pt", {"recipe": "{}", "step": 2, "weights": torch.zeros(100_000)})
    state = run.load_checkpoint("{}")
    assert state is not None
    assert state["step"] == 1


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss is not a finite number at step \d"):
        fit(write_folder(tmp_path, 20), loop__learning_rate=1e30, loop__clip=0.0, loop__warm_up=0.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_a_user_error() -> None:
    assert pick_device("auto").type == "cpu"
    with pytest.raises(UserError, match="torch sees no GPU: set device=cpu"):
        pick_device("cuda")


def test_maps_are_prepared_once_resumed_and_read_by_training(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 20)
    (folder / "photos" / "p" / "4.jpg").write_bytes(b"")
    changes: dict[str, Any] = {"data__prepared": True, "data__max_bad_share": 0.1}
    small = {"block": 8, "batch": 4, "workers": 0, "tokens": True}
    path = write_config(folder, **changes, prepare=small)
    with pytest.raises(UserError, match=r"3 blocks are not prepared: run python -m retrieval\.training\.data\.prepare"):
        train_fusion(load(path), CPU, [])
    assert prepare_maps(load(path)) == 1
    assert [one.name for one in read_bad_samples(tmp_path / "cache" / "bad_samples.csv")] == ["p/4.jpg"]
    blocks = sorted((tmp_path / "cache" / "prepared").glob("block-*.safetensors"))
    written = [one.stat().st_mtime_ns for one in blocks]
    blocks[1].unlink()
    prepare_maps(load(path))
    assert [one.stat().st_mtime_ns == then for one, then in zip(blocks, written, strict=True)] == [True, False, True]
    train_fusion(load(path, "loop.epochs=1"), CPU, [])
    listed = read_bad_samples(tmp_path / "run" / "bad_samples.csv")
    assert set(listed) <= {BadSample("line 6", "p/4.jpg", "could not be read when it was prepared")}
    (folder / "table.csv").write_text("\n".join((folder / "table.csv").read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match="was prepared from other photos"):
        prepare_maps(load(path))


@pytest.mark.parametrize("command", ["train", "data.prepare", "data.duplicates", "compact.export", "compact.evaluate"])
def test_a_command_without_arguments_says_how_it_is_used(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(f"retrieval.training.{command}").main
    for arguments, status in ((["--help"], 0), ([], 2)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == status
        printed = capsys.readouterr()
        assert f"python -m retrieval.training.{command}" in (printed.out if status == 0 else printed.err)
