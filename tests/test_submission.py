"""Submissions to ImageNet-S's server: exported from a model or a folder, and verified."""

import io
import json
import stat
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

import bench
from bench import catalogue
from bench.cards import Split
from bench.cli import main
from bench.decode import read_ids
from bench.errors import BadInput, WrongName
from bench.plan import Settings
from bench.samples import open_split
from bench.submission import export, form, verify
from bench.submission.export import export_folder, export_run
from tests.imagenet import encode, put

S50 = "imagenet-s-50"
CARD = catalogue.dataset(S50)
ENTRIES = {"input": [32, 32], "restarts": 1, "iterations": 10}


OFFICIAL = {split: CARD.splits[split] for split in ("test", "val")}


@pytest.fixture
def tree(imagenet_tree, monkeypatch):
    """A tree that is whole: its 50 images are all that the card counts."""
    for split in OFFICIAL:
        monkeypatch.setitem(CARD.splits, split, Split(images=50))
    return imagenet_tree


@pytest.fixture
def official(tree, monkeypatch):
    """The card's own numbers again."""
    for split, entry in OFFICIAL.items():
        monkeypatch.setitem(CARD.splits, split, entry)


def options(tree, **more):
    return Settings(data_root=tree, split=more.pop("split", "test"), entries=ENTRIES | more.pop("entries", {}), **more)


def write(model, tree, out, *, settings=None, **more):
    return export_run(model, S50, out, settings or options(tree), **more)


def check(archive, tree=None, dataset=S50, **more):
    return verify.verify(archive, dataset, Settings(data_root=tree, **more))


def pngs(archive):
    """Name → H×W ids."""
    with zipfile.ZipFile(archive) as opened:
        pictures = {n: np.asarray(Image.open(opened.open(n))) for n in opened.namelist() if n.endswith(".png")}
    assert all(array.shape[2] == 3 and not array[..., 2].any() for array in pictures.values())
    return {name: array[..., 0] + 256 * array[..., 1].astype(int) for name, array in pictures.items()}


def texts(archive):
    with zipfile.ZipFile(archive) as opened:
        return {n: opened.read(n).decode() for n in opened.namelist() if not n.endswith(".png")}


@pytest.fixture
def sound(tree, small_file, tmp_path):
    write(small_file, tree, tmp_path / "sound.zip")
    return tmp_path / "sound.zip"


# --- from a model ---


def test_test_is_painted_with_train_s_clusters_and_val_s_classes(tree, small_file, tmp_path, sound):
    record = bench.evaluate(small_file, S50, data_root=tree, entries=ENTRIES, num_seeds=1)
    # the same by hand: val's record, and clusters of the test images told by match.json
    raw = tmp_path / "raw.zip"
    write(small_file, tree, raw, ids="clusters")
    match = {int(k): v for k, v in json.loads(texts(raw)["match.json"]).items()}
    assert [match[i] for i in range(51)] == record["cluster_to_class"][0]
    classes, clusters = pngs(sound), pngs(raw)
    assert len(classes) == 50 and set(classes) == {f"{s.id}.png" for s in open_split(CARD, "test", tree)}
    for name, ids in classes.items():
        np.testing.assert_array_equal(ids, np.vectorize(match.get)(clusters[name]))
        assert ids.shape == (40, 48) and len(set(ids.flat) - {0}) <= 1
    assert any((ids > 0).any() for ids in classes.values())
    assert any((classes[n] != clusters[n]).any() for n in classes)
    assert set(texts(sound)) == {"method.txt"} and set(texts(raw)) == {"method.txt", "match.json"}
    assert check(sound, tree).lines == check(raw, tree).lines == []


def test_on_val_the_archive_holds_what_the_run_painted(tree, small_file, tmp_path):
    bench.evaluate(small_file, S50, data_root=tree, entries=ENTRIES, num_seeds=1, save_predictions=tmp_path / "p")
    write(small_file, tree, tmp_path / "val.zip", settings=options(tree, split="val"))
    for name, ids in pngs(tmp_path / "val.zip").items():
        np.testing.assert_array_equal(ids, read_ids(tmp_path / "p" / name, "rgb")[0])
    assert check(tmp_path / "val.zip", tree, split="val").lines == []


