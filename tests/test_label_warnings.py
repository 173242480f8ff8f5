"""Labels that are hardly what a card takes them for: `bench run` and `bench score` say so and record it."""

import numpy as np
import pytest
from PIL import Image

import bench
from bench.data.label_palettes import PaletteColours, colours_in
from bench.protocols.base import Settings
from bench.runs.score_folder import score_folder

COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
CARD = """schema = 1
id = "toy"
title = "toy"
licence = "none"
root = "."
classes = ["background", "cat", "dog"]
splits.val = {}
[labels]
ignore = 255
LABELS
[[layouts]]
name = "toy"
[layouts.splits.val]
list = "val.txt"
image = "images/{id}.png"
label = "labels/{id}.png"
[protocols.clustering-dense]
input = [64, 64]
clusters = 3
"""


def scene(seed):
    """Two boxes on a ground: each of 0, 1 and 2 is the ground of one image of three."""
    label = np.full((40, 48), seed % 3, np.uint8)
    for value in (1, 2):
        y, x = np.random.default_rng(seed + value).integers(0, 24, 2)
        label[y : y + 14, x : x + 14] = (seed + value) % 3
    return label


def toy(folder, save, labels=""):
    """Images, labels as `save` writes them, and predictions, the true ids."""
    (folder / "toy.toml").write_text(CARD.replace("LABELS", labels))
    (folder / "val.txt").write_text("im0\nim1\nim2\n")
    for below in ("images", "labels", "pred"):
        (folder / below).mkdir()
    for number in range(3):
        label = scene(number)
        Image.fromarray(COLOURS[label] + np.uint8(20)).save(folder / f"images/im{number}.png")
        Image.fromarray(label).save(folder / f"pred/im{number}.png")
        save(label, folder / f"labels/im{number}.png")
    return folder


def scored(folder, matching="none"):
    settings = Settings(cache=folder / "cache")
    card = str(folder / "toy.toml")
    return score_folder(folder / "pred", card, folder / "results", settings, matching=matching).record["warnings"]


def ran(folder):
    made = bench.evaluate(
        "random-shapes", str(folder / "toy.toml"), "clustering-dense", cache=folder / "cache", num_seeds=1
    )
    return made["warnings"]


def mask(label, path):
    Image.fromarray(np.where(label, np.uint8(255), np.uint8(0))).save(path)


def plain(label, path):
    Image.fromarray(label).save(path)


def own_palette(label, path):
    """As programs make a coloured mask indexed: the file's palette has its colours in the order in which they come."""
    order = list(dict.fromkeys(label.ravel().tolist()))
    picture = Image.fromarray(np.argsort(order).astype(np.uint8)[label], mode="P")
    picture.putpalette(COLOURS[order].tobytes())
    picture.save(path)


def one_palette(label, path):
    """Optimised: as long as the ids that the file has."""
    picture = Image.fromarray(label, mode="P")
    picture.putpalette(COLOURS[: label.max() + 1].tobytes())
    picture.save(path)


@pytest.mark.parametrize("warnings_of", [scored, pytest.param(ran, marks=pytest.mark.slow)])
def test_labels_of_0_and_the_ignore_id_alone_are_said(tmp_path, warnings_of):
    found = [text for text in warnings_of(toy(tmp_path, mask)) if "all labels" in text]
    assert len(found) == 1 and "hold only 0 and 255" in found[0] and "are they foreground masks?" in found[0]
    assert "ignore = 254, map = [{ ids = [0, 0], classes = [0, 0] }, { ids = [255, 255], classes" in found[0]


@pytest.mark.parametrize("warnings_of", [scored, pytest.param(ran, marks=pytest.mark.slow)])
def test_labels_whose_palettes_differ_are_said(tmp_path, warnings_of):
    found = [text for text in warnings_of(toy(tmp_path, own_palette)) if "palettes" in text]
    assert len(found) == 1 and "the masks have different palettes (0 is (" in found[0]
    assert "is an index the same class" in found[0] and 'encoding = "colour"' in found[0]


