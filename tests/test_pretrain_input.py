"""What `bench train` says of bad input, and of what breaks on the way."""

import errno
import io
import math
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from bench.base.errors import BadEnvironment, BadInput, WrongName
from bench.base.files import locked
from bench.cli import main
from bench.networks.checkpoints import read_checkpoint
from bench.pretrain import checkpoint, run, trainer
from bench.pretrain.log import COLUMNS, Log
from tests.training import IMAGES, Killed, kill_at, train, write_training_set


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def own(tiny, tmp_path):
    """A copy of the training set that a test may spoil."""
    return shutil.copytree(tiny, tmp_path / "own")


# --- images, masks and recipes ---


@pytest.mark.slow
def test_images_without_a_mask_are_counted_named_and_skipped(own, tmp_path):
    for name in ("train_00003", "train_00007"):
        (own / "masks" / f"{name}.png").unlink()
    Image.new("L", Image.open(own / "masks/train_00005.png").size).save(own / "masks/train_00005.png")
    warnings = []
    outcome = train(own, tmp_path / "out", entries={"epochs": 1}, warn=warnings.append)
    assert outcome.images == IMAGES - 3
    assert any(w.startswith("2 images (train_00003, train_00007) of 24 without a mask") for w in warnings)
    assert any(w.startswith("1 image (train_00005) without foreground") for w in warnings)


def test_two_trainings_do_not_share_a_folder(own, tmp_path):
    with locked(tmp_path / "out" / ".lock", 0, "", ""), pytest.raises(BadEnvironment, match="in use by another"):
        train(own, tmp_path / "out")
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_mask_of_another_size_is_named(own, tmp_path):
    Image.new("L", (10, 20), 255).save(own / "masks/train_00002.png")
    with pytest.raises(BadInput, match=r"train_00002\.png is 10×20 pixels, its image"):
        train(own, tmp_path / "out")


@pytest.mark.slow
def test_masks_of_background_only_are_refused(own, tmp_path):
    for path in (own / "masks").glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(path)  # 127 is not foreground
    with pytest.raises(BadInput, match=r"all 24 masks in .* are background"):
        train(own, tmp_path / "out")


@pytest.mark.slow
def test_masks_of_foreground_only_give_no_pair(own, tmp_path):
    for path in (own / "masks").glob("*.png"):
        Image.new("L", Image.open(path).size, 255).save(path)
    with pytest.raises(BadInput, match="no crop whose mask covers between 1% and 99%"):
        train(own, tmp_path / "out", entries={"extent": [1.5, 1.5]})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"queue": 10}, "queue: 10 is no multiple of batch = 4"),
        ({"temprature": 1}, "unknown recipe entry 'temprature'"),
        ({"architecture.widht": 8}, r"unknown recipe entry 'architecture\.widht'"),
        ({"lr": "fast"}, "lr: Input should be a valid number"),
        ({"crop": 2}, "crop: Input should be greater than or equal to 16"),
        ({"extent": "[0.5, 0.2]"}, "extent: the first number must not exceed the second"),
        ({"crop": 16, "contrast_stride": 64}, "contrast_stride: 64 leaves no pixel of a crop of 16"),
        ({"batch": 1, "queue": 1}, "batch: Input should be greater than or equal to 2"),
        ({"lr": 1e38}, "lr: Input should be less than or equal to 1000000"),
        ({"queue": 4 * 10**12}, "queue: Input should be less than or equal to 1000000"),
    ],
)
def test_entries_that_do_not_fit_are_refused(tiny, tmp_path, entries, message):
    with pytest.raises(WrongName, match=message):
        train(tiny, tmp_path, entries=entries)


def test_a_recipe_with_an_unknown_key_is_refused(own, tmp_path):
    (own / "tiny.toml").write_text("learning_rate = 1\n" + (own / "tiny.toml").read_text())
    with pytest.raises(BadInput, match=r"tiny\.toml: learning_rate: unknown key"):
        train(own, tmp_path / "out")


