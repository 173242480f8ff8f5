"""What a run says of a data set's files beforehand: images to turn, and palettes that differ."""

import numpy as np
import pytest
from PIL import Image

from bench.cards import catalogue
from bench.cards.datasets import Labels
from bench.data.first_look import HEAD, oddities, palette_in
from bench.data.samples import Files, Samples

VOC = catalogue.dataset("pascal-voc")
OWN = VOC.model_copy(update={"orientation": None})


def samples_in(folder, names, card=OWN):
    return Samples(card, "val", folder, "", Files(names, folder, "{id}.jpg", "{id}.png", card.orientation), ())


def put(folder, name, palette=None, how=1, form="JPEG"):
    exif = Image.Exif()
    exif[0x0112] = how
    options = {"exif": exif} if how != 1 else {}
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(folder / f"{name}.jpg", form, **options)
    label = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(8, 6) % 2, mode="L" if palette is None else "P")
    if palette is not None:
        label.putpalette(palette)
    label.save(folder / f"{name}.png")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_images_to_turn_are_counted_and_the_first_is_named(tmp_path, form):
    for number, how in enumerate([1, 3, 1, 6]):
        put(tmp_path, f"im{number}", how=how, form=form)
    samples = samples_in(tmp_path, [f"im{number}" for number in range(4)])
    (said,) = oddities(samples)
    assert said.startswith("2 of 4 images looked at have an EXIF orientation, im1.jpg first")
    for choice in ("stored", "upright"):
        assert oddities(samples_in(tmp_path, samples.ids, OWN.model_copy(update={"orientation": choice}))) == []


def test_an_orientation_behind_the_pixels_of_a_large_webp_is_found(tmp_path):
    put(tmp_path, "a")
    exif = Image.Exif()
    exif[0x0112] = 3
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", "WEBP", lossless=True, exif=exif)
    assert (tmp_path / "a.jpg").stat().st_size > HEAD
    (said,) = oddities(samples_in(tmp_path, ["a"]))
    assert said.startswith("1 of 1 images")


@pytest.mark.parametrize(
    "second, differ",
    [([0, 0, 0, 9, 9, 9], True), ([0, 0, 0, 1, 2, 3, 200, 0, 0], False), ([0, 0, 0], False)],
)
def test_palettes_that_differ_are_said_but_not_one_that_is_longer(tmp_path, second, differ):
    put(tmp_path, "a", palette=[0, 0, 0, 1, 2, 3])
    put(tmp_path, "b", palette=None)
    put(tmp_path, "c", palette=second)
    said = oddities(samples_in(tmp_path, ["a", "b", "c"]))
    words = "the masks have different palettes (1 is (1, 2, 3) in a.png and (9, 9, 9) in c.png)"
    assert [line.partition(":")[0] for line in said] == [words] * differ
    coloured = OWN.model_copy(update={"labels": Labels(encoding="colour")})
    assert oddities(samples_in(tmp_path, ["a", "b", "c"], coloured)) == []


def test_palettes_are_compared_all_with_all_and_by_the_indices_that_pixels_have(tmp_path):
    put(tmp_path, "a", palette=[0, 0, 0])  # shorter than the others, and at one with both
    put(tmp_path, "b", palette=[0, 0, 0, 1, 2, 3, 4, 4, 4])
    put(tmp_path, "c", palette=[0, 0, 0, 9, 9, 9])
    put(tmp_path, "d", palette=[0, 0, 0, 1, 2, 3, 5, 5, 5])
    assert "in b.png and (9, 9, 9) in c.png" in oddities(samples_in(tmp_path, ["a", "b", "c"]))[0]
    assert oddities(samples_in(tmp_path, ["a", "b", "d"])) == []


def test_nothing_is_said_of_files_that_cannot_be_read(tmp_path):
    put(tmp_path, "a")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "b.jpg").mkdir()
    assert oddities(samples_in(tmp_path, ["a", "b", "gone"])) == []


def test_the_palette_of_a_png_is_found():
    assert palette_in(b"GIF89a") == b""
