"""Images of which only some have labels: all are clustered, those judge, and none vanishes without a word."""

import json

import numpy as np
import pytest
from PIL import Image

import bench
from bench.base.errors import BadInput, WrongName
from bench.cards.card import load_card
from bench.cards.datasets import DatasetCard
from bench.data.contact_sheet import contact_sheet
from bench.data.samples import open_split, without_label
from bench.protocols.base import Settings
from bench.records.audit import audit
from bench.records.record import Stored, read, read_all, rows_path
from bench.records.recount import recount
from bench.report.definitions import definition_of
from bench.runs.plan import make_plan
from bench.runs.score_folder import score_folder
from bench.scoring import rows as rows_of
from tests.folders import put_image, put_pairs

IMAGES, JUDGES = 20, (3, 4, 8, 12, 13, 17, 18)
"""How many images there are, and which have labels."""
CARD = """
schema = 1
id = "photos"
title = "Photos"
licence = "none"
root = "."
classes = ["background", "one", "two"]
splits.val = {}
[[layouts]]
name = "as listed"
[layouts.splits.val]
list = "photos.val.tsv"
listing = "table"
image = "{image}"
label = "{label}"
[protocols.clustering]
input = [32, 32]
clusters = 3
seeds = 2
whiten = 0
[protocols.clustering-dense]
input = [32, 32]
clusters = 4
pixels = 12
seeds = 2
[protocols.patch-clustering]
input = [32, 32]
clusters = 3
seeds = 2
[protocols.linear]
input = [32, 32]
train = "val"
epochs = 1
batch = 4
"""


@pytest.fixture
def photos(tmp_path):
    """A folder of pictures with masks, and what writes a card of it in which only some of these are named."""
    names = [f"im{number:02}" for number in range(IMAGES)]
    put_pairs(tmp_path, names)

    def card(judges=JUDGES):
        rows = [
            f"{name}\timages/{name}.jpg\t{f'labels/{name}.png' if place in judges else ''}"
            for place, name in enumerate(names)
        ]
        (tmp_path / "photos.val.tsv").write_text("\n".join(["id\timage\tlabel", *rows, ""]))
        (tmp_path / "photos.toml").write_text(CARD)
        return tmp_path / "photos.toml"

    return card


@pytest.fixture
def run(photos, small_file, tmp_path):
    def call(protocol="clustering", judges=JUDGES, folder="r", **more):
        said: list[str] = []
        more = {"cache": tmp_path / "cache", "warn": said.append} | more
        made = bench.evaluate(small_file, str(photos(judges)), protocol, results=tmp_path / folder, **more)
        ((path, _),) = [(path, 0) for path in (tmp_path / folder).rglob("*.rows.npz")]
        return made, rows_of.read(path), said

    return call


def _is_sound(stored):
    (audited,) = audit([stored])
    return recount(stored).problem is None and audited.problem is None and not audited.stored.doubts


def test_a_table_says_which_images_have_no_label(photos, tmp_path):
    samples = open_split(load_card(photos(), DatasetCard), "val", tmp_path)
    assert tuple(samples.labelled_places) == JUDGES
    assert without_label(samples) == "13 of 20 images of val have no label (im00, im01, im02, …)"
    judges = samples.with_labels()
    assert [sample.id for sample in judges] == [f"im{place:02}" for place in JUDGES] and not judges.limited
    whole = open_split(load_card(photos(range(IMAGES)), DatasetCard), "val", tmp_path)
    assert without_label(whole) == "" and whole.with_labels() is whole


def test_a_label_that_a_list_names_and_nobody_has_is_an_error_still(photos, tmp_path):
    card = load_card(photos(), DatasetCard)
    (tmp_path / "labels/im04.png").unlink()
    with pytest.raises(BadInput, match=r"im04.png is missing \(1 of 20"):
        open_split(card, "val", tmp_path)