def test_more_images_than_a_batch_are_needed(tiny, tmp_path):
    with pytest.raises(BadInput, match="24 images with a mask are fewer than a batch of 32"):
        train(tiny, tmp_path, entries={"batch": 32, "queue": 32})


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint_intact(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0.0)
    with pytest.raises(Killed):
        train(tiny, tmp_path, progress=kill_at(20))
    good = (tmp_path / "checkpoint.pth.tar").read_bytes()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bench.base.files.os.fsync", full)
        patch.setattr(run, "write_run", lambda *arguments: None)
        with pytest.raises(BadEnvironment, match="No space left on device") as error:
            train(tiny, tmp_path)
        assert f"continues from {tmp_path / 'checkpoint.pth.tar'}" in error.value.remedy
        for fresh in (True, False):  # a run that was started over has no checkpoint either
            with pytest.raises(BadEnvironment, match="No space left on device") as error:
                train(tiny, tmp_path / "other", fresh=fresh)
            assert "starts again: there is no checkpoint yet" in error.value.remedy
    assert (tmp_path / "checkpoint.pth.tar").read_bytes() == good
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    train(tiny, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("save_seconds", "message"),
    [
        (0.0, "weights are not finite after step 6; .* holds the last good checkpoint"),
        (99.0, r"the loss is nan at step 7; .*checkpoint\.pth\.tar was not written yet"),
    ],
)
def test_divergence_stops_the_run_and_leaves_the_good_checkpoint(tiny, tmp_path, monkeypatch, save_seconds, message):
    monkeypatch.setattr(trainer, "SAVE_SECONDS", save_seconds)
    monkeypatch.setattr(trainer, "learning_rate", lambda recipe, step, per_epoch: 0.001 if step < 5 else math.inf)
    with pytest.raises(BadInput, match=message) as error:
        train(tiny, tmp_path)
    assert error.value.remedy == "Lower the learning rate (--set lr=…)."
    if save_seconds == 0:
        read_checkpoint(tmp_path / "checkpoint.pth.tar")  # refuses what is not finite
        assert checkpoint.peek(tmp_path / "checkpoint.pth.tar")["step"] == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "entries", [{"warmup": 1e-300}, {"aspect": [1e6, 1e6], "extent": None}, {"batch": 2, "queue": 2}, {"crop": 16}]
)
def test_odd_entries_that_are_allowed_train(tiny, tmp_path, entries):
    assert train(tiny, tmp_path, entries={"epochs": 1} | entries).steps == IMAGES // entries.get("batch", 4)


