"""Whole runs: what a record says of how sure its figure is, what is kept, what is read of it; and forgeries of it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import bench as program
from bench.base.errors import BadInput
from bench.base.files import load_npz, save_npz
from bench.protocols.base import Settings
from bench.protocols.clustering import resampled, scoring
from bench.records.audit import audit
from bench.records.intervals import SAMPLES, figure_interval
from bench.records.record import Stored, read, read_all
from bench.records.recount import SOLVER_GAP, recount
from bench.report.again import hold
from bench.runs.rerun import rerun
from bench.scoring.subsamples import SUBSAMPLES
from tests.conftest import GOLDEN
from tests.forging import forge, rows_at
from tests.terminal import bench, said

SMALL = {"input": [32, 32], "clusters": 5, "restarts": 1, "iterations": 10}
TREE = GOLDEN / "VOCSegmentation"
METRICS = ("mIoU", "pixel_accuracy", "mean_class_accuracy")


class Colours(torch.nn.Module):
    """Another model: pixels are their own embedding, and what is bright is salient."""

    def forward(self, images):
        return torch.cat([images, images**2], dim=1), images.mean(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_file):
    """Run a small clustering of 40 images into an empty folder of results: the record as it is stored.

    The observations are kept from run to run, as a user's are; what runs keep beside them is each module's own.
    """
    cache = tmp_path_factory.mktemp("cache")

    def call(entries=None, model=None, dataset="pascal-voc", **more):
        results = tmp_path_factory.mktemp("results")
        how = {"num_seeds": 2, "name": "small", "data_root": TREE, "cache": cache} | more
        program.evaluate(model or small_file, dataset, results=results, entries=SMALL | (entries or {}), **how)
        (stored,), problems = read_all(results)
        assert not problems
        return stored

    call.cache = cache
    return call


@pytest.fixture(scope="module")
def sound(made):
    return made()


@pytest.fixture(scope="module")
def halves(made):
    return made(entries={"classes_from": "halves"})


def kept_at(cache):
    return sorted(cache.rglob("subsamples-*.npz"))


def figures(stored):
    return {name: entry["per_seed"] for name, entry in stored.record["metrics"].items()}


def trusted(stored):
    (one,) = audit([stored])
    return one.problem is None


# --- what a record says ---


@pytest.mark.slow
def test_a_record_has_both_intervals_and_the_optimism_of_what_was_matched(sound):
    for name in METRICS:
        entry = sound.record["metrics"][name]
        assert entry["ci95"][0] <= entry["ci95"][1]
        interval = entry["interval"]
        assert interval["low"] <= entry["value"] <= interval["high"]
        assert interval["seeds"] == pytest.approx(entry["std"] / np.sqrt(2))
        assert figure_interval(entry, sound.record["protocol"]["preset"]).covers == SAMPLES
    for name in ("nmi", "ari"):
        assert not sound.record["metrics"][name].get("interval")
    assert set(sound.record["optimism"]) == set(METRICS)
    assert trusted(sound) and rows_at(sound.path).subsamples.shape == (SUBSAMPLES, 2, 63)


@pytest.mark.slow
def test_subsamples_move_no_figure(sound, made, monkeypatch):
    monkeypatch.setattr(resampled, "sums_of", lambda *arguments: None)
    bare = made()
    assert figures(bare) == figures(sound)
    assert bare.record["protocol"] == sound.record["protocol"]
    for name in METRICS:
        assert "interval" not in bare.record["metrics"][name]
        assert bare.record["metrics"][name]["ci95"] == sound.record["metrics"][name]["ci95"]
    assert trusted(bare)


@pytest.mark.slow
def test_halves_are_another_recipe_whose_rows_are_sound(sound, halves):
    protocol = halves.record["protocol"]
    assert protocol["modified"] and protocol["fingerprint"] != sound.record["protocol"]["fingerprint"]
    assert protocol["preset"]["classes_from"] == "halves" and "classes_from" not in sound.record["protocol"]["preset"]
    honest, flattered = (one.record["metrics"]["mIoU"] for one in (halves, sound))
    assert honest["value"] < flattered["value"] + 2 * max(flattered["std"], honest["std"])
    for name in ("nmi", "ari"):  # of the same clusters
        assert halves.record["metrics"][name]["per_seed"] == sound.record["metrics"][name]["per_seed"]
    assert halves.record["metrics"]["mIoU"]["interval"] and not halves.record.get("optimism")
    assert not halves.record["cluster_to_class"]
    found = recount(halves)
    assert (found.problem, found.claimed) == (None, frozenset()) and trusted(halves)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["md", "json", "csv", "latex"])
def test_a_record_of_halves_is_reported_in_every_form(halves, form):
    results = ("--results", halves.path.parents[2])
    shown = bench("report", "--format", form, *results)
    value = halves.record["metrics"]["mIoU"]["value"]
    assert shown.returncode == 0 and not shown.stderr
    assert (f"{value:.2f}" if form in ("md", "latex") else str(value)) in shown.stdout


@pytest.mark.slow
def test_a_record_of_halves_is_shown_compared_and_checked(halves):
    words = " ".join(bench("show", halves.path).stdout.split())
    assert "on the labels of the other half of the images" in words
    assert "the same model under the same seeds" in bench("compare", halves.path, halves.path).stdout
    done = bench("check", "--explain", "--results", halves.path.parents[2])
    assert done.returncode == 1 and "damaged" not in done.stdout and "nothing was compared" in done.stdout


@pytest.mark.slow
def test_halves_and_the_whole_are_not_compared(sound, halves):
    said(bench("compare", sound.path, halves.path), 3, "different presets", "classes_from is")


@pytest.mark.slow
@pytest.mark.parametrize("which", ["sound", "halves"])
def test_the_same_run_again_comes_to_the_same_subsamples(which, request, tmp_path, small_file):
    stored = request.getfixturevalue(which)
    settings = Settings(data_root=TREE, weights=small_file, cache=tmp_path / "cache", workers=1)
    again = rerun(stored, tmp_path / "again", settings)
    assert hold(stored, again).passed
    assert again.record["metrics"] == stored.record["metrics"]
    np.testing.assert_array_equal(rows_at(again.path).subsamples, rows_at(stored.path).subsamples)


@pytest.mark.slow
def test_an_earlier_record_is_checked_against_one_with_an_interval(sound, tmp_path):
    """A record of an earlier version: no subsamples, no interval, no optimism."""

    def older(record):
        record.pop("optimism")
        for entry in record["metrics"].values():
            entry.pop("interval", None)

    shutil.copytree(sound.path.parents[2], tmp_path / "old")
    (old,), _ = read_all(tmp_path / "old")
    own = replace(rows_at(old.path), subsamples=None)
    own.write(old.path.with_name(old.record["rows"]["file"]))
    forge(old.path, older)
    done = bench("check", "--results", sound.path.parents[2], "--against", tmp_path / "old", "--explain")
    assert done.returncode == 0 and "reproduced" in done.stdout and "damaged" not in done.stdout, done.stdout
    assert "No verdict" not in bench("compare", old.path, sound.path).stdout  # the same model: seeds alone are tested
    assert trusted(Stored(old.path, read(old.path)))


# --- runs without subsamples, or with few seeds ---


@pytest.mark.slow
def test_a_run_of_one_seed_has_an_interval(made):
    one = made(num_seeds=1)
    assert rows_at(one.path).subsamples.shape[1] == 2 and one.record["metrics"]["mIoU"]["interval"]["seeds"] > 0
    assert one.record["metrics"]["mIoU"]["std"] is None and trusted(one)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_models_are_compared_on_the_same_subsamples_whatever_the_number_of_their_seeds(sound, made, count):
    done = bench("compare", sound.path, made(model=Colours(), name="colours", num_seeds=count).path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["covers"] == "new images, clustered again, and new seeds"
    assert found["interval"][0] < found["difference"] < found["interval"][1] and 0 < found["p"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_the_first_and_the_last_seed_have_subsamples(made, seed):
    assert made(num_seeds=1, first_seed=seed).record["metrics"]["mIoU"]["interval"]


@pytest.mark.slow
def test_of_too_few_images_one_line_says_why_there_is_no_interval(made):
    few = made(limit=22, entries={"clusters": 20})
    assert "interval" not in few.record["metrics"]["mIoU"] and few.record["metrics"]["mIoU"]["ci95"]
    assert rows_at(few.path).subsamples is None and trusted(few)
    why = "two thirds of 22 images are fewer than 20 clusters"
    words = " ".join(bench("show", few.path).stdout.split())
    assert f"images, given these clusters; none for new samples: {why}" in words
    other = made(model=Colours(), name="colours", limit=22, entries={"clusters": 20})
    done = bench("compare", few.path, other.path)
    assert done.returncode == 0, done.stderr
    assert f"No verdict: {why}" in done.stdout and "Run both again" not in done.stdout and "p =" not in done.stdout


@pytest.mark.slow
def test_without_labels_and_of_clusters_made_elsewhere_there_are_none(made, tmp_path):
    before = kept_at(made.cache)
    fitted = made(entries={"fit": "train", "whiten": 0})
    assert rows_at(fitted.path).subsamples is None and "interval" not in fitted.record["metrics"]["mIoU"]
    card = tmp_path / "photos.toml"
    card.write_text(
        'schema = 1\nid = "photos"\ntitle = "photos"\ndescription = "d"\nlicence = "none"\ndefault_split = "val"\n'
        '[splits.val]\n[[layouts]]\nname = "plain"\n[layouts.splits.val]\nlist = "sets/val.txt"\n'
        'image = "images/{id}.jpg"\n[protocols.clustering]\ninput = [32, 32]\n'
    )
    stored = made(dataset=str(card))
    assert stored.record["dataset"]["labelled"] is False and not stored.record.get("optimism")
    assert all("interval" not in entry for entry in stored.record["metrics"].values()) and trusted(stored)
    assert kept_at(made.cache) == before


@pytest.mark.slow
def test_a_subsample_that_cannot_be_clustered_costs_the_interval_alone(sound, made, monkeypatch):
    def refuse(*arguments, **more):
        raise BadInput("all images are alike", "Use others.")

    monkeypatch.setattr(scoring, "resampled_sums", refuse)
    bare = made(entries={"iterations": 9})
    assert "interval" not in bare.record["metrics"]["mIoU"] and trusted(bare)


# --- what is kept ---


@pytest.mark.slow
def test_subsamples_come_from_the_cache_unless_the_run_is_fresh(made, monkeypatch):
    calls = []
    own = scoring.resampled_sums

    def counted(*arguments, **more):
        calls.append(arguments)
        return own(*arguments, **more)

    monkeypatch.setattr(scoring, "resampled_sums", counted)
    entries = {"iterations": 8}
    first = made(entries=entries)
    again = made(entries=entries)
    assert len(calls) == 1 and again.record["metrics"] == first.record["metrics"]
    fresh = made(entries=entries, fresh=True)
    assert len(calls) == 2 and fresh.record["metrics"] == first.record["metrics"]
    made(entries=entries, num_seeds=3)  # other seeds, other sums
    assert len(calls) == 3


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "another shape", "another type"])
def test_damaged_sums_in_the_cache_are_made_again(made, damage):
    entries = {"iterations": {"cut": 5, "another shape": 6, "another type": 7}[damage]}
    before = set(kept_at(made.cache))
    first = made(entries=entries)
    (path,) = set(kept_at(made.cache)) - before
    sums = load_npz(path)["sums"]
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        save_npz(path, {"sums": sums[:, :1] if damage == "another shape" else sums.astype(np.float64)})
    assert made(entries=entries).record["metrics"] == first.record["metrics"]


@pytest.mark.slow
def test_predictions_are_saved_and_scored_as_before(made, tmp_path):
    """A folder of predictions has no clusters: its figure is the first seed's, and its interval is over images."""
    masks = tmp_path / "masks"
    ran = made(save_predictions=masks)
    first = next(path.parent for path in sorted(masks.rglob("*.png")))
    done = bench("score", first, "--dataset", "pascal-voc", "--data-root", TREE, "--name", "masks", "--json",
                 "--results", tmp_path / "scored")  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    measured = record["metrics"]["mIoU"]
    assert measured["value"] == pytest.approx(ran.record["metrics"]["mIoU"]["per_seed"][0], abs=1e-9)
    assert measured["ci95"] and not measured.get("interval") and not record.get("optimism")


