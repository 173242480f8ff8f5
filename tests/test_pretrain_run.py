"""Whole training runs of a tiny recipe: the same weights after being killed, the files they leave, bad input."""

import csv
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import bench
from bench.base.errors import BadInput, WrongName
from bench.cli import main
from bench.networks.checkpoints import read_checkpoint
from bench.pretrain import checkpoint, run, trainer
from bench.pretrain.run import Settings, pretrain
from tests.training import Killed, kill_at, train, write_training_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("tiny"))


def model_of(path):
    return torch.load(path, weights_only=True)["model"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """A run that nothing interrupted."""
    return train(tiny, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("step", [3, 6, 9])
def test_killed_and_resumed_gives_the_same_weights(tiny, whole, tmp_path, monkeypatch, step):
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0.0)  # a checkpoint after every step
    with pytest.raises(Killed):
        train(tiny, tmp_path, progress=kill_at(4 * step))
    halfway = torch.load(tmp_path / "checkpoint.pth.tar", weights_only=True)
    assert halfway["step"] == step - 1
    outcome = train(tiny, tmp_path, workers=1)
    assert outcome.resumed_at == step - 1
    assert same(model_of(outcome.checkpoint), model_of(whole.checkpoint))
    first, second = (
        [{key: value for key, value in row.items() if "second" not in key} for row in read_log(place)]
        for place in (outcome.checkpoint.parent, whole.checkpoint.parent)
    )
    assert first == second


def read_log(folder):
    with (folder / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_finished_run_is_left_as_it_is_and_fresh_starts_over(tiny, whole):
    before = model_of(whole.checkpoint)
    train(tiny, whole.checkpoint.parent)
    assert same(model_of(whole.checkpoint), before)
    train(tiny, whole.checkpoint.parent, fresh=True)
    assert same(model_of(whole.checkpoint), before)  # and it is a function of the seed
    assert len(read_log(whole.checkpoint.parent)) == 2


def test_another_seed_gives_other_weights_and_is_not_resumed(tiny, whole, tmp_path):
    other = train(tiny, tmp_path, seed=1)
    assert not same(model_of(other.checkpoint), model_of(whole.checkpoint))
    with pytest.raises(BadInput, match="of another run: seed was 1, now 2"):
        train(tiny, tmp_path, seed=2)
    with pytest.raises(BadInput, match=r"of another run: lr was 0\.004, now 0\.1"):
        train(tiny, tmp_path, seed=1, entries={"lr": "0.1"})


def test_a_checkpoint_has_the_authors_format_and_is_evaluated_like_theirs(whole):
    content = torch.load(whole.checkpoint, weights_only=True)
    assert content["epoch"] == 2 and content["identity"]["recipe"]["lr"] == 0.004
    assert json.loads((whole.checkpoint.parent / "run.json").read_text())["identity"] == content["identity"]
    keys = content["model"].keys()
    assert {key.split(".")[1] for key in keys} == {"model_q", "model_k", "queue", "queue_ptr"}
    assert content["model"]["module.queue"].shape == (6, 8)
    state = read_checkpoint(whole.checkpoint).state
    record = bench.evaluate(whole.network, limit=40, entries={"saliency_threshold": -9})
    assert record["metrics"]["mIoU"]["value"] > 0
    exported = read_checkpoint(whole.network).state
    assert state.keys() == exported.keys() and whole.network.stat().st_size < 450_000
    for key, value in state.items():
        assert torch.allclose(value.float(), exported[key].float(), rtol=1e-3, atol=1e-6), key


def test_log_and_events(whole):
    rows = read_log(whole.checkpoint.parent)
    assert [row["step"] for row in rows] == ["6", "12"]
    assert all(
        float(row["loss"]) == pytest.approx(float(row["contrastive"]) + float(row["saliency"]), rel=1e-4)
        for row in rows
    )
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole.checkpoint.parent / "tensorboard"))
    events.Reload()
    assert events.Scalars("loss")[-1].step == 12
    assert events.Scalars("loss")[-1].value == pytest.approx(float(rows[-1]["loss"]), rel=1e-4)


