"""The built-in data set ``shapes``: what it draws and how it is written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import shapes
from bench.data.shapes_files import write_split

COUNT = 200


@pytest.fixture(scope="module")
def drawn() -> list[tuple[np.ndarray, np.ndarray]]:
    """A split's images and labels."""
    return [shapes.draw("val", index, COUNT) for index in range(COUNT)]


def objects(label: np.ndarray) -> np.ndarray:
    """Pixels of each of the 21 classes, with the background's set to 0."""
    counts = np.bincount(label[label != 255], minlength=21)
    counts[0] = 0
    return counts


def files(root: Path) -> dict[str, bytes]:
    """Every file under a folder, by relative path."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_twenty_distinct_classes() -> None:
    """Names, outlines and textures are all different."""
    assert len(shapes.CLASSES) == len(set(shapes.CLASSES)) == 20


@pytest.mark.slow
def test_types_sizes_and_values(drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Images and labels have the promised types, sizes and values."""
    sizes = set()
    for image, label in drawn:
        assert image.dtype == label.dtype == np.uint8
        assert image.shape == (*label.shape, 3)
        assert all(160 <= side <= 240 for side in label.shape)
        assert label.shape[0] != label.shape[1]
        assert set(np.unique(label)) <= {*range(21), 255}
        assert {0, 255} <= set(np.unique(label))
        sizes.add(label.shape)
    assert len(sizes) > COUNT / 2


