"""Submissions that are sound, and those that are not: each fault is a line."""

import io
import json
import os
import stat
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from bench.base.errors import BadInput, WrongName
from bench.submission import verify
from bench.submission.one_prediction import LARGE, Wanted, allowed, problem_of
from tests.imagenet import encode
from tests.submissions import S50, check


def spoil(submission, change):
    """The archive with `change(members)`, a dict of name → bytes, applied."""
    with zipfile.ZipFile(submission) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    change(members)
    with zipfile.ZipFile(submission, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return submission


def png(ids=None, *, mode="RGB", size=(48, 40), blue=0):
    data = io.BytesIO()
    if ids is None:
        Image.new(mode, size).save(data, "PNG")
    else:
        array = encode(np.full(size[::-1], ids, np.uint16))
        array[..., 2] = blue
        Image.fromarray(array).save(data, "PNG")
    return data.getvalue()


def deep_png():
    """RGB of 16 bits: Pillow writes none."""
    rows = b"".join(b"\0" + bytes(6 * 48) for _ in range(40))
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 48, 40, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


ONE = "n00000003/n00000003_0.png"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        (ONE, None, f"{ONE} is missing"),
        (ONE, png(51), f"{ONE} holds the id 51; imagenet-s-50 has 0..50"),
        (ONE, png(1000), f"{ONE} holds the id 1000; imagenet-s-50 has 0..50"),
        (ONE, png(3, blue=1), f"{ONE} has blue values; the third channel must be 0"),
        (ONE, png(mode="L"), f"{ONE} has 8-bit grey pixels; 8-bit RGB is expected"),
        (ONE, png(mode="P"), f"{ONE} has 1-bit palette pixels; 8-bit RGB is expected"),
        (ONE, png(mode="RGBA"), f"{ONE} has 8-bit RGBA pixels; 8-bit RGB is expected"),
        (ONE, png(mode="I;16"), f"{ONE} has 16-bit grey pixels; 8-bit RGB is expected"),
        (ONE, deep_png(), f"{ONE} has 16-bit RGB pixels; 8-bit RGB is expected"),
        (ONE, png(3, size=(48, 41)), f"{ONE} is 48×41 pixels, its image 48×40"),
        (ONE, b"GIF89a", f"{ONE} is not a PNG"),
        (ONE, png(3)[:60], f"{ONE} is damaged: "),
        ("method.txt", None, "method.txt is missing"),
        ("method.txt", b" \n", "method.txt: it is empty"),
        ("method.txt", b"\xff\xfe", "method.txt is not UTF-8 text"),
        ("match.json", b"{", "match.json: it is not JSON"),
        ("match.json", b"[0]", "match.json: it is not an object of cluster id: class id"),
        ("match.json", b'{"0": 0, "1": 2, "2": 2}', "match.json: not one-to-one"),
        ("match.json", b'{"0": 0, "1": 51}', "match.json: cluster 1 goes to 51, which is not one of the classes 0..50"),
        ("match.json", b'{"0": 0, "1": true}', "match.json: cluster 1 goes to true"),
        ("match.json", b'{"0": 0, "x": 1}', "match.json: 'x' is not a cluster id"),
        ("match.json", b'{"0": 1, "1": 0}', "match.json: 0, the background, does not go to 0"),
        ("match.json", b'{"0": 0, "1": 1, "1": 2}', "match.json: it has '1' twice"),
        ("n00000003/other.png", png(3), "n00000003/other.png is not an image"),
        ("n00000004/n00000003_0.png", png(3), "n00000004/n00000003_0.png is in the wrong folder"),
        ("n00000051/n00000051_0.png", png(3), "n00000051/n00000051_0.png does not belong in a submission"),
        (".", b"x", ". does not belong in a submission"),
        ("readme.md", b"x", "readme.md does not belong in a submission"),
        ("n00000003/deep/n00000003_0.png", png(3), "n00000003/deep/n00000003_0.png does not belong in a submission"),
        ("__MACOSX/n00000003/n00000003_0.png", b"", "__MACOSX/n00000003/n00000003_0.png does not belong"),
    ],
)
def test_each_fault_is_one_line(s50_tree, submission, name, data, line):
    def change(members):
        if name == "match.json":
            members["method.txt"] = members["method.txt"].replace(b"ids: classes", b"ids: clusters")
        members[name] = data
        if data is None:
            del members[name]

    (found,) = check(spoil(submission, change), s50_tree).lines
    assert found.startswith(line)


def test_with_a_match_json_the_ids_are_its_clusters(s50_tree, submission):
    table = json.dumps({"0": 0} | {str(900 + i): i for i in range(1, 51)}).encode()

    def change(members):
        members["match.json"] = table
        members["method.txt"] = members["method.txt"].replace(b"ids: classes", b"ids: clusters")
        for name in members:
            if name.endswith(".png"):
                members[name] = png(907)
        members[ONE] = png(7)

    assert check(spoil(submission, change), s50_tree).lines == [f"{ONE} holds the id 7; match.json has no such cluster"]


