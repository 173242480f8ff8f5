"""Doing the run of a record again: by every protocol, what is refused and why, and what is said of the two."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import bench as program
from bench.base.errors import BadInput, WrongName
from bench.cards.catalogue import dataset
from bench.data.samples import open_split
from bench.protocols.base import Settings
from bench.records.record import dumps, read, read_all
from bench.report.again import hold, surroundings
from bench.runs.rerun import rerun
from bench.runs.same_run import manifest_of_files
from bench.runs.score_folder import score_folder
from tests.terminal import said
from tests.video import HEIGHT, write_list, write_sequence

SMALL = {"input": [32, 32], "clusters": 5, "restarts": 1, "iterations": 10}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("davis")
    for name, frames, objects in (("ball", 6, 2), ("kite", 5, 1)):
        write_sequence(root, name, frames, objects)
    write_list(root, ["ball", "kite"])
    return root


@pytest.fixture
def trees(voc, imagenet_tree, videos):
    return {"pascal-voc": voc, "imagenet-s-50": imagenet_tree, "davis": videos}


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def evaluate(results, trees, small_file, cache):
    """Make a record of a small run, and give it as it is stored."""

    def call(protocol="clustering", dataset="pascal-voc", model=None, **more):
        more["entries"] = SMALL | more.get("entries", {}) if protocol == "clustering" else more.get("entries", {})
        program.evaluate(
            model or small_file, dataset, protocol, results=results, data_root=trees[dataset], cache=cache, **more
        )
        (stored,), problems = read_all(results)
        assert not problems
        return stored

    return call


@pytest.fixture
def again(tmp_path, trees, small_file, cache):
    """Do the run of a stored record again, as it would be on another machine."""

    def call(stored, **more):
        given = {name: more.pop(name) for name in ("model", "dataset") if name in more}
        known = {"data_root": trees[stored.record["dataset"]["id"]], "weights": small_file, "cache": cache}
        return rerun(stored, tmp_path / "again", Settings(**known | more), **given)

    return call


def changed(stored, **parts):
    """The record with some entries of its parts changed by hand; its rows stay."""
    for part, entries in parts.items():
        stored.record[part] = entries if not isinstance(entries, dict) else stored.record[part] | entries
    stored.path.write_text(dumps(stored.record), encoding="utf-8")
    return type(stored)(stored.path, read(stored.path))


RUNS = [
    ("clustering", "pascal-voc", {"num_seeds": 2, "first_seed": 7}),
    ("clustering", "pascal-voc", {"limit": 12, "num_seeds": 1, "precision": "bfloat16"}),
    ("clustering", "pascal-voc", {"entries": {"clusters": 22, "absent": "skip"}, "num_seeds": 1}),
    ("clustering", "imagenet-s-50", {"entries": {"clusters": 50}, "num_seeds": 1}),
    ("clustering-dense", "pascal-voc", {"entries": {"input": [32, 40], "clusters": 5, "pixels": 10}, "num_seeds": 2}),
    ("retrieval-7", "pascal-voc", {"entries": {"input": [32, 32]}}),
    ("retrieval-21", "pascal-voc", {"entries": {"input": [32, 32], "bank": "val"}}),
    ("distance-matching", "imagenet-s-50", {"entries": {"input": [32, 32], "upsample": 2}}),
    ("in-context", "pascal-voc", {"entries": {"input": [32, 32], "bank": "train", "memory": 400}, "num_seeds": 2}),
    ("linear", "pascal-voc", {"entries": {"input": [32, 32], "train": "train", "batch": 8, "epochs": 2}}),
    ("davis", "davis", {"split": "val-2017", "entries": {"height": HEIGHT}}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "dataset", "how"), RUNS)
def test_a_run_of_every_protocol_comes_to_the_same_figures(evaluate, again, protocol, dataset, how):
    earlier = evaluate(protocol, dataset, **how)
    now = again(earlier, fresh=True)
    held = hold(earlier, now)
    assert now.path.name == earlier.path.name and now.path != earlier.path
    assert held.passed and (held.changed, held.problem) == (0, "")
    assert {outcome.status for outcome in held.outcomes} == {"reproduced"}
    assert len(held.outcomes) == len(earlier.record["metrics"])
    for key in ("protocol", "seeds", "dataset"):
        assert now.record[key] == earlier.record[key]
    assert now.record["metrics"] == earlier.record["metrics"]


@pytest.mark.slow
def test_a_released_classifier_and_a_run_without_labels_run_again_too(evaluate, again, linear_file, voc, tmp_path):
    earlier = evaluate("linear", model=linear_file, entries={"input": [32, 32]})
    assert hold(earlier, again(earlier, weights=linear_file)).changed == 0
    shutil.rmtree(voc / "SegmentationClass")
    shutil.rmtree(tmp_path / "results")
    said_so = {"weights": linear_file, "data_root": tmp_path}
    with pytest.raises(BadInput):
        again(earlier, **said_so)


@pytest.mark.slow
def test_without_labels_clusters_are_held_against_each_other(tmp_path, small_file, cache):
    folder = tmp_path / "photos"
    generator = np.random.default_rng(0)
    folder.mkdir()
    for number in range(6):
        Image.fromarray(generator.integers(0, 256, (40, 48, 3)).astype(np.uint8)).save(folder / f"{number}.png")
    card = tmp_path / "photos.toml"
    card.write_text(
        'schema = 1\nid = "photos"\ntitle = "photos"\ndescription = "d"\nlicence = "none"\ndefault_split = "all"\n'
        '[splits.all]\n[[layouts]]\nname = "plain"\n[layouts.splits.all]\nlist = "list.txt"\nimage = "{id}.png"\n'
        "[protocols.clustering]\ninput = [32, 32]\nclusters = 2\n"
    )
    (folder / "list.txt").write_text("\n".join(map(str, range(6))) + "\n")
    results = tmp_path / "results"
    program.evaluate(small_file, str(card), results=results, data_root=folder, cache=cache, num_seeds=2)
    (earlier,), _ = read_all(results)
    settings = Settings(data_root=folder, weights=small_file, cache=cache)
    with pytest.raises(WrongName, match="photos is no built-in data set") as caught:
        rerun(earlier, tmp_path / "again", settings)
    assert "--dataset CARD" in caught.value.remedy
    now = rerun(earlier, tmp_path / "again", settings, dataset=str(card))
    held = hold(earlier, now)
    assert held.changed == 0 and now.record["protocol"]["id"] == "clustering-unlabelled"
    assert now.record["metrics"] == earlier.record["metrics"]


# --- what is refused ---


@pytest.mark.slow
def test_other_weights_are_named(evaluate, again, linear_file, tmp_path):
    earlier = evaluate(num_seeds=1)
    with pytest.raises(BadInput, match=r"not the weights of the record: linear\.pth\.tar has SHA-256"):
        again(earlier, weights=linear_file)
    with pytest.raises(BadInput, match=r"small\.pth\.tar, SHA-256 \w+….* are not here") as caught:
        again(earlier, weights=None)
    assert "--weights FILE" in caught.value.remedy
    memory = changed(earlier, model={"weights_source": "in memory"})
    with pytest.raises(BadInput, match="a module in memory"):
        again(memory, weights=None)
    with pytest.raises(BadInput, match="not the weights"):
        again(changed(earlier, model={"weights_sha256": "0" * 64}))
    assert not (tmp_path / "again").exists() or not read_all(tmp_path / "again")[0]


@pytest.mark.slow
def test_a_model_of_a_card_of_ones_own_is_run_again_by_its_file(evaluate, again, small_file, monkeypatch, tmp_path):
    earlier = evaluate(num_seeds=1, name="mine", supervision="none")
    assert hold(earlier, again(earlier)).changed == 0
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_file, tmp_path / "small.pth.tar")
    now = again(earlier, weights=None)  # the file of that name in the current folder
    assert hold(earlier, now).passed and now.record["model"]["supervision"] == "none"
    assert hold(earlier, again(earlier, weights=None, model=str(small_file))).passed


@pytest.mark.slow
def test_other_data_are_told_by_what_differs(evaluate, again, voc):
    earlier = evaluate(num_seeds=1)
    label = voc / "SegmentationClass" / f"{first_id(voc)}.png"
    kept = label.read_bytes()
    picture = Image.open(label)
    picture.putpixel((0, 0), 3)
    picture.save(label)
    with pytest.raises(BadInput, match="some image or label has another content"):
        again(earlier)
    label.write_bytes(kept)
    listing = next(voc.rglob("val.txt"))
    names = listing.read_text().split()
    listing.write_text("\n".join(names[1:]) + "\n")
    with pytest.raises(BadInput, match=rf"1 is missing \('{names[0]}'\)"):
        again(earlier)
    listing.write_text("\n".join(reversed(names)) + "\n")
    assert again(earlier).record["rows"] == earlier.record["rows"]  # the order of a list moves nothing
    earlier.path.with_name(earlier.record["rows"]["file"]).unlink()
    listing.write_text("\n".join(names[1:]) + "\n")
    with pytest.raises(BadInput, match=f"the record has {len(names)} images of val, {len(names) - 1} are here"):
        again(earlier)


def first_id(voc):
    return next(voc.rglob("val.txt")).read_text().split()[0]


@pytest.mark.slow
def test_another_bank_is_refused(evaluate, again, voc):
    earlier = evaluate("retrieval-21", entries={"input": [32, 32]})
    name = next(voc.rglob("train.txt")).read_text().split()[0]
    label = voc / "SegmentationClass" / f"{name}.png"
    picture = Image.open(label)
    picture.putpixel((1, 1), 5)
    picture.save(label)
    with pytest.raises(BadInput, match=r"images or labels of train .* another content"):
        again(earlier)
    with pytest.raises(BadInput, match=r"the record has not there images"):
        again(changed(earlier, bank={"images": None}))


@pytest.mark.slow
def test_what_a_run_cannot_have_written_is_refused(evaluate, again):
    earlier = evaluate(num_seeds=2)
    text = earlier.path.read_text(encoding="utf-8")

    def refused(match, error=BadInput, preset=None, **parts):
        earlier.record.clear()
        earlier.record.update(json.loads(text))
        if preset is not None:
            parts["protocol"] = {"preset": earlier.record["protocol"]["preset"] | preset}
        with pytest.raises(error, match=match):
            again(changed(earlier, **parts))

    refused("has the entry 'sharpness', which clustering does not", preset={"sharpness": 1})
    refused("has the entry 'sharpness'", preset={"sharpness": 1}, environment=[1])
    refused("cannot be run: clusters", preset={"clusters": "many"})
    refused("'batch', which has no effect", preset={"batch": 100})
    refused("fingerprint is", protocol={"fingerprint": "0" * 64})
    refused("fingerprint is", preset={"absent": "skip"})  # edited under its fingerprint
    refused("protocol .* gone, is not installed here", protocol={"id": "gone"})
    refused("protocol is overclustering-100 in the record", protocol={"id": "overclustering-100"})
    refused("do not count up by one", seeds=[1234, 1236])
    refused("variations is", protocol={"variations": ["seeds1x2"]})
    refused("predictions that were given", protocol={"id": "predictions-clustering"})
    refused("labels is False in the record, and True here", protocol={"id": "clustering-unlabelled"})
    refused("unknown split", WrongName, dataset={"split": "elsewhere"})


def test_a_record_of_scored_predictions_says_how_it_is_counted_again(tmp_path, voc, results):
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in next(voc.rglob("val.txt")).read_text().split():
        shutil.copy(voc / "SegmentationClass" / f"{name}.png", masks)
    stored = score_folder(masks, "pascal-voc", results, Settings(data_root=voc))
    with pytest.raises(BadInput, match="predictions that were given") as caught:
        rerun(stored, tmp_path / "again", Settings(data_root=voc))
    assert "bench score" in caught.value.remedy


# --- what is said of the two ---


@pytest.mark.slow
def test_an_edited_record_is_found_by_the_run(evaluate, again, results):
    earlier = evaluate(num_seeds=2)
    now = again(earlier)
    held = hold(earlier, now)
    assert held.passed
    metrics = earlier.record["metrics"]
    value = metrics["mIoU"]["value"] + 20
    per_seed = [one + 20 for one in metrics["mIoU"]["per_seed"]]
    edited = changed(earlier, metrics={"mIoU": metrics["mIoU"] | {"value": value, "per_seed": per_seed}})
    held = hold(edited, now)
    assert not held.passed and held.changed == 0
    assert {outcome.status for outcome in held.outcomes} == {"damaged"}


@pytest.mark.slow
def test_a_figure_that_nothing_counts_does_not_agree(evaluate, again):
    earlier = evaluate(num_seeds=1)
    invented = {"value": 99.0, "std": None, "per_seed": [99.0]}
    held = hold(changed(earlier, metrics={"quality": invented}), again(earlier))
    (outcome,) = [one for one in held.outcomes if one.what.endswith(" quality")]
    assert outcome.fails and not held.passed


@pytest.mark.slow
def test_rows_that_are_spoilt_are_not_compared(evaluate, again):
    earlier = evaluate(num_seeds=1)
    now = again(earlier)
    earlier.path.with_name(earlier.record["rows"]["file"]).write_bytes(b"spoilt")
    held = hold(earlier, now)
    assert held.changed is None and "does not fit" in held.problem and not held.passed


def test_what_was_different_around_two_runs_is_listed():
    earlier = {
        "environment": {
            "bench": "0.1.0",
            "cores": 2,
            "packages": {"torch": "2.14.1", "numpy": "2.4"},
            "git": {"commit": "a" * 40, "dirty": False},
        },
        "cost": {"device": "cpu", "batch_size": 4, "seconds": 1.0},
        "solver": {"threads": 1},
    }
    now = {
        "environment": {"bench": "0.1.0", "cores": 4, "packages": {"torch": "2.15.0", "numpy": "2.4", "pillow": "1"}},
        "cost": {"device": "cuda", "batch_size": 4, "seconds": 9.0},
        "solver": {"threads": 2},
    }
    assert surroundings(earlier, now) == (
        ("cores", "2", "4"),
        ("commit", "a" * 12, "not said"),
        ("torch", "2.14.1", "2.15.0"),
        ("device", "cpu", "cuda"),
        ("solver threads", "1", "2"),
        ("pillow", "not said", "1"),
    )
    assert surroundings({"environment": [1], "cost": "x", "solver": None}, {"environment": None}) == ()


# --- the command ---


@pytest.mark.slow
def test_the_command_runs_again_and_says_what_came_of_it(run_voc, bench, voc, small_file, tmp_path):
    record = json.loads(run_voc("--num-seeds", "1", "--results", tmp_path / "r", "--json").stdout)
    name = record["model"]["id"]
    asked = ("rerun", name, "--results", tmp_path / "r", "--data-root", voc, "--weights", small_file)
    done = bench(*asked)
    assert done.returncode == 0, done.stderr
    assert "identical: each of" in done.stdout and "agrees: " in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert len(read_all(tmp_path / "r")[0]) == 1
    done = bench(*asked, "--keep", tmp_path / "kept", "--cached", "--json")
    told = json.loads(done.stdout)
    assert told["agrees"] and told["rows"]["changed"] == 0
    (kept,), _ = read_all(tmp_path / "kept")
    assert told["again"] == kept.path.as_posix() and kept.record["metrics"] == record["metrics"]
    assert kept.record["observed"]["from_cache"] == kept.record["dataset"]["images"]
    said(bench(*asked, "--keep", tmp_path / "r"), 2, "would replace the record itself")
    path = next((tmp_path / "r").rglob("*.json"))
    record["metrics"]["mIoU"]["value"] += 20
    path.write_text(json.dumps(record))
    done = bench(*asked)
    assert done.returncode == 1 and "DIFFERS" in done.stdout and "its rows give" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_by_default_nothing_is_read_from_the_cache(run_voc, bench, voc, small_file, tmp_path):
    run_voc("--num-seeds", "1", "--results", tmp_path / "r")
    (stored,), _ = read_all(tmp_path / "r")
    bench("rerun", stored.path, "--data-root", voc, "--weights", small_file, "--keep", tmp_path / "kept")
    (kept,), _ = read_all(tmp_path / "kept")
    assert kept.record["observed"]["from_cache"] == 0


def test_an_unknown_record_is_one_line(bench, tmp_path):
    said(bench("rerun", "nothing-of-this-name", "--results", tmp_path), 2, "unknown record 'nothing-of-this-name'")


@pytest.mark.slow
def test_the_manifest_of_files_is_that_of_a_pass(evaluate, voc):
    stored = evaluate(limit=30, num_seeds=1)
    samples = open_split(dataset("pascal-voc"), "val", voc).first(30)
    assert manifest_of_files(samples, Settings()) == stored.record["dataset"]["manifest"]