def test_without_tensorboard_one_warning_and_a_csv(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    warnings = []
    train(tiny, tmp_path, entries={"epochs": 1}, warn=warnings.append)
    (warning,) = warnings
    assert "tensorboard is not installed" in warning and len(read_log(tmp_path)) == 1


def test_held_out_images_are_scored_and_not_trained_on(tmp_path):
    folder = write_training_set(tmp_path, 100)
    settings = {"entries": {"epochs": 2, "lr": 0.02}, "eval_every": 2}
    outcome = train(folder, tmp_path / "a", **settings)
    first, second = read_log(tmp_path / "a")
    assert outcome.images == 80 and not first["held_out_miou"]
    assert second["held_out_miou"] == "" or 0 < float(second["held_out_miou"]) < 60


# --- initialisation ---


def torchvision_state(width=8):
    from bench.networks.architectures import DilatedResNet

    torch.manual_seed(5)
    return DilatedResNet("resnet18", width).state_dict() | {
        "fc.weight": torch.zeros(10, 64),
        "fc.bias": torch.zeros(10),
    }


@pytest.mark.parametrize("kind", ["torchvision", "moco"])
def test_training_starts_from_a_backbones_file(tiny, tmp_path, kind):
    state = torchvision_state()
    content = state
    if kind == "moco":
        others = {"module.encoder_k.conv1.weight": torch.zeros(1), "module.queue": torch.zeros(2, 4)}
        content = {"epoch": 800, "state_dict": {f"module.encoder_q.{key}": v for key, v in state.items()} | others}
    torch.save(content, tmp_path / "init.pth")
    still = {"epochs": 1, "lr": 1e-30, "weight_decay": 0}
    outcome = train(tiny, tmp_path / "out", init=str(tmp_path / "init.pth"), entries=still)
    trained = read_checkpoint(outcome.checkpoint).state
    assert torch.equal(trained["backbone.layer3.0.conv1.weight"], state["layer3.0.conv1.weight"])


def test_an_initialisation_of_another_architecture_is_refused(tiny, tmp_path):
    torch.save(torchvision_state(width=16), tmp_path / "init.pth")
    with pytest.raises(BadInput, match=r"init\.pth does not fit a resnet18 of width 8"):
        train(tiny, tmp_path / "out", init=str(tmp_path / "init.pth"))
    with pytest.raises(BadInput, match="no checkpoint at"):
        train(tiny, tmp_path / "out", init="nowhere.pth")


def test_a_published_recipe_says_which_file_it_needs(tiny, tmp_path):
    settings = Settings(data_root=tiny / "data", entries={"batch": 4, "split": "train"})
    with pytest.raises(WrongName, match="starts from moco weights") as error:
        pretrain("maskcontrast-unsup", "shapes", tiny / "masks", tmp_path, settings)
    assert "moco_v2_800ep_pretrain.pth.tar" in error.value.remedy


def test_bfloat16_of_a_recipe_is_dropped_where_the_cpu_has_none(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_has_bfloat16", lambda: False)
    card = (tiny / "tiny.toml").read_text()
    (tmp_path / "tiny.toml").write_text('precision = "bfloat16"\n' + card)
    settings = Settings(data_root=tiny / "data", device="cpu", entries={"epochs": 1}, warn=print)
    outcome = pretrain(tmp_path / "tiny.toml", "shapes", tiny / "masks", tmp_path / "out", settings)
    assert checkpoint.peek(outcome.checkpoint)["identity"]["recipe"]["precision"] == "float32"


# --- the command line ---


def command(*arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def test_the_command_trains_and_says_what_it_left(tiny, tmp_path, capsys):
    given = ["train", "--recipe", tiny / "tiny.toml", "--dataset", "shapes", "--data-root", tiny / "data"]
    given += ["--priors", tiny / "masks", "--out", tmp_path / "out", "--device", "cpu"]
    assert command(*given, "--epochs", "1", "--precision", "bfloat16", "--set", "temperature=0.3") == 0
    printed = capsys.readouterr().out
    assert "trained on 24 images, 6 steps" in printed and "network.safetensors" in printed
    recipe = checkpoint.peek(tmp_path / "out/checkpoint.pth.tar")["identity"]["recipe"]
    assert (recipe["epochs"], recipe["precision"], recipe["temperature"]) == (1, "bfloat16", 0.3)
    for extra, code in ((["--set", "queue=7"], 2), (["--priors", tmp_path / "no"], 3), (["--device", "cuda:99"], 4)):
        assert command(*given, *extra) == code
        error = capsys.readouterr().err
        assert error.startswith("error: ") and "Traceback" not in error
    assert command(*given[:1], "--recipe", "maskcontrast-spu", *given[3:]) == 2
    assert "Did you mean maskcontrast-sup" in capsys.readouterr().err


def test_recipes_are_listed_entry_by_entry(capsys):
    assert command("list", "recipes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ENTRY", "MASKCONTRAST-SUP", "MASKCONTRAST-UNSUP", "SHAPES", "MEANING"]
    (queue,) = [line for line in lines if line.startswith("queue ")]
    assert queue.split()[1:4] == ["128", "256", "64"]


def test_a_few_epochs_on_real_images_run_through_with_a_falling_loss(realdata, tmp_path):
    from bench.cards import catalogue
    from bench.data.find_samples import find_samples

    card = catalogue.dataset("pascal-voc")
    samples = find_samples(card, "trainaug", realdata / "VOCdevkit", tmp_path)
    (tmp_path / "masks").mkdir()
    for sample in samples:
        label = np.asarray(Image.open(sample.label))
        Image.fromarray(np.uint8(255) * ((label > 0) & (label < 255))).save(tmp_path / "masks" / f"{sample.id}.png")
    entries = {"architecture.backbone": "resnet18", "architecture.width": 8, "architecture.decoder_width": 16}
    entries |= {"crop": 48, "area": [0.5, 1.0], "frozen": [], "dropout": 0, "momentum": 0.9, "temperature": 0.2}
    entries |= {"optimiser": "adamw", "schedule": "cosine", "lr": 0.003, "weight_decay": 0, "epochs": 6}
    entries |= {"batch": 8, "queue": 8}  # a longer queue of random vectors would make the first losses small
    settings = Settings(data_root=realdata / "VOCdevkit", init="random", device="cpu", entries=entries)
    pretrain("maskcontrast-sup", "pascal-voc", tmp_path / "masks", tmp_path / "out", settings)
    rows = read_log(tmp_path / "out")
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
