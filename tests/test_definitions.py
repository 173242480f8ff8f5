"""How figures are counted, in words: right for every protocol and variant, and silent where nothing is known."""

import importlib
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cards import catalogue
from bench.cards.counting import Counted
from bench.cards.presets import override
from bench.protocols import registry
from bench.protocols.clustering.preset import ClusteringPreset
from bench.records.published import figures
from bench.records.record import Stored, dumps
from bench.report.definitions import definition_of, definition_on
from bench.report.formats import as_markdown
from bench.report.site import write_site
from bench.scoring import imagenet_s_figures
from bench.scoring.davis_figures import METRICS as DAVIS
from bench.scoring.matching import match
from bench.scoring.metric_names import MEANINGS, METRICS, metric_meaning
from tests.plugin.bench_nearest_mean import ENTRY as PLUGIN
from tests.synthetic import keep, make_record


def line(dataset, protocol, **entries):
    """The definition of a run on a built-in data set with some entries changed."""
    card, (base, named) = catalogue.dataset(dataset), registry.parse(protocol)
    preset = override(card.protocols.preset(base), named | entries)
    return type(preset).definition(
        Counted(preset.resolved(), card.default_split, card.classes, entries.get("seeds", preset.num_seeds))
    )


def record_of(protocol="clustering", preset=None, classes=("background", "cat", "cow"), seeds=5, **dataset):
    record = make_record(seeds=seeds, dataset=dataset)
    record["protocol"] |= {"id": protocol, "preset": ClusteringPreset().resolved() if preset is None else preset}
    record["per_class"] = dict.fromkeys(classes, 1.0)
    return record


