"""End to end: from images and a checkpoint in the authors' format to the reference's figure."""

import json

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import nn

import bench
from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.cards.datasets import Protocols, Split
from bench.cli import main
from bench.protocols.base import Settings
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def bank_ids(arrays):
    """The reference's bank by id: its entries are in the order of train, some images left out."""
    if len(arrays["bank_labels"]) == len(arrays["train_names"]):
        return arrays["train_names"].tolist()
    whole = np.load(ROOT / "tests/golden/retrieval_21.npz")
    index = {entry.tobytes(): name for entry, name in zip(whole["bank_prototypes"], whole["train_names"], strict=True)}
    return [index[entry.tobytes()] for entry in arrays["bank_prototypes"]]


@pytest.fixture
def seen(golden_run, common):
    """A cache in which val is observed; what the tests of this file add, they add one after the other."""
    with FileLock(common / "seen.lock"):
        yield golden_run.cache


def test_the_authors_solver_gives_the_references_mean(golden, resnet18_file, seen):
    reference = json.loads((golden / "clustering_resnet18.json").read_text())["mIoU"] * 100
    record = bench.evaluate(
        resnet18_file,
        "pascal-voc",
        data_root=golden / "VOCSegmentation",
        cache=seen,
        entries={"solver": "minibatch", "restarts": "1", "whiten": "32"},
    )
    assert reference == pytest.approx(21.685, abs=1e-3)
    assert record["metrics"]["mIoU"]["value"] == pytest.approx(reference, abs=0.5)
    again = bench.evaluate(
        resnet18_file, "pascal-voc", data_root=golden / "VOCSegmentation", cache=seen, entries={"whiten": "32"}
    )
    assert again["observed"]["from_cache"] == 40
    assert again["metrics"]["mIoU"]["value"] == pytest.approx(22.08, abs=1.0)  # other solvers on these images


@pytest.mark.parametrize("classes", [21, pytest.param(7, marks=pytest.mark.long)])
def test_retrieval_gives_the_references_bank_neighbours_and_figure(golden, resnet18_file, seen, classes):
    reference = json.loads((golden / f"retrieval_{classes}.json").read_text())
    arrays = np.load(golden / f"retrieval_{classes}.npz")
    record = bench.evaluate(
        resnet18_file, "pascal-voc", f"retrieval-{classes}", data_root=golden / "VOCSegmentation", cache=seen
    )
    ids = bank_ids(arrays)
    assert record["neighbours"] == [ids[i] for i in arrays["neighbours"]]
    assert record["metrics"]["mIoU"]["value"] / 100 == pytest.approx(reference["mIoU"], abs=1e-4)
    assert record["bank"]["entries"] == len(arrays["bank_labels"])
    assert record["seeds"] == [] and len(record["metrics"]["mIoU"]["per_seed"]) == 1


@pytest.mark.parametrize(("split", "images"), [("val", 48), ("trainaug", 96)])
def test_real_images_run_through(realdata, small_file, tmp_path, split, images):
    record = bench.evaluate(
        small_file,
        "pascal-voc",
        data_root=realdata / "VOCdevkit",
        split=split,
        cache=tmp_path,
        results=tmp_path / "results",
        entries={"input": "[96,96]"},
    )
    assert record["dataset"]["images"] == images and record["dataset"]["limited"]
    (path,) = (tmp_path / "results").rglob("*.json")
    assert f"-limit{images}" in path.name


class Colours(nn.Module):
    """A model of one's own: mean colours as embedding, everything bright is salient; at full resolution."""

    def forward(self, images):
        assert not self.training
        return images, images.mean(1) + 0.5


def test_a_module_in_memory_is_evaluated_in_one_call(tmp_path):
    record = bench.evaluate(Colours(), "shapes", name="colours", limit=60, results=tmp_path / "r", cache=tmp_path / "c")
    assert record["model"]["id"] == "colours" and record["model"]["supervision"] == "not stated"
    assert 0 < record["metrics"]["mIoU"]["value"] < 50
    assert any("3 components" in warning for warning in record["warnings"])
    assert (tmp_path / "r/colours/shapes-val").is_dir()


class Shifted(Colours):
    def forward(self, images):
        return images.flip(1), images.mean(1) - 0.2


def test_two_modules_of_equal_weights_never_share_a_cache(tmp_path):
    first = bench.evaluate(Colours(), limit=40, cache=tmp_path)
    second = bench.evaluate(Shifted(), limit=40, cache=tmp_path, name="other")
    assert first["model"]["weights_sha256"] == second["model"]["weights_sha256"]
    assert second["observed"]["from_cache"] == 0
    assert first["observed"]["salient_pixels"] != second["observed"]["salient_pixels"]


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="cannot form"):
        bench.evaluate(Colours(), limit=3, results="~/r", cache="~/c", save_predictions="~/p")
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"r", "c", "p"}
    assert not (tmp_path / "~").exists()


def test_names_and_settings_of_ones_own_are_checked(tmp_path):
    with pytest.raises(WrongName, match="built-in card"):
        bench.evaluate(Colours(), name="maskcontrast-sup", cache=tmp_path)
    with pytest.raises(WrongName, match="is not allowed as a model's id"):
        bench.evaluate(Colours(), name="../x", cache=tmp_path)
    with pytest.raises(WrongName, match="unknown setting 'limt'"):
        bench.evaluate(Colours(), limt=3)
    with pytest.raises(BadInput, match="cannot form"):
        bench.evaluate(Colours(), limit=3, cache=tmp_path)


