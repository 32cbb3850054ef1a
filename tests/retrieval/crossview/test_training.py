"""`recipe: crossview` from configuration to encoder folder, on CPU, in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("transformers", reason="training needs the train extra")

from core.errors import UserError  # noqa: E402
from retrieval.crossview.encoder import CrossviewEncoder  # noqa: E402
from retrieval.photos.photo import load_photo  # noqa: E402
from retrieval.training import run_folder  # noqa: E402
from retrieval.training.config import CrossviewConfig, load_config  # noqa: E402
from retrieval.training.crossview.config import PlacesConfig, SamplingConfig  # noqa: E402
from retrieval.training.crossview.places import read_places  # noqa: E402
from retrieval.training.crossview.recipe import train_crossview  # noqa: E402
from retrieval.training.crossview.sampling import hard_order, nearest_places  # noqa: E402
from retrieval.training.crossview.task import chosen_places  # noqa: E402
from retrieval.training.distributed import ProcessGroup  # noqa: E402
from retrieval.training.run_folder import read_weights  # noqa: E402
from tests.retrieval.crossview.places import write_crossview_config, write_places  # noqa: E402

ROOT = Path(__file__).parents[3]
CPU = ProcessGroup(torch.device("cpu"))


def load(path: Path) -> CrossviewConfig:
    config = load_config(path)
    assert isinstance(config, CrossviewConfig)
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: 40 places of one colour each, 32 of them trained on."""
    torch.set_num_threads(1)
    folder = write_places(tmp_path_factory.mktemp("places"), 40)
    scores = train_crossview(load(write_crossview_config(folder, loop__epochs=25)), CPU, [])
    assert scores["r@1"] >= 0.5  # by luck: an eighth
    return folder


def test_the_folder_gives_vectors_in_which_a_photo_is_nearest_to_its_own_tile(run: Path) -> None:
    encoder = CrossviewEncoder(run / "run", device="cpu")
    numbers = list(range(0, 40, 5))
    photos = [load_photo(run / f"pictures/{n}-0.png").rgb for n in numbers]
    tiles = [load_photo(run / f"pictures/{n}.png").rgb for n in numbers]
    similarity = encoder.encode_photos(photos) @ encoder.encode_tiles(tiles).T
    assert (similarity.argmax(axis=1) == np.arange(len(numbers))).mean() >= 0.5
    card = json.loads((run / "run" / "card.json").read_text())
    assert card["validation"]["r@1"] >= 0.5
    np.testing.assert_allclose(encoder.encode_photos(photos[:1]), encoder.encode_photos(photos)[:1], atol=1e-5)


def test_photos_of_one_place_are_joined_by_weight_and_in_any_order(run: Path) -> None:
    encoder = CrossviewEncoder(run / "run", device="cpu")
    vectors = encoder.encode_photos([load_photo(run / f"pictures/{n}-0.png").rgb for n in range(3)])
    np.testing.assert_allclose(encoder.join(vectors), encoder.join(vectors[::-1]), atol=1e-6)
    np.testing.assert_allclose(encoder.join(vectors, [0.0, 1.0, 0.0]), vectors[1], atol=1e-5)
    with pytest.raises(UserError, match="at least one with a weight"):
        encoder.join(vectors, [0.0, 0.0, 0.0])