@pytest.mark.slow
def test_all_are_clustered_and_those_with_labels_judge(run, tmp_path):
    made, rows, said = run()
    assert made["dataset"]["images"] == IMAGES and made["dataset"]["judges"] == len(JUDGES)
    assert rows.ids == tuple(f"im{place:02}" for place in JUDGES)
    assert any("13 of 20 images of val have no label (im00, im01, im02, …)" in text for text in said)
    _, bare, _ = run(judges=(), folder="bare")
    for number, seed in enumerate(bare.seeds):  # the clusters of a run in which no image has a label
        assert rows.labels[number].tolist() == seed.cluster[list(JUDGES)].tolist()
    assert made["metrics"]["mIoU"].get("interval") is None and len(made["metrics"]["mIoU"]["ci95"]) == 2
    (stored,), problems = read_all(tmp_path / "r")
    assert not problems and _is_sound(stored)
    assert "All 20 images are clustered, and the 7 that have labels judge them." in definition_of(stored.record).line


@pytest.mark.slow
def test_it_is_no_run_of_images_that_all_have_labels(run):
    some, _, _ = run()
    every, rows, said = run(judges=range(IMAGES), folder="every")
    assert "judges" not in every["dataset"] and len(rows.ids) == IMAGES and not any("no label" in text for text in said)
    assert some["protocol"]["id"] == every["protocol"]["id"]
    assert some["protocol"]["fingerprint"] != every["protocol"]["fingerprint"]
    assert some["dataset"]["manifest"] != every["dataset"]["manifest"] and not some["protocol"]["published_recipe"]


@pytest.mark.slow
def test_who_judges_is_held_against_the_rows(run, tmp_path):
    run()
    (path,) = (path for path in (tmp_path / "r").rglob("*.json") if not path.name.startswith("."))
    told = json.loads(path.read_text())
    for change, expected in (
        ({"judges": 9}, "it says 9 images with labels of 20, its rows have 7"),
        ({"judges": None}, "wrong type"),
    ):
        path.write_text(json.dumps(told | {"dataset": told["dataset"] | change}))
        (stored, *_), problems = (
            read_all(tmp_path / "r") if change["judges"] else ((None,), read_all(tmp_path / "r")[1])
        )
        assert expected in (recount(stored).problem if stored else str(problems[0]))
    bare = {key: value for key, value in told["dataset"].items() if key != "judges"}
    path.write_text(json.dumps(told | {"dataset": bare}))
    stored = Stored(path, read(path))
    assert rows_path(stored).is_file() and "20 images, its rows have 7" in recount(stored).problem


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["clustering-dense", "patch-clustering"])
def test_other_clusterings_do_the_same_and_predict_every_image(run, protocol, tmp_path):
    made, rows, _ = run(protocol, save_predictions=tmp_path / "p", save_examples=2)
    assert made["dataset"]["judges"] == len(rows.ids) == len(JUDGES)
    assert len(list((tmp_path / "p").rglob("*.png"))) == 2 * IMAGES
    (stored,), _ = read_all(tmp_path / "r")
    assert _is_sound(stored)


@pytest.mark.slow
def test_halves_are_of_the_images_that_judge(run, tmp_path):
    made, rows, _ = run(entries={"classes_from": "halves"}, save_predictions=tmp_path / "p")
    assert len(rows.ids) == len(JUDGES) and made["metrics"]["mIoU"]["value"] > 0
    (stored,), _ = read_all(tmp_path / "r")
    assert _is_sound(stored)
    assert all(np.asarray(Image.open(path)).max() <= 255 for path in (tmp_path / "p/seed-1234").glob("*.png"))


@pytest.mark.slow
def test_what_learns_from_labels_sees_only_those_and_says_so(run):
    made, rows, said = run("linear")
    assert made["dataset"]["images"] == len(rows.ids) == len(JUDGES) and "judges" not in made["dataset"]
    assert any("13 of 20" in text and "--protocol linear evaluates the others" in text for text in said)
    assert any("as train, only the others are used" in text for text in said)


