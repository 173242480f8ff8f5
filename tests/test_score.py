"""Predictions as files: what a run saves and `bench score` reads back, and folders made by other programs."""

import io
import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import bench
from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.cards.card import ID_PATTERN
from bench.cli import main
from bench.data.decoding import read_label
from bench.data.samples import open_split
from bench.passes import image_pass
from bench.protocols.base import Settings
from bench.records import record
from bench.runs.score_folder import model_entry, score_folder
from bench.scoring.confusion_rows import ConfusionRows

pytestmark = pytest.mark.slow

CARD = catalogue.dataset("pascal-voc")
SMALL = {"input": [64, 64]}
SHARED = ("mIoU", "pixel_accuracy", "mean_class_accuracy")


def save(model, protocol, golden, tmp_path, **more):
    entries = SMALL | more.pop("entries", {})
    return bench.evaluate(
        model,
        "pascal-voc",
        protocol,
        data_root=golden / "VOCSegmentation",
        cache=tmp_path / "cache",
        entries=entries,
        save_predictions=tmp_path / "predictions",
        **more,
    )


def rescore(golden, tmp_path, folder="predictions", matching="none", **settings):
    chosen = Settings(data_root=golden / "VOCSegmentation", cache=tmp_path / "cache", **settings)
    return score_folder(tmp_path / folder, "pascal-voc", tmp_path / "r", chosen, matching=matching)


# --- there and back ---


def counted(record, metric):
    """What a record says of a metric, but for the interval of the figure: predictions cannot be clustered again."""
    return {key: value for key, value in record["metrics"][metric].items() if key != "interval"}


@pytest.mark.parametrize(
    ("protocol", "entries"),
    [
        ("clustering", {}),
        ("clustering", {"clusters": 30}),
        ("linear", {"train": "train", "epochs": 1, "batch": 8}),
        ("retrieval-21", {"grid": "label"}),
    ],
)
def test_saved_predictions_score_to_the_last_digit(golden, small_file, tmp_path, protocol, entries):
    made = save(small_file, protocol, golden, tmp_path, entries=entries)
    scored = rescore(golden, tmp_path).record
    for metric in SHARED:
        assert scored["metrics"][metric] == counted(made, metric), metric
    assert scored["per_class"] == made["per_class"] and scored["confusion"] == made["confusion"]
    assert scored["dataset"]["manifest"] == made["dataset"]["manifest"]
    assert scored["seeds"] == (made["seeds"] if len(made["seeds"]) > 1 else [])
    assert scored["model"]["id"] == made["model"]["id"]


def test_a_released_classifier_and_its_crf_go_there_and_back(golden, linear_file, tmp_path):
    pytest.importorskip("pydensecrf", reason="needs the extra crf")
    made = save(linear_file, "linear+crf", golden, tmp_path, limit=6)
    assert made["protocol"]["id"] == "linear+crf" and "mIoU_without_crf" in made["metrics"]
    scored = rescore(golden, tmp_path, limit=6).record
    for metric in SHARED:
        assert scored["metrics"][metric] == made["metrics"][metric]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_released_classifier_sees_each_image_once(golden, linear_file, tmp_path, monkeypatch, fresh):
    seen = []
    load = image_pass.load_sample

    def counting(sample, **more):
        seen.append(sample.id)
        return load(sample, **more)

    monkeypatch.setattr(image_pass, "load_sample", counting)
    made = save(linear_file, "linear", golden, tmp_path, limit=6, fresh=fresh)
    assert len(seen) == len(set(seen)) == 6
    for metric in SHARED:
        assert rescore(golden, tmp_path, limit=6).record["metrics"][metric] == made["metrics"][metric]


@pytest.mark.parametrize("name", ["_predictions", "+", "Ωmega", "Mine, 2nd"])
def test_any_folder_name_gives_an_id_that_a_record_can_have(tmp_path, name):
    assert re.fullmatch(ID_PATTERN, model_entry(tmp_path / name, ["hash"], None, None)["id"])


