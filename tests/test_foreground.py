"""The protocols `saliency` and `discovery`: whole runs, the cache, predictions made elsewhere, bad input, commands."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import bench
from bench.base.errors import BadInput, WrongName
from bench.cards.foreground import ForegroundPreset
from bench.cli import main
from bench.data.grey_maps import read_map
from bench.passes.features import fill_up
from bench.passes.foreground_pass import input_size
from bench.protocols.base import Settings
from bench.runs.score_foreground import score_foreground
from bench.scoring import normalised_cut, rows
from tests.conftest import ROOT

SIZES = ((64, 96), (80, 70), (50, 61), (96, 64))  # height and width; not all are multiples of a patch
NAMES = tuple(f"{i:02d}" for i in range(len(SIZES)))
PLACES = ((16, 32), (16, 16), (16, 16), (32, 0))


class Patches(nn.Module):
    """Red and green of 16×16 pixels, what is above 0 and what below apart: red is nothing like green."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        cells = F.avg_pool2d(images[:, :2], 16)
        return torch.cat([cells.clamp(min=0), (-cells).clamp(min=0)], dim=1)


class Headed(Patches):
    """The same, and a saliency logit that is high where there is more red than green."""

    def forward(self, images):
        cells = F.avg_pool2d(images, 8)
        return cells, 4 * (cells[:, 0] - cells[:, 1])


def objects():
    """Per image its name, the picture and the mask: a red square of whole patches on green."""
    for name, (height, width), (y, x) in zip(NAMES, SIZES, PLACES, strict=True):
        mask = np.zeros((height, width), bool)
        mask[y : y + 32, x : x + 32] = True
        yield name, np.where(mask[..., None], [250, 10, 10], [10, 250, 10]).astype(np.uint8), mask


@pytest.fixture(scope="module")
def saliency(tmp_path_factory):
    """ECSSD's form; the second mask has a rim of grey."""
    root = tmp_path_factory.mktemp("ecssd")
    for folder in ("images", "ground_truth_mask"):
        (root / folder).mkdir()
    for name, picture, mask in objects():
        Image.fromarray(picture).save(root / "images" / f"{name}.jpg", quality=100, subsampling=0)
        grey = np.where(mask, 255, 0).astype(np.uint8)
        if name == "01":
            grey[16, 16:48] = 100
        Image.fromarray(grey).save(root / "ground_truth_mask" / f"{name}.png")
    return root


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """VOC 2007's form; the last image has only a difficult object."""
    root = tmp_path_factory.mktemp("voc")
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets" / "Main" / "trainval.txt").write_text("".join(f"{name}\n" for name in NAMES))
    for name, picture, mask in objects():
        Image.fromarray(picture).save(root / "JPEGImages" / f"{name}.jpg", quality=100, subsampling=0)
        ys, xs = np.nonzero(mask)
        write_xml(root, name, (xs.min() + 1, ys.min() + 1, xs.max() + 1, ys.max() + 1), hard=name == NAMES[-1])
    return root


def write_xml(root, name, box, *, hard=False):
    corners = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    flags = f"<difficult>{int(hard)}</difficult><truncated>0</truncated>"
    text = f"<annotation><object><name>a</name>{flags}<bndbox>{corners}</bndbox></object></annotation>"
    (root / "Annotations" / f"{name}.xml").write_text(text)


def run(root, tmp_path, protocol="saliency", model=None, **more):
    dataset = {"saliency": "ecssd", "discovery": "voc2007"}[protocol]
    more.setdefault("cache", tmp_path / "cache")
    return bench.evaluate(model or Patches(), dataset, protocol, data_root=root, **more)


def values(made):
    return {name: entry["value"] for name, entry in made["metrics"].items()}


# --- runs ---


