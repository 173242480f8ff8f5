"""Submissions to ImageNet-S's server: exported from a model or a folder, and the command."""

import json
import zipfile

import numpy as np
import pytest

import bench
from bench.base.errors import BadInput, WrongName
from bench.cli import main
from bench.data.decoding import read_ids
from bench.data.samples import open_split
from bench.protocols.base import Settings
from bench.submission import export, form
from bench.submission.export import export_folder, export_run
from tests.imagenet import CARD, encode, put
from tests.submissions import ENTRIES, S50, check, options, pngs, texts, write

# --- from a model ---


@pytest.mark.slow
def test_test_is_painted_with_train_s_clusters_and_val_s_classes(s50_tree, small_file, tmp_path, submission):
    record = bench.evaluate(small_file, S50, data_root=s50_tree, entries=ENTRIES, num_seeds=1)
    # the same by hand: val's record, and clusters of the test images told by match.json
    raw = tmp_path / "raw.zip"
    write(small_file, s50_tree, raw, ids="clusters")
    match = {int(k): v for k, v in json.loads(texts(raw)["match.json"]).items()}
    assert [match[i] for i in range(51)] == record["cluster_to_class"][0]
    classes, clusters = pngs(submission), pngs(raw)
    assert len(classes) == 50 and set(classes) == {f"{s.id}.png" for s in open_split(CARD, "test", s50_tree)}
    for name, ids in classes.items():
        np.testing.assert_array_equal(ids, np.vectorize(match.get)(clusters[name]))
        assert ids.shape == (40, 48) and len(set(ids.flat) - {0}) <= 1
    assert any((ids > 0).any() for ids in classes.values())
    assert any((classes[n] != clusters[n]).any() for n in classes)
    assert set(texts(submission)) == {"method.txt"} and set(texts(raw)) == {"method.txt", "match.json"}
    assert check(submission, s50_tree).lines == check(raw, s50_tree).lines == []


def test_on_val_the_archive_holds_what_the_run_painted(s50_tree, small_file, tmp_path):
    bench.evaluate(small_file, S50, data_root=s50_tree, entries=ENTRIES, num_seeds=1, save_predictions=tmp_path / "p")
    write(small_file, s50_tree, tmp_path / "val.zip", settings=options(s50_tree, split="val"))
    for name, ids in pngs(tmp_path / "val.zip").items():
        np.testing.assert_array_equal(ids, read_ids(tmp_path / "p" / name, "rgb")[0])
    assert check(tmp_path / "val.zip", s50_tree, split="val").lines == []