def test_one_photo_alone_goes_through_the_transformer_as_in_training(tmp_path: Path) -> None:
    write_places(tmp_path, 20)
    train_crossview(load(write_crossview_config(tmp_path, model__shape__together="transformer")), CPU, [])
    encoder = CrossviewEncoder(tmp_path / "run", device="cpu")
    vectors = encoder.encode_photos([load_photo(tmp_path / f"pictures/{n}-0.png").rgb for n in range(3)])
    np.testing.assert_allclose(encoder.join(vectors), encoder.join(vectors[::-1]), atol=1e-6)
    alone = encoder.join(vectors[:1])
    np.testing.assert_allclose(alone, encoder.join(vectors, [1.0, 0.0, 0.0]), atol=1e-6)
    assert np.abs(alone - vectors[0]).max() > 1e-4


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt a run when it logs a step."""
    log = run_folder.TrainingRunFolder.log

    def stop(self: Any, line: Any) -> None:
        log(self, line)
        if line["step"] == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_folder.TrainingRunFolder, "log", stop)


def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_places(tmp_path, 40)
    whole = load(write_crossview_config(tmp_path, run=str(tmp_path / "whole"), model__shape__together="transformer"))
    train_crossview(whole, CPU, [])
    stopped = whole.model_copy(update={"run": tmp_path / "stopped"})
    stop_after(11, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train_crossview(stopped, CPU, [])
    monkeypatch.undo()
    train_crossview(stopped, CPU, [])
    one, other = (read_weights(tmp_path / name / "best.safetensors") for name in ("whole", "stopped"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def start(folder: Path, *launch: str) -> None:
    command = [sys.executable, *launch, "-m", "retrieval.training.train", str(folder / "config.yaml")]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_two_processes_equal_one_and_go_on_where_one_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_places(tmp_path, 40)
    (tmp_path / "pictures" / "6.png").write_bytes(b"<html>")
    # The compact recipe: batch norms, photos through the Transformer, neighbours that are mined.
    changes = {
        "model__shape__together": "transformer",
        "sampling__near_epochs": 1,
        "sampling__similar_every": 1,
        "loop__epochs": 3,
        "data__max_bad_share": 0.1,
    }
    alone = load(write_crossview_config(tmp_path, run=str(tmp_path / "alone"), **changes))
    train_crossview(alone, CPU, [])
    pair = load(write_crossview_config(tmp_path, run=str(tmp_path / "pair"), **changes))
    stop_after(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train_crossview(pair, CPU, [])
    monkeypatch.undo()
    start(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert len(losses(tmp_path / "pair")) == 12
    assert losses(tmp_path / "pair") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    weights, wanted = (read_weights(tmp_path / run / "best.safetensors") for run in ("pair", "alone"))
    for name, one in wanted.items():
        torch.testing.assert_close(weights[name], one, atol=2e-3, rtol=1e-2, msg=name)
    for run in ("pair", "alone"):
        listed = (tmp_path / run / "bad_samples.csv").read_text().splitlines()[1:]
        assert [line.split(",")[1] for line in listed] == ["place 6"]


def test_batch_norms_are_not_embedded_in_chunks(tmp_path: Path) -> None:
    write_places(tmp_path, 20)
    with pytest.raises(UserError, match=r"normalises over the batch.*set loop\.chunk=0"):
        train_crossview(load(write_crossview_config(tmp_path, loop__chunk=3)), CPU, [])


def test_positions_and_texts_are_further_views_with_weights_of_their_own(tmp_path: Path) -> None:
    write_places(tmp_path, 20)
    changes = {
        "objective__pairs": {"image-satellite": 0.7, "image-gps": 0.3, "text-satellite": 0.2},
        "model__location": "geoclip",
        "model__text": {"encoder": "chars", "width": 8},
        "loop__epochs": 1,
    }
    train_crossview(load(write_crossview_config(tmp_path, **changes)), CPU, [])
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert set(first["terms"]) == {"image-satellite", "image-gps", "text-satellite"}
    assert CrossviewEncoder(tmp_path / "run", device="cpu").identity.dim == 8  # without what only training needs
    with pytest.raises(UserError, match=r"model\.location and the gps pairs"):
        load(write_crossview_config(tmp_path, model__location="geoclip"))


def test_batches_hold_neighbours_and_every_group_once() -> None:
    rng = np.random.default_rng(0)
    lat_lon = np.stack([np.repeat(np.arange(20.0), 5), rng.uniform(0, 0.1, 100)], axis=1)
    neighbours = nearest_places(lat_lon, 8).numpy()
    assert all((np.repeat(np.arange(20), 5)[neighbours[i][:4]] == i // 5).all() for i in range(100))
    sampling = SamplingConfig(neighbours=8, among=8)
    place = np.repeat(np.arange(100), 2)  # two groups of photos each
    order = hard_order(place, neighbours, 10, sampling, np.random.default_rng(1))
    assert sorted(order.tolist()) == list(range(200))
    hard, easy = order.reshape(20, 10), hard_order(place, None, 10, sampling, np.random.default_rng(1)).reshape(20, 10)

    def pairs_nearby(batches: Any) -> float:
        town = place[batches] // 5
        return float(np.mean([(row[:, None] == row[None, :]).sum() for row in town]))

    assert pairs_nearby(hard[:10]) > 2.0 * pairs_nearby(easy[:10])
    assert all(len(set(place[row])) == 10 for row in hard[:15])


def test_neighbours_that_are_not_known_bring_nobody_in() -> None:
    neighbours = np.full((40, 4), -1)
    order = hard_order(np.arange(40), neighbours, 4, SamplingConfig(neighbours=4, among=4), np.random.default_rng(1))
    alone = hard_order(np.arange(40), None, 4, SamplingConfig(neighbours=4, among=4), np.random.default_rng(1))
    np.testing.assert_array_equal(order, alone)


def test_tiles_that_cannot_be_read_are_listed_and_training_goes_on(tmp_path: Path) -> None:
    write_places(tmp_path, 40)
    for number in (5, 6):  # of validation and of training
        (tmp_path / "pictures" / f"{number}.png").write_bytes(b"<html>")
    changes = {"sampling__near_epochs": 0, "sampling__similar_every": 1, "loop__epochs": 2, "data__max_bad_share": 0.1}
    scores = train_crossview(load(write_crossview_config(tmp_path, **changes)), CPU, [])
    listed = (tmp_path / "run" / "bad_samples.csv").read_text().splitlines()[1:]
    assert {line.split(",")[1] for line in listed} == {"place 5", "place 6"}
    assert 0.0 <= scores["r@1"] <= 1.0
    state = torch.load(max((tmp_path / "run").rglob("*.pt")), weights_only=False)
    (neighbours,) = _named("neighbours", state)
    known = [number for number in range(40) if number % 5]
    assert (neighbours[known.index(6)] == -1).all()
    assert not (neighbours == known.index(6)).any()
    strict = load(write_crossview_config(tmp_path, data__max_bad_share=0.01, run=str(tmp_path / "strict")))
    with pytest.raises(UserError, match=r"more than data\.max_bad_share"):
        train_crossview(strict, CPU, [])


def _named(name: str, tree: Any) -> list[Any]:
    """All values of a name in nested dictionaries."""
    if not isinstance(tree, dict):
        return []
    return [found for key, value in tree.items() for found in ([value] if key == name else _named(name, value))]


def test_validation_places_are_drawn_from_the_seed() -> None:
    place = np.repeat(np.arange(100), 2)
    one, again, other = (chosen_places(place, 10, seed).tolist() for seed in (1, 1, 2))
    assert one == again == sorted(set(one))
    assert len(one) == 10
    assert one not in (other, list(range(10)))


def test_places_without_a_text_are_listed_where_texts_are_trained(tmp_path: Path) -> None:
    write_places(tmp_path, 20)
    table = tmp_path / "places.csv"
    table.write_text(table.read_text().replace("Town 3,", ","))
    changes = {
        "objective__pairs": {"image-satellite": 0.7, "text-satellite": 0.2},
        "model__text": {"encoder": "chars", "width": 8},
        "loop__epochs": 1,
        "data__max_bad_share": 0.1,
    }
    train_crossview(load(write_crossview_config(tmp_path, **changes)), CPU, [])
    assert "place 3,no text" in (tmp_path / "run" / "bad_samples.csv").read_text()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.jpg,a.png,1,2,x,val"], r"line 2: part 'val' is none: write train or validation"),
        (["a.jpg,a.png,1,2,x,train", "b.jpg,a.png,1,2,x,validation"], r"line 3: place x is in part train above"),
        (["a.jpg,a.png,91,2,x,train"], r"line 2: latitude 91 out of range"),
    ],
)
def test_a_table_of_places_is_checked(tmp_path: Path, rows: list[str], message: str) -> None:
    (tmp_path / "places.csv").write_text("\n".join(["photo,tile,lat,lon,place,part", *rows]))
    with pytest.raises(UserError, match=message):
        read_places(PlacesConfig(folder=tmp_path))


@pytest.mark.parametrize(
    ("locations", "split", "message"),
    [
        ("1,2,30.5,-90.5\n", "bingmap/0000002.jpg,pano.jpg\n", r"train-19zl\.csv line 1: .* is no line of"),
        ("1,2,30.5,-90.5\n", "bingmap/0000000.jpg,pano.jpg\n", r"train-19zl\.csv line 1: .* is no line of"),
        ("1,2,30.5,-90.5\n", "bingmap/tile.jpg,pano.jpg\n", r"train-19zl\.csv line 1: .* is no line of"),
        ("1,2,30.5,-90.5\n", "bingmap/0000001.jpg\n", r"train-19zl\.csv line 1: fewer than 2 fields"),
        ("1,2,north,-90.5\n", "bingmap/0000001.jpg,pano.jpg\n", r"all\.csv line 1: not coordinates"),
        ("1,2\n", "bingmap/0000001.jpg,pano.jpg\n", r"all\.csv line 1: fewer than 4 fields"),
    ],
)
def test_damaged_lists_of_cvusa_are_named(tmp_path: Path, locations: str, split: str, message: str) -> None:
    for name, text in (("split_locations/all.csv", locations), ("splits/train-19zl.csv", split)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_places(PlacesConfig(folder=tmp_path, layout="cvusa"))


def test_a_damaged_list_of_vigor_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "splits" / "Seattle"
    folder.mkdir(parents=True)
    for tile in ("satellite.png", "satellite_47.6_west.png"):
        (folder / "same_area_balanced_train.txt").write_text(f"a.jpg {tile} 0 0\n")
        with pytest.raises(UserError, match=r"same_area_balanced_train\.txt line 1: no"):
            read_places(PlacesConfig(folder=tmp_path, layout="vigor", cities=("Seattle",)))


def test_the_published_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "splits" / "Seattle").mkdir(parents=True)
    for part in ("train", "test"):
        lines = f"a{part},47.6,-122.3,.jpg satellite_47.6_-122.3.png 0 0\nb{part}.jpg satellite_47.6_-122.3.png 1 1\n"
        (tmp_path / "splits" / "Seattle" / f"same_area_balanced_{part}.txt").write_text(lines)
    train, held_out = read_places(PlacesConfig(folder=tmp_path, layout="vigor", cities=("Seattle",)))
    assert train.photos == ("ground/Seattle/atrain,47.6,-122.3,.jpg", "ground/Seattle/btrain.jpg")
    assert (train.tiles, train.position_deg) == (("satellite/Seattle/satellite_47.6_-122.3.png",), (47.6, -122.3))
    assert (train.part, held_out.part) == ("train", "validation")
    (tmp_path / "split_locations").mkdir()
    (tmp_path / "split_locations" / "all.csv").write_text("1,2,3,4,5\n30.0,-90.0,30.5,-90.5,0\n")
    for split in ("train", "val"):
        line = "bingmap/19/0000002.jpg,streetview/panos/0000002.jpg,annotation.png\n"
        (tmp_path / "splits" / f"{split}-19zl.csv").write_text(line)
    first = read_places(PlacesConfig(folder=tmp_path, layout="cvusa"))[0]
    assert (first.tiles[0], first.photos[0]) == ("bingmap/19/0000002.jpg", "streetview/panos/0000002.jpg")
    assert first.position_deg == (30.5, -90.5)
    with pytest.raises(UserError, match=r"is data\.layout right"):
        read_places(PlacesConfig(folder=tmp_path, layout="vigor"))


def test_mistakes_are_found_before_training(tmp_path: Path) -> None:
    write_places(tmp_path, 20)
    (tmp_path / "pictures" / "3.png").unlink()
    with pytest.raises(UserError, match=r"place 3: no pictures/3\.png"):
        train_crossview(load(write_crossview_config(tmp_path)), CPU, [])
    with pytest.raises(UserError, match="this recipe has no view fused"):
        load(write_crossview_config(tmp_path, objective__pairs={"fused-gps": 1.0}))
    write_places(tmp_path, 20)
    changes = {"model__image": {"backbone": "compact-narrow"}, "run": str(tmp_path / "other")}
    untrained = load(write_crossview_config(tmp_path, **changes))
    with pytest.raises(UserError, match="has no pretrained weights"):
        train_crossview(untrained, CPU, [])


def test_any_vision_model_of_transformers_is_a_backbone(tmp_path: Path) -> None:
    from transformers import ConvNextConfig, ConvNextModel

    from retrieval.backbones.registry import load_image_backbone

    shape = ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[4, 8, 8, 12], image_size=64)
    whole = ConvNextModel(shape).eval()
    whole.save_pretrained(tmp_path)
    net: Any = load_image_backbone("transformers", folder=tmp_path)
    pixels = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    tokens = net(pixels)
    assert (tokens.shape, net.description.dim, net.description.tokens) == ((2, 6, 12), 12, 4)
    with torch.no_grad():
        wanted = whole(net.description.preprocessing.normalise(pixels)).last_hidden_state
    torch.testing.assert_close(tokens, wanted.flatten(2).transpose(1, 2))
    processing = tmp_path / "preprocessor_config.json"
    processing.write_text('{"image_mean": [0.5, 0.5, 0.5], "do_resize": true}')
    assert load_image_backbone("transformers", folder=tmp_path).description.preprocessing.mean == (0.5, 0.5, 0.5)
    for damaged in ("{", "[]", '{"image_std": [0.5, 0.5]}', '{"image_std": [0.5, 0.5, 0.0]}', '{"image_mean": "grey"}'):
        processing.write_text(damaged)
        with pytest.raises(UserError, match=r"preprocessor_config\.json is damaged .* fetch it again"):
            load_image_backbone("transformers", folder=tmp_path)
    with pytest.raises(UserError, match="needs a folder with config"):
        load_image_backbone("transformers")