def test_an_object_of_another_colour_is_found(saliency, tmp_path):
    made = run(saliency, tmp_path, save_predictions=tmp_path / "p", results=tmp_path / "r", save_examples=1)
    assert values(made) == {name: pytest.approx(100) for name in ("max_f", "iou", "accuracy")}
    preset = made["protocol"]["preset"]
    assert (preset["rules"], preset["foreground"], preset["beta2"]) == ("tokencut", 0, 0.3)
    assert preset["aggregation"] == "mean-then-max" and preset["features"] == "last" and made["seeds"] == []
    for name, _, mask in objects():
        assert np.array_equal(np.asarray(Image.open(tmp_path / "p" / f"{name}.png")), mask)
    assert made["examples"]["images"] >= 1 and list((tmp_path / "r").rglob("*.examples/index.html"))


def test_the_rules_of_a_release_are_entries(saliency, tmp_path):
    """pysodmetrics takes the grey rim of a mask for background, the others for foreground."""
    made = {name: run(saliency, tmp_path, entries={"rules": name}) for name in ("tokencut", "selfmask", "pysodmetrics")}
    assert made["selfmask"]["protocol"]["preset"]["beta2"] == 0.09
    assert made["pysodmetrics"]["protocol"]["preset"]["foreground"] == 128
    assert values(made["pysodmetrics"]).keys() == {"max_f", "mean_f", "adaptive_f", "mae"}
    assert values(made["pysodmetrics"])["mae"] > 0 and values(made["selfmask"])["mae"] == 0
    own = run(saliency, tmp_path, entries={"rules": "selfmask", "foreground": 128})
    assert values(own)["mae"] == pytest.approx(values(made["pysodmetrics"])["mae"])
    assert len({one["protocol"]["fingerprint"] for one in [*made.values(), own]}) == 4


def test_boxes_are_found_and_hard_objects_can_be_dropped(voc, tmp_path):
    made = run(voc, tmp_path, "discovery", results=tmp_path / "r")
    assert values(made) == {"corloc": 100, "box_iou": pytest.approx(100)} and "labelled" not in made["dataset"]
    assert made["observed"]["counted_images"] == 4 and made["protocol"]["id"] == "discovery"
    easy = run(voc, tmp_path, "discovery", entries={"hard": False})
    assert easy["observed"]["counted_images"] == 3 and easy["dataset"]["images"] == 4


def test_both_protocols_see_the_same_foreground(saliency, voc, tmp_path):
    run(saliency, tmp_path, save_predictions=tmp_path / "masks")
    stored = score_foreground(
        tmp_path / "masks", "voc2007", "discovery", tmp_path / "r", Settings(data_root=voc, cache=tmp_path)
    )
    assert values(stored.record)["box_iou"] == pytest.approx(100)


def test_a_second_run_needs_no_network_and_other_rules_no_second_pass(saliency, tmp_path, monkeypatch):
    first = run(saliency, tmp_path, model="random-shapes")
    monkeypatch.setattr("bench.passes.foreground_pass._forward", None)
    again = run(saliency, tmp_path, model="random-shapes")
    assert again["metrics"] == first["metrics"] and again["observed"]["from_cache"] == 4
    assert again["read"] == first["read"] and again["dataset"]["manifest"] == first["dataset"]["manifest"]
    other = run(saliency, tmp_path, model="random-shapes", entries={"rules": "pysodmetrics"})
    assert other["observed"]["from_cache"] == 4


def test_a_saliency_head_gives_a_map(saliency, tmp_path):
    entries = {"mask": "saliency-head", "rules": "pysodmetrics"}
    made = run(saliency, tmp_path, model=Headed(), entries=entries)
    assert values(made)["max_f"] > 90 and "features" not in made
    with pytest.raises(BadInput, match="it has no saliency head"):
        run(saliency, tmp_path, model="timm:test_vit?random=0", entries=entries)
    with pytest.raises(WrongName, match="'similarity' has no effect here: mask is saliency-head"):
        run(saliency, tmp_path, model=Headed(), entries=entries | {"similarity": 0.5})


