"""Pictures beside a record: which images, what is painted, and a folder that is whole or not there."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bench
from bench.base.errors import BadInput, WrongName
from bench.base.files import atomic_folder
from bench.cards import catalogue
from bench.cli import main
from bench.data.contact_sheet import FONTS, _fonts, contact_sheet
from bench.data.decoding import read_label
from bench.data.listings import evenly
from bench.data.palette import palette_of
from bench.data.pictures import colours_of, fitted_in
from bench.data.preprocessing import resize_nearest
from bench.data.samples import open_split
from bench.data.sequences import open_videos
from bench.records.record import read_all
from bench.runs import example_pages
from bench.runs.example_pages import choose
from bench.scoring.cluster_members import Clusters, of_pixels, of_prototypes
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.metrics import image_iou
from tests.video import write_list, write_sequence

SMALL = {"input": [64, 64]}
VOC = catalogue.dataset("pascal-voc")


def run(model, golden, tmp_path, protocol="clustering", **more):
    entries = SMALL | more.pop("entries", {})
    return bench.evaluate(model, "pascal-voc", protocol, data_root=golden / "VOCSegmentation",
                          cache=tmp_path / "cache", results=tmp_path / "r", entries=entries, **more)  # fmt: skip


def index_of(tmp_path):
    (path,) = (tmp_path / "r").rglob("examples.json")
    return json.loads(path.read_text(encoding="utf-8")), path.parent


# --- the folder ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "entries", "clusters"),
    [
        ("clustering", {}, 20),
        ("clustering", {"clusters": 30}, 30),
        ("clustering-dense", {"clusters": 6, "pixels": 8}, 6),
        ("linear", {"train": "train", "epochs": 2, "batch": 8, "selection": "last"}, 0),
        ("retrieval-21", {"grid": "label"}, 0),
    ],
)
def test_every_protocol_on_images_can(golden, small_file, tmp_path, protocol, entries, clusters):
    made = run(small_file, golden, tmp_path, protocol, entries=entries, save_examples=3,
               save_predictions=tmp_path / "p", num_seeds=1 if protocol != "retrieval-21" else None)  # fmt: skip
    index, folder = index_of(tmp_path)
    (record,) = (path for path in (tmp_path / "r").rglob("*.json") if path.parent != folder)
    assert folder.name == record.name.removesuffix(".json") + ".examples"
    assert made["examples"] == {"folder": folder.name, "images": len(index["images"])}
    assert index["schema"] == 1 and index["seed"] == (None if protocol == "retrieval-21" else 1234)
    assert len(index["clusters"]) == clusters and sum("best" in i["groups"] for i in index["images"]) == 3
    names = {entry["id"]: entry for entry in index["images"]}
    assert len(names) == len(index["images"])
    assert all(
        name in names and "cluster" in names[name]["groups"] for c in index["clusters"] for name in c["examples"]
    )
    pictures = {image[kind] for image in index["images"] for kind in ("image", "label", "prediction")}
    assert {path.name for path in folder.iterdir()} == {"examples.json", "index.html"} | pictures
    colours = np.frombuffer(palette_of(VOC), np.uint8).reshape(-1, 3)
    for image in index["images"]:
        size = (image["height"], image["width"])
        with Image.open(tmp_path / "p" / f"{image['id']}.png") as picture:
            ids = np.asarray(picture)
        with Image.open(folder / image["prediction"]) as picture:
            assert np.array_equal(np.asarray(picture.convert("RGB")), colours[resize_nearest(ids, size)])
        with Image.open(folder / image["image"]) as picture:
            assert picture.format == "JPEG" and picture.size == size[::-1]
        assert size == fitted_in(ids.shape, (320, 320))
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'src="([^"]+)"', page)) == pictures
    assert page.count("<section") == 2 + clusters and f"{made['metrics']['mIoU']['value']:.1f} %" in page
    assert all(f"</span>{entry['name']}</li>" in page for entry in index["legend"])
    assert "There are no labels" not in page


@pytest.mark.slow
def test_a_released_classifier_and_its_crf_are_pictured(golden, linear_file, tmp_path):
    pytest.importorskip("pydensecrf")
    for protocol in ("linear", "linear+crf"):
        run(linear_file, golden, tmp_path / protocol, protocol, save_examples=1, limit=3)
        index, _ = index_of(tmp_path / protocol)
        assert len(index["images"]) == 2 and index["clusters"] == [] and index["seed"] is None


@pytest.mark.slow
def test_the_first_best_image_is_the_best_by_its_own_pixels(golden, small_file, tmp_path):
    run(small_file, golden, tmp_path, save_examples=2, save_predictions=tmp_path / "p", num_seeds=1)
    index, _ = index_of(tmp_path)
    scores = {}
    for sample in open_split(VOC, "val", golden / "VOCSegmentation"):
        label, _ = read_label(sample.label, VOC)
        with Image.open(tmp_path / "p" / f"{sample.id}.png") as picture:
            predicted = np.asarray(picture)[label != 255]
        label = label[label != 255]
        classes = (set(label.tolist()) | set(predicted.tolist())) - {255}
        both = [(((label == c) & (predicted == c)).sum(), ((label == c) | (predicted == c)).sum()) for c in classes]
        scores[sample.id] = 100 * float(np.mean([a / b for a, b in both]))
    order = sorted(scores, key=lambda name: -scores[name])
    best = [image["id"] for image in index["images"] if "best" in image["groups"]]
    worst = [image["id"] for image in index["images"] if "worst" in image["groups"]]
    assert [scores[name] for name in best] == pytest.approx([scores[name] for name in order[:2]])
    assert [scores[name] for name in worst] == pytest.approx([scores[name] for name in order[:-3:-1]])
    for image in index["images"]:
        assert image["iou"] == pytest.approx(scores[image["id"]])


@pytest.mark.slow
def test_the_network_is_not_asked_again_where_masks_are_kept(golden, small_file, tmp_path, monkeypatch):
    run(small_file, golden, tmp_path)
    monkeypatch.setattr("bench.passes.prototypes.run_batch", None)
    run(small_file, golden, tmp_path, save_examples=1)
    assert index_of(tmp_path)[0]["images"]


@pytest.mark.slow
def test_a_second_run_replaces_the_folder_and_no_record_is_made_of_it(golden, small_file, tmp_path):
    run(small_file, golden, tmp_path, save_examples=3)
    first, folder = index_of(tmp_path)
    (folder / "stray.png").write_bytes(b"")
    made = run(small_file, golden, tmp_path, save_examples=1)
    second, _ = index_of(tmp_path)
    assert len(second["images"]) < len(first["images"]) and not (folder / "stray.png").exists()
    stored, problems = read_all(tmp_path / "r")
    assert not problems and [entry.record["examples"] for entry in stored] == [made["examples"]]
    assert sorted(path.name for path in folder.parent.iterdir() if path.name.startswith(".")) == []


@pytest.mark.slow
def test_pictures_that_fail_cost_no_figure_and_leave_no_half_a_folder(golden, small_file, tmp_path, monkeypatch):
    def fail(*arguments):
        raise BadInput("no picture today")

    monkeypatch.setattr(example_pages, "_write", fail)
    with pytest.raises(BadInput, match="no picture today"):
        run(small_file, golden, tmp_path, save_examples=1)
    stored, _ = read_all(tmp_path / "r")
    assert stored[0].record["metrics"]["mIoU"]["value"] >= 0 and "examples" not in stored[0].record
    assert not [path for path in (tmp_path / "r").rglob("*") if "examples" in path.name]


def test_without_a_place_for_them_they_are_refused(golden, small_file, tmp_path):
    with pytest.raises(WrongName, match="save_examples needs results"):
        bench.evaluate(small_file, "pascal-voc", data_root=golden / "VOCSegmentation", save_examples=1)


@pytest.mark.slow
def test_hostile_ids_name_no_file(golden, small_file, tmp_path):
    root = tmp_path / "voc"
    shutil.copytree(golden / "VOCSegmentation", root)
    names = (root / "sets/val.txt").read_text().split()
    evil = "<script>alert(1)<"
    for folder, ending in (("images", "jpg"), ("SegmentationClass", "png")):
        (root / folder / f"{names[0]}.{ending}").rename(root / folder / f"{evil}.{ending}")
    (root / "sets/val.txt").write_text("\n".join([evil, *names[1:]]))
    bench.evaluate(small_file, "pascal-voc", data_root=root, cache=tmp_path / "cache", results=tmp_path / "r",
                   entries=SMALL, save_examples=40)  # fmt: skip
    index, folder = index_of(tmp_path)
    assert evil in {image["id"] for image in index["images"]}
    assert not [path for path in folder.iterdir() if "script" in path.name]


@pytest.mark.slow
def test_a_page_escapes_what_a_card_and_a_file_are_called(golden, small_file, tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    root = tmp_path / "photos"
    shutil.copytree(golden / "VOCSegmentation/images", root / "images")
    first = sorted((root / "images").iterdir())[0]
    first.rename(first.with_name("<b>bold.jpg"))
    (root / "list.txt").write_text("\n".join(path.stem for path in sorted((root / "images").iterdir())))
    (tmp_path / "card.toml").write_text(f"""