def test_a_group_of_protocols_is_said_to_be_several():
    with pytest.raises(WrongName, match="stands for several protocols") as caught:
        bench.evaluate(Colours(), protocol="retrieval")
    assert "retrieval-21, retrieval-7" in caught.value.remedy


def test_a_caller_without_a_warn_hears_warnings_from_the_logger(tmp_path, caplog):
    record = bench.evaluate(Colours(), limit=40, cache=tmp_path)
    assert record["warnings"] and [entry.getMessage() for entry in caplog.records] == record["warnings"]
    assert {(entry.name, entry.levelname) for entry in caplog.records} == {("bench", "WARNING")}
    caplog.clear()
    heard = []
    bench.evaluate(Colours(), limit=40, cache=tmp_path, warn=heard.append)
    assert heard == record["warnings"] and not caplog.records


def test_every_setting_is_explained_and_paths_may_be_text(small_file, golden, tmp_path):
    for name in Settings.__dataclass_fields__:
        assert f"        {name} (" in bench.evaluate.__doc__
    record = bench.evaluate(
        str(small_file), "pascal-voc", name="mine", supervision="none", data_root=str(golden / "VOCSegmentation"),
        entries={"input": [32, 32]}, cache=str(tmp_path / "c"), save_predictions=str(tmp_path / "p"),
    )  # fmt: skip
    assert (record["model"]["id"], record["model"]["supervision"]) == ("mine", "none")
    assert len(list((tmp_path / "p").rglob("*.png"))) >= 40


@pytest.mark.parametrize(
    "model", ["random-shapes", "random-resnet18", pytest.param("random-resnet50", marks=pytest.mark.long)]
)
def test_random_cards_find_30_to_50_percent_salient_on_shapes(model, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "cache"
    record = bench.evaluate(model, limit=100, num_seeds=1, cache=cache)
    assert 0.30 <= record["observed"]["salient_pixels"] / (100 * 80 * 80) <= 0.50


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives(golden, resnet18_file, tmp_path):
    records = [
        bench.evaluate(
            resnet18_file, "pascal-voc", data_root=golden / "VOCSegmentation", cache=tmp_path / device, device=device
        )
        for device in ("cpu", "cuda")
    ]
    areas = [record["observed"]["salient_pixels"] for record in records]
    assert abs(areas[0] - areas[1]) <= 40 + records[0]["observed"]["pixels_near_threshold"]
    assert np.isclose(*[record["metrics"]["mIoU"]["value"] for record in records], atol=1.5)


def test_a_whole_run_of_a_card_is_held_against_its_published_figure(
    golden, resnet50_file, tmp_path, monkeypatch, capsys
):
    """The way from card to verdict, on the generated images standing in for the official split."""
    card = catalogue.dataset("pascal-voc")
    small = card.protocols.preset("clustering").model_copy(update={"input": (96, 96), "whiten": 19})
    presets = {name: card.protocols.preset(name) for name in card.protocols.given} | {"clustering": small}
    splits = card.splits | {"val": Split(images=40)}
    stand_in = card.model_copy(update={"splits": splits, "protocols": Protocols(presets)})
    monkeypatch.setitem(catalogue.datasets(), "pascal-voc", stand_in)
    options = {"data_root": golden / "VOCSegmentation", "weights": resnet50_file, "cache": tmp_path / "c"}
    seen = []
    record = bench.evaluate(
        "maskcontrast-sup",
        "pascal-voc",
        results=tmp_path / "r",
        fresh=True,
        progress=lambda *state: seen.append(state),
        **options,
    )
    assert seen.count(("observing", 40, 40)) == 1, "the solver's distance needs no second pass"
    answer = record["published"]["mIoU"]
    assert answer["value"] == 44.2 and answer["status"] == "below"
    assert record["solver_gap"] > 0
    theirs = record["authors"]["metrics"]["mIoU"]
    assert answer["expected"] == theirs["value"] and answer["authors_seeds"] == record["authors"]["seeds"] == 20
    error = (theirs["std"] ** 2 * (1 / 5 + 1 / 20) + 0.05**2 / 3) ** 0.5
    assert answer["tolerance"] == pytest.approx(2.093024 * error)
    assert any("no checksum was published" in warning for warning in record["warnings"])
    theirs = bench.evaluate("maskcontrast-sup", "pascal-voc", entries={"solver": "minibatch"}, **options)
    assert theirs["solver_gap"] == 0 and theirs["published"]["mIoU"]["status"] == "below"
    with pytest.raises(SystemExit) as left:
        main(["check", "--results", str(tmp_path / "r"), "--require", "maskcontrast-sup/clustering"])
    assert left.value.code == 1
    assert "below          maskcontrast-sup pascal-voc val clustering mIoU: 44.2 published" in capsys.readouterr().out
    limited = bench.evaluate("maskcontrast-sup", "pascal-voc", limit=30, **options)
    assert limited["published"]["mIoU"]["status"] == "not comparable"
