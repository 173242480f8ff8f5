"""Clustering without labels: what is reported, and that it never passes for a figure that needed labels."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import bench
from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.cli import main, summary
from bench.data.decoding import read_image
from bench.networks.find_model import find_model
from bench.protocols.base import Settings
from bench.records.published import figures
from bench.records.record import Stored, check_rows, read_all
from bench.report.check import against_published, against_records
from bench.report.formats import FORMATS
from bench.runs.for_photos import MODEL, warn_of_generated
from bench.runs.score_folder import score_folder
from bench.scoring.cluster_rows import ClusterRows, SeedClusters, agreement

pytestmark = pytest.mark.slow

CARD = """
schema = 1
id = "{id}"
title = "Photos"
licence = "none"
root = "{root}"
splits.val = {{}}
{classes}
[[layouts]]
name = "mine"
[layouts.splits.val]
list = "sets/val.txt"
image = "images/{{id}}.jpg"
{label}
[protocols.clustering]
input = [64, 64]
clusters = 5
whiten = 8
[protocols.clustering-dense]
input = [32, 32]
clusters = 4
pixels = 12
[protocols.linear]
input = [32, 32]
train = "val"
epochs = 1
batch = 4
[protocols.retrieval-21]
input = [64, 64]
bank = "val"
"""
METRICS = {"seed_ari", "seed_nmi", "cluster_evenness", "largest_cluster"}


@pytest.fixture
def card(golden, tmp_path):
    """The generated photographs, without their labels."""
    path = tmp_path / "photos.toml"
    path.write_text(CARD.format(id="photos", root=golden / "VOCSegmentation", classes="", label=""))
    return path


@pytest.fixture
def run(card, small_file, tmp_path):
    def call(protocol="clustering", **more):
        more = {"results": tmp_path / "r", "cache": tmp_path / "cache"} | more
        return bench.evaluate(small_file, str(more.pop("card", card)), protocol, **more)

    return call


def test_the_record_has_what_needs_no_labels_and_nothing_else(run, tmp_path):
    made = run()
    assert made["metrics"].keys() == METRICS | {"salient_share"}
    assert made["dataset"]["labelled"] is False and made["protocol"]["id"] == "clustering-unlabelled"
    assert not {"per_class", "confusion", "cluster_to_class"} & made.keys()
    for seed in made["clusters"]:
        assert sum(seed["images"]) == 40 and len(seed["images"]) == len(seed["pixels"]) == 5
        assert sum(seed["pixels"]) == made["observed"]["salient_pixels"]
    share = 100 * made["observed"]["salient_pixels"] / (40 * 64 * 64)
    assert made["metrics"]["salient_share"]["value"] == pytest.approx(share)
    assert made["published"] == {} and not made["protocol"]["published_recipe"]
    stored, problems = read_all(tmp_path / "r")
    assert not problems and check_rows(stored[0]) is None


def test_the_sizes_and_the_agreement_are_those_of_the_clusters_that_were_found(run, tmp_path):
    made = run()
    (path,) = (tmp_path / "r").rglob("*.rows.npz")
    rows = ClusterRows.read(path)
    labels = [seed.cluster for seed in rows.seeds]
    for seed, sizes in zip(labels, made["clusters"], strict=True):
        assert sizes["images"] == np.bincount(seed, minlength=5).tolist()
    pairs = itertools.combinations(labels, 2)
    agreed = [(adjusted_rand_score(a, b), normalized_mutual_info_score(a, b)) for a, b in pairs]
    for name, value in zip(("seed_ari", "seed_nmi"), 100 * np.mean(agreed, axis=0), strict=True):
        assert made["metrics"][name]["value"] == pytest.approx(value)


def test_dense_clusters_fill_every_pixel(run, golden, tmp_path):
    made = run("clustering-dense", num_seeds=2, save_predictions=tmp_path / "p")
    assert made["metrics"].keys() == METRICS and made["protocol"]["id"] == "clustering-dense-unlabelled"
    names = (golden / "VOCSegmentation/sets/val.txt").read_text().split()
    images = [read_image(golden / f"VOCSegmentation/images/{name}.jpg")[0] for name in names]
    assert sum(made["clusters"][0]["pixels"]) == sum(image[..., 0].size for image in images)
    found = np.zeros(5, np.int64)
    for path in (tmp_path / "p/seed-1234").glob("*.png"):
        ids = np.asarray(Image.open(path))
        found += np.bincount(ids.reshape(-1), minlength=5)
    assert found.tolist() == [0, *made["clusters"][0]["pixels"]]  # clusters are painted as 1, 2, …


def test_one_seed_has_nobody_to_agree_with(run):
    assert run(num_seeds=1)["metrics"].keys() == {"cluster_evenness", "largest_cluster", "salient_share"}


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_agreement_does_not_mind_names_of_clusters_or_how_things_are_cut_up(seed, clusters, seeds):
    generator = np.random.default_rng(seed)
    labels = [generator.integers(0, clusters, 30) for _ in range(seeds)]
    renamed = [generator.permutation(clusters)[own] for own in labels]
    first = agreement([labels], seeds, clusters)
    second = agreement(([own[i : i + 7] for own in renamed] for i in range(0, 30, 7)), seeds, clusters)
    for name in first:
        assert first[name] == pytest.approx(second[name])
    assert agreement([[labels[0]] * seeds], seeds, clusters)["seed_ari"] == pytest.approx([100.0] * seeds)


def test_rows_are_read_back_as_they_were(tmp_path):
    one = SeedClusters(np.array([0, 1], np.int32), np.array([2, 2], np.int32), np.array([5, 6]))
    rows = ClusterRows(("a", "ü"), 3, (one, one), np.array([9, 9]))
    rows.write(tmp_path / "x.npz")
    again = ClusterRows.read(tmp_path / "x.npz")
    assert again.ids == rows.ids and again.sizes(1).tolist() == [[0, 0], [0, 0], [2, 11]]
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(BadInput, match="missing or damaged"):
        ClusterRows.read(tmp_path / "x.npz")


def test_a_run_with_labels_of_the_same_card_meets_neither_its_record_nor_its_cache(run, card, golden, tmp_path):
    bare = run()
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*.json")}
    names = ", ".join(f'"c{i}"' for i in range(21))
    text = CARD.format(id="photos", root=golden / "VOCSegmentation", classes=f"classes = [{names}]",
                       label='label = "SegmentationClass/{id}.png"')  # fmt: skip
    card.write_text(text)
    labelled = run()
    assert labelled["metrics"]["mIoU"]["value"] > 0 and labelled["observed"]["from_cache"] == 0
    assert bare["protocol"]["fingerprint"] != labelled["protocol"]["fingerprint"]
    assert all(path.read_bytes() == data for path, data in before.items())


def test_check_report_and_list_cope(run, tmp_path, capsys):
    run()
    run("clustering-dense")
    stored, problems = read_all(tmp_path / "r")
    assert len(stored) == 2 and not problems
    assert {o.status for o in against_published(figures(), stored, ())} == {"not run", "not comparable"}
    earlier = [Stored(entry.path, entry.record | {"created": "2030-01-01T00:00:00+00:00"}) for entry in stored]
    again = against_records(earlier, stored, ())
    assert len(again) == 9 and {o.status for o in again} == {"reproduced"}
    for form, render in FORMATS.items():
        text = render(figures(), stored, tmp_path / "r")
        assert ("seed" in text) == (form not in ("pwc", "badge"))
    for words in (["list", "results"], ["report"]):
        with pytest.raises(SystemExit) as left:
            main([*words, "--results", str(tmp_path / "r")])
        assert left.value.code == 0
    assert "cluster_evenness" in capsys.readouterr().out


@pytest.mark.parametrize("protocol", ["linear", "retrieval-21"])
def test_what_needs_labels_says_so_before_it_looks(run, protocol):
    with pytest.raises(BadInput, match=rf"photos has no labels for val, and --protocol {protocol} needs them"):
        run(protocol)


def test_scoring_needs_labels_too(card, tmp_path):
    (tmp_path / "p").mkdir()
    with pytest.raises(BadInput, match="no labels for val, and scoring needs them") as caught:
        score_folder(tmp_path / "p", str(card), tmp_path / "r", Settings(cache=tmp_path / "cache"))
    # `bench score` has no --protocol
    assert caught.value.remedy == "Name a split that has labels with --split."


def test_learning_from_a_split_without_labels_is_refused(golden, small_file, tmp_path):
    names = ", ".join(f'"c{i}"' for i in range(21))
    text = CARD.format(id="photos", root=golden / "VOCSegmentation", classes=f"classes = [{names}]",
                       label='label = "SegmentationClass/{id}.png"')  # fmt: skip
    text = text.replace("splits.val = {}", "splits.val = {}\nsplits.bare = {}").replace("[protocols.clustering]\n", """
