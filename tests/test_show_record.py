"""`bench show RECORD`: found by path and by name, and readable whatever a record holds."""

import json

import numpy as np
import pytest

from bench.cards import catalogue
from bench.records.record import dumps, read_all
from tests.conftest import ROOT
from tests.synthetic import keep, make_record
from tests.terminal import said

NAME = "maskcontrast-sup/pascal-voc-val/clustering"


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def stored(results):
    record = make_record()
    record["model"] |= {"weights_source": "sup.pth.tar", "initialisation": "MoCo v2", "prior": "saliency"}
    record["environment"] = {
        "bench": "0.1.0", "python": "3.11.7", "cores": 2, "packages": {"torch": "2.14.1"},
        "git": {"commit": "c" * 40, "dirty": True},
    }  # fmt: skip
    record["cost"] = {"device": "cpu", "batch_size": 4, "precision": "float32"}
    record["solver"] = {"library": "faiss", "threads": 2}
    record["warnings"] = ["2 images have no salient pixel"]
    return keep(results, record)


def words(done):
    return " ".join(done.stdout.split())


def test_it_says_what_the_record_says(bench, stored, results):
    done = bench("show", NAME, "--results", results)
    assert done.returncode == 0, done.stderr
    told = words(done).replace(stored.record["model"]["weights_sha256"][:12], "0" * 12)
    told = told.replace(stored.record["protocol"]["fingerprint"][:8], "f" * 8)
    for said_so in (
        "model maskcontrast-sup", "sup.pth.tar, SHA-256 000000000000…", "supervision labels, of a kind",
        "probe none (labels only name clusters)",
        "initialisation MoCo v2", "prior saliency", "pascal-voc val, 1449 images", "clustering, fingerprint ffffffff",
        "clusters 20", "seeds 1234 to 1238", "go to one of 20 clusters by K-means",
        "mIoU 44.20 0.32", "mean over classes of TP / (TP + FP + FN)",
        "bench 0.1.0 at commit cccccccccccc with changes", "torch 2.14.1", "device cpu", "threads 2",
        "warning 2 images have no salient pixel", f"bench rerun {NAME} --data-root DATA",
    ):  # fmt: skip
        assert said_so in told, said_so
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_it_says_which_images_the_weights_have_seen_and_what_they_have_to_do_with_these(bench, results):
    record = make_record(model="mine")
    keep(results, record)
    told = words(bench("show", "mine", "--results", results))
    assert "trained on not stated" in told and "overlap" not in told
    lineage = {"images": "COCO train2017", "overlaps": {"pascal-voc": "half of val", "davis": "all of it"}}
    record["model"] |= lineage
    keep(results, record)
    told = words(bench("show", "mine", "--results", results))
    assert "trained on COCO train2017" in told and "overlap half of val" in told and "all of it" not in told
    record["model"]["id"] = "maskcontrast-sup"  # of whose images the card speaks, whatever the record says
    keep(results, record)
    told = words(bench("show", NAME, "--results", results))
    assert "overlap its trainaug images were trained on, without labels" in told and "half of val" not in told


@pytest.mark.parametrize("name", [NAME, f"{NAME}.json", "maskcontrast-sup/pascal-voc-val", "own", "path"])
def test_it_is_found_by_each_of_its_names(bench, stored, results, name):
    if name == "own":
        keep(results, make_record(model="own"))
    path = str(stored.path) if name == "path" else name
    done = bench("show", path, "--results", results)
    assert done.returncode == 0 and "How" not in done.stderr and "44.20" in done.stdout


def test_a_card_s_id_still_shows_the_card(bench, stored, results):
    shown = bench("show", "maskcontrast-sup", "--results", results).stdout
    assert "architecture" in shown or "backbone" in shown
    assert "counted" not in shown
    assert "saliency_threshold" in bench("show", "clustering", "--results", results).stdout


