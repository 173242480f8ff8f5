"""The dense CRF: the reference's figure, and what happens without its extra."""

import json
import sys

import numpy as np
import pytest

import bench
from bench.base.errors import BadEnvironment
from bench.cards import catalogue
from bench.data.samples import open_split
from bench.passes.classify import Classifiers, classify, store
from bench.passes.engine import Engine
from bench.protocols import dense_crf
from bench.protocols.linear.preset import LinearPreset
from bench.scoring.id_counts import given_classes
from bench.scoring.metrics import seed_metrics


def needs_crf():
    pytest.importorskip("pydensecrf", reason="needs the extra crf")


@pytest.mark.slow
def test_golden_weights_give_the_references_figure(golden, golden_run, tmp_path):
    needs_crf()
    reference = json.loads((golden / "linear.json").read_text())["crf"]
    arrays = np.load(golden / "linear.npz")
    classifier = Classifiers(arrays["w_after_1"][None, :, :, 0, 0], arrays["b_after_1"][None])
    samples = open_split(catalogue.dataset("pascal-voc"), "val", golden / "VOCSegmentation")
    engine = Engine("cpu", batch_size=4, workers=2)
    with dense_crf.processes(2) as pool:
        (painted,) = classify(
            lambda: golden_run.features, classifier, samples, LinearPreset(), store(tmp_path, {}), engine, refiner=pool
        )
    rows = given_classes([painted["label"]], 21)
    assert seed_metrics(rows, "zero")[0]["mIoU"] / 100 == pytest.approx(reference["mIoU"], abs=1e-3)


def test_the_crf_follows_edges_of_the_image():
    needs_crf()
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 220
    probabilities = np.full((2, 40, 40), 0.5, np.float32)
    probabilities[0, :, :17], probabilities[1, :, :17] = 0.8, 0.2
    probabilities[0, :, 17:], probabilities[1, :, 17:] = 0.4, 0.6  # the classifier's edge is three pixels off
    refined = dense_crf.refine(image, probabilities)
    assert (refined[:, :20] == 0).mean() > 0.95 and (refined[:, 20:] == 1).mean() > 0.95


def test_without_the_extra_one_line_says_how_to_get_it(golden, linear_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(BadEnvironment, match="dense CRF library") as caught:
        bench.evaluate(
            linear_file, "pascal-voc", "linear+crf", data_root=golden / "VOCSegmentation", cache=tmp_path / "c"
        )
    assert caught.value.exit_code == 4 and "maskcontrast-bench[crf]" in caught.value.remedy