def test_void_border_lies_between_object_and_background(drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """No object pixel touches a background pixel, and the border is a thin one."""
    for _, label in drawn[:40]:
        ground, thing = label == 0, objects(label)[label * (label != 255)] > 0
        assert not (ground[1:] & thing[:-1]).any() and not (ground[:-1] & thing[1:]).any()
        assert not (ground[:, 1:] & thing[:, :-1]).any() and not (ground[:, :-1] & thing[:, 1:]).any()
        assert 0 < (label == 255).mean() < 0.15


def test_main_objects_are_balanced(drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Each class is planned equally often, and is the largest in nearly every image planned for it."""
    planned = [shapes._main_class("val", index)[0] + 1 for index in range(COUNT)]
    assert set(Counter(planned).values()) == {COUNT // 20}
    largest = [int(objects(label).argmax()) for _, label in drawn]
    assert np.mean(np.array(planned) == largest) > 0.97
    assert planned[:20] != planned[20:40] != sorted(planned[20:40])


def test_a_fifth_of_the_images_holds_several_objects(drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A fifth is planned with company, most of it of another class, and it is visible."""
    planned = np.array([shapes._main_class("val", index)[1] for index in range(COUNT)])
    assert planned.mean() == 0.2
    several = np.array([np.count_nonzero(objects(label)) > 1 for _, label in drawn])
    assert not (several & ~planned).any()
    assert several.mean() > 0.12


def test_object_sizes_vary(drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Foreground takes from a twentieth to about a half of the image."""
    shares = np.array([objects(label).sum() / label.size for _, label in drawn])
    assert shares.min() > 0.05 and shares.max() < 0.55
    assert shares.min() < 0.12 and shares.max() > 0.3


def test_draw_depends_on_split_and_index_only() -> None:
    """Drawing again gives the same, whatever the count; another split or index something else."""
    first = shapes.draw("val", 7, 20)
    again = shapes.draw("val", 7, 400)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for split, index in (("train", 7), ("val", 8)):
        other = shapes.draw(split, index, 20)
        assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("index", [-1, 20])
def test_index_out_of_range(index: int) -> None:
    """An index outside the split is refused."""
    with pytest.raises(IndexError):
        shapes.draw("val", index, 20)


def test_layout_and_equal_bytes(tmp_path: Path) -> None:
    """Two writings give the same files, with VOC names, a palette and the drawn labels."""
    write_split(tmp_path / "a", "val", 6)
    write_split(tmp_path / "b", "val", 6)
    written = files(tmp_path / "a")
    assert written == files(tmp_path / "b")
    ids = [f"val_{index:05d}" for index in range(6)]
    assert sorted(written) == sorted(
        [f"images/{i}.jpg" for i in ids]
        + [f"SegmentationClass/{i}.png" for i in ids]
        + ["sets/val.hashes.json", "sets/val.txt"]
    )
    assert written["sets/val.txt"].decode().split() == ids
    image, label = shapes.draw("val", 3, 6)
    with Image.open(tmp_path / "a" / "SegmentationClass" / "val_00003.png") as stored:
        assert stored.mode == "P"
        palette = stored.getpalette()
        assert palette is not None and palette[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
        assert palette[-3:] == [224, 224, 192]
        assert np.array_equal(np.asarray(stored), label)
    with Image.open(tmp_path / "a" / "images" / "val_00003.jpg") as stored:
        assert stored.mode == "RGB"
        assert [layer[1:3] for layer in stored.layer] == [(1, 1)] * 3  # 4:4:4
        assert np.abs(np.asarray(stored).astype(int) - image).mean() < 3


def test_interrupted_split_has_no_marker_and_is_resumed(tmp_path: Path) -> None:
    """The list of ids is absent until every file is there; a second call completes the split."""

    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_split(tmp_path / "a", "val", 12, stop)
    assert not (tmp_path / "a" / "sets" / "val.txt").exists()
    steps: list[int] = []
    write_split(tmp_path / "a", "val", 12, steps.append)
    assert steps == list(range(1, 13))
    write_split(tmp_path / "b", "val", 12)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_complete_split_is_left_alone(tmp_path: Path) -> None:
    """A complete split is not written again; one of another length is."""
    write_split(tmp_path, "val", 4)
    steps: list[int] = []
    write_split(tmp_path, "val", 4, steps.append)
    assert steps == []
    write_split(tmp_path, "val", 5, steps.append)
    assert steps == [1, 2, 3, 4, 5]
    assert len((tmp_path / "sets" / "val.txt").read_text().split()) == 5


@pytest.mark.parametrize("damage", ["half zeros", "one bit", "cut", "gone", "endless"])
@pytest.mark.parametrize("file", ["images/val_00002.jpg", "SegmentationClass/val_00002.png"])
def test_a_damaged_file_is_drawn_again_with_a_line_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, damage: str
) -> None:
    """By its hash, and however it was damaged; the other files keep their times, which are in the cache's key."""
    write_split(tmp_path, "val", 4)
    before, times = files(tmp_path), {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*g")}
    data = before[file]
    half = len(data) // 2
    changed = {"half zeros": data[:half] + bytes(len(data) - half), "cut": data[:half]}
    changed["one bit"] = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
    (tmp_path / file).unlink()
    if damage in changed:
        (tmp_path / file).write_bytes(changed[damage])
    elif damage == "endless":
        (tmp_path / file).symlink_to("/dev/zero")
    write_split(tmp_path, "val", 4)
    assert files(tmp_path) == before
    assert [one.message.partition(": ")[2] for one in caplog.records] == ["1 of its 4 images are drawn again"]
    assert {p for p, time in times.items() if p.stat().st_mtime_ns != time} == {tmp_path / file}


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"val_00000\n"])
def test_a_damaged_list_is_written_again_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    """Also one that is no text."""
    write_split(tmp_path, "val", 4)
    before = files(tmp_path)
    (tmp_path / "sets" / "val.txt").write_bytes(damage)
    write_split(tmp_path, "val", 4)
    assert files(tmp_path) == before
    assert [one.message.partition(": ")[2] for one in caplog.records] == ["its list is written again"]


@pytest.mark.parametrize("damage", [None, b"", b"\xff", b"[" * 5000, b'{"files": 1}'])
def test_without_sound_hashes_every_file_is_held_against_a_new_drawing(tmp_path: Path, damage: bytes | None) -> None:
    """As in a cache of an earlier version, which has none."""
    write_split(tmp_path, "val", 4)
    before, times = files(tmp_path), {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*g")}
    receipt = tmp_path / "sets" / "val.hashes.json"
    receipt.unlink()
    if damage is not None:
        receipt.write_bytes(damage)
    (tmp_path / "images" / "val_00001.jpg").write_bytes(b"")
    write_split(tmp_path, "val", 4)
    assert files(tmp_path) == before
    changed = {p.name for p, time in times.items() if p.stat().st_mtime_ns != time}
    assert changed == {"val_00001.jpg"}


def test_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be moved into place, the error comes through and no temporary file stays."""

    def refuse(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no space"):
        write_split(tmp_path, "val", 3)
    assert files(tmp_path) == {}