VARIANTS = [
    ("pascal-voc", "clustering", {}, [
        "Means are over 21 classes, with background", "at the label's own size, all images together",
        "void pixels are left out", "counts as 0 in mIoU", "one of 20 clusters", "fitted on the evaluated images",
        "clusters and background get classes one to one by the largest sum of IoU on the evaluated labels",
        "mean over 5 seeds of K-means",
    ]),
    ("pascal-voc", "clustering", {"seeds": 1}, ["one seed of K-means"]),
    ("pascal-voc", "clustering", {"absent": "skip", "grid": "input"}, [
        "in no label and no prediction is left out", "at the input size, 512×512",
    ]),
    ("pascal-voc", "overclustering-100", {}, [
        "one of 100 clusters", "more than the classes: each takes the class with the largest IoU on the evaluated",
    ]),
    ("pascal-voc", "clustering", {"clusters": 21}, ["are more than the classes"]),
    ("pascal-voc", "clustering", {"matching": "pixels"}, ["one to one by the most pixels in common"]),
    ("pascal-voc", "clustering", {"matching": "images"}, ["one to one by shared images", "background stays"]),
    ("pascal-voc", "clustering", {"matching": "images", "clusters": 21}, ["the class it shares most images with"]),
    ("pascal-voc", "clustering", {"fit": "train", "whiten": 0, "matched_on": "trainaug"}, [
        "fitted on train", "on the labels of trainaug",
    ]),
    ("pascal-voc", "clustering", {"fit": "val", "whiten": 0, "matched_on": "val"}, [
        "fitted on the evaluated images", "on the evaluated labels",
    ]),
    ("coco-stuff-81", "clustering", {}, ["81 classes", "320×320", "is left out", "most pixels in common"]),
    ("imagenet-s-50", "clustering", {}, ["51 classes, with other", "fitted on train", "one to one by shared images"]),
    ("pascal-voc", "clustering-dense", {}, [
        "every pixel, the background's too, is in one of 21 clusters", "clusters get classes one to one",
    ]),
    ("pascal-voc", "clustering-dense", {"clusters": 22}, ["clusters are more than the classes"]),
    ("pascal-voc", "patch-clustering", {}, [
        "at 100×100", "one of 21 clusters", "trained on 256 tokens a cluster", "batch of 60 images", "one to one by",
    ]),
    ("pascal-voc", "patch-overclustering-500", {"grid": "label", "drop_last_batch": None, "points_per_cluster": None}, [
        "at the label's own size", "one of 500 clusters by K-means on the tokens of the evaluated images;",
        "each cluster takes the class that holds most of its pixels", "mean over 5 seeds of K-means",
    ]),
    ("pascal-voc", "linear", {}, [
        "trained on trainaug", "the best counts, by mIoU at the input size on the evaluated images themselves",
        "one seed of the training", "at the label's own size",
    ]),
    ("pascal-voc", "linear", {"selection": "last", "train_images": 64, "seeds": 3}, [
        "trained on 64 images of trainaug", "the last epoch counts", "mean over 3 seeds of the training",
    ]),
    ("pascal-voc", "linear-dinov3", {}, [
        "trained for 40000 steps on crops of trainaug", "in windows of 512 pixels", "is left out", "label's own size",
    ]),
    ("pascal-voc", "linear-dinov3", {"window": None, "train_images": 9}, ["crops of 9 images of trainaug; one seed"]),
    ("pascal-voc", "linear+crf", {}, ["a dense CRF refines the logits"]),
    ("pascal-voc", "linear", {"classifier": "released"}, [
        "the checkpoint's own classifier is evaluated", "nothing is drawn at random",
    ]),
    ("pascal-voc", "retrieval-21", {}, [
        "Means are over 21 classes, with background", "at the input size, 512×512",
        "(k = 1) among the prototypes of train",
    ]),
    ("pascal-voc", "retrieval-7", {}, [
        "Means are over 7 classes, without background", "and so are 13 classes, in the bank too",
    ]),
    ("pascal-voc", "retrieval-21", {"void_classes": ["background", "cat"], "grid": "label"}, [
        "Means are over 19 classes;", "and so are 2 classes", "at the label's own size",
    ]),
    ("imagenet-s-50", "distance-matching", {}, [
        "its 10 nearest labelled instances of train-semi", "class 0 (other) is never predicted, and its pixels count",
    ]),
    ("davis", "davis", {}, [
        "the first and the last frame of a sequence are left out", "void pixels count as background",
        "over the frames of an object, then over objects", "nothing is drawn at random",
    ]),
    ("coco-stuff-81", "stego-cluster", {}, [
        "at the input size, 320×320", "is left out", "nearest learnt centroid in 5000 steps on train",
        "by the most pixels in common on the evaluated labels (clusters as rows)", "one seed of the probe",
    ]),
    ("coco-stuff-81", "stego-kmeans+crf", {"extra_clusters": 3, "train_images": 9}, [
        "K-means, fitted on 9 images of train", "pixels in extra clusters count nowhere",
        "a dense CRF refines the scores, on the picture recovered from the network's input",
    ]),
    ("coco-stuff-81", "stego-linear", {}, ["a linear classifier on the upsampled features is trained in 5000 steps"]),
    ("pascal-voc", "clustering-dense+crf", {}, ["a dense CRF refines the clusters"]),
    ("pascal-voc", "in-context", {}, [
        "Means are over 21 classes, with background", "at the input size, 512×512", "counts as 0 in mIoU",
        "the weighted mean label of its 30 nearest patches of trainaug, in a bank of at most 102400",
        "void in the bank is class 0", "predicted classes are matched one to one", "one seed of the bank",
    ]),
    ("pascal-voc", "in-context+fixed", {"memory": None, "augmentation": "none", "ignored": 0}, [
        "void in the bank is left out", "taken as they are", "nothing is drawn", "so are those of class 0", "trainaug;",
    ]),
    ("davis", "davis", {"features": "decoder"}, ["by the similarity of the decoder's output"]),
]  # fmt: skip


@pytest.mark.parametrize(("dataset", "protocol", "entries", "words"), VARIANTS)
def test_every_variant_is_told(dataset, protocol, entries, words):
    told = line(dataset, protocol, **entries)
    for said in words:
        assert said in told
    assert told.endswith(".") and ";;" not in told and "; ;" not in told and "\n" not in told


@pytest.mark.parametrize(
    ("dataset", "protocol", "entries", "words"),
    [
        ("pascal-voc", "linear", {}, ["CRF", "K-means", "salient"]),
        ("pascal-voc", "linear", {"classifier": "released"}, ["trained on", "epoch", "seed"]),
        ("imagenet-s-50", "distance-matching", {"background": True}, ["never predicted"]),
        ("pascal-voc", "clustering-dense", {}, ["salient"]),
        ("pascal-voc", "retrieval-21", {}, ["seed", "and so are"]),
        ("davis", "davis", {}, ["class", "K-means", "matched"]),
    ],
)
def test_nothing_is_told_that_a_variant_does_not_have(dataset, protocol, entries, words):
    told = line(dataset, protocol, **entries)
    assert not [said for said in words if said in told]


