import functools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.cli import main
from bench.data.decoding import read_image, read_label, read_sample
from bench.data.samples import open_split

CARD = catalogue.dataset("pascal-voc")


@pytest.fixture
def root(golden, tmp_path):
    """A writable copy of five images in the authors' layout."""
    target = tmp_path / "VOCSegmentation"
    names = (golden / "VOCSegmentation/sets/val.txt").read_text().split()[:5]
    for folder, ending in (("images", "jpg"), ("SegmentationClass", "png")):
        (target / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(golden / "VOCSegmentation" / folder / f"{name}.{ending}", target / folder)
    (target / "sets").mkdir()
    (target / "sets/val.txt").write_text("\n".join(names) + "\n")
    return target


def test_the_authors_layout_is_found_at_the_folder_or_above_it(root):
    assert open_split(CARD, "val", root).entries == open_split(CARD, "val", root.parent).entries
    assert len(open_split(CARD, "val", root)) == 5


def test_the_stock_layout_is_found_from_three_places(root, tmp_path):
    stock = tmp_path / "stock/VOCdevkit/VOC2012"
    (stock / "ImageSets").mkdir(parents=True)
    shutil.copytree(root / "images", stock / "JPEGImages")
    shutil.copytree(root / "SegmentationClass", stock / "SegmentationClass")
    shutil.copytree(root / "sets", stock / "ImageSets/Segmentation")
    for start in (stock, stock.parent, stock.parent.parent):
        samples = open_split(CARD, "val", start)
        assert len(samples) == 5 and samples.layout == "the stock VOCdevkit"


def test_fewer_images_than_the_official_split_are_marked(root):
    samples = open_split(CARD, "val", root)
    assert samples.limited and samples.first(2).limited and len(samples.first(2)) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a\nb\na\n", "lists 'a' twice"),
        ("../x\n", "leads out of the data root"),
        ("/etc/passwd\n", "leads out of the data root"),
    ],
)
def test_a_list_file_that_makes_no_sense_is_named(root, content, words):
    (root / "sets/val.txt").write_text(content)
    with pytest.raises(BadInput, match=words):
        open_split(CARD, "val", root)


def test_a_missing_root_a_wrong_tree_and_an_unknown_split_are_told_apart(root, tmp_path):
    with pytest.raises(BadInput, match="no data root at"):
        open_split(CARD, "val", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"does not hold PASCAL VOC 2012 \(val\).*sets/val\.txt"):
        open_split(CARD, "val", tmp_path / "empty")
    with pytest.raises(WrongName, match="unknown split"):
        open_split(CARD, "vall", root)


@pytest.mark.parametrize("folder", ["images", "SegmentationClass"])
def test_missing_files_are_counted_and_the_first_is_named(root, folder):
    victims = sorted((root / folder).iterdir())[1:3]
    for path in victims:
        path.unlink()
    with pytest.raises(BadInput) as caught:
        open_split(CARD, "val", root)
    assert str(victims[0]) in str(caught.value) and "2 of 5 samples" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 40, 2000])
def test_a_truncated_image_is_named(root, keep):
    path = sorted((root / "images").iterdir())[0]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=path.name):
        read_image(path)


@pytest.mark.parametrize("keep", [0, 40, 300])
def test_a_truncated_label_is_named(root, keep):
    path = sorted((root / "SegmentationClass").iterdir())[0]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=path.name):
        read_label(path, CARD)


def test_a_label_value_outside_the_classes_is_named(tmp_path):
    path = tmp_path / "label.png"
    Image.fromarray(np.array([[0, 20], [255, 21]], np.uint8)).save(path)
    with pytest.raises(BadInput, match=r"holds the label 21, but pascal-voc has the classes 0\.\.20"):
        read_label(path, CARD)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB"])
def test_label_files_of_another_kind_are_refused(tmp_path, mode):
    path = tmp_path / "label.png"
    channels = np.zeros((4, 4, len(mode)), np.uint8)
    channels[..., 1] = 7
    Image.fromarray(channels).save(path)
    with pytest.raises(BadInput, match="pixels; a palette or greyscale PNG"):
        read_label(path, CARD)


def test_a_label_of_another_size_than_its_image_is_refused(root):
    sample = open_split(CARD, "val", root).entries[0]
    image, label, digest = read_sample(sample, CARD)
    assert image.shape[:2] == label.shape and digest == read_image(sample.image)[1] + read_label(sample.label, CARD)[1]
    with Image.open(sample.label) as picture:
        cut = picture.crop((0, 1, *picture.size))
    cut.save(sample.label)
    with pytest.raises(BadInput, match="Image and label must have the same size") as caught:
        read_sample(sample, CARD)
    assert str(sample.label) in caught.value.problem


def test_grey_and_palette_images_become_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "CMYK"):
        path = tmp_path / f"image.{'jpg' if mode == 'CMYK' else 'png'}"
        Image.new(mode, (5, 4)).save(path)
        array, _ = read_image(path)
        assert array.shape == (4, 5, 3) and array.dtype == np.uint8


@pytest.mark.parametrize("what", ["sets/val.txt", "images"])
def test_what_may_not_be_read_is_named_without_a_traceback(root, what, monkeypatch, capsys):
    def refuse(path, *arguments, real, **more):
        if str(path).startswith(str(root / what)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **more)

    monkeypatch.setattr(Path, "read_bytes", functools.partialmethod(refuse, real=Path.read_bytes))
    monkeypatch.setattr(os, "open", functools.partial(refuse, real=os.open))
    with pytest.raises(SystemExit) as left:
        main(["show", "pascal-voc", "--data-root", str(root)])
    said = capsys.readouterr().err
    assert left.value.code == 4 and what in said and "Permission denied" in said and "Traceback" not in said


def test_real_voc_files_are_read(realdata):
    for split, count in (("val", 48), ("train", 40), ("trainaug", 96)):
        samples = open_split(CARD, split, realdata / "VOCdevkit")
        assert len(samples) == count
        for sample in samples.first(5):
            image, label, _ = read_sample(sample, CARD)
            assert image.shape[:2] == label.shape