def test_a_figure_counted_at_the_input_size_is_said_to_differ(golden, small_file, tmp_path):
    made = save(small_file, "retrieval-7", golden, tmp_path)
    assert any("counted at the input size" in warning for warning in made["warnings"])


def test_predictions_are_palette_images_of_the_images_own_size(golden, small_file, tmp_path):
    save(small_file, "clustering", golden, tmp_path, num_seeds=1)
    samples = open_split(CARD, "val", golden / "VOCSegmentation")
    for sample in samples:
        with Image.open(tmp_path / "predictions" / f"{sample.id}.png") as picture, Image.open(sample.image) as image:
            assert picture.mode == "P" and picture.size == image.size
            assert picture.getpalette()[3:6] == [128, 0, 0]
            assert np.asarray(picture).max() <= 20
    about = json.loads((tmp_path / "predictions" / "predictions.json").read_text())
    assert about["protocol"]["id"] == "clustering" and about["model"]["weights_sha256"]


# --- whose predictions they are ---


TRIALS = {
    "clustering": {},
    "clustering-dense": {"pixels": 50, "clusters": 21},
    "linear": {"train": "train", "epochs": 1, "batch": 8},
}


def test_what_two_protocols_painted_has_two_records_that_say_so(golden, small_file, tmp_path):
    paths = set()
    for protocol, entries in TRIALS.items():
        save(small_file, protocol, golden, tmp_path / protocol, entries=entries, num_seeds=1)
        chosen = Settings(data_root=golden / "VOCSegmentation", cache=tmp_path / "cache", limit=40)
        stored = score_folder(tmp_path / protocol / "predictions", "pascal-voc", tmp_path / "r", chosen)
        paths.add(stored.path)
        assert stored.record["protocol"]["id"] == f"predictions-{protocol}"
        assert stored.record["protocol"]["modified"]
    assert len(paths) == 3 and {entry.path for entry in record.read_all(tmp_path / "r")[0]} == paths
    assert len({path.parent for path in paths}) == 1


def test_two_recipes_of_one_protocol_have_two_records(golden, small_file, tmp_path):
    paths = set()
    for components in (8, 16):
        save(small_file, "clustering", golden, tmp_path, entries={"whiten": components}, fresh=True)
        paths.add(rescore(golden, tmp_path).path)
    assert len(paths) == 2 and all(path.is_file() for path in paths)


def test_other_predictions_in_the_same_place_are_said_to_replace_the_first(golden, tmp_path, copies):
    heard = []
    first = rescore(golden, tmp_path, name="mine", warn=heard.append)
    assert rescore(golden, tmp_path, name="mine", warn=heard.append).path == first.path and not heard
    change(copies, 0, np.zeros_like)
    second = rescore(golden, tmp_path, name="mine", warn=heard.append)
    (warning,) = heard
    assert second.path == first.path and str(first.path) in warning and "a record of different predictions" in warning


@pytest.mark.parametrize("protocol", [{"id": "../up"}, {"id": "x", "fingerprint": "y"}, "linear", ["linear"]])
def test_a_false_protocol_beside_predictions_is_not_believed(golden, tmp_path, copies, protocol):
    (copies / "predictions.json").write_text(json.dumps({"protocol": protocol}))
    assert rescore(golden, tmp_path).record["protocol"]["id"] == "predictions"


# --- a folder of predictions belongs to one run ---