def test_a_name_that_is_none_is_one_line(bench, stored, results, tmp_path):
    done = bench("show", "maskcontrast-sup/pascal-voc-val/clusterin", "--results", results)
    said(done, 2, "unknown record", f"Did you mean {NAME}")
    said(bench("show", results / "gone.json"), 2, "unknown record")
    (tmp_path / "text.json").write_text("{}")
    said(bench("show", "text.json"), 3, "text.json is not a record of this program")
    (tmp_path / "text.json").write_text("{")
    said(bench("show", "text.json"), 3, "text.json is damaged")
    said(bench("show", "./gone/else"), 3, "no card at")
    keep(results, make_record(model="own"))
    keep(results, make_record(model="own", dataset={"split": "train"}))
    said(bench("show", "own", "--results", results), 2, "'own' has 2 records", "own/pascal-voc-train/clustering")


def test_what_its_rows_do_not_confirm_is_said(bench, stored, results):
    record = json.loads(stored.path.read_text(encoding="utf-8"))
    record["metrics"]["quality"] = {"value": 99.0, "std": None, "per_seed": [99.0] * 5}
    stored.path.write_text(dumps(record), encoding="utf-8")
    told = words(bench("show", NAME, "--results", results))
    assert "99.00 (claimed)" in told and "but for what no row gives: cluster_to_class, quality" in told
    assert "quality a metric that this version does not know" in told
    record["metrics"]["mIoU"]["value"] = 71.31
    stored.path.write_text(dumps(record), encoding="utf-8")
    told = words(bench("show", NAME, "--results", results))
    assert "its figures cannot be trusted: it says mIoU 71.3100, its rows give 44.2000" in told


@pytest.mark.parametrize("junk", [None, 3, "text", [1], {"a": {"b": [None]}}, "\x1b[2J\n::error::x"])
def test_parts_of_any_shape_are_shown_or_left_out(bench, stored, results, junk):
    record = json.loads(stored.path.read_text(encoding="utf-8"))
    for part in ("environment", "cost", "solver", "warnings", "published", "observed", "created"):
        record[part] = junk if part != "created" or isinstance(junk, str) else ""
    record["environment"] = {"packages": junk, "git": junk, "bench": junk}
    record["protocol"]["preset"]["odd"] = junk
    record["model"] |= {"weights_source": junk}
    stored.path.write_text(dumps(record), encoding="utf-8")
    done = bench("show", NAME, "--results", results)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout and "\n::" not in done.stdout


def test_every_record_that_comes_with_the_program_is_shown(bench):
    for stored in read_all(ROOT / "results")[0]:
        done = bench("show", stored.path)
        assert done.returncode == 0 and "counted again: its figures are those of its rows" in done.stdout
        assert all(len(line) <= 80 for line in done.stdout.splitlines() if str(stored.path) not in line)


def test_scored_predictions_have_no_run_to_do_again(bench, results):
    preset = {"matching": "none", "grid": "label", "absent": "zero"}
    keep(results, make_record(model="own", protocol={"id": "predictions", "preset": preset}))
    shown = bench("show", "own", "--results", results).stdout
    assert "class ids are those that were given" in " ".join(shown.split()) and "rerun" not in shown


def test_many_seeds_and_a_limit_are_short(bench, results):
    seeds = 30
    record = make_record(seeds=seeds, dataset={"limited": True, "images": 40, "official_images": 1449})
    record["seeds"] = [int(seed) for seed in np.arange(seeds) ** 2]
    keep(results, record)
    told = words(bench("show", "maskcontrast-sup/pascal-voc-val", "--results", results))
    assert "40 of 1449 images (limited)" in told and "0, 1, 4, 9" in told and "361 …" in told


def test_the_built_in_data_need_no_root(bench):
    assert catalogue.dataset("shapes").generator
    shown = bench("show", "random-shapes/shapes-val/clustering").stdout
    assert "bench rerun random-shapes/shapes-val/clustering\n" in shown