def test_a_card_without_the_split_that_a_protocol_needs_is_said_with_what_can_be_run(photos, small_file, tmp_path):
    card = photos()
    card.write_text(CARD.partition("[protocols.linear]")[0])

    def refused(protocol, problem, **entries):
        with pytest.raises(WrongName, match=problem) as raised:
            bench.evaluate(small_file, str(card), protocol, entries=entries, cache=tmp_path / "cache")
        return raised.value.remedy

    for protocol, entry in (("in-context", "bank"), ("knn", "bank"), ("stego-cluster", "train")):
        remedy = refused(protocol, rf"{protocol} needs a .*split to draw on \({entry} = train\); .* only val")
        assert f"[splits.train] in {card} adds one" in remedy
        assert "clustering, clustering-dense, patch-clustering can run without" in remedy
    assert f"`bench show {card}`" in refused("knn", "unknown split of photos 'vall'", bank="vall")
    able = refused("linear", "no preset for linear")
    assert "It has one for clustering, clustering-dense, patch-clustering;" in able


@pytest.mark.parametrize(("limit", "grouped"), [(3, True), (4, False), (None, False)])
def test_a_limit_that_reaches_no_label_is_said_with_one_that_does(photos, small_file, tmp_path, limit, grouped):
    said: list[str] = []
    settings = Settings(cache=tmp_path / "cache", limit=limit)
    assert make_plan(small_file, str(photos()), "clustering", settings, said.append).grouped == grouped
    cut = [text for text in said if "--limit" in text]
    assert len(cut) == grouped
    assert all("none of the first 3 of 20 images of val" in text and "--limit 4 or more" in text for text in cut)


def test_a_contact_sheet_shows_images_with_labels_first(photos, tmp_path):
    alone, first = (
        contact_sheet(open_split(load_card(photos(judges), DatasetCard), "val", tmp_path), 1) for judges in ((), (13,))
    )
    assert first.height > alone.height  # by the legend of the label's classes


def test_show_lists_images_with_labels_first(photos, bench):
    shown = bench("show", photos((13, 17)), "--samples", "4").stdout
    rows = [line.split() for line in shown.splitlines() if line.startswith("im")]
    assert [row[0] for row in rows] == ["im13", "im17", "im00", "im01"]
    assert ["%" in row for row in rows] == [True, True, False, False]


def test_predictions_of_images_with_labels_are_scored(photos, tmp_path):
    (tmp_path / "p").mkdir()
    for place in JUDGES:
        (tmp_path / f"p/im{place:02}.png").write_bytes((tmp_path / f"labels/im{place:02}.png").read_bytes())
    said: list[str] = []
    stored = score_folder(
        tmp_path / "p", str(photos()), tmp_path / "r", Settings(cache=tmp_path / "c", warn=said.append)
    )
    assert stored.record["metrics"]["mIoU"]["value"] == 100 and stored.record["dataset"]["images"] == len(JUDGES)
    assert any("13 of 20 images of val have no label" in text for text in said)


def test_a_folder_with_a_few_masks_becomes_a_list_of_all_its_images(tmp_path, bench):
    put_pairs(tmp_path / "holiday", ["a", "b"])
    for name in ("c", "d", "e"):
        put_image(tmp_path / f"holiday/images/{name}.jpg")
    made = bench("init-dataset", tmp_path / "holiday")
    said = " ".join(made.stdout.split())
    assert made.returncode == 0 and "2 pairs of image and mask" in said and "3 images without masks" in said
    assert "3 of 5 images of val have no mask (images/c.jpg, images/d.jpg, images/e.jpg): clusterings are of" in said
    rows = (tmp_path / "holiday.val.tsv").read_text().splitlines()
    assert [row.split("\t")[2] for row in rows[1:]] == ["labels/a.png", "labels/b.png", "", "", ""]
    shown = bench("show", "./holiday.toml", "--samples", "1")
    assert "3 of 5 images of val have no label (c, d, e)" in shown.stdout