def test_the_seed_decides_and_equal_calls_give_equal_bytes(tree, small_file, tmp_path, sound):
    write(small_file, tree, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == sound.read_bytes()
    write(small_file, tree, tmp_path / "other.zip", settings=options(tree, first_seed=77))
    assert form.read_method(texts(tmp_path / "other.zip")["method.txt"].encode())["seed"] == "77"
    record = bench.evaluate(small_file, S50, data_root=tree, entries=ENTRIES, num_seeds=1, first_seed=77)
    write(small_file, tree, tmp_path / "raw.zip", settings=options(tree, first_seed=77), ids="clusters")
    assert [*json.loads(texts(tmp_path / "raw.zip")["match.json"]).values()] == record["cluster_to_class"][0]
    with zipfile.ZipFile(sound) as opened:
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_method_txt_says_what_made_it(tree, small_file, sound):
    about = form.read_method(texts(sound)["method.txt"].encode())
    record = bench.evaluate(small_file, S50, data_root=tree, entries=ENTRIES, num_seeds=1)
    assert about["data set"] == S50 and about["split"] == "test" and about["images"] == "50"
    assert about["track"] == "free" and about["ids"] == "classes" and about["seed"] == "1234"
    assert about["weights sha256"] == record["model"]["weights_sha256"] and about["labels seen"] == "not stated"
    assert about["fingerprint"] == record["protocol"]["fingerprint"]
    for key, entry in (("clusters fitted on", record["fitted_on"]), ("clusters matched on", record["matched_on"])):
        assert about[key] == f"{entry['split']}, {entry['images']} images, manifest {entry['manifest']}"


def test_distance_matching_is_exported_in_its_own_track(tree, small_file, tmp_path):
    entries = {"upsample": 2}
    settings = Settings(data_root=tree, split="test", entries={"input": [32, 32]} | entries)
    done = export_run(small_file, S50, tmp_path / "d.zip", settings, protocol="distance-matching")
    assert done.track == "not stated" and check(tmp_path / "d.zip", tree).lines == []
    about = form.read_method(texts(tmp_path / "d.zip")["method.txt"].encode())
    assert about["labelled bank"].startswith("train-semi, 50 images") and "seed" not in about
    for track in ("distance matching", "free"):
        export_run(small_file, S50, tmp_path / "d.zip", settings, protocol="distance-matching", track=track)
        assert form.read_method(texts(tmp_path / "d.zip")["method.txt"].encode())["track"] == track
    with pytest.raises(WrongName, match="has no clusters"):
        export_run(small_file, S50, tmp_path / "e.zip", settings, protocol="distance-matching", ids="clusters")
    assert not (tmp_path / "e.zip").exists()


def test_a_saliency_map_belongs_in_the_free_track(tree, small_file, tmp_path):
    with pytest.raises(WrongName, match="its track is 'free'"):
        write(small_file, tree, tmp_path / "s.zip", track="fully unsupervised")


def test_what_cannot_be_exported_is_refused_before_any_work(tree, small_file, tmp_path):
    with pytest.raises(WrongName, match="pascal-voc takes no submission"):
        export_run(small_file, "pascal-voc", tmp_path / "s.zip", Settings())
    with pytest.raises(WrongName, match="test has no labels to match clusters on"):
        write(small_file, tree, tmp_path / "s.zip", settings=options(tree, entries={"matched_on": None}))
    with pytest.raises(WrongName, match="test has no labels to match clusters on"):
        write(small_file, tree, tmp_path / "s.zip", settings=options(tree, entries={"matched_on": "test"}))
    with pytest.raises(WrongName, match="not one-to-one"):
        write(small_file, tree, tmp_path / "s.zip", settings=options(tree, entries={"clusters": 60}), ids="clusters")
    assert list(tmp_path.glob("*.zip")) == [] and list(tmp_path.glob(".*")) == []


def test_an_archive_that_fails_half_way_leaves_the_old_one(tree, small_file, tmp_path, sound, monkeypatch):
    before, done = sound.read_bytes(), []

    def encode_some(named):
        done.append(named)
        if len(done) > 20:
            raise OSError(28, "No space left on device")
        return f"{named[0]}.png", b""

    monkeypatch.setattr(export, "_encode", encode_some)
    with pytest.raises(OSError, match="No space"):
        write(small_file, tree, sound)
    assert sound.read_bytes() == before and list(tmp_path.glob(".*")) == []


# --- from a folder ---


@pytest.fixture
def folder(tree, tmp_path):
    """Predictions of some program on test: each image's class, in the middle."""
    for sample in open_split(CARD, "test", tree):
        ids = np.zeros((40, 48), np.uint16)
        ids[10:20, 5:30] = int(sample.id[1:9])
        put(tmp_path / "mine" / f"{sample.id}.png", encode(ids))
    return tmp_path / "mine"


def test_a_folder_of_any_program_becomes_an_archive(tree, folder, tmp_path):
    settings = Settings(data_root=tree, split="test", name="mine")
    done = export_folder(folder, S50, tmp_path / "m.zip", settings, supervision="none", track="fully unsupervised")
    assert (done.images, done.track) == (50, "fully unsupervised")
    for name, ids in pngs(tmp_path / "m.zip").items():
        np.testing.assert_array_equal(ids, read_ids(folder / name, "rgb")[0])
    about = form.read_method(texts(tmp_path / "m.zip")["method.txt"].encode())
    assert about["model"] == "mine" and about["labels seen"] == "none" and len(about["predictions sha256"]) == 64
    assert check(tmp_path / "m.zip", tree).lines == []


def test_saved_predictions_of_several_seeds_are_exported_one_by_one(tree, small_file, tmp_path):
    bench.evaluate(small_file, S50, data_root=tree, entries=ENTRIES, num_seeds=2, save_predictions=tmp_path / "p")
    settings = Settings(data_root=tree, split="val", first_seed=1235)
    export_folder(tmp_path / "p", S50, tmp_path / "v.zip", settings)
    for name, ids in pngs(tmp_path / "v.zip").items():
        np.testing.assert_array_equal(ids, read_ids(tmp_path / "p/seed-1235" / name, "rgb")[0])
    with pytest.raises(WrongName, match="no predictions of seed 9"):
        export_folder(tmp_path / "p", S50, tmp_path / "w.zip", Settings(data_root=tree, split="val", first_seed=9))


def test_a_match_json_beside_the_predictions_is_taken_along(tree, folder, tmp_path):
    settings = Settings(data_root=tree, split="test")
    table = {"0": 0} | {str(i): 51 - i for i in range(1, 51)}
    (folder / "match.json").write_text(json.dumps(table))
    export_folder(folder, S50, tmp_path / "m.zip", settings)
    assert json.loads(texts(tmp_path / "m.zip")["match.json"]) == table and check(tmp_path / "m.zip", tree).lines == []
    del table["3"]
    (folder / "match.json").write_text(json.dumps(table))
    with pytest.raises(BadInput, match=r"n00000003_0\.png holds the id 3, which match\.json has not"):
        export_folder(folder, S50, tmp_path / "n.zip", settings)
    (folder / "match.json").write_text("{")
    with pytest.raises(BadInput, match=r"match\.json: no JSON"):
        export_folder(folder, S50, tmp_path / "n.zip", settings)


@pytest.mark.parametrize("strange", [51, 1000, 65535])
def test_a_folder_with_ids_of_no_class_is_refused(tree, folder, tmp_path, strange):
    put(folder / "n00000003/n00000003_0.png", encode(np.full((40, 48), strange, np.uint16)))
    with pytest.raises(BadInput, match=rf"n00000003_0\.png holds the id {strange}, which imagenet-s-50 has not"):
        export_folder(folder, S50, tmp_path / "m.zip", Settings(data_root=tree, split="test"))


def test_a_folder_that_lacks_or_distorts_a_prediction_is_refused(tree, folder, tmp_path):
    settings = Settings(data_root=tree, split="test")
    path = folder / "n00000003/n00000003_0.png"
    put(path, encode(np.zeros((20, 48), np.uint16)))
    with pytest.raises(BadInput, match=r"n00000003_0\.png is 48×20 pixels, its image 48×40"):
        export_folder(folder, S50, tmp_path / "m.zip", settings)
    path.unlink()
    with pytest.raises(BadInput, match=r"n00000003_0\.png is missing \(1 of 50 images have no prediction\)"):
        export_folder(folder, S50, tmp_path / "m.zip", settings)
    assert not (tmp_path / "m.zip").exists()


# --- verify ---


def spoil(sound, change):
    """`sound` with `change(members)`, a dict of name → bytes, applied."""
    with zipfile.ZipFile(sound) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    change(members)
    with zipfile.ZipFile(sound, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sound


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


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        (ONE, None, f"{ONE} is missing"),
        (ONE, png(51), f"{ONE} holds the id 51; imagenet-s-50 has 0..50"),
        (ONE, png(1000), f"{ONE} holds the id 1000; imagenet-s-50 has 0..50"),
        (ONE, png(3, blue=1), f"{ONE} has blue values; the third channel is 0"),
        (ONE, png(mode="L"), f"{ONE} has 8-bit grey pixels; 8-bit RGB is due"),
        (ONE, png(mode="P"), f"{ONE} has 1-bit palette pixels; 8-bit RGB is due"),
        (ONE, png(mode="RGBA"), f"{ONE} has 8-bit RGBA pixels; 8-bit RGB is due"),
        (ONE, png(mode="I;16"), f"{ONE} has 16-bit grey pixels; 8-bit RGB is due"),
        (ONE, deep_png(), f"{ONE} has 16-bit RGB pixels; 8-bit RGB is due"),
        (ONE, png(3, size=(48, 41)), f"{ONE} is 48×41 pixels, its image 48×40"),
        (ONE, b"GIF89a", f"{ONE} is no PNG"),
        (ONE, png(3)[:60], f"{ONE} is damaged: "),
        ("method.txt", None, "method.txt is missing"),
        ("method.txt", b" \n", "method.txt: it is empty"),
        ("method.txt", b"\xff\xfe", "method.txt is no UTF-8 text"),
        ("match.json", b"{", "match.json: no JSON"),
        ("match.json", b"[0]", "match.json: no object of cluster id: class id"),
        ("match.json", b'{"0": 0, "1": 2, "2": 2}', "match.json: not one-to-one"),
        ("match.json", b'{"0": 0, "1": 51}', "match.json: cluster 1 goes to 51, which is none of the classes 0..50"),
        ("match.json", b'{"0": 0, "1": true}', "match.json: cluster 1 goes to true"),
        ("match.json", b'{"0": 0, "x": 1}', "match.json: 'x' is no cluster id"),
        ("match.json", b'{"0": 1, "1": 0}', "match.json: 0, the background, does not go to 0"),
        ("match.json", b'{"0": 0, "1": 1, "1": 2}', "match.json: it has '1' twice"),
        ("n00000003/other.png", png(3), "n00000003/other.png is no image"),
        ("n00000004/n00000003_0.png", png(3), "n00000004/n00000003_0.png is in the wrong folder"),
        ("n00000051/n00000051_0.png", png(3), "n00000051/n00000051_0.png has no place in a submission"),
        ("readme.md", b"x", "readme.md has no place in a submission"),
        ("n00000003/deep/n00000003_0.png", png(3), "n00000003/deep/n00000003_0.png has no place in a submission"),
        ("__MACOSX/n00000003/n00000003_0.png", b"", "__MACOSX/n00000003/n00000003_0.png has no place"),
    ],
)
def test_each_fault_is_one_line(tree, sound, name, data, line):
    def change(members):
        if name == "match.json":
            members["method.txt"] = members["method.txt"].replace(b"ids: classes", b"ids: clusters")
        members[name] = data
        if data is None:
            del members[name]

    (found,) = check(spoil(sound, change), tree).lines
    assert found.startswith(line)