def test_one_to_one_is_said_just_where_matching_is():
    """As `match` does it: with more ids than classes two ids may share a class."""
    for clusters in (2, 3, 4, 9):
        table = np.arange(1, (clusters + 1) * 4 + 1).reshape(clusters + 1, 4)
        table[:, 0] += 1000
        mapping = match(table)
        shared = len(set(mapping[mapping >= 0].tolist())) < (mapping >= 0).sum()
        preset = ClusteringPreset(clusters=clusters).resolved()
        told = ClusteringPreset.definition(Counted(preset, "val", ("background", "a", "b", "c"), 1))
        assert ("one to one" in told) == (not shared)


def test_classes_that_are_matched_on_the_other_half_are_told():
    preset = ClusteringPreset().resolved() | {"classes_from": "halves"}
    assert "the labels of the other half of the images" in definition_of(record_of(preset=preset)).line
    assert "half" not in definition_of(record_of(preset=preset | {"classes_from": "all"})).line


@pytest.mark.parametrize("protocol", ["clustering-unlabelled", "clustering-dense-unlabelled"])
def test_without_labels_nothing_is_said_of_classes(protocol):
    base = protocol.removesuffix(registry.UNLABELLED)
    preset = catalogue.dataset("pascal-voc").protocols.preset(base).resolved()
    told = definition_of(record_of(protocol, preset, (), labelled=False)).line
    assert "there are no labels" in told and "mean over 5 seeds of K-means" in told
    assert "classes" not in told and "void" not in told


def test_a_data_set_without_background_is_not_said_to_have_one():
    told = definition_of(record_of(classes=("road", "tree"))).line
    assert told.startswith("Means are over 2 classes;")


@pytest.mark.parametrize(
    ("matching", "words"),
    [
        ("none", "class ids are those that were given; a pixel left open is a wrong prediction"),
        ("iou", "the ids that were given get classes one to one by the largest sum of IoU"),
        ("images", "background stays background"),
    ],
)
def test_predictions_that_were_scored_are_told(matching, words):
    preset = {"matching": matching, "grid": "label", "absent": "skip"}
    told = definition_of(record_of("predictions", preset, seeds=1)).line
    assert words in told and "at the label's own size" in told and "is left out" in told


def test_masks_of_video_that_were_scored_are_told():
    told = definition_of(record_of("predictions", {"matching": "none", "grid": "label"}, ())).line
    assert "over the frames of an object" in told and "classes" not in told


# --- what is not known ---


def test_a_protocol_that_is_not_installed_says_so_and_what_is_known():
    told = definition_of(record_of("somebodys-own", {"absent": "skip", "grid": 3})).line
    assert "somebodys-own is not installed here" in told and "is left out" in told and "5 seeds" in told
    assert "grid" not in told


@pytest.fixture
def plugin(monkeypatch):
    known = registry.protocols() | {PLUGIN.id: PLUGIN}
    monkeypatch.setattr(registry, "protocols", lambda: known)
    monkeypatch.setattr(type(PLUGIN), "preset_type", property(_preset_of))


def _preset_of(entry):
    module, _, name = entry.preset.partition(":")
    module = module.replace("bench_nearest_mean", "tests.plugin.bench_nearest_mean")
    return getattr(importlib.import_module(module), name)


def test_a_protocol_of_another_package_says_what_it_does(plugin):
    preset = {"bank": "val", "grid": 1, "absent": "zero"}
    told = definition_of(record_of("nearest-mean", preset, seeds=0)).line
    assert told.startswith("Every pixel takes the class of the nearest mean feature.")
    assert "counts as 0" in told and "nothing is drawn at random" in told


def test_one_that_fails_ends_no_report(plugin, monkeypatch):
    def fail(cls, run):
        raise RuntimeError("somebody's bug")

    monkeypatch.setattr(_preset_of(PLUGIN), "counting", classmethod(fail))
    assert (
        definition_of(record_of("nearest-mean", {})).line == "Every pixel takes the class of the nearest mean feature."
    )


def test_entries_and_values_of_another_version_are_named():
    preset = ClusteringPreset().resolved() | {"matching": "by-magic", "sharpness": 3, "absent": "half"}
    told = definition_of(record_of(preset=preset)).line
    assert "matching = by-magic" in told and "absent = half" in told and "not known to this version: sharpness" in told
    assert "one to one" not in told


