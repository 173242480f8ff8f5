"""How label files are decoded to class indices, and predictions written alike."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.cards.datasets import DatasetCard, Labels
from bench.data.decoding import read_ids, read_label, read_prediction
from bench.data.samples import Sample
from bench.passes.image_pass import Loaded
from bench.passes.observation_pass import _count
from bench.protocols.clustering.preset import ClusteringPreset
from bench.runs.predictions import encode_rgb
from bench.scoring.id_counts import contingency

VOC = catalogue.dataset("pascal-voc")
PRESET = ClusteringPreset(input=(8, 8))
GAPS = Labels(
    map=({"ids": (0, 2), "classes": (1, 3)}, {"ids": (4, 4), "classes": (4, 4)}, {"ids": (9, 30), "classes": (0, 0)})
)
WIDE = VOC.model_copy(update={"labels": Labels(encoding="rgb", ignore=1000)})
MAPPED = VOC.model_copy(update={"labels": GAPS})


def put(path, array):
    Image.fromarray(np.asarray(array)).save(path)
    return path


def rgb(ids, blue=0, alpha=None):
    ids = np.asarray(ids, np.uint16)
    channels = [ids & 255, ids >> 8, np.full_like(ids, blue)] + ([] if alpha is None else [np.full_like(ids, alpha)])
    return np.stack(channels, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("alpha", [None, 0, 77])
def test_an_rgb_label_is_red_plus_256_green(tmp_path, alpha):
    ids = [[0, 1, 20], [1000, 7, 19]]
    label, _ = read_label(put(tmp_path / "label.png", rgb(ids, alpha=alpha)), WIDE)
    assert label.dtype == np.uint16
    np.testing.assert_array_equal(label, ids)


@pytest.mark.parametrize("mode", ["L", "P", "LA", "1", "I;16"])
def test_grey_and_palette_files_are_refused_where_rgb_is_due(tmp_path, mode):
    path = tmp_path / "label.png"
    Image.new(mode, (4, 3)).save(path)
    with pytest.raises(BadInput, match=r"label\.png has .* pixels; an RGB PNG"):
        read_label(path, WIDE)


@pytest.mark.parametrize("pixels", [rgb([[0, 5, 20]])[..., ::-1], rgb([[0, 5, 20]], blue=77)], ids=["bgr", "stray"])
def test_ids_in_blue_are_refused_and_not_dropped(tmp_path, pixels):
    path = put(tmp_path / "label.png", pixels)
    for read in (lambda: read_label(path, WIDE), lambda: read_prediction(path, WIDE, (1, 3), "its label", "")):
        with pytest.raises(BadInput, match=r"label\.png has blue values.*third channel"):
            read()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("palette", [False, True], ids=["grey", "palette"])
def test_ids_are_those_in_the_file_whatever_its_depth(tmp_path, bits, palette):
    ids = np.arange(2 ** min(bits, 4)).reshape(1, -1) % 21
    if palette and bits < 16:
        picture = Image.fromarray(ids.astype(np.uint8), mode="P")
        picture.putpalette(bytes(range(48)))
        picture.save(tmp_path / "label.png", bits=bits)
    else:
        write_grey(tmp_path / "label.png", ids, bits)
    label, _ = read_label(tmp_path / "label.png", VOC)
    np.testing.assert_array_equal(label, ids)
    assert label.dtype == np.uint8


def write_grey(path, ids, bits):
    """A greyscale PNG of any depth, by the format's own words: Pillow writes none of 2 or 4 bits."""
    width = ids.shape[1]
    packed = [np.packbits(np.unpackbits(row.astype(">u2").view(np.uint8)).reshape(width, 16)[:, -bits:]) for row in ids]

    def part(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, len(ids), bits, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", pixels) + part(b"IEND", b""))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_grey_that_was_saved_in_several_channels_is_read_as_grey(tmp_path, channels):
    ids = np.array([[0, 7, 20, 255]], np.uint8)
    colour = [ids] * (channels if channels == 3 else channels - 1)
    opaque = [] if channels == 3 else [np.full_like(ids, 255)]
    path = put(tmp_path / "label.png", np.stack(colour + opaque, axis=-1))
    np.testing.assert_array_equal(read_label(path, VOC)[0], ids)


@pytest.mark.parametrize("form", ["16-bit grey", "rgb"])
def test_cluster_ids_may_be_above_255_where_labels_have_8_bits(tmp_path, form):
    ids = np.array([[0, 599], [300, 5]], np.uint16)
    path = put(tmp_path / "prediction.png", rgb(ids) if form == "rgb" else ids)
    predicted, _ = read_prediction(path, VOC, (2, 2), "its label", "")
    np.testing.assert_array_equal(predicted, ids)


@pytest.mark.parametrize("void", [[0], [0, 1, 2, 3]])
def test_several_ids_may_be_void_and_0_among_them(tmp_path, void):
    map_ = [{"ids": (id_, id_), "classes": (255, 255)} for id_ in void]
    map_.append({"ids": (len(void), 20), "classes": (0, 20 - len(void))})
    entries = VOC.model_dump(by_alias=True, exclude={"path"}) | {"labels": {"map": map_}}
    card = DatasetCard.model_validate(entries | {"protocols": {}})
    label, _ = read_label(put(tmp_path / "label.png", np.arange(21, dtype=np.uint8)[None]), card)
    assert label.tolist() == [[255] * len(void) + list(range(21 - len(void)))]


COLOURED = VOC.model_copy(
    update={
        "classes": ("sky", "road"),
        "palette": ((128, 128, 128), (128, 64, 128)),
        "labels": Labels(encoding="colour", ignored_colours=((0, 0, 0), (1, 2, 3))),
    }
)


@pytest.mark.parametrize("form", ["RGB", "RGBA", "P"])
def test_a_colour_coded_label_is_read_by_the_palette(tmp_path, form):
    pixels = np.array([[(128, 128, 128), (128, 64, 128), (0, 0, 0), (1, 2, 3)]], np.uint8)
    picture = Image.fromarray(pixels)
    picture = picture.quantize(colors=8, dither=Image.Dither.NONE) if form == "P" else picture.convert(form)
    picture.save(tmp_path / "label.png")
    label, _ = read_label(tmp_path / "label.png", COLOURED)
    assert label.tolist() == [[0, 1, 255, 255]] and label.dtype == np.uint8


def test_a_colour_that_no_class_has_is_named(tmp_path):
    path = put(tmp_path / "label.png", np.array([[(128, 128, 128), (127, 64, 128)]], np.uint8))
    with pytest.raises(BadInput, match=r"label\.png holds the colour \(127, 64, 128\), which is not in the palette"):
        read_label(path, COLOURED)


def test_a_prediction_may_have_the_colours_of_the_labels_or_ids(tmp_path):
    def read(pixels):
        path = put(tmp_path / "prediction.png", np.array([pixels], np.uint8))
        return read_prediction(path, COLOURED, None, "", "")[0].tolist()[0]

    assert read([(128, 128, 128), (128, 64, 128), (0, 0, 0)]) == [0, 1, 255]
    assert read([(128, 128, 128)]) == [0]
    assert read([(0, 0, 0), (1, 1, 1)]) == read([(0, 0, 0), (1, 0, 0)]) == [0, 1]
    assert read([(0, 0, 0), (44, 1, 0)]) == [0, 300]
    with pytest.raises(BadInput, match=r"the colour \(127, 64, 128\), which is not in the palette"):
        read([(128, 128, 128), (127, 64, 128)])


def test_rgb_of_16_bits_is_refused_and_not_cut_to_its_high_bytes(tmp_path):
    path = tmp_path / "label.png"
    cv2.imwrite(str(path), np.full((3, 4, 3), 7, np.uint16))
    with pytest.raises(BadInput, match=r"label\.png has 16-bit RGB pixels; an RGB PNG"):
        read_label(path, WIDE)


@pytest.mark.parametrize("strange", [21, 255, 999, 1001, 65535])
def test_an_rgb_id_that_is_no_class_is_named(tmp_path, strange):
    path = put(tmp_path / "label.png", rgb([[0, strange]]))
    with pytest.raises(BadInput, match=rf"label\.png holds the label {strange}, .* 1000 for ignored"):
        read_label(path, WIDE)


def test_a_map_has_gaps_counts_up_or_gathers(tmp_path):
    raw = np.array([[0, 1, 2, 4], [9, 20, 30, 255]], np.uint8)
    label, _ = read_label(put(tmp_path / "label.png", raw), MAPPED)
    np.testing.assert_array_equal(label, [[1, 2, 3, 4], [0, 0, 0, 255]])
    assert label.dtype == np.uint8


@pytest.mark.parametrize("unknown", [3, 5, 8, 31, 254])
def test_an_id_in_a_gap_of_the_map_is_named(tmp_path, unknown):
    path = put(tmp_path / "label.png", np.array([[0, unknown]], np.uint8))
    with pytest.raises(BadInput, match=rf"label\.png holds the id {unknown}, which is not in the label map"):
        read_label(path, MAPPED)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"ignore": 65536}, "less than or equal to 65535"),
        ({"map": [{"ids": (0, 65536), "classes": (0, 0)}]}, "less than or equal to 65535"),
        ({"encoding": "colour", "map": [{"ids": (0, 1), "classes": (0, 0)}]}, "colours have no ids"),
        ({"ignored_colours": [(0, 0, 0)]}, "for encoding"),
        ({"map": [{"ids": (0, 4), "classes": (0, 3)}]}, "as many classes as ids"),
        ({"map": [{"ids": (4, 0), "classes": (0, 0)}]}, "as many classes as ids"),
        ({"map": [{"ids": (0, 4), "classes": (0, 4)}, {"ids": (4, 5), "classes": (5, 6)}]}, "share an id"),
        ({"map": [{"ids": (0, 255), "classes": (0, 0)}]}, "255 is the id of ignored pixels"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused(entries, words):
    with pytest.raises(ValidationError, match=words):
        Labels.model_validate(entries)


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.uint16]), st.sampled_from([30, 5000, 65536]))
@settings(max_examples=40, deadline=None)
def test_pairs_are_counted_as_one_by_one(seed, kind, ids):
    generator = np.random.default_rng(seed)
    ignore = 255 if kind == np.uint8 else 1000
    label = generator.choice([0, 1, 7, 50, ignore], (5, 6)).astype(kind)
    predicted = generator.integers(0, ids, (5, 6))
    naive = {}
    for pair in zip(predicted.flat, label.flat, strict=True):
        if pair[1] != ignore:
            naive[pair] = naive.get(pair, 0) + 1
    assert {(p, c): n for p, c, n in contingency(predicted, label, ignore).tolist()} == naive


@pytest.mark.parametrize(("kind", "ignore"), [(np.uint8, 255), (np.uint16, 1000), (np.uint16, 40000)])
def test_an_observation_counts_wide_labels_under_the_mask_and_outside(kind, ignore):
    generator = np.random.default_rng(1)
    label = generator.choice([0, 3, 50, ignore], (8, 8)).astype(kind)
    mask = generator.random((8, 8)) < 0.4
    item = Loaded(Sample("a", None, None), np.zeros((8, 8, 3), np.uint8), label, (8, 8), bytes(16))
    seen = _count(item, (np.zeros(2, np.float32), mask, 0), PRESET, ignore)
    assert seen["classes"].tolist() == [0, 3, 50]
    for class_, row in zip(seen["classes"], seen["counts"], strict=True):
        inside, outside = ((label == class_) & mask).sum(), ((label == class_) & ~mask).sum()
        assert row.tolist() == [inside, outside, inside, outside]


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_an_rgb_prediction_is_read_back_as_it_was(tmp_path_factory, ids):
    path = tmp_path_factory.mktemp("rgb") / "prediction.png"
    encode_rgb(np.array([ids])).save(path)
    np.testing.assert_array_equal(read_ids(path, "rgb")[0], [ids])