def test_without_a_data_root_number_folders_and_names_are_checked(s50_tree, submission, official_counts):
    assert check(submission).lines == ["there are 50 predictions; imagenet-s-50 test has 1682 images"]
    assert check(submission, split="train-semi").lines == [
        "method.txt says that the split is 'test', not train-semi",
        "there are 50 predictions; imagenet-s-50 train-semi has 500 images",
    ]
    with pytest.raises(WrongName, match="has no split 'tset'"):
        check(submission, split="tset")

    def change(members):
        members["n00000002/n00000001_0.png"] = members.pop("n00000050/n00000050_0.png")
        members["results/n00000001/n00000001_0.png"] = png(1)

    assert check(spoil(submission, change)).lines == [
        "results/n00000001/n00000001_0.png does not belong in a submission",
        "there are 50 predictions; imagenet-s-50 test has 1682 images",
        "there are 49 class folders; imagenet-s-50 has 50",
        "n00000001_0.png is in 2 folders",
    ]


def test_many_faults_are_ten_lines_and_a_number(s50_tree, submission):
    def change(members):
        for name in members:
            if name.endswith(".png"):
                members[name] = png(999)

    lines = check(spoil(submission, change), s50_tree).lines
    assert len(lines) == 11 and lines[-1] == "and 40 more"


def test_a_member_that_comes_twice_or_is_damaged_is_said(s50_tree, submission, recwarn):
    with zipfile.ZipFile(submission, "a") as archive:
        archive.writestr(ONE, png(3))
    assert check(submission, s50_tree).lines == [f"{ONE} comes 2 times"]
    spoil(submission, lambda members: None)
    data = bytearray(submission.read_bytes())
    start = data.index(b"\x89PNG", data.index(ONE.encode()))
    data[start + 45] ^= 0xFF
    submission.write_bytes(bytes(data))
    (line,) = check(submission, s50_tree).lines
    assert line.startswith(f"{ONE} is damaged: Bad CRC-32")


def hostile(path, name, data=b"x", mode=0, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "a", method) as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        entry.compress_type = method
        archive.writestr(entry, data)


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("../evil.png", 0, "leads out of the folder"),
        ("/etc/passwd", 0, "absolute path"),
        ("C:\\x.png", 0, "absolute path"),
        ("n00000001/link.png", stat.S_IFLNK | 0o777, "is a link"),
        ("n00000001/pipe.png", stat.S_IFIFO | 0o777, "is a special file"),
    ],
)
def test_tricks_refuse_the_archive(s50_tree, submission, name, mode, reason):
    hostile(submission, name, mode=mode)
    with pytest.raises(BadInput, match=f"is refused: .*{reason}"):
        check(submission, s50_tree)


@pytest.mark.slow
def test_an_archive_that_unpacks_to_too_much_is_refused(s50_tree, submission, monkeypatch):
    monkeypatch.setattr(verify, "LIMITS", verify.Limits(members=200, ratio=2.0, small=1 << 20))
    assert check(submission, s50_tree).lines == []
    with zipfile.ZipFile(submission) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    with zipfile.ZipFile(submission, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data if name != ONE else data + bytes(2 << 20))
    with pytest.raises(BadInput, match="unpacks to more than"):
        check(submission, s50_tree)
    for name in (f"n{i:08d}/x.png" for i in range(1, 200)):
        hostile(submission, name)
    with pytest.raises(BadInput, match="more than 200 members"):
        check(submission, s50_tree)


def test_a_text_file_and_a_picture_have_their_bounds(s50_tree, submission):
    with pytest.raises(BadInput, match=r"'method\.txt' unpacks to more than 1,048,576 bytes"):
        check(spoil(submission, lambda members: members.update({"method.txt": bytes(2 << 20)})), s50_tree)
    wide = png(3)[:16] + struct.pack(">II", 60000, 60000) + png(3)[24:]
    spoil(submission, lambda members: members.update({"method.txt": b"x: y", ONE: wide}))
    assert f"{ONE} has 60000×60000 pixels, more than 67,108,864" in check(submission).lines