def test_an_entry_that_came_later_counts_at_its_default():
    preset = ClusteringPreset().resolved()
    assert "fit" not in preset
    assert "fitted on the evaluated images" in definition_of(record_of(preset=preset)).line


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [*sorted({key for entry in registry.BUILT_IN for key in entry.preset_type.model_fields}), "x", "classes_from"]
)
IDS = [*registry.protocols(), "overclustering-500", "linear+crf", "predictions+iou", "gone", "clustering-unlabelled"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(IDS), st.dictionaries(KEYS, JSON, max_size=8), st.lists(st.text(max_size=9), max_size=4))
def test_whatever_a_preset_holds_there_is_a_line_and_no_error(protocol, preset, classes):
    told = definition_of(record_of(protocol, preset, classes)).line
    assert told == told.strip() and "\n" not in told and len(told) < 6000


# --- metrics ---


def test_every_metric_that_is_counted_has_a_meaning():
    by_size = [f"{kind}_{size}" for kind in ("mIoU", "boundary_mIoU") for size in imagenet_s_figures.SIZES]
    for metric in {*METRICS, *DAVIS, *by_size}:
        assert "does not know" not in metric_meaning(metric)
    assert set(MEANINGS) <= set(METRICS)
    assert "does not know" in metric_meaning("quality")
    assert metric_meaning("boundary_mIoU_s").startswith("along boundaries: mIoU of objects")


def test_the_limits_of_sizes_are_those_of_the_benchmark():
    limits = list(imagenet_s_figures.SIZES.values())
    for size, low, high in zip(imagenet_s_figures.SIZES, [0, *limits], limits, strict=False):
        told = metric_meaning(f"mIoU_{size}")
        assert f"{low} " in told or not low
        assert f"{high} %" in told or high == 100


# --- where it is shown ---


def test_the_data_set_s_own_preset_has_a_line():
    assert "21 classes" in definition_on("pascal-voc", "val", "clustering")
    assert "CRF" in definition_on("pascal-voc", "val", "linear+crf")
    for name in (("pascal-voc", "val", "gone"), ("gone", "val", "clustering"), ("davis", "val-2016", "clustering")):
        assert definition_on(*name) is None
    assert definition_on("pascal-voc", "val", "overclustering-99999") is None


def test_markdown_has_a_note_for_each_definition(tmp_path):
    own = [keep(tmp_path, make_record(model=name)) for name in ("one", "two")]
    third = make_record(model="three", fingerprint="e" * 64)
    third["protocol"] |= {"preset": ClusteringPreset(absent="skip").resolved()}
    text = as_markdown(figures(), [*own, keep(tmp_path, third)], tmp_path)
    notes = [line for line in text.splitlines() if line[:2] in ("1.", "2.", "3.")]
    assert len(notes) == 2 and "counts as 0" in notes[0] and "is left out" in notes[1]
    rows = [line for line in text.splitlines() if "| note " in line]
    assert ["note 2" in row for row in rows] == ["three" in row for row in rows]
    assert "- mIoU: mean over classes of TP" in text


def test_the_site_says_it_on_a_run_s_page_and_on_the_benchmark_s(tmp_path):
    stored = keep(tmp_path / "results", make_record(model="mine"))
    write_site(tmp_path / "site", figures(), [stored], tmp_path / "results", [], lambda message: None)
    own = (tmp_path / "site" / "models" / "mine.html").read_text(encoding="utf-8")
    assert "How it is counted." in own and "one of 20 clusters by K-means" in own
    assert "mean over classes of TP / (TP + FP + FN)" in own
    words = re.sub("<[^>]+>", "", own)
    assert "bench rerun mine/pascal-voc-val/clustering --data-root DATA --weights WEIGHTS" in words
    pages = [page.read_text(encoding="utf-8") for page in (tmp_path / "site" / "benchmarks").glob("pascal-voc--val*")]
    assert all("How it is counted here." in page or "overclustering-500" in page for page in pages)


def test_a_hostile_preset_stays_text(tmp_path):
    record = make_record(model="mine")
    record["protocol"]["preset"] |= {"<script>alert(1)</script>": "\x1b[2J", "matching": "<b>|`"}
    stored = Stored(tmp_path / "mine" / "x" / "y.json", json.loads(dumps(record)))
    assert "\x1b" not in definition_of(stored.record).line
    assert "<script>" not in as_markdown(figures(), [stored], tmp_path)