def test_with_a_match_json_the_ids_are_its_clusters(tree, sound):
    table = json.dumps({"0": 0} | {str(900 + i): i for i in range(1, 51)}).encode()

    def change(members):
        members["match.json"] = table
        members["method.txt"] = members["method.txt"].replace(b"ids: classes", b"ids: clusters")
        for name in members:
            if name.endswith(".png"):
                members[name] = png(907)
        members[ONE] = png(7)

    assert check(spoil(sound, change), tree).lines == [f"{ONE} holds the id 7; match.json has no such cluster"]


def test_without_a_data_root_number_folders_and_names_are_checked(tree, sound, official):
    assert check(sound).lines == ["there are 50 predictions; imagenet-s-50 test has 1682 images"]
    assert check(sound, split="train-semi").lines == [
        "method.txt says that the split is 'test', not train-semi",
        "there are 50 predictions; imagenet-s-50 train-semi has 500 images",
    ]
    with pytest.raises(WrongName, match="has no split 'tset'"):
        check(sound, split="tset")

    def change(members):
        members["n00000002/n00000001_0.png"] = members.pop("n00000050/n00000050_0.png")
        members["results/n00000001/n00000001_0.png"] = png(1)

    assert check(spoil(sound, change)).lines == [
        "results/n00000001/n00000001_0.png has no place in a submission",
        "there are 50 predictions; imagenet-s-50 test has 1682 images",
        "there are 49 class folders; imagenet-s-50 has 50",
        "n00000001_0.png is in 2 folders",
    ]