schema = 1
id = "photos"
title = "{evil}"
licence = ""
root = "photos"
splits.val = {{}}
[[layouts]]
name = ""
[layouts.splits.val]
list = "list.txt"
image = "images/{{id}}.jpg"
[protocols.clustering]
input = [64, 64]
clusters = 3
""")
    bench.evaluate(small_file, str(tmp_path / "card.toml"), cache=tmp_path / "cache", results=tmp_path / "r",
                   save_examples=40)  # fmt: skip
    index, folder = index_of(tmp_path)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert evil not in page and "<b>bold" not in page and "&lt;b&gt;bold" in page
    assert "http:" not in page and "https:" not in page
    assert all(image[key] is None for image in index["images"] for key in ("iou", "label"))
    assert all(cluster["class"] is None for cluster in index["clusters"])
    assert [entry["name"] for entry in index["legend"]] == ["background", "cluster 0", "cluster 1", "cluster 2"]


@pytest.mark.slow
def test_video_shows_one_frame_of_a_sequence_in_each_group(small_file, tmp_path):
    root = tmp_path / "davis"
    for name in ("one", "two"):
        write_sequence(root, name)
    write_list(root, ["one", "two"])
    bench.evaluate(small_file, "davis", "davis", split="val-2017", data_root=root, cache=tmp_path / "cache",
                   results=tmp_path / "r", entries={"height": 48, "context": 2}, save_examples=5)  # fmt: skip
    index, folder = index_of(tmp_path)
    for group in ("best", "worst"):
        homes = [image["id"].rpartition("/")[0] for image in index["images"] if group in image["groups"]]
        assert homes and len(set(homes)) == len(homes)
    assert {"background", "object 1"} <= {entry["name"] for entry in index["legend"]} and index["seed"] is None
    assert all((folder / image["label"]).is_file() for image in index["images"])


# --- which images ---


def clusters_of(typical):
    return Clusters((None,) * len(typical), tuple(map(len, typical)), typical, lambda place: [])


def test_the_best_and_the_worst_are_told_apart_and_what_has_no_iou_is_neither():
    iou = np.array([50.0, np.nan, 90.0, 10.0, 90.0])
    chosen = choose(iou, None, clusters_of(((3, 1), (), (0,))), 2)
    assert chosen.groups == {2: ["best"], 4: ["best"], 3: ["worst", "cluster"], 0: ["worst", "cluster"], 1: ["cluster"]}
    assert chosen.places == (2, 4, 3, 0, 1) and chosen.of_cluster == ((3, 1), (), (0,))
    few = choose(np.array([1.0]), None, None, 3)
    assert few.groups == {0: ["best", "worst"]} and few.of_cluster == ()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_an_image_s_iou_is_the_mean_over_what_occurs_in_it(seed):
    generator = np.random.default_rng(seed)
    tables = generator.integers(0, 3, (4, 5, 4)) * (generator.random((4, 5, 4)) < 0.4)
    image, predicted, true = np.nonzero(tables)
    rows = SeedRows(*(column.astype(np.int32) for column in (image, predicted, true)), tables[tables > 0])
    confusion = ConfusionRows(tuple("abcd"), 4, (rows,), np.empty((1, 0), np.int32))
    for counted in (None, (1, 3)):
        found = image_iou(confusion.class_sums(0), counted)
        for i, table in enumerate(tables):
            values = []
            for c in counted or range(4):
                union = table[c].sum() + table[:, c].sum() - table[c, c]
                values += [100 * table[c, c] / union] if union else []
            assert found[i] == pytest.approx(np.mean(values)) if values else np.isnan(found[i])


def test_typical_of_a_cluster_is_who_lies_in_its_middle_and_empty_images_come_last():
    points = np.array([[0], [1], [5], [0.4], [9]], np.float32)
    labels = np.array([0, 0, 0, 0, 1], np.int32)
    found = of_prototypes(labels, points, np.array([0, 1, 0, 0, 0], bool), 3, np.array([0, 7, -1, 2]))
    assert found.typical == ((3, 0, 2, 1), (4,), ()) and found.sizes == (4, 1, 0)
    assert found.classes == (7, None, 2) and found.of_image(4) == [1]


def test_typical_of_a_cluster_of_pixels_is_whom_it_covers_most():
    columns = ([0, 0, 0, 1, 1, 2], [0, 0, 2, 0, 2, 2], [0, 1, 0, 0, 0, 0])
    pixels = np.array([10, 10, 80, 999, 1, 50])
    rows = SeedRows(*(np.array(column, np.int32) for column in columns), pixels)
    found = of_pixels(rows, 3, None)
    assert found.typical == ((1, 0), (), (2, 0, 1)) and found.sizes == (2, 0, 3)
    assert found.of_image(0) == [2, 0] and found.of_image(1) == [0]


# --- pictures ---


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 400), st.integers(1, 400))
def test_what_is_fitted_fits_and_is_never_enlarged(height, width, high, wide):
    fitted = fitted_in((height, width), (high, wide))
    assert 1 <= fitted[0] <= min(height, high) and 1 <= fitted[1] <= min(width, wide)


@given(st.integers(0, 300), st.integers(1, 60))
def test_places_are_spread_and_none_comes_twice(number, most):
    found = evenly(number, most)
    assert len(found) == min(number, most) == len(set(found)) and found == sorted(found)
    assert all(0 <= place < number for place in found)


def test_colours_beyond_the_palette_differ():
    colours = colours_of(VOC, 1001)
    assert colours[:256].tobytes() == palette_of(VOC) and len(np.unique(colours[256:], axis=0)) > 700


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/old").touch()
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "x") as new:
        (new / "half").touch()
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "old"]
    with atomic_folder(tmp_path / "x") as new:
        (new / "whole").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "whole"]


def test_two_writers_of_a_folder_at_once_leave_one_whole_folder(tmp_path):
    def write(number):
        for _ in range(20):
            with atomic_folder(tmp_path / "x") as new:
                for name in ("a", "b"):
                    (new / name).write_text(str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert len({path.read_text() for path in (tmp_path / "x").iterdir()}) == 1


@pytest.mark.slow
def test_a_contact_sheet_has_every_colour_that_its_samples_have(golden):
    samples = open_split(VOC, "val", golden / "VOCSegmentation")
    sheet = np.asarray(contact_sheet(samples, 4))
    present = {tuple(colour) for colour in np.unique(sheet.reshape(-1, 3), axis=0).tolist()}
    colours = np.frombuffer(palette_of(VOC), np.uint8).reshape(-1, 3)
    for place in evenly(len(samples), 4):
        label, _ = read_label(samples.entries[place].label, VOC)
        frequent = [v for v in np.unique(label) if (label == v).mean() > 0.02]
        assert frequent and all(tuple(colours[v].tolist()) in present for v in frequent)


@pytest.mark.slow
def test_a_contact_sheet_of_images_alone_and_one_of_video(golden, tmp_path):
    bare = VOC.model_copy(update={"layouts": tuple(_without_labels(layout) for layout in VOC.layouts)})
    labelled, alone = (contact_sheet(open_split(c, "val", golden / "VOCSegmentation"), 6) for c in (VOC, bare))
    assert alone.size[1] < labelled.size[1]
    for name in ("one", "two"):
        write_sequence(tmp_path, name)
    write_list(tmp_path, ["one", "two"])
    sheet = np.asarray(contact_sheet(open_videos(catalogue.dataset("davis"), "val-2017", tmp_path), 5))
    colours = {tuple(c) for c in np.unique(sheet.reshape(-1, 3), axis=0).tolist()}
    assert {(128, 0, 0), (0, 128, 0)} <= colours  # objects 1 and 2


@pytest.mark.slow
@pytest.mark.parametrize("fonts", [FONTS, ()], ids=["this machine's fonts", "Pillow's own alone"])
def test_letters_beyond_ascii_can_be_read_on_a_contact_sheet(golden, monkeypatch, fonts):
    monkeypatch.setattr("bench.data.contact_sheet.FONTS", fonts)
    _fonts.cache_clear()

    def drawn(title):
        card = VOC.model_copy(update={"title": title})
        return contact_sheet(open_split(card, "val", golden / "VOCSegmentation"), 1).tobytes()

    try:
        titles = ("à", "é", "日本", "本日", "\U0001f9ff", "ЖΩ", "…")
        assert len({drawn(title) for title in titles}) == len(titles)
        if not fonts:
            assert drawn("Kühe, 日") == drawn(r"Kuhe, \u65e5")
    finally:
        _fonts.cache_clear()


def _without_labels(layout):
    splits = {name: files.model_copy(update={"label": None}) for name, files in layout.splits.items()}
    return layout.model_copy(update={"splits": splits})


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("shapes", "--pictures", "sheet.gif"), 2, "must end in .png or .jpg"),
        (("random-shapes", "--pictures", "sheet.png"), 2, "is for data sets"),
        (("linear", "--pictures", "sheet.png"), 2, "is for data sets"),
        (("pascal-voc", "--pictures", "sheet.png"), 3, "no data root for pascal-voc"),
    ],
)
def test_a_sheet_of_nothing_is_refused(tmp_path, monkeypatch, capsys, words, code, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["show", *words])
    assert left.value.code == code and said in capsys.readouterr().err and not list(tmp_path.iterdir())