def exchanged(label, path):
    """One palette in all masks, in which the colour of each class stands at the place of the one before."""
    picture = Image.fromarray((label + np.uint8(1)) % 3, mode="P")
    picture.putpalette(np.roll(COLOURS, 1, axis=0).tobytes())
    picture.save(path)


def test_labels_in_the_colours_of_other_classes_are_said(tmp_path):
    (warning,) = scored(toy(tmp_path, exchanged))
    assert (
        "the masks have the colours of the classes in another order (0 is (0, 128, 0), the colour of 'dog'" in warning
    )
    card = tmp_path / "toy.toml"
    card.write_text(card.read_text().replace("[labels]", "[labels]\nmap = [{ ids = [0, 2], classes = [0, 2] }]"))
    assert scored(tmp_path) == []


@pytest.mark.parametrize("save", [plain, one_palette])
def test_sound_labels_are_not_warned_of(tmp_path, save):
    assert scored(toy(tmp_path, save)) == []


def test_the_card_that_is_proposed_counts_the_objects(tmp_path):
    labels = "map = [{ ids = [0, 0], classes = [0, 0] }, { ids = [255, 255], classes = [1, 1] }]"
    folder = toy(tmp_path, mask, labels)
    (folder / "toy.toml").write_text((folder / "toy.toml").read_text().replace("ignore = 255", "ignore = 254"))
    assert scored(folder) == []


def test_only_the_indices_that_masks_hold_are_compared():
    colours = PaletteColours()
    colours.add("a.png", [0, 1], bytes(9))
    colours.add("b.png", [0, 1, 2], bytes(6) + b"\1\2\3")
    colours.add("c.png", [200], bytes(9))
    assert not colours.conflict()
    colours.add("d.png", [2], bytes(9))
    assert "2 is (1, 2, 3) in b.png and (0, 0, 0) in d.png" in colours.conflict()


def test_what_is_no_palette_image_is_passed_over(tmp_path):
    (tmp_path / "empty.png").touch()
    plain(scene(0), tmp_path / "grey.png")
    one_palette(scene(0), tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    assert not colours_in([tmp_path / name for name in ("empty.png", "grey.png", "cut.png", "none.png")]).first


# --- predictions ---


def test_predictions_whose_palettes_differ_are_said_however_they_are_matched(tmp_path):
    toy(tmp_path, plain)
    for number in range(3):
        own_palette(scene(number), tmp_path / f"pred/im{number}.png")
    for matching in ("none", "iou"):
        (warning,) = scored(tmp_path, matching)
        assert "have different palettes (0 is (0, 0, 0) in im0.png and (128, 0, 0) in im1.png): indices" in warning
        assert "Save ids" in warning


def test_predictions_in_the_colours_of_other_classes_are_said(tmp_path):
    toy(tmp_path, plain)
    for number in range(3):
        exchanged(scene(number), tmp_path / f"pred/im{number}.png")
    (warning,) = scored(tmp_path)
    assert "in another order (0 is (0, 128, 0), the colour of 'dog', in im0.png)" in warning
    assert scored(tmp_path, "iou") == []


@pytest.mark.parametrize("palette", [COLOURS, COLOURS + np.uint8(1), np.repeat(np.arange(3, dtype=np.uint8), 3)])
def test_predictions_of_one_palette_are_not_warned_of_whatever_its_colours(tmp_path, palette):
    toy(tmp_path, plain)
    for number in range(3):
        picture = Image.fromarray(scene(number), mode="P")
        picture.putpalette(palette.tobytes())
        picture.save(tmp_path / f"pred/im{number}.png")
    assert scored(tmp_path) == []


def test_predictions_of_ignored_pixels_alone_are_said(tmp_path):
    toy(tmp_path, plain)
    for number in range(3):
        plain(np.full_like(scene(number), 255), tmp_path / f"pred/im{number}.png")
    (warning,) = scored(tmp_path)
    assert "only 255, the id of ignored pixels" in warning


def test_predictions_may_end_in_capitals_beside_what_macos_leaves(tmp_path):
    toy(tmp_path, plain)
    for path in sorted((tmp_path / "pred").iterdir()):
        path.rename(path.with_suffix(".PNG"))
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert scored(tmp_path) == []