@pytest.mark.slow
def test_keys_of_a_transformer_are_cut(saliency, tmp_path):
    made = run(saliency, tmp_path, model="timm:test_vit?random=0")
    assert made["protocol"]["preset"]["features"] == "key" and made["read"]["layer"] == "key"
    assert made["read"]["input"] == [64, 96] and made["features"]["are"].startswith("the keys of the attention")


def test_images_are_padded_with_zeros_and_can_be_made_smaller(saliency, tmp_path):
    images = torch.ones(1, 3, 50, 61)
    seen = fill_up(images, 16)
    assert seen.shape == (1, 3, 64, 64) and seen[..., :50, :61].all() and seen.sum() == images.sum()
    assert fill_up(torch.ones(1, 3, 48, 32), 16).shape == (1, 3, 48, 32)
    assert input_size((300, 400), None) == input_size((300, 400), 400) == (300, 400)
    assert input_size((300, 400), 200) == (150, 200)
    assert ForegroundPreset().for_patch(14) == {"multiple": 14}
    made = run(saliency, tmp_path, entries={"longer_side": 48, "multiple": 16})
    assert made["metrics"]["iou"]["value"] > 40


def test_an_image_without_any_foreground_is_said(saliency, tmp_path):
    root = shutil.copytree(saliency, tmp_path / "tree")
    Image.fromarray(np.zeros(SIZES[0], np.uint8)).save(root / "ground_truth_mask" / "00.png")
    maps = maps_of(root, tmp_path / "maps")
    carried, skipped = (score(maps, root, tmp_path, entries={"undefined": how}) for how in ("carry", "skip"))
    assert "iou" not in carried["metrics"] and values(skipped)["iou"] == pytest.approx(100)
    assert any("iou left out: 1 image has neither" in line for line in carried["warnings"])
    assert any("left out of the mean IoU" in line for line in skipped["warnings"])


# --- predictions made elsewhere ---


def maps_of(root, folder, change=lambda grey: grey):
    """Perfect maps of a tree, changed."""
    folder.mkdir()
    for path in sorted((root / "ground_truth_mask").glob("*.png")):
        Image.fromarray(change((np.asarray(Image.open(path)) > 0).astype(np.uint8) * 255)).save(folder / path.name)
    return folder


def score(folder, root, tmp_path, protocol="saliency", **more):
    dataset = {"saliency": "ecssd", "discovery": "voc2007"}[protocol]
    settings = Settings(data_root=root, cache=tmp_path / "cache", **more)
    return score_foreground(folder, dataset, protocol, tmp_path / "r", settings).record


def test_masks_of_0_and_1_of_255_and_of_16_bits_are_one(saliency, tmp_path):
    forms = (lambda grey: grey, lambda grey: grey // 255, lambda grey: grey.astype(np.uint16) * 257)
    made = [score(maps_of(saliency, tmp_path / f"m{i}", form), saliency, tmp_path) for i, form in enumerate(forms)]
    assert all(values(one) == values(made[0]) for one in made) and values(made[0])["max_f"] == 100
    assert made[0]["protocol"]["id"] == "predictions-saliency"


def test_palettes_of_grey_are_values_and_of_colours_are_ids(tmp_path):
    indices = np.array([[0, 1, 2]], np.uint8)
    for palette, expected in (
        ([0, 0, 0, 128, 128, 128, 255, 255, 255], [0, 128 / 255, 1]),
        ([0, 0, 0, 9, 0, 0], [0, 1, 1]),
    ):
        picture = Image.fromarray(indices, mode="P")
        picture.putpalette(palette)
        picture.save(tmp_path / "a.png")
        assert read_map(tmp_path / "a.png", (1, 3))[0].tolist()[0] == pytest.approx(expected)


def test_a_run_and_its_saved_masks_have_the_same_figures(saliency, tmp_path):
    made = run(saliency, tmp_path, model="random-shapes", save_predictions=tmp_path / "p")
    scored = score(tmp_path / "p", saliency, tmp_path)
    assert scored["metrics"] == made["metrics"] and scored["dataset"]["manifest"] == made["dataset"]["manifest"]


def boxes_file(tmp_path, **change):
    boxes = {}
    for name, _, mask in objects():
        ys, xs = np.nonzero(mask)
        boxes[name] = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({name: box for name, box in (boxes | change).items() if box != "drop"}))
    return path