[layouts.splits.bare]
list = "sets/val.txt"
image = "images/{id}.jpg"
[protocols.clustering]
""").replace('bank = "val"', 'bank = "bare"').replace('train = "val"', 'train = "bare"')  # fmt: skip
    (tmp_path / "half.toml").write_text(text)
    for protocol in ("linear", "retrieval-21"):
        with pytest.raises(BadInput, match="photos has no labels for bare, and this part of the protocol needs them"):
            bench.evaluate(small_file, str(tmp_path / "half.toml"), protocol, cache=tmp_path / "cache")


def test_the_command_prints_sizes_and_that_nothing_is_judged(card, small_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(
            ["run", "--dataset", "./photos.toml", "--model", str(small_file), "--results", "r", "--save-examples", "2"]
        )
    out = capsys.readouterr().out
    assert left.value.code == 0 and "do not say how good the clusters" in out and "mIoU" not in out
    assert (
        "\n  agreement: " in out
        and "\n  evenness: " in out
        and "100 is the same ones each time" in " ".join(out.split())
    )
    figure, meaning = out.index("Agreement of seeds, ARI"), out.index("  agreement: ")
    assert "not how good" in out[figure:].splitlines()[0]
    assert figure < meaning < out.index("  supervision: ")  # it stands right behind the figures
    page = tmp_path / out.rpartition("examples: ")[2].strip()
    assert page.name == "index.html" and "Photos" in page.read_text(encoding="utf-8")
    (record,) = (path for path in (tmp_path / "r").rglob("*.json") if path.name != "examples.json")
    assert json.loads(record.read_text())["examples"]["folder"] == page.parent.name


@pytest.mark.parametrize(
    "agreed, even, expected",
    [(91, 88, ("agreement: 91 is high", "evenness: 88 is high")), (12, 60, ("12 is low", "60 is middling"))],
)
def test_figures_without_labels_are_said_in_words(agreed, even, expected, capsys):
    metrics = {"seed_ari": agreed, "cluster_evenness": even, "largest_cluster": 30}
    summary._print_meaning({"metrics": {name: {"value": value} for name, value in metrics.items()}})
    out = " ".join(capsys.readouterr().out.split())
    assert all(words in out for words in expected) and "the largest has 30 %" in out
    summary._print_meaning({"metrics": {"cluster_evenness": {"value": 5}, "largest_cluster": {"value": 90}}})
    assert "agreement" not in capsys.readouterr().out  # of one seed


def test_a_folder_of_photos_is_told_which_model_fits_it(card, golden, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["run", "--dataset", "./photos.toml"])
    err = capsys.readouterr().err
    assert left.value.code == 2 and "names no default model" in err
    for command in (f"bench download {MODEL}", f"bench run --dataset ./photos.toml --model {MODEL}"):
        assert command in err
    assert catalogue.models()[MODEL].network.licence  # what the advice says of it is the card's
    said: list[str] = []
    shapes = find_model("maskcontrast-shapes", None, tmp_path, said.append)
    for data, expected in ((catalogue.dataset(str(card)), 1), (catalogue.dataset("shapes"), 0)):
        told: list[str] = []
        warn_of_generated(shapes, data, told.append)
        assert len(told) == expected and all(f"bench download {MODEL}" in text for text in told)
        assert not any(str(tmp_path) in text for text in told)