def test_the_seed_decides_and_equal_calls_give_equal_bytes(s50_tree, small_file, tmp_path, submission):
    write(small_file, s50_tree, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == submission.read_bytes()
    write(small_file, s50_tree, tmp_path / "other.zip", settings=options(s50_tree, first_seed=77))
    assert form.read_method(texts(tmp_path / "other.zip")["method.txt"].encode())["seed"] == "77"
    record = bench.evaluate(small_file, S50, data_root=s50_tree, entries=ENTRIES, num_seeds=1, first_seed=77)
    write(small_file, s50_tree, tmp_path / "raw.zip", settings=options(s50_tree, first_seed=77), ids="clusters")
    assert [*json.loads(texts(tmp_path / "raw.zip")["match.json"]).values()] == record["cluster_to_class"][0]
    with zipfile.ZipFile(submission) as opened:
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_method_txt_says_what_made_it(s50_tree, small_file, submission):
    about = form.read_method(texts(submission)["method.txt"].encode())
    record = bench.evaluate(small_file, S50, data_root=s50_tree, entries=ENTRIES, num_seeds=1)
    assert about["data set"] == S50 and about["split"] == "test" and about["images"] == "50"
    assert about["track"] == "free" and about["ids"] == "classes" and about["seed"] == "1234"
    assert about["weights sha256"] == record["model"]["weights_sha256"] and about["labels seen"] == "not stated"
    assert about["fingerprint"] == record["protocol"]["fingerprint"]
    for key, entry in (("clusters fitted on", record["fitted_on"]), ("clusters matched on", record["matched_on"])):
        assert about[key] == f"{entry['split']}, {entry['images']} images, manifest {entry['manifest']}"


@pytest.mark.slow
def test_distance_matching_is_exported_in_its_own_track(s50_tree, small_file, tmp_path):
    entries = {"upsample": 2}
    settings = Settings(data_root=s50_tree, split="test", entries={"input": [32, 32]} | entries)
    done = export_run(small_file, S50, tmp_path / "d.zip", settings, protocol="distance-matching")
    assert done.track == "not stated" and check(tmp_path / "d.zip", s50_tree).lines == []
    about = form.read_method(texts(tmp_path / "d.zip")["method.txt"].encode())
    assert about["labelled bank"].startswith("train-semi, 50 images") and "seed" not in about
    for track in ("distance matching", "free"):
        export_run(small_file, S50, tmp_path / "d.zip", settings, protocol="distance-matching", track=track)
        assert form.read_method(texts(tmp_path / "d.zip")["method.txt"].encode())["track"] == track
    with pytest.raises(WrongName, match="has no clusters"):
        export_run(small_file, S50, tmp_path / "e.zip", settings, protocol="distance-matching", ids="clusters")
    assert not (tmp_path / "e.zip").exists()


def test_a_saliency_map_belongs_in_the_free_track(s50_tree, small_file, tmp_path):
    with pytest.raises(WrongName, match="its track is 'free'"):
        write(small_file, s50_tree, tmp_path / "s.zip", track="fully unsupervised")


def test_what_cannot_be_exported_is_refused_before_any_work(s50_tree, small_file, tmp_path):
    with pytest.raises(WrongName, match="pascal-voc takes no submission"):
        export_run(small_file, "pascal-voc", tmp_path / "s.zip", Settings())
    with pytest.raises(WrongName, match="test has no labels to match clusters on"):
        write(small_file, s50_tree, tmp_path / "s.zip", settings=options(s50_tree, entries={"matched_on": None}))
    with pytest.raises(WrongName, match="test has no labels to match clusters on"):
        write(small_file, s50_tree, tmp_path / "s.zip", settings=options(s50_tree, entries={"matched_on": "test"}))
    with pytest.raises(WrongName, match="not one-to-one"):
        write(
            small_file,
            s50_tree,
            tmp_path / "s.zip",
            settings=options(s50_tree, entries={"clusters": 60}),
            ids="clusters",
        )
    assert list(tmp_path.glob("*.zip")) == [] and list(tmp_path.glob(".*")) == []


def test_an_archive_that_fails_half_way_leaves_the_old_one(s50_tree, small_file, tmp_path, submission, monkeypatch):
    before, done = submission.read_bytes(), []

    def encode_some(named):
        done.append(named)
        if len(done) > 20:
            raise OSError(28, "No space left on device")
        return f"{named[0]}.png", b""

    monkeypatch.setattr(export, "_encode", encode_some)
    with pytest.raises(OSError, match="No space"):
        write(small_file, s50_tree, submission)
    assert submission.read_bytes() == before and list(tmp_path.glob(".*")) == []


# --- from a folder ---


@pytest.fixture
def folder(s50_tree, tmp_path):
    """Predictions of some program on test: each image's class, in the middle."""
    for sample in open_split(CARD, "test", s50_tree):
        ids = np.zeros((40, 48), np.uint16)
        ids[10:20, 5:30] = int(sample.id[1:9])
        put(tmp_path / "mine" / f"{sample.id}.png", encode(ids))
    return tmp_path / "mine"


def test_a_folder_of_any_program_becomes_an_archive(s50_tree, folder, tmp_path):
    settings = Settings(data_root=s50_tree, split="test", name="mine")
    done = export_folder(folder, S50, tmp_path / "m.zip", settings, supervision="none", track="fully unsupervised")
    assert (done.images, done.track) == (50, "fully unsupervised")
    for name, ids in pngs(tmp_path / "m.zip").items():
        np.testing.assert_array_equal(ids, read_ids(folder / name, "rgb")[0])
    about = form.read_method(texts(tmp_path / "m.zip")["method.txt"].encode())
    assert about["model"] == "mine" and about["labels seen"] == "none" and len(about["predictions sha256"]) == 64
    assert check(tmp_path / "m.zip", s50_tree).lines == []


def test_saved_predictions_of_several_seeds_are_exported_one_by_one(s50_tree, small_file, tmp_path):
    bench.evaluate(small_file, S50, data_root=s50_tree, entries=ENTRIES, num_seeds=2, save_predictions=tmp_path / "p")
    settings = Settings(data_root=s50_tree, split="val", first_seed=1235)
    export_folder(tmp_path / "p", S50, tmp_path / "v.zip", settings)
    for name, ids in pngs(tmp_path / "v.zip").items():
        np.testing.assert_array_equal(ids, read_ids(tmp_path / "p/seed-1235" / name, "rgb")[0])
    with pytest.raises(WrongName, match="no predictions of seed 9"):
        export_folder(tmp_path / "p", S50, tmp_path / "w.zip", Settings(data_root=s50_tree, split="val", first_seed=9))


def test_a_match_json_beside_the_predictions_is_taken_along(s50_tree, folder, tmp_path):
    settings = Settings(data_root=s50_tree, split="test")
    table = {"0": 0} | {str(i): 51 - i for i in range(1, 51)}
    (folder / "match.json").write_text(json.dumps(table))
    export_folder(folder, S50, tmp_path / "m.zip", settings)
    assert json.loads(texts(tmp_path / "m.zip")["match.json"]) == table
    assert check(tmp_path / "m.zip", s50_tree).lines == []
    del table["3"]
    (folder / "match.json").write_text(json.dumps(table))
    with pytest.raises(BadInput, match=r"n00000003_0\.png holds the id 3, which match\.json does not have"):
        export_folder(folder, S50, tmp_path / "n.zip", settings)
    (folder / "match.json").write_text("{")
    with pytest.raises(BadInput, match=r"match\.json: it is not JSON"):
        export_folder(folder, S50, tmp_path / "n.zip", settings)


@pytest.mark.parametrize("strange", [51, 1000, 65535])
def test_a_folder_with_ids_of_no_class_is_refused(s50_tree, folder, tmp_path, strange):
    put(folder / "n00000003/n00000003_0.png", encode(np.full((40, 48), strange, np.uint16)))
    with pytest.raises(BadInput, match=rf"n00000003_0\.png holds the id {strange}, which imagenet-s-50 does not have"):
        export_folder(folder, S50, tmp_path / "m.zip", Settings(data_root=s50_tree, split="test"))


def test_a_folder_that_lacks_or_distorts_a_prediction_is_refused(s50_tree, folder, tmp_path):
    settings = Settings(data_root=s50_tree, split="test")
    path = folder / "n00000003/n00000003_0.png"
    put(path, encode(np.zeros((20, 48), np.uint16)))
    with pytest.raises(BadInput, match=r"n00000003_0\.png is 48×20 pixels, its image 48×40"):
        export_folder(folder, S50, tmp_path / "m.zip", settings)
    path.unlink()
    with pytest.raises(BadInput, match=r"n00000003_0\.png is missing \(1 of 50 images have no prediction\)"):
        export_folder(folder, S50, tmp_path / "m.zip", settings)
    assert not (tmp_path / "m.zip").exists()


# --- the command ---


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_the_command_writes_and_checks(s50_tree, small_file, tmp_path, capsys, request):
    out = tmp_path / "submission.zip"
    sets = [f"--set={key}={json.dumps(value)}" for key, value in ENTRIES.items()]
    code, shown, _ = command(capsys, "export", S50, "--model", small_file, "--data-root", s50_tree, "--out", out, *sets)
    assert code == 0 and "50 predictions of imagenet-s-50 test; track: free" in shown
    code, shown, _ = command(capsys, "export", "--verify", out, "--data-root", s50_tree)
    assert code == 0 and "50 predictions of imagenet-s-50 test, valid (checked against the images)" in shown
    request.getfixturevalue("official_counts")
    code, shown, _ = command(capsys, "export", "--verify", out)
    assert code == 3 and shown == "there are 50 predictions; imagenet-s-50 test has 1682 images\n"
    code, shown, _ = command(capsys, "export", "--verify", out, "--json")
    answer = json.loads(shown)
    assert code == 3 and answer["ok"] is False and len(answer["problems"]) == 1 and answer["predictions"] == 50
    code, shown, _ = command(
        capsys, "export", S50, "--from", "nowhere", "--data-root", s50_tree, "--out", tmp_path / "x.zip"
    )
    assert code == 3 and not (tmp_path / "x.zip").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the data set and --out ZIP"),
        ((S50, "--out", "x.zip"), "--model, or predictions with --from"),
        ((S50, "--out", "x.zip", "--model", "m", "--from", "f"), "one of the two"),
        (("--verify", "a.zip", "--out", "x.zip"), "only checks an archive"),
        ((S50, "--dataset", "imagenet-s-300", "--verify", "a.zip"), "two data sets"),
        ((S50, "--out", "x.zip", "--model", "m", "--name", "n"), "are only for --from"),
        ((S50, "--out", "x.zip", "--from", "f", "--ids", "clusters"), "are only for --model"),
        (("imagenet-s", "--split", "test"), "unknown data set 'imagenet-s'"),
    ],
)
def test_flags_that_do_not_fit_are_explained(capsys, arguments, words):
    code, _, err = command(capsys, "export", *arguments)
    assert code == 2 and words in err


def test_the_help_says_whose_form_it_is(capsys):
    code, shown, _ = command(capsys, "export", "--help")
    assert code == 0 and "The benchmark fixes no form; this is bench's" in shown


def test_a_limited_tree_is_said(s50_tree, tmp_path, folder, official_counts):
    said = []
    export_folder(folder, S50, tmp_path / "m.zip", Settings(data_root=s50_tree, split="test", warn=said.append))
    assert said and "holds 50 of the 1682 test images" in said[0]