def test_given_boxes_are_scored(voc, tmp_path):
    assert values(score(boxes_file(tmp_path), voc, tmp_path, "discovery"))["corloc"] == 100
    half = boxes_file(tmp_path, **{"00": [32, 16, 64, 32], "01": None})
    made = score(half, voc, tmp_path, "discovery")
    assert values(made)["corloc"] == 75 and values(made)["box_iou"] == pytest.approx(62.5)
    assert made["solver"] == {"algorithm": "none: boxes were given"}


# --- bad input ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"00": [0, 0, float("nan"), 4]}, "cannot be read as boxes: NaN is not JSON"),
        ({"00": [0, 0, 4]}, "the box of '00' is .* not four numbers"),
        ({"00": [5, 0, 4, 4]}, "ends before it begins"),
        ({"00": [True, 0, 4, 4]}, "not four numbers"),
        ({"99": [0, 0, 4, 4]}, "has a box of '99', which is no image of the split"),
        ({"02": "drop"}, "has no box of '02'"),
    ],
)
def test_bad_boxes_are_named(voc, tmp_path, change, said):
    with pytest.raises(BadInput, match=said):
        score(boxes_file(tmp_path, **change), voc, tmp_path, "discovery")


def test_bad_masks_are_named(saliency, tmp_path):
    maps = maps_of(saliency, tmp_path / "maps")
    for name, write, said in (
        ("00", lambda path: Image.new("L", (9, 9)).save(path), r"00\.png is 9×9 pixels, its image 96×64"),
        ("01", lambda path: path.write_text("no"), r"01\.png is damaged or not an image"),
        ("02", lambda path: Image.fromarray(np.full((50, 61, 3), (1, 2, 3), np.uint8)).save(path), "RGB pixels"),
        ("03", lambda path: path.unlink(), r"03\.png is missing \(1 of 4 images"),
    ):
        before = (maps / f"{name}.png").read_bytes()
        write(maps / f"{name}.png")
        with pytest.raises(BadInput, match=said):
            score(maps, saliency, tmp_path)
        (maps / f"{name}.png").write_bytes(before)


def test_what_cannot_be_is_refused_in_a_line(saliency, voc, tmp_path, monkeypatch):
    maps = maps_of(saliency, tmp_path / "maps")
    for entries in ({"similarity": 0.1}, {"rules": "selfmask", "undefined": "skip"}):
        with pytest.raises(WrongName, match="has no effect here"):
            score(maps, saliency, tmp_path, entries=entries)
    with pytest.raises(WrongName, match="ecssd has no preset for discovery"):
        score_foreground(maps, "ecssd", "discovery", tmp_path / "r", Settings(data_root=saliency))
    (tmp_path / "tree").mkdir()
    other = shutil.copytree(voc, tmp_path / "tree" / "voc")
    (other / "Annotations" / "01.xml").write_text("<annotation><object>")
    with pytest.raises(BadInput, match=r"01\.xml is not a VOC annotation"):
        run(other, tmp_path, "discovery")
    monkeypatch.setattr(normalised_cut, "MOST_PATCHES", 20)
    with pytest.raises(BadInput, match=r"00\.jpg is 96×64 pixels, which are 24 patches; at most 20 are cut"):
        run(saliency, tmp_path)


# --- commands ---


def command(words):
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code or 0


