"""A dead network is refused by every protocol, and the scale of a sound one's features moves no figure."""

import numpy as np
import pytest
import torch
from torch import nn

import bench
from bench.base.errors import BadInput
from bench.passes.features import unit
from bench.scoring import kmeans

SMALL = {"input": [32, 40]}
DENSE = SMALL | {"clusters": 5, "pixels": 10, "restarts": 2, "iterations": 20}


class Scaled(nn.Module):
    """A random network whose features are `factor` times what they were, plus a constant."""

    def __init__(self, factor, constant=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 8, 3, padding=1)
        self.factor, self.constant = factor, constant

    def forward(self, images):
        return self.layer(images) * self.factor + self.constant


def run(model, golden, tmp_path, protocol, entries, **more):
    return bench.evaluate(
        model,
        "pascal-voc",
        protocol,
        data_root=golden / "VOCSegmentation",
        cache=tmp_path / "cache",
        entries=entries,
        **more,
    )


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e25, 1e-25, 2.0**70])
def test_the_scale_of_features_is_of_no_account(golden, tmp_path, factor):
    found = [
        run(Scaled(scale), golden, tmp_path, "clustering-dense", DENSE, num_seeds=1)["metrics"]["mIoU"]["value"]
        for scale in (1, factor)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("constant", [0.0, 7.3, 1e25])
@pytest.mark.parametrize(
    "protocol, entries",
    [
        ("clustering-dense", DENSE),
        ("patch-clustering", SMALL | {"clusters": 5, "drop_last_batch": None}),
        ("linear", SMALL | {"train": "val", "epochs": 1, "batch": 2}),
    ],
)
def test_features_that_are_the_same_everywhere_are_refused(golden, tmp_path, protocol, entries, constant):
    with pytest.raises(BadInput, match=r"equal|same features"):
        run(Scaled(0.0, constant), golden, tmp_path, protocol, entries)


def test_a_bank_whose_instances_are_equal_is_refused(imagenet_tree, tmp_path):
    more = {"data_root": imagenet_tree, "cache": tmp_path, "entries": SMALL, "limit": 3}
    with pytest.raises(BadInput, match="instances of the bank are equal"):
        bench.evaluate(Scaled(0.0, 7.3), "imagenet-s-50", "distance-matching", **more)


def test_unit_vectors_of_a_sound_scale_keep_every_bit():
    features = torch.randn(2, 16, 5, 7) * torch.logspace(-9, 9, 7)
    features[0, :, 0, 0] = 0
    torch.testing.assert_close(unit(features, 1), nn.functional.normalize(features, dim=1), rtol=0, atol=0)
    extreme = unit(torch.tensor([[3e38, 4e38 / 2], [3e-38, 2e-38], [0.0, 0.0]]), 1)
    torch.testing.assert_close(extreme.norm(dim=1), torch.tensor([1.0, 1.0, 0.0]))


def test_points_that_are_equal_but_for_rounding_are_no_clusters():
    points = np.full((50, 4), 0.5, np.float32)
    points[::2] += np.float32(6e-8)
    preset = {"clusters": 3, "solver": "faiss", "init": "k-means++", "iterations": 5, "restarts": 1}
    for find in (kmeans.cluster, kmeans.fit):
        with pytest.raises(BadInput, match="all 50 points are equal"):
            find(points, preset, 0)
    points[0, 0] = 0.6
    assert kmeans.cluster(points, preset, 0).shape == (50,)