def listing(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_run_writes_its_folder_again_and_another_is_refused(golden, small_file, tmp_path):
    save(small_file, "clustering", golden, tmp_path, num_seeds=1)
    before = listing(tmp_path / "predictions")
    save(small_file, "clustering", golden, tmp_path, num_seeds=1)
    for changes, word in (
        ({"num_seeds": 2}, "list of seeds"),
        ({"entries": {"whiten": 8}}, "fingerprint"),
        ({"limit": 30}, "number of images"),
        ({"split": "train"}, "split"),
    ):
        with pytest.raises(WrongName, match=f"holds predictions of another run: its {word} is") as caught:
            save(small_file, "clustering", golden, tmp_path, **{"num_seeds": 1} | changes)
        assert "--fresh" in caught.value.remedy
    with pytest.raises(WrongName, match="its protocol is clustering, not retrieval-21"):
        save(small_file, "retrieval-21", golden, tmp_path)
    with pytest.raises(WrongName, match=r"its model is .*, not random-shapes"):
        save("random-shapes", "clustering", golden, tmp_path, num_seeds=1)
    assert listing(tmp_path / "predictions") == before


def test_fresh_gives_another_runs_folder_up(golden, small_file, tmp_path):
    save(small_file, "clustering", golden, tmp_path, num_seeds=2)
    made = save(small_file, "clustering", golden, tmp_path, num_seeds=1, limit=30, fresh=True)
    assert not list((tmp_path / "predictions").glob("seed-*/*.png"))
    assert len(list((tmp_path / "predictions").glob("*.png"))) == 30
    assert rescore(golden, tmp_path, limit=30).record["metrics"]["mIoU"] == counted(made, "mIoU")


def test_pictures_that_no_run_wrote_are_never_overwritten(golden, small_file, tmp_path, copies):
    before = listing(copies)
    for fresh in (False, True):
        with pytest.raises(WrongName, match="holds PNG files that `bench run` did not write"):
            save(small_file, "clustering", golden, tmp_path, fresh=fresh)
    assert listing(copies) == before


def test_a_killed_run_goes_on_in_its_own_folder(golden, small_file, tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.runs.predictions.encode_index", killed)
    with pytest.raises(KeyboardInterrupt):
        save(small_file, "clustering", golden, tmp_path, num_seeds=1)
    monkeypatch.undo()
    save(small_file, "clustering", golden, tmp_path, num_seeds=1)
    assert len(list((tmp_path / "predictions").glob("*.png"))) == 40


# --- predictions of other programs ---


@pytest.fixture
def copies(golden, tmp_path):
    """The labels themselves as predictions: void painted as background."""
    for sample in open_split(CARD, "val", golden / "VOCSegmentation"):
        label, _ = read_label(sample.label, CARD)
        put(tmp_path / "predictions" / f"{sample.id}.png", np.where(label == 255, 0, label))
    return tmp_path / "predictions"


def put(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids.astype(np.uint8)).save(path)


def change(folder, index, function):
    path = sorted(folder.glob("*.png"))[index]
    put(path, function(np.array(Image.open(path))))
    return path


def test_perfect_predictions_score_100_with_record_rows_and_interval(golden, tmp_path, copies):
    stored = rescore(golden, tmp_path)
    metrics = stored.record["metrics"]
    assert metrics["mIoU"]["value"] == metrics["pixel_accuracy"]["value"] == 100.0
    assert metrics["mIoU"]["ci95"][1] == 100.0
    assert stored.path.name.startswith("predictions@") and stored.path.name.endswith("-limit40.json")
    rows = ConfusionRows.read(stored.path.with_name(stored.record["rows"]["file"]))
    assert len(rows.ids) == 40 and (np.triu(rows.confusion(0)[:21], 1) == 0).all()
    assert stored.record["model"]["supervision"] == "not stated"


@pytest.mark.parametrize("matching", ["iou", "pixels"])
def test_cluster_ids_in_any_order_are_matched(golden, tmp_path, copies, matching):
    ids = np.random.default_rng(3).permutation(200)[:21]
    for index in range(40):
        change(copies, index, lambda label: ids[label])
    record = rescore(golden, tmp_path, matching=matching).record
    assert record["metrics"]["mIoU"]["value"] == 100.0
    assert record["protocol"]["id"] == f"predictions+{matching}"
    mapping = record["cluster_to_class"][0]
    assert [mapping[i] for i in ids] == list(range(21))


def test_background_that_is_not_0_is_said_where_0_is_not_matched(golden, tmp_path, copies):
    assert not rescore(golden, tmp_path, matching="images").record["warnings"]
    for index in range(40):
        change(copies, index, lambda label: np.where(label == 0, 21, label))
    (warning,) = rescore(golden, tmp_path, matching="images").record["warnings"]
    assert "most of the background is predicted as 21" in warning and "predict the background as 0" in warning
    assert not rescore(golden, tmp_path, matching="iou").record["warnings"]


def test_folders_of_one_name_have_ids_of_their_own_as_the_help_says(golden, tmp_path, copies, capsys):
    first = rescore(golden, tmp_path)
    change(copies, 0, np.zeros_like)
    second = rescore(golden, tmp_path)
    assert first.path != second.path and first.path.is_file()
    for stored in (first, second):
        model = stored.record["model"]
        assert model["id"] == f"predictions-{model['weights_sha256'][:8]}"
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    assert "the folder's name and a hash" in " ".join(capsys.readouterr().out.split())


def test_a_pixel_left_open_is_a_wrong_prediction(golden, tmp_path, copies):
    path = change(copies, 0, lambda label: np.where(label == 0, 255, label))
    record = rescore(golden, tmp_path).record
    opened = int((np.array(Image.open(path)) == 255).sum())
    label, _ = read_label(golden / f"VOCSegmentation/SegmentationClass/{path.stem}.png", CARD)
    lost = int((label[np.array(Image.open(path)) == 255] != 255).sum())
    assert 0 < lost <= opened
    assert sum(record["confusion"]["mean"][21]) == lost


@pytest.mark.parametrize(
    ("value", "words"),
    [(1, "only 0 and 1: are they foreground masks? Here 1 is 'aeroplane'"), (255, "Here 255 counts as wrong")],
)
def test_a_foreground_mask_is_taken_for_none_in_silence(golden, tmp_path, copies, value, words):
    assert not rescore(golden, tmp_path).record["warnings"]
    for index in range(40):
        change(copies, index, lambda label: np.where(label > 0, value, 0))
    (warning,) = rescore(golden, tmp_path).record["warnings"]
    assert words in warning
    change(copies, 0, lambda label: np.full_like(label, 7))
    assert not rescore(golden, tmp_path).record["warnings"]
    assert not rescore(golden, tmp_path, matching="iou").record["warnings"]


def test_masks_of_images_that_show_one_class_are_what_they_should_be(golden, tmp_path, copies):
    for label in (golden / "VOCSegmentation/SegmentationClass").glob("*.png"):
        put(tmp_path / f"two/SegmentationClass/{label.name}", np.minimum(np.array(Image.open(label)), 1))
    for name in ("images", "sets"):
        shutil.copytree(golden / "VOCSegmentation" / name, tmp_path / "two" / name)
    for index in range(40):
        change(copies, index, lambda label: np.minimum(label, 1))
    chosen = Settings(data_root=tmp_path / "two", cache=tmp_path / "cache")
    assert not score_folder(copies, "pascal-voc", tmp_path / "r", chosen).record["warnings"]


def test_bad_predictions_are_named(golden, tmp_path, copies):
    first = sorted(copies.glob("*.png"))[0]
    kept = first.read_bytes()
    change(copies, 0, lambda label: label[:-1])
    with pytest.raises(BadInput, match=rf"{first.name} is \d+×\d+ pixels, its label"):
        rescore(golden, tmp_path)
    first.write_bytes(kept)
    change(copies, 0, lambda label: np.full_like(label, 37))
    with pytest.raises(BadInput, match="holds the label 37") as caught:
        rescore(golden, tmp_path)
    assert "--match" in caught.value.remedy
    first.write_bytes(kept[:50])
    with pytest.raises(BadInput, match=f"{first.name} is damaged") as caught:
        rescore(golden, tmp_path)
    assert "the program that made it" in caught.value.remedy
    with Image.open(io.BytesIO(kept)) as picture:
        Image.new("LA", picture.size).save(first)
    with pytest.raises(BadInput, match="LA pixels; a greyscale PNG of ids"):
        rescore(golden, tmp_path)
    first.unlink()
    with pytest.raises(BadInput, match=rf"{first.name} is missing \(1 of 40 images have no prediction\)"):
        rescore(golden, tmp_path)


def test_a_missing_folder_a_bad_name_and_files_of_no_image(golden, tmp_path, copies):
    with pytest.raises(BadInput, match="no folder at"):
        rescore(golden, tmp_path, folder="nowhere")
    with pytest.raises(WrongName, match="is not allowed as a model's id"):
        rescore(golden, tmp_path, name="../x")
    shutil.copy(sorted(copies.glob("*.png"))[0], copies / "extra.png")
    record = rescore(golden, tmp_path, name="mine").record
    assert record["model"]["id"] == "mine"
    assert any("holds 1 files that belong to no image of val, extra.png first" in w for w in record["warnings"])


def test_a_false_word_beside_predictions_is_not_believed(golden, tmp_path, copies):
    (copies / "predictions.json").write_text(json.dumps({"model": {"id": "../../evil", "supervision": "none"}}))
    record = rescore(golden, tmp_path).record
    assert record["model"]["id"].startswith("predictions-") and record["model"]["supervision"] == "not stated"
    (copies / "predictions.json").write_text("[1")
    assert rescore(golden, tmp_path).record["model"]["id"] == record["model"]["id"]
    (copies / "predictions.json").unlink()
    os.mkfifo(copies / "predictions.json")
    assert rescore(golden, tmp_path).record["model"]["id"] == record["model"]["id"]


@pytest.fixture
def score_command(golden, tmp_path, copies, capsys):
    """`bench score` of the copies: stdout and stderr."""

    def call(*arguments):
        options = ["--dataset", "pascal-voc", "--data-root", str(golden / "VOCSegmentation"), "--results"]
        with pytest.raises(SystemExit) as left:
            main(["score", str(copies), *options, str(tmp_path / "r"), *arguments])
        assert left.value.code == 0
        return capsys.readouterr()

    return call


@pytest.mark.parametrize("limit", [2, 5, 40])
def test_why_perfect_predictions_stay_below_100(golden, score_command, limit):
    samples = list(open_split(CARD, "val", golden / "VOCSegmentation"))[:limit]
    seen = set().union(*(np.unique(read_label(sample.label, CARD)[0]) for sample in samples)) - {255}
    shown = score_command("--limit", str(limit)).out
    assert f"mIoU {100 * len(seen) / 21:.2f}" in " ".join(shown.split())
    assert ("(absent = zero)" in shown) == (len(seen) < 21)
    if len(seen) < 20:
        assert f"  {21 - len(seen)} of 21 classes occur in no label and count as 0 (absent = zero)" in shown


def test_the_command_prints_and_checks(golden, tmp_path, copies, capsys):
    options = ["--dataset", "pascal-voc", "--data-root", str(golden / "VOCSegmentation"), "--results"]
    for results in ("a", "b"):
        with pytest.raises(SystemExit) as left:
            main(["score", str(copies), *options, str(tmp_path / results), "--name", "mine", "--supervision", "all"])
        assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "mine on pascal-voc val (40 images of 1449), predictions" in shown and "supervision: all" in shown
    with pytest.raises(SystemExit) as left:
        main(["check", "--results", str(tmp_path / "a"), "--against", str(tmp_path / "b"), "--require", "mine"])
    assert left.value.code == 0
    with pytest.raises(SystemExit) as left:
        main(["score", str(tmp_path / "nowhere"), *options, str(tmp_path / "a")])
    assert left.value.code == 3
    assert "no folder at" in capsys.readouterr().err