def test_records_are_checked_shown_compared_and_reported(saliency, voc, tmp_path, capsys):
    results = ("--results", str(tmp_path / "r"))
    worse = maps_of(saliency, tmp_path / "worse", lambda grey: np.roll(grey, 8, 1))
    better = maps_of(saliency, tmp_path / "better")
    common = ("--cache", str(tmp_path / "cache"), *results)
    for folder in (worse, better):
        words = ("--dataset", "ecssd", "--data-root", str(saliency), "--protocol", "saliency", "--name", folder.name)
        assert command(["score", str(folder), *words, *common]) == 0
    for name, change in (("first", {}), ("second", {"00": None})):
        file = boxes_file(tmp_path, **change)
        words = ("--dataset", "voc2007", "--data-root", str(voc), "--protocol", "discovery", "--name", name)
        assert command(["score", str(file), *words, *common]) == 0
    capsys.readouterr()

    assert command(["compare", "worse", "better", *results]) == 0
    told = capsys.readouterr().out
    assert "max_f: B − A = +" in told and "CLASS" not in told and "new images" in told
    assert command(["compare", "second", "first", "--metric", "corloc", "--json", *results]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] == 25

    assert command(["show", "better", *results]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "counted again: its figures are those of its rows" in told and "scored as TokenCut does" in told
    assert command(["report", "--format", "json", *results]) == 0
    measured = json.loads(capsys.readouterr().out)["measured"]
    assert {row["metric"] for row in measured} >= {"max_f", "iou", "corloc"}
    assert command(["report", "--format", "html", "--out", str(tmp_path / "site"), *results]) == 0


def test_a_whole_run_is_held_against_an_earlier_one(saliency, tmp_path, capsys):
    text = (ROOT / "datasets" / "ecssd.toml").read_text()
    (tmp_path / "tiny.toml").write_text(text.replace('"ecssd"', '"tiny"').replace("images = 1000", "images = 4"))
    folders = {name: tmp_path / "results" / name for name in ("before", "again", "after")}
    for name, results in folders.items():
        moved = 8 if name == "after" else 0
        maps = maps_of(saliency, tmp_path / name, lambda grey, moved=moved: np.roll(grey, moved, 1))
        words = ("--dataset", str(tmp_path / "tiny.toml"), "--data-root", str(saliency), "--name", "same")
        assert command(["score", str(maps), "--protocol", "saliency", *words, "--results", str(results)]) == 0
        (record,) = results.rglob("*.json")
        record.write_text(record.read_text().replace('"created": "', f'"about": "{name}",\n "created": "'))
    before = ("check", "--against", str(folders["before"]), "--results")
    assert command([*before, str(folders["again"])]) == 0
    assert command([*before, str(folders["after"])]) == 1
    assert "max_f" in capsys.readouterr().out


def test_a_forged_figure_is_found(saliency, tmp_path, capsys):
    run(saliency, tmp_path, model="random-shapes", results=tmp_path / "r")
    (path,) = (tmp_path / "r").rglob("*.json")
    made = json.loads(path.read_text())
    made["metrics"]["max_f"]["value"] += 5
    made["metrics"]["max_f"]["per_seed"][0] += 5
    path.write_text(json.dumps(made))
    assert command(["check", "--results", str(tmp_path / "r")]) == 1
    assert "it says max_f" in capsys.readouterr().out
    assert type(rows.read(next((tmp_path / "r").rglob("*.npz")))).__name__ == "SaliencyRows"


def test_options_of_other_scores_are_refused(saliency, tmp_path, capsys):
    maps = maps_of(saliency, tmp_path / "maps")
    common = ("--dataset", "ecssd", "--data-root", str(saliency), "--results", str(tmp_path / "r"))
    for words, said in (
        (("--protocol", "saliency", "--match", "iou"), "--match iou is for class ids"),
        (("--set", "rules=selfmask"), "--set has no effect on class ids"),
    ):
        assert command(["score", str(maps), *common, *words]) == 2
        assert said in capsys.readouterr().err
