"""Which picture files are read, how, and that damage is never taken for pixels."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from bench.base.errors import BadInput
from bench.data.decoding import read_image, read_image_of, read_sample, size_of
from bench.data.label_values import open_label
from bench.data.picture_files import MOST_PIXELS, open_picture
from bench.data.samples import Sample
from tests.test_labels import VOC


def photograph(size=(96, 128), channels=3, seed=0):
    """Something with edges and smooth parts, so that a JPEG of it has much to say: H×W×channels."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (size[0] // 8, size[1] // 8, channels)).astype(np.uint8)
    large = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
    return np.clip(large + random.normal(0, 12, large.shape), 0, 255).astype(np.uint8)


def encoded(array, format_, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format_, **options)
    return stream.getvalue()


def holed(data, start, hole):
    return data[:start] + hole + data[start + len(hole) :]


DAMAGE = {
    "zero-filled tail": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "a hole of zeros": lambda data: holed(data, len(data) // 2, bytes(len(data) // 8)),
    "foreign bytes": lambda data: holed(data, len(data) // 2, np.random.default_rng(1).bytes(512)),
    "half, and an end put back": lambda data: data[: len(data) // 2] + b"\xff\xd9",
    "cut": lambda data: data[: len(data) // 2],
    "cut before the last bytes": lambda data: data[:-2],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("format_", ["JPEG", "progressive", "grey JPEG", "PNG"])
def test_damage_is_an_error_that_names_the_file(tmp_path, damage, format_):
    array = photograph((240, 320))
    if format_ == "grey JPEG":
        array = array[..., 0]
    data = encoded(array, format_.split()[-1].replace("progressive", "JPEG"), progressive=format_ == "progressive")
    path = tmp_path / "im.jpg"
    path.write_bytes(data)
    read_image(path)
    path.write_bytes(DAMAGE[damage](data))
    with pytest.raises(BadInput, match=r"im\.jpg is damaged"):
        read_image(path)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.999])
def test_one_wrong_bit_of_a_label_is_found_by_its_checksum(tmp_path, place):
    data = bytearray(encoded(photograph((60, 80))[..., 0] % 21, "PNG"))
    data[int(place * (len(data) - 1))] ^= 1
    (tmp_path / "label.png").write_bytes(data)
    with pytest.raises(BadInput, match=r"label\.png is damaged"):
        open_label(tmp_path / "label.png")


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (33, 17), (64, 64), (120, 181)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_pixels_of_a_jpeg_are_those_that_pillow_gives(tmp_path, subsampling, progressive, size, channels):
    array = np.random.default_rng(3).integers(0, 256, (*size, channels)).astype(np.uint8)
    picture = Image.fromarray(array[..., 0] if channels == 1 else array, "CMYK" if channels == 4 else None)
    path = tmp_path / "im.jpg"
    picture.save(path, "JPEG", subsampling=subsampling, progressive=progressive, quality=60)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(read_image(path)[0], np.asarray(opened.convert("RGB")))


def test_what_follows_the_end_of_a_picture_is_let_through(tmp_path):
    for format_ in ("JPEG", "PNG"):
        (tmp_path / "im.jpg").write_bytes(encoded(photograph(), format_) + b"a phone's film" * 9000)
        assert read_image(tmp_path / "im.jpg")[0].shape == (96, 128, 3)


@pytest.mark.parametrize("format_", ["TIFF", "GIF", "PPM", "TGA", "ICO", "EPS", "PDF", "PCX", "JPEG2000"])
def test_other_formats_are_not_opened_whatever_they_are_called(tmp_path, format_):
    (tmp_path / "im.jpg").write_bytes(encoded(photograph(), format_))
    with pytest.raises(BadInput, match=r"im\.jpg is "):
        open_picture(tmp_path / "im.jpg")


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "BMP", "JPEG"])
def test_the_formats_that_are_read_are_known_by_their_content(tmp_path, format_):
    array = photograph()
    options = {"lossless": True} if format_ == "WEBP" else {}
    (tmp_path / "im.JPEG").write_bytes(encoded(array, format_, **options))
    found, _ = read_image(tmp_path / "im.JPEG")
    assert found.shape == array.shape and (format_ == "JPEG" or np.array_equal(found, array))


@pytest.mark.parametrize("format_", ["JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_labels_are_read_from_png_alone(tmp_path, format_):
    (tmp_path / "label.png").write_bytes(encoded(np.zeros((4, 5), np.uint8), format_))
    with pytest.raises(BadInput, match=rf"(?i)label\.png is an? {format_}.*(changes values|is read from PNG)"):
        open_label(tmp_path / "label.png")


def huge(width, height):
    """A sound PNG of one bit and one colour."""
    stream = io.BytesIO()
    Image.new("1", (width, height)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(20992, 10496), (12000, 10000)])
def test_a_huge_image_is_said_to_be_too_large_and_a_large_one_is_read_without_a_word(tmp_path, size):
    path = tmp_path / "im.png"
    path.write_bytes(huge(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if size[0] * size[1] > MOST_PIXELS:
            with pytest.raises(BadInput, match=r"im\.png is 20992×10496 pixels, more than the 178,956,970"):
                open_picture(path)
        else:
            assert open_picture(path).size == size[::-1]


# --- orientation ---


def put_turned(path, upright, how):
    """A PNG whose pixels are stored so that the EXIF orientation `how` turns them upright."""
    stored = next(
        candidate
        for candidate in (np.ascontiguousarray(way(upright)) for way in WAYS)
        if np.array_equal(np.asarray(ImageOps.exif_transpose(_tagged(candidate, how))), upright)
    )
    exif = Image.Exif()
    exif[0x0112] = how
    Image.fromarray(stored).save(path, "PNG", exif=exif)
    return stored


WAYS = [
    lambda a, quarter=quarter, mirror=mirror: np.rot90(a[:, ::-1] if mirror else a, quarter)
    for quarter in range(4)
    for mirror in (False, True)
]


def _tagged(array, how):
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = how
    Image.fromarray(array).save(stream, "PNG", exif=exif)
    return Image.open(stream)


@pytest.mark.parametrize("how", range(1, 9))
@pytest.mark.parametrize("card", [None, "upright", "stored"])
def test_an_image_is_turned_as_its_exif_orientation_says_unless_the_card_says_stored(tmp_path, how, card):
    upright = photograph((24, 40))
    stored = put_turned(tmp_path / "im.png", upright, how)
    label = np.zeros((stored if card == "stored" else upright).shape[:2], np.uint8)
    Image.fromarray(label).save(tmp_path / "label.png")
    sample = Sample("im", tmp_path / "im.png", tmp_path / "label.png", orientation=card)
    image, found, _ = read_sample(sample, VOC)
    np.testing.assert_array_equal(image, stored if card == "stored" else upright)
    assert found.shape == image.shape[:2] == size_of(sample)


@pytest.mark.parametrize("how", [5, 6, 7, 8])
def test_a_label_of_the_stored_picture_keeps_it_as_stored(tmp_path, how):
    stored = put_turned(tmp_path / "im.png", photograph((24, 40)), how)
    Image.fromarray(np.zeros(stored.shape[:2], np.uint8)).save(tmp_path / "label.png")
    sample = Sample("im", tmp_path / "im.png", tmp_path / "label.png")
    np.testing.assert_array_equal(read_image_of(sample)[0], stored)


def test_an_orientation_behind_the_pixels_of_a_png_counts_too(tmp_path):
    upright = photograph((24, 40))
    stored = put_turned(tmp_path / "im.png", upright, 6)
    data = (tmp_path / "im.png").read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    (tmp_path / "im.png").write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
    sample = Sample("im", tmp_path / "im.png", None)
    np.testing.assert_array_equal(read_image_of(sample)[0], upright)
    assert size_of(sample) == upright.shape[:2] != stored.shape[:2]


@pytest.mark.parametrize("block", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(20)])
def test_a_senseless_exif_block_turns_nothing(tmp_path, block):
    array = photograph((24, 40))
    Image.fromarray(array).save(tmp_path / "im.png", "PNG", exif=b"Exif\0\0" + block)
    sample = Sample("im", tmp_path / "im.png", None)
    np.testing.assert_array_equal(read_image_of(sample)[0], array)