def test_what_is_no_archive_is_said(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere\.zip cannot be read: No such file"):
        check(tmp_path / "nowhere.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(BadInput, match=r"text\.zip is damaged or not a zip"):
        check(tmp_path / "text.zip")
    os.mkfifo(tmp_path / "pipe.zip")
    for place in (tmp_path, tmp_path / "pipe.zip"):
        with pytest.raises(BadInput, match="cannot be read: it is no regular file"):
            check(place)


def test_the_data_set_is_that_of_method_txt_unless_named(s50_tree, submission):
    assert check(submission, s50_tree, dataset=None).dataset == S50
    with pytest.raises(WrongName, match="takes no submission"):
        check(submission, dataset="pascal-voc")
    spoil(submission, lambda members: members.update({"method.txt": b"A method. It is good.\n"}))
    nothing = "nothing names the data set: no 'data set' in method.txt; give --dataset to check the rest too"
    assert check(submission, s50_tree, dataset=None).lines == [nothing]
    assert check(submission, s50_tree).lines == []
    spoil(submission, lambda members: members.update({"method.txt": b"data set: pascal-voc\n"}))
    (line,) = check(submission, s50_tree, dataset=None).lines
    assert line.startswith("method.txt says that the data set is 'pascal-voc', which takes no submission")
    for data, fault in ((b"\xff\xfe", "method.txt is not UTF-8 text"), (None, "method.txt is missing")):
        spoil(
            submission,
            lambda members, data=data: members.pop("method.txt") and data and members.update({"method.txt": data}),
        )
        assert check(submission, s50_tree, dataset=None).lines == [fault, nothing]


def test_a_method_txt_in_a_folder_is_said_to_lie_there(s50_tree, submission):
    spoil(submission, lambda members: members.update({"results/method.txt": members.pop("method.txt")}))
    lines = check(submission, s50_tree, dataset=None).lines
    assert lines[0] == "method.txt is missing: it lies in a folder, as results/method.txt"


def test_the_split_is_that_of_method_txt_unless_named(s50_tree, submission):
    spoil(submission, lambda members: members.update({"method.txt": b"data set: imagenet-s-50\nsplit: val\n"}))
    found = check(submission, s50_tree)
    assert (found.split, found.lines) == ("val", [])
    assert check(submission, s50_tree, split="test").lines == ["method.txt says that the split is 'val', not test"]
    spoil(submission, lambda members: members.update({"method.txt": b"split: tset\n"}))
    assert check(submission, s50_tree).lines == [
        "method.txt says that the split is 'tset'; imagenet-s-50 has val, train, train-semi, test"
    ]


def test_ids_that_method_txt_and_match_json_say_otherwise_are_a_fault(s50_tree, submission):
    match = json.dumps({str(i): i for i in range(51)}).encode()
    spoil(submission, lambda members: members.update({"match.json": match}))
    assert check(submission, s50_tree).lines == [
        "method.txt says that the ids are classes, but there is a match.json, as for clusters"
    ]
    spoil(submission, lambda members: members.update({"method.txt": b"ids: clusters\n"}))
    assert check(submission, s50_tree).lines == []
    spoil(submission, lambda members: members.pop("match.json"))
    assert check(submission, s50_tree).lines == [
        "method.txt says that the ids are clusters, but there is no match.json with their classes"
    ]


def test_a_data_root_that_lacks_images_makes_no_archive_sound(s50_tree, submission, official_counts):
    said = []
    assert check(submission, s50_tree, warn=said.append).lines == [
        "there are 50 predictions; imagenet-s-50 test has 1682 images"
    ]
    (warning,) = said
    assert "holds 50 of the 1682 test images: predictions of the other images count as problems" in warning


@pytest.mark.parametrize(("method", "number"), [(zipfile.ZIP_BZIP2, 12), (zipfile.ZIP_LZMA, 14)])
def test_members_are_stored_or_deflated(s50_tree, submission, method, number):
    hostile(spoil(submission, lambda members: members.pop(ONE)), ONE, png(3), method=method)
    assert check(submission, s50_tree).lines == [
        f"{ONE} is compressed by method {number}; it must be stored or deflated (8)"
    ]
    hostile(spoil(submission, lambda members: members.pop(ONE)), ONE, png(3), method=zipfile.ZIP_DEFLATED)
    assert check(submission, s50_tree).lines == []


def test_another_data_set_than_that_of_method_txt_is_a_fault(s50_tree, submission):
    line = f"method.txt says that the data set is '{S50}', not imagenet-s-300"
    assert line in check(submission, dataset="imagenet-s-300").lines
    for name, fault in (("ImageNet-S 50", False), ("ImageNet-S 500", True)):
        spoil(submission, lambda members, name=name: members.update({"method.txt": f"data set: {name}\n".encode()}))
        lines = [f"method.txt says that the data set is '{name}', not {S50}"] if fault else []
        assert check(submission, s50_tree).lines == lines


@pytest.mark.parametrize("row", [0, 1, 2300])
def test_a_large_prediction_is_looked_at_to_its_last_row(row):
    pixels = np.zeros((2301, 2000, 3), np.uint8)  # several bands, and more than are decoded beside others
    assert pixels[..., 0].size > LARGE
    stream = io.BytesIO()
    pixels[row, 1999, 0] = 77
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    wanted = Wanted({"x": None}, allowed(range(51)), "imagenet-s-50 has 0..50")
    assert problem_of(("x", stream.getvalue()), wanted) == "x.png holds the id 77; imagenet-s-50 has 0..50"
    wanted = Wanted({"x": None}, allowed([*range(51), 77]), "")
    assert problem_of(("x", stream.getvalue()), wanted) is None


def test_a_prediction_of_too_many_pixels_is_not_decoded():
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 13_300, 13_300, 8, 2, 0, 0, 0) + bytes(8)
    found = problem_of(("x", header), Wanted({"x": None}, allowed([0]), ""))
    assert found == "x.png has 13300×13300 pixels, more than 67,108,864"