# --- what a stranger might change ---


def narrow(record):
    entry = record["metrics"]["mIoU"]
    entry["interval"] |= {"low": entry["value"] - 0.1, "high": entry["value"] + 0.1}


def alike(sums, classes):
    """All subsamples as the first: no spread at all."""
    return np.repeat(sums[:1], len(sums), axis=0)


def steadied(sums, classes):
    """More hits than predictions."""
    sums[..., :classes] = sums[..., classes : 2 * classes] + 1
    return sums


def over_painted(sums, classes):
    sums[0, 0, classes] = 10**12
    return sums


def without(sums, classes):
    return None


def interval_of(metric, **entries):
    return lambda record: record["metrics"][metric].setdefault("interval", {}).update(entries)


def same(record):
    """The rows alone are changed."""


TYPED = {"low": 1.0, "high": 2.0, "images": 0.1, "seeds": 0.1}
FORGERIES = {
    "a narrowed interval": (narrow, None, "an interval of the figure mIoU with"),
    "a smaller error": (interval_of("mIoU", images=0.001), None, "an interval of the figure mIoU with"),
    "an interval left out": (
        lambda record: record["metrics"]["mIoU"].pop("interval"),
        None,
        "it has no interval of the figure mIoU, its rows give one",
    ),
    "an interval of what has none": (interval_of("nmi", **TYPED), None, "an interval of the figure nmi, its rows give"),
    "a smaller optimism": (lambda record: record["optimism"].update(mIoU=0.0), None, "an optimism of mIoU of 0.0000"),
    "optimism of another": (lambda record: record["optimism"].update(nmi=1.0), None, "it has the optimism of nmi"),
    "subsamples of other pixels": (same, alike, "its subsamples are of other pixels than its rows"),
    "more hits than predictions": (same, steadied, "subsamples have more right pixels than there are"),
    "more predictions than pixels": (same, over_painted, "have more right pixels than there are pixels"),
    "subsamples left out": (same, without, "an interval of the figure mIoU, its rows give none"),
}