def test_many_faults_are_ten_lines_and_a_number(tree, sound):
    def change(members):
        for name in members:
            if name.endswith(".png"):
                members[name] = png(999)

    lines = check(spoil(sound, change), tree).lines
    assert len(lines) == 11 and lines[-1] == "and 40 more"


def test_a_member_that_comes_twice_or_is_damaged_is_said(tree, sound, recwarn):
    with zipfile.ZipFile(sound, "a") as archive:
        archive.writestr(ONE, png(3))
    assert check(sound, tree).lines == [f"{ONE} comes 2 times"]
    spoil(sound, lambda members: None)
    data = bytearray(sound.read_bytes())
    start = data.index(b"\x89PNG", data.index(ONE.encode()))
    data[start + 45] ^= 0xFF
    sound.write_bytes(bytes(data))
    (line,) = check(sound, tree).lines
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
def test_tricks_refuse_the_archive(tree, sound, name, mode, reason):
    hostile(sound, name, mode=mode)
    with pytest.raises(BadInput, match=f"is refused: .*{reason}"):
        check(sound, tree)


def test_an_archive_that_unpacks_to_too_much_is_refused(tree, sound, monkeypatch):
    monkeypatch.setattr(verify, "LIMITS", verify.Limits(members=200, ratio=2.0, small=1 << 20))
    assert check(sound, tree).lines == []
    with zipfile.ZipFile(sound) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    with zipfile.ZipFile(sound, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data if name != ONE else data + bytes(2 << 20))
    with pytest.raises(BadInput, match="unpacks to more than"):
        check(sound, tree)
    for name in (f"n{i:08d}/x.png" for i in range(1, 200)):
        hostile(sound, name)
    with pytest.raises(BadInput, match="more than 200 members"):
        check(sound, tree)