def test_memory_that_does_not_suffice_is_no_bug(tiny, tmp_path, monkeypatch):
    def full(*arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 96 bytes")

    monkeypatch.setattr(trainer.Trainer, "_step", full)
    with pytest.raises(BadEnvironment, match="out of memory on cpu with a batch of 4"):
        train(tiny, tmp_path)


# --- what lies in --out ---


@pytest.mark.slow
def test_a_checkpoint_from_elsewhere_is_not_overwritten(tiny, small_file, tmp_path):
    path = tmp_path / "checkpoint.pth.tar"
    contents = [
        (small_file.read_bytes(), "was not written by `bench train`"),
        (saved({"model": {}, "optimizer": {}, "identity": {"a": 1}}), "was not written by `bench train`"),
        (saved([1]), "is not a training checkpoint"),
        (b"half", "is a text file, and no checkpoint"),
        (b"", "is empty"),
    ]
    for content, words in contents:
        path.write_bytes(content)
        with pytest.raises(BadInput, match=words) as error:
            train(tiny, tmp_path)
        assert "--fresh to start again" in error.value.remedy and path.read_bytes() == content


def saved(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.mark.slow
def test_a_checkpoint_that_lacks_an_entry_is_refused(tiny, tmp_path):
    path = train(tiny, tmp_path, entries={"epochs": 1}).checkpoint
    content = torch.load(path, weights_only=True)
    for key in ("model", "optimizer", "step"):
        torch.save({name: value for name, value in content.items() if name != key}, path)
        with pytest.raises(BadInput, match=f"is not a checkpoint of this recipe: '{key}'"):
            train(tiny, tmp_path, entries={"epochs": 1})


@pytest.mark.slow
def test_fresh_gives_up_a_damaged_checkpoint(tiny, tmp_path):
    (tmp_path / "checkpoint.pth.tar").write_bytes(b"half")
    outcome = train(tiny, tmp_path, entries={"epochs": 1}, fresh=True)
    assert checkpoint.peek(outcome.checkpoint)["epoch"] == 1


HEADER = ",".join(COLUMNS)


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n1,1x,,,,,,,,\n".encode(),
        f"{HEADER}\n1,6\n".encode(),
        f"{HEADER}\n1,6,,,,,,,,,,,\n".encode(),
        b"other,columns\n1,2\n",
        b"\x00\xff\xfe garbage",
        b"",
    ],
    ids=["step", "short", "long", "columns", "bytes", "empty"],
)
def test_a_damaged_log_is_set_aside_and_nothing_lost(tmp_path, monkeypatch, content):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    (tmp_path / "log.csv").write_bytes(content)
    (tmp_path / "log.damaged-1.csv").write_bytes(b"an earlier one")
    warnings = []
    log = Log(tmp_path, 6, warnings.append)
    log.add({"epoch": 2, "step": 12})
    assert (tmp_path / "log.damaged-1.csv").read_bytes() == b"an earlier one"
    assert (tmp_path / "log.damaged-2.csv").read_bytes() == content
    assert "log.csv is not a log of this program: it is kept as log.damaged-2.csv" in warnings[0]
    assert (tmp_path / "log.csv").read_text().splitlines() == [HEADER, "2,12,,,,,,,,"]


@pytest.mark.slow
def test_another_choice_of_held_out_images_is_named_by_its_flag(tmp_path):
    folder = write_training_set(tmp_path, 100)
    entries = {"epochs": 1, "batch": 80, "queue": 80}
    train(folder, tmp_path / "out", entries=entries)
    with pytest.raises(BadInput, match="of another run: it was made without --eval-every") as error:
        train(folder, tmp_path / "out", entries=entries, eval_every=1)
    assert "images" not in error.value.problem


# --- flags ---


@pytest.mark.parametrize(
    ("flag", "entry"),
    [("--split val", "split=train"), ("--epochs 2", "epochs=1"), ("--precision float32", "precision=x")],
)
def test_a_flag_and_an_entry_that_contradict_each_other_are_refused(tiny, tmp_path, capsys, flag, entry):
    given = ["train", "--recipe", tiny / "tiny.toml", "--dataset", "shapes", "--priors", tiny / "masks"]
    given += ["--out", tmp_path / "out", *flag.split(), "--set", entry]
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in given])
    assert left.value.code == 2
    assert f"error: {flag} contradicts --set {entry}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_split_that_was_trained_on_is_the_recipes_entry(tiny, tmp_path, capsys):
    (tmp_path / "tiny.toml").write_text((tiny / "tiny.toml").read_text().replace('"train"', '"val"'))
    given = ["--recipe", tmp_path / "tiny.toml", "--dataset", "shapes", "--data-root", tiny / "data", "--device", "cpu"]
    given += ["--priors", tiny / "masks", "--out", tmp_path / "out", "--epochs", 1, "--split", "train"]
    with pytest.raises(SystemExit) as left:
        main(["train", *map(str, given)])
    assert left.value.code == 0
    identity = checkpoint.peek(tmp_path / "out/checkpoint.pth.tar")["identity"]
    assert identity["split"] == identity["recipe"]["split"] == "train"