def forged(sound, results, change, rows):
    """As by hand: the record keeps its figures, and has its rows' hash."""
    shutil.copytree(sound.path.parents[2], results)
    path = results / sound.path.relative_to(sound.path.parents[2])
    if rows is not None:
        own = rows_at(path)
        sums = rows(own.subsamples.copy(), own.num_classes)
        replace(own, subsamples=sums).write(path.with_name(sound.record["rows"]["file"]))
    return forge(path, change)


@pytest.mark.slow
@pytest.mark.parametrize("what", FORGERIES)
def test_a_figure_that_is_said_to_be_surer_than_it_is_is_named_by_every_command(sound, tmp_path, what):
    change, rows, says = FORGERIES[what]
    path = forged(sound, tmp_path / "r", change, rows)
    assert says in recount(Stored(path, read(path))).problem
    done = bench("check", "--results", tmp_path / "r")
    assert done.returncode == 1 and "damaged" in done.stdout and says in done.stdout
    done = bench("check", "--results", tmp_path / "r", "--against", sound.path.parents[2])
    assert done.returncode == 1 and says in done.stdout
    assert says in bench("report", "--format", "md", "--results", tmp_path / "r").stderr
    said(bench("compare", sound.path, path), 3, says)


@pytest.mark.slow
def test_a_wide_spread_of_the_authors_solver_is_claimed_or_denied(sound, tmp_path):
    """Without sums nobody counted it; beside sums it is not what they give."""
    metrics = {name: {"value": 44.0, "std": 60.0} for name in METRICS}
    typed = {"solver": "minibatch", "seeds": 20, "metrics": metrics}
    path = forged(sound, tmp_path / "r", lambda record: record.update(solver_gap=0.0, authors=typed), None)
    found = recount(Stored(path, read(path)))
    assert (found.problem, found.claimed) == (None, {SOLVER_GAP})
    rows = rows_at(path)
    sums = np.stack([np.tile([rows.sums(0), rows.sums(1)], (10, 1))] * 2)
    replace(rows, solver_sums=sums).write(path.with_name(sound.record["rows"]["file"]))
    forge(path)
    assert "mIoU of the authors' solver 44.0000" in recount(Stored(path, read(path))).problem
    done = bench("check", "--results", tmp_path / "r")
    assert done.returncode == 1 and "mIoU of the authors' solver 44.0000" in done.stdout