def test_a_text_file_and_a_picture_have_their_bounds(tree, sound):
    with pytest.raises(BadInput, match=r"'method\.txt' unpacks to more than 1,048,576 bytes"):
        check(spoil(sound, lambda members: members.update({"method.txt": bytes(2 << 20)})), tree)
    wide = png(3)[:16] + struct.pack(">II", 60000, 60000) + png(3)[24:]
    spoil(sound, lambda members: members.update({"method.txt": b"x: y", ONE: wide}))
    assert f"{ONE} has 60000×60000 pixels, more than 67,108,864" in check(sound).lines


def test_what_is_no_archive_is_said(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere\.zip cannot be read: No such file"):
        check(tmp_path / "nowhere.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(BadInput, match=r"text\.zip is damaged or no zip"):
        check(tmp_path / "text.zip")
    with pytest.raises(BadInput, match="cannot be read"):
        check(tmp_path)


def test_the_data_set_is_that_of_method_txt_unless_named(tree, sound):
    assert check(sound, tree, dataset=None).dataset == S50
    with pytest.raises(WrongName, match="takes no submission"):
        check(sound, dataset="pascal-voc")
    spoil(sound, lambda members: members.update({"method.txt": b"A method. It is good.\n"}))
    nothing = "nothing names the data set: no 'data set' in method.txt; with --dataset the rest is checked too"
    assert check(sound, tree, dataset=None).lines == [nothing]
    assert check(sound, tree).lines == []
    spoil(sound, lambda members: members.update({"method.txt": b"data set: pascal-voc\n"}))
    (line,) = check(sound, tree, dataset=None).lines
    assert line.startswith("method.txt says that the data set is 'pascal-voc', which takes no submission")
    for data, fault in ((b"\xff\xfe", "method.txt is no UTF-8 text"), (None, "method.txt is missing")):
        spoil(
            sound,
            lambda members, data=data: members.pop("method.txt") and data and members.update({"method.txt": data}),
        )
        assert check(sound, tree, dataset=None).lines == [fault, nothing]


def test_a_method_txt_in_a_folder_is_said_to_lie_there(tree, sound):
    spoil(sound, lambda members: members.update({"results/method.txt": members.pop("method.txt")}))
    assert (
        check(sound, tree, dataset=None).lines[0] == "method.txt is missing: it lies in a folder, as results/method.txt"
    )


def test_the_split_is_that_of_method_txt_unless_named(tree, sound):
    spoil(sound, lambda members: members.update({"method.txt": b"data set: imagenet-s-50\nsplit: val\n"}))
    found = check(sound, tree)
    assert (found.split, found.lines) == ("val", [])
    assert check(sound, tree, split="test").lines == ["method.txt says that the split is 'val', not test"]
    spoil(sound, lambda members: members.update({"method.txt": b"split: tset\n"}))
    assert check(sound, tree).lines == [
        "method.txt says that the split is 'tset'; imagenet-s-50 has val, train, train-semi, test"
    ]


def test_ids_that_method_txt_and_match_json_say_otherwise_are_a_fault(tree, sound):
    match = json.dumps({str(i): i for i in range(51)}).encode()
    spoil(sound, lambda members: members.update({"match.json": match}))
    assert check(sound, tree).lines == [
        "method.txt says that the ids are classes, and match.json takes them for clusters"
    ]
    spoil(sound, lambda members: members.update({"method.txt": b"ids: clusters\n"}))
    assert check(sound, tree).lines == []
    spoil(sound, lambda members: members.pop("match.json"))
    assert check(sound, tree).lines == [
        "method.txt says that the ids are clusters, and there is no match.json to give them classes"
    ]


def test_a_data_root_that_lacks_images_makes_no_archive_sound(tree, sound, official):
    said = []
    assert check(sound, tree, warn=said.append).lines == [
        "there are 50 predictions; imagenet-s-50 test has 1682 images"
    ]
    (warning,) = said
    assert "holds 50 of the 1682 test images: the others pass for no image" in warning


@pytest.mark.parametrize(("method", "number"), [(zipfile.ZIP_BZIP2, 12), (zipfile.ZIP_LZMA, 14)])
def test_members_are_stored_or_deflated(tree, sound, method, number):
    hostile(spoil(sound, lambda members: members.pop(ONE)), ONE, png(3), method=method)
    assert check(sound, tree).lines == [f"{ONE} is compressed by method {number}; stored or deflated (8) is due"]
    hostile(spoil(sound, lambda members: members.pop(ONE)), ONE, png(3), method=zipfile.ZIP_DEFLATED)
    assert check(sound, tree).lines == []


def test_another_data_set_than_that_of_method_txt_is_a_fault(tree, sound):
    line = f"method.txt says that the data set is '{S50}', not imagenet-s-300"
    assert line in check(sound, dataset="imagenet-s-300").lines
    for name, fault in (("ImageNet-S 50", False), ("ImageNet-S 500", True)):
        spoil(sound, lambda members, name=name: members.update({"method.txt": f"data set: {name}\n".encode()}))
        assert check(sound, tree).lines == [f"method.txt says that the data set is '{name}', not {S50}"] * fault


@given(st.lists(st.text(st.characters(codec="utf-8"))))
@hypothesis_settings(max_examples=60, deadline=None)
def test_method_txt_is_one_line_an_entry(values):
    entries = {f"key {number}": value for number, value in enumerate(values)}
    text = form.method_text(entries | {"none": None, "last": "a: b"})
    assert len(text.decode().splitlines()) == len(values) + 1
    said = {key: " ".join(value.split()) for key, value in entries.items()}
    assert form.read_method(text) == said | {"last": "a: b"}


@given(st.permutations(range(1, 20)))
def test_match_json_is_read_back_as_it_was(order):
    mapping = [0, *order]
    assert form.read_match(form.match_text(mapping), 20) == dict(enumerate(mapping))


def test_a_match_json_as_long_as_it_may_be_is_read_in_time():
    entries = [f'"{i}":0' for i in range(60_000)]
    with pytest.raises(ValueError, match="it has '59999' twice"):
        form.read_match(f"{{{','.join([*entries, entries[-1]])}}}".encode(), 51)


# --- the command ---


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_the_command_writes_and_checks(tree, small_file, tmp_path, capsys, request):
    out = tmp_path / "submission.zip"
    sets = [f"--set={key}={json.dumps(value)}" for key, value in ENTRIES.items()]
    code, shown, _ = command(capsys, "export", S50, "--model", small_file, "--data-root", tree, "--out", out, *sets)
    assert code == 0 and "50 predictions of imagenet-s-50 test; track: free" in shown
    code, shown, _ = command(capsys, "export", "--verify", out, "--data-root", tree)
    assert code == 0 and "50 predictions of imagenet-s-50 test, sound (against the images)" in shown
    request.getfixturevalue("official")
    code, shown, _ = command(capsys, "export", "--verify", out)
    assert code == 3 and shown == "there are 50 predictions; imagenet-s-50 test has 1682 images\n"
    code, shown, _ = command(capsys, "export", "--verify", out, "--json")
    answer = json.loads(shown)
    assert code == 3 and answer["ok"] is False and len(answer["problems"]) == 1 and answer["predictions"] == 50
    code, shown, _ = command(
        capsys, "export", S50, "--from", "nowhere", "--data-root", tree, "--out", tmp_path / "x.zip"
    )
    assert code == 3 and not (tmp_path / "x.zip").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the data set and --out ZIP"),
        ((S50, "--out", "x.zip"), "--model, or predictions with --from"),
        ((S50, "--out", "x.zip", "--model", "m", "--from", "f"), "one of the two"),
        (("--verify", "a.zip", "--out", "x.zip"), "writes none"),
        ((S50, "--dataset", "imagenet-s-300", "--verify", "a.zip"), "two data sets"),
        ((S50, "--out", "x.zip", "--model", "m", "--name", "n"), "belong to --from"),
        ((S50, "--out", "x.zip", "--from", "f", "--ids", "clusters"), "belong to --model"),
        (("imagenet-s", "--out", "x.zip", "--model", "m"), "unknown data set 'imagenet-s'"),
    ],
)
def test_flags_that_do_not_fit_are_explained(capsys, arguments, words):
    code, _, err = command(capsys, "export", *arguments)
    assert code == 2 and words in err


def test_the_help_says_whose_form_it_is(capsys):
    code, shown, _ = command(capsys, "export", "--help")
    assert code == 0 and "The benchmark leaves its form open; it is ours" in shown


def test_a_limited_tree_is_said(tree, tmp_path, folder, official):
    said = []
    export_folder(folder, S50, tmp_path / "m.zip", Settings(data_root=tree, split="test", warn=said.append))
    assert said and "holds 50 of the 1682 test images" in said[0]
