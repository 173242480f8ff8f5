"""End to end: from images and a checkpoint in the authors' format to the reference's figure."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import bench
from bench.errors import BadInput, WrongName


def test_the_authors_solver_gives_the_references_mean(golden, resnet18_file, tmp_path):
    reference = json.loads((golden / "clustering_resnet18.json").read_text())["mIoU"] * 100
    record = bench.evaluate(
        resnet18_file,
        "pascal-voc",
        data_root=golden / "VOCSegmentation",
        cache=tmp_path,
        entries={"solver": "minibatch", "restarts": "1"},
    )
    assert reference == pytest.approx(21.685, abs=1e-3)
    assert record["metrics"]["mIoU"]["value"] == pytest.approx(reference, abs=0.5)
    again = bench.evaluate(resnet18_file, "pascal-voc", data_root=golden / "VOCSegmentation", cache=tmp_path)
    assert again["observed"]["from_cache"] == 40
    assert again["metrics"]["mIoU"]["value"] == pytest.approx(22.08, abs=1.0)  # other solvers on these images


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


def test_names_and_settings_of_ones_own_are_checked(tmp_path):
    with pytest.raises(WrongName, match="built-in card"):
        bench.evaluate(Colours(), name="maskcontrast-sup", cache=tmp_path)
    with pytest.raises(WrongName, match="cannot be a model's id"):
        bench.evaluate(Colours(), name="../x", cache=tmp_path)
    with pytest.raises(WrongName, match="unknown setting 'limt'"):
        bench.evaluate(Colours(), limt=3)
    with pytest.raises(BadInput, match="cannot form"):
        bench.evaluate(Colours(), limit=3, cache=tmp_path)


@pytest.mark.parametrize("model", ["random-shapes", "random-resnet18", "random-resnet50"])
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
