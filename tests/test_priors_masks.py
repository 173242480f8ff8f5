"""Masks: the clean-up, their files, and how they are compared with a truth."""

import numpy as np
import pytest
from PIL import Image

from bench.base.errors import BadInput
from bench.priors import read_mask
from bench.priors.evaluate import agreement, centred_ellipse
from bench.priors.masks import clean_up, from_saliency, is_too_small, write_mask


def disc(size, centre, radius):
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def test_a_saliency_of_exactly_one_half_is_background():
    saliency = np.full((20, 20), 0.5, np.float32)
    saliency[5:15, 5:15] = 0.51
    assert from_saliency(saliency).sum() == 100


def test_specks_go_and_objects_stay():
    mask = disc((100, 100), (50, 50), 20)
    noisy = mask.copy()
    noisy[3, 3] = noisy[90:95, 80:84] = True
    assert (clean_up(noisy) == mask).all()


def test_exactly_one_percent_stays_and_one_pixel_less_goes():
    mask = np.zeros((100, 100), bool)
    mask[10:20, 10:20] = True
    assert clean_up(mask).sum() == 100
    mask[10, 10] = False
    assert clean_up(mask).sum() == 0


def test_the_filled_area_counts_not_the_foreground_in_it():
    ring = disc((100, 100), (50, 50), 12) & ~disc((100, 100), (50, 50), 11)
    assert 0 < ring.sum() < 100
    assert clean_up(ring).sum() == ring.sum()


def test_a_small_hole_takes_its_rim_along_and_a_large_one_stays():
    mask = np.zeros((100, 100), bool)
    mask[20:80, 20:80] = True
    large = mask.copy()
    large[40:60, 40:60] = False
    assert (clean_up(large) == large).all()
    small = mask.copy()
    small[50:53, 50:53] = False
    assert clean_up(small).sum() == 60 * 60 - 21  # 3×3 and its 12 neighbours by side: contours cut corners


def test_an_island_in_a_small_hole_goes_with_it():
    mask = np.ones((200, 200), bool)
    mask[100:109, 100:109] = False
    mask[103:106, 103:106] = True
    assert not clean_up(mask)[100:109, 100:109].any()


def test_objects_at_the_border_count_with_all_their_pixels():
    mask = np.zeros((100, 100), bool)
    mask[:10, :10] = mask[90:, 90:] = mask[:, 50] = True
    assert (clean_up(mask) == mask).all()
    assert clean_up(np.ones((30, 40), bool)).all()
    assert not clean_up(np.zeros((30, 40), bool)).any()


@pytest.mark.parametrize("pixels", [(100, 100), (10, 70), (30, 10)])
def test_a_mask_of_exactly_one_percent_is_large_enough(pixels):
    mask = np.zeros(pixels, bool)
    mask.reshape(-1)[: mask.size // 100] = True
    assert not is_too_small(mask)
    mask.reshape(-1)[0] = False
    assert is_too_small(mask)


def test_a_mask_comes_back_as_it_was_written(tmp_path):
    mask = disc((31, 47), (10, 20), 9)
    write_mask(tmp_path / "a" / "b.png", mask)
    assert (read_mask(tmp_path / "a" / "b.png", (31, 47)) == mask).all()
    with Image.open(tmp_path / "a" / "b.png") as picture:
        assert picture.mode == "L" and set(np.unique(np.asarray(picture))) == {0, 255}


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_only_255_is_foreground_in_files_of_any_kind(tmp_path, mode):
    values = np.array([[0, 255, 255]] if mode == "1" else [[0, 254, 255]], np.uint8)
    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette(list(range(256)) * 3)
    picture = picture.convert("1") if mode == "1" else picture
    picture.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", (1, 3)).tolist() == [[False, mode == "1", True]]


def test_a_mask_file_that_cannot_be_used_is_named(tmp_path):
    path = tmp_path / "mask.png"
    with pytest.raises(BadInput, match=r"mask\.png is missing"):
        read_mask(path, (4, 4))
    write_mask(path, np.ones((4, 5), bool))
    with pytest.raises(BadInput, match=r"mask\.png is 5×4 pixels, its image 4×4"):
        read_mask(path, (4, 4))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInput, match=r"mask\.png is damaged"):
        read_mask(path, (4, 5))
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(BadInput, match=r"mask\.png has RGB pixels"):
        read_mask(path, (4, 4))


def test_iou_and_f_measure_by_hand():
    mask, label = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    mask[:2] = True  # 10 pixels
    label[1:] = True  # 15 pixels, 5 of them proposed
    iou, f_measure = agreement(mask, label)
    precision, recall = 5 / 10, 5 / 15
    assert iou == pytest.approx(5 / 20)
    assert f_measure == pytest.approx(1.3 * precision * recall / (0.3 * precision + recall))
    assert agreement(np.zeros_like(label), label) == (0, 0)


def test_the_ellipse_is_centred_and_half_as_large_as_the_image():
    ellipse = centred_ellipse((80, 120))
    rows, columns = np.flatnonzero(ellipse.any(axis=1)), np.flatnonzero(ellipse.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (20, 59, 30, 89)
    assert ellipse.mean() == pytest.approx(np.pi / 16, abs=0.003)
