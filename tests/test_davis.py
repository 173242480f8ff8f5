"""The protocol `davis`: whole runs, resumption, masks made elsewhere, bad input, the command line."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import bench
from bench.base.errors import BadInput, WrongName
from bench.cli import main
from bench.protocols.base import Settings
from bench.protocols.davis import tracker
from bench.records import record
from bench.runs.score_folder import score_folder
from bench.scoring.davis_figures import METRICS, entries
from bench.scoring.frame_rows import FrameRows
from bench.scoring.j_and_f import score_ids
from tests.video import HEIGHT, WIDTH, Colours, frame, write_list, write_sequence

# --- runs ---


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three sequences, of two, one and two objects."""
    root = tmp_path_factory.mktemp("davis")
    for name, frames, objects in (("ball", 6, 2), ("kite", 5, 1), ("duck", 7, 2)):
        write_sequence(root, name, frames, objects)
    write_list(root, ["ball", "kite", "duck"])
    write_list(root, ["ball", "kite"], "ImageSets/2016/val.txt")
    return root


def run(model, root, tmp_path, split="val-2017", **more):
    more.setdefault("cache", tmp_path / "cache")
    entries = {"height": HEIGHT} | more.pop("entries", {})
    return bench.evaluate(model, "davis", "davis", data_root=root, split=split, entries=entries, **more)


def shown(folder):
    return {
        path.relative_to(folder).with_suffix("").as_posix(): np.asarray(Image.open(path))
        for path in sorted(folder.rglob("*.png"))
    }


def test_features_that_tell_the_objects_apart_carry_them(tree, tmp_path):
    made = run(Colours(), tree, tmp_path, save_predictions=tmp_path / "p", results=tmp_path / "r")
    assert made["metrics"]["J_mean"]["value"] > 75 and made["metrics"]["F_recall"]["value"] > 90
    assert (made["dataset"]["images"], made["dataset"]["sequences"], made["observed"]["objects"]) == (18, 3, 5)
    assert made["seeds"] == [] and made["protocol"]["deterministic"] and made["cost"]["batch_size"] == 1
    masks = shown(tmp_path / "p")
    assert len(masks) == 18 and masks["ball/00003"].shape == (HEIGHT, WIDTH)
    assert np.array_equal(masks["duck/00000"], frame(0, 2)[1])
    assert Image.open(tmp_path / "p" / "duck" / "00001.png").mode == "P"


def test_the_record_the_rows_and_the_saved_masks_say_the_same(tree, small_file, tmp_path):
    made = run(str(small_file), tree, tmp_path, save_predictions=tmp_path / "p", results=tmp_path / "r")
    (path,) = (tmp_path / "r").rglob("davis@*.rows.npz")
    rows = FrameRows.read(path)
    masks = shown(tmp_path / "p")
    for index, number, similarity, accuracy in zip(
        rows.frame, rows.object, rows.similarity, rows.accuracy, strict=True
    ):
        annotation = np.asarray(Image.open(tree / "Annotations" / "480p" / f"{rows.ids[index]}.png"))
        j, f = score_ids(annotation, masks[rows.ids[index]], 2)
        assert (similarity, accuracy) == (j[number - 1], f[number - 1])
    figures = entries(rows)
    assert figures["metrics"] == made["metrics"] and figures["per_sequence"] == made["per_sequence"]
    assert all(name.rpartition("/")[2] not in ("00000",) for name in (rows.ids[i] for i in rows.frame))
    assert len(rows.frame) == 2 * 4 + 1 * 3 + 2 * 5


def test_2016_is_the_same_with_its_own_masks(tree, tmp_path):
    other = tmp_path / "tree"
    shutil.copytree(tree / "JPEGImages", other / "JPEGImages")
    for path in sorted((tree / "Annotations").rglob("*.png")):
        target = other / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8) * 255).save(target)
    lines = [
        f"/JPEGImages/480p/{n}/{i:05d}.jpg /Annotations/480p/{n}/{i:05d}.png" for n in ("ball", "kite") for i in (0, 1)
    ]
    write_list(other, lines, "ImageSets/480p/val.txt")
    merged, own = (run(Colours(), root, tmp_path, "val-2016") for root in (tree, other))
    assert merged["metrics"] == own["metrics"] and own["observed"]["objects"] == 2
    assert own["metrics"]["J_mean"]["value"] > 75


@pytest.mark.slow
def test_batch_size_workers_and_the_cache_change_nothing(tree, small_file, tmp_path):
    made = []
    for number, (batch, workers) in enumerate([(1, 1), (8, 3), (8, 3)]):
        cache = tmp_path / f"cache{min(number, 1)}"
        results = tmp_path / f"r{number}"
        made.append(
            run(str(small_file), tree, tmp_path, cache=cache, batch_size=batch, workers=workers, results=results)
        )
    assert made[0]["metrics"] == made[1]["metrics"] == made[2]["metrics"]
    assert len({one["rows"]["sha256"] for one in made}) == 1
    assert [one["observed"]["from_cache"] for one in made] == [0, 0, 3]


def test_renaming_the_objects_renames_their_rows_only(tree, tmp_path):
    other = tmp_path / "tree"
    shutil.copytree(tree, other)
    for path in sorted((other / "Annotations").rglob("*.png")):
        ids = np.asarray(Image.open(path))
        Image.fromarray(np.array([0, 2, 1], np.uint8)[ids] if "kite" not in str(path) else ids).save(path)
    before, after = (run(Colours(), root, tmp_path) for root in (tree, other))
    for name in METRICS:
        assert after["metrics"][name]["value"] == pytest.approx(before["metrics"][name]["value"], abs=1e-6)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_next_sequence(tree, small_file, tmp_path, monkeypatch):
    whole = run(str(small_file), tree, tmp_path, cache=tmp_path / "other")
    opened = []
    original = tracker.read_frame

    def killed(video, number, objects):
        if video.id == "kite":
            raise KeyboardInterrupt
        return original(video, number, objects)

    def counting(video, number, objects):
        opened.append(video.id)
        return original(video, number, objects)

    monkeypatch.setattr(tracker, "read_frame", killed)
    with pytest.raises(KeyboardInterrupt):
        run(str(small_file), tree, tmp_path)
    monkeypatch.setattr(tracker, "read_frame", counting)
    resumed = run(str(small_file), tree, tmp_path, save_predictions=tmp_path / "p")
    assert set(opened) == {"kite"} and resumed["observed"]["from_cache"] == 2
    assert resumed["metrics"] == whole["metrics"] and resumed["dataset"]["manifest"] == whole["dataset"]["manifest"]
    assert len(shown(tmp_path / "p")) == 18


@pytest.mark.slow
def test_each_sequence_is_in_the_cache_before_the_next_begins(tree, small_file, tmp_path, monkeypatch):
    """A killed process runs no clean-up: what is done must lie on disk by then."""
    original, on_disk = tracker.read_frame, []

    def looking(video, number, objects):
        if number == 0:
            on_disk.append(len(list((tmp_path / "cache").rglob("00000.npz"))))
        return original(video, number, objects)

    monkeypatch.setattr(tracker, "read_frame", looking)
    run(str(small_file), tree, tmp_path)
    assert on_disk == [0, 1, 1]


def test_limit_takes_whole_sequences(tree, small_file, tmp_path):
    made = run(str(small_file), tree, tmp_path, limit=2, results=tmp_path / "r")
    assert (made["dataset"]["sequences"], made["dataset"]["images"], made["dataset"]["limited"]) == (2, 11, True)
    assert [path.name.endswith("-limit2.json") for path in (tmp_path / "r").rglob("*.json")] == [True]


@pytest.mark.slow
def test_what_is_compared_is_said_and_can_be_chosen(tree, small_file, linear_file, tmp_path):
    embedding, decoder = (
        run(str(small_file), tree, tmp_path, limit=1, entries={"features": kind}) for kind in (None, "decoder")
    )
    assert embedding["features"] == {"kind": "embedding", "are": "the pixel embedding"}
    assert embedding["protocol"]["preset"]["features"] == "embedding"
    assert decoder["features"]["are"] == "the decoder's output"
    assert embedding["protocol"]["fingerprint"] != decoder["protocol"]["fingerprint"]
    bare = run(str(linear_file), tree, tmp_path, limit=1)
    assert bare["features"]["kind"] == "decoder"
    with pytest.raises(BadInput, match="it has no embedding"):
        run(str(linear_file), tree, tmp_path, entries={"features": "embedding"})


def test_undefined_decay_is_said(tmp_path, monkeypatch):
    write_sequence(tmp_path, "long", frames=7, objects=1)
    write_list(tmp_path, ["long"])
    monkeypatch.setattr("bench.scoring.davis_figures.LONGEST", 4)
    made = run(Colours(), tmp_path, tmp_path)
    assert "J_decay" not in made["metrics"] and "J_mean" in made["metrics"]
    assert any("J_decay and F_decay left out" in line for line in made["warnings"])


# --- bad input ---


def test_a_size_that_changes_within_a_sequence_is_named(tree, tmp_path):
    other = shutil.copytree(tree, tmp_path / "tree")
    for folder, suffix, mode in (("JPEGImages", "jpg", "RGB"), ("Annotations", "png", "L")):
        Image.new(mode, (80, 64)).save(other / folder / "480p" / "kite" / f"00003.{suffix}")
    with pytest.raises(BadInput, match=r"kite/00003\.jpg is 80×64 pixels, the first frame of its sequence 96×64"):
        run(Colours(), other, tmp_path)


def test_a_network_that_gives_nan_is_named_with_its_frame(tree, tmp_path):
    class Broken(Colours):
        def forward(self, images):
            embedding, logit = super().forward(images)
            return embedding * float("nan"), logit

    with pytest.raises(BadInput, match=r"NaN or infinity on .*ball/00000\.jpg"):
        run(Broken(), tree, tmp_path)


def test_a_network_that_returns_something_else_is_named(tree, tmp_path):
    class Flat(Colours):
        def forward(self, images):
            return images.mean(dim=(2, 3))

    with pytest.raises(BadInput, match="Flat returns a tensor of shape 1×3, and no map"):
        run(Flat(), tree, tmp_path)


def test_protocols_keep_to_their_kind_of_data(tree, golden, small_file, tmp_path):
    with pytest.raises(WrongName, match="davis has no preset for clustering") as caught:
        bench.evaluate(str(small_file), "davis", "clustering", data_root=tree)
    assert "It has one for davis" in caught.value.remedy
    with pytest.raises(WrongName, match="pascal-voc has no preset for davis"):
        bench.evaluate(str(small_file), "pascal-voc", "davis", data_root=golden / "VOCSegmentation")
    with pytest.raises(WrongName, match="unknown preset entry 'clusters'"):
        run(str(small_file), tree, tmp_path, entries={"clusters": 3})


# --- masks made elsewhere ---


def rescore(tree, tmp_path, **more):
    chosen = Settings(split=more.pop("split", "val-2017"), data_root=tree, cache=tmp_path / "cache")
    return score_folder(tmp_path / "p", "davis", tmp_path / "r", chosen, **more).record


@pytest.mark.slow
def test_scoring_saved_masks_gives_the_runs_figures(tree, small_file, tmp_path):
    made = run(str(small_file), tree, tmp_path, save_predictions=tmp_path / "p")
    again = rescore(tree, tmp_path)
    for key in ("metrics", "per_sequence"):
        assert again[key] == made[key]
    assert again["dataset"]["manifest"] == made["dataset"]["manifest"]
    assert again["model"]["id"] == made["model"]["id"] and again["protocol"]["id"] == "predictions-davis"
    assert not again["warnings"]
    assert rescore(tree, tmp_path)["model"]["weights_sha256"] == again["model"]["weights_sha256"]


@pytest.fixture
def masks(tree, tmp_path):
    """Predictions that are the annotations."""
    return shutil.copytree(tree / "Annotations" / "480p", tmp_path / "p")


def test_annotations_are_perfect_predictions_and_the_ends_are_not_looked_at(tree, masks, tmp_path):
    for name, last in (("ball", 5), ("kite", 4), ("duck", 6)):
        (masks / name / "00000.png").unlink()
        (masks / name / f"{last:05d}.png").write_bytes(b"no picture")
    made = rescore(tree, tmp_path)
    assert {name: entry["value"] for name, entry in made["metrics"].items()} == {
        name: 0.0 if "decay" in name else 100.0 for name in METRICS
    }


def test_an_object_that_is_never_predicted_is_an_empty_mask(tree, masks, tmp_path):
    for path in masks.rglob("*.png"):
        Image.fromarray(np.where(np.asarray(Image.open(path)) == 2, 0, np.asarray(Image.open(path)))).save(path)
    made = rescore(tree, tmp_path)
    assert made["metrics"]["J_mean"]["value"] == pytest.approx(60) and made["per_sequence"]["ball"]["F_mean"] == 50


def test_any_value_above_zero_is_the_object_of_2016(tree, masks, tmp_path):
    for path in masks.rglob("*.png"):
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8) * 255).save(path)
    assert rescore(tree, tmp_path, split="val-2016")["metrics"]["JF_mean"]["value"] == 100
    with pytest.raises(BadInput, match=r"00001\.png holds the id 255, but 'ball' has 2 objects"):
        rescore(tree, tmp_path)


@pytest.mark.parametrize(
    "picture, words",
    [
        (Image.fromarray(np.full((HEIGHT, WIDTH), 3, np.uint8)), "holds the id 3, but 'duck' has 2 objects"),
        (Image.new("L", (WIDTH, 60)), "is 96×60 pixels, its frame 96×64"),
        (Image.new("RGB", (WIDTH, HEIGHT), "red"), "has RGB pixels"),
    ],
)
def test_a_mask_that_cannot_be_scored_is_named(tree, masks, tmp_path, picture, words):
    picture.save(masks / "duck" / "00003.png")
    with pytest.raises(BadInput, match=rf"duck/00003\.png {words}"):
        rescore(tree, tmp_path)


def test_a_missing_mask_is_named_and_others_are_counted(tree, masks, tmp_path):
    Image.new("L", (4, 4)).save(masks / "other.png")
    assert "holds 1 files that belong to no image" in rescore(tree, tmp_path)["warnings"][0]
    (masks / "kite" / "00002.png").unlink()
    with pytest.raises(BadInput, match=r"kite/00002\.png is missing \(1 of 12 evaluated frames"):
        rescore(tree, tmp_path)


# --- the command line ---


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "r"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))

    def call(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        return left.value.code, *capfd.readouterr()

    return call


@pytest.mark.slow
def test_the_real_cut_from_run_to_check(realdata, small_file, command, tmp_path):
    root = realdata / "DAVIS"
    base = ("run", "--dataset", "davis", "--protocol", "davis", "--data-root", root, "--model", small_file)
    arguments = (*base, "--set", "height=64", "--workers", "2")
    code, out, _ = command(*arguments, "--save-predictions", tmp_path / "p")
    assert code == 0 and "2 sequences of 20, 99 frames" in out and "J&F " in out
    (path,) = (tmp_path / "r").rglob("*.json")
    made = record.read(path)
    assert record.check_rows(record.Stored(path, made)) is None
    assert set(made["per_sequence"]) == {"blackswan", "libby"} and set(made["metrics"]) == set(METRICS)
    masks = shown(tmp_path / "p")
    assert len(masks) == 99 and masks["blackswan/00049"].shape == (480, 854)

    folder = root / "Annotations" / "480p"
    overlaps = []
    for name, mask in masks.items():
        if name in ("blackswan/00000", "blackswan/00049", "libby/00000", "libby/00048"):
            continue
        annotation = np.asarray(Image.open(folder / f"{name}.png")) > 0
        overlaps.append((annotation & (mask > 0)).sum() / (annotation | (mask > 0)).sum())
    blackswan, libby = np.mean(overlaps[:48]), np.mean(overlaps[48:])
    assert made["metrics"]["J_mean"]["value"] == pytest.approx(50 * (blackswan + libby), abs=1e-9)

    shutil.copytree(tmp_path / "r", tmp_path / "before")
    code, out, _ = command(*arguments, "--json")
    again = json.loads(out)
    assert again["observed"]["from_cache"] == 2 and again["rows"]["sha256"] == made["rows"]["sha256"]
    assert "J\\_mean" in command("report", "--format", "md")[1]
    code, out, _ = command("check", "--against", tmp_path / "before")
    assert code == 0 and out.count("reproduced") >= len(METRICS)
    code, out, _ = command(*arguments, "--dry-run")
    assert code == 0 and "99 images" in out and "2 of 2 sequences are cached" in out
    assert "JF_mean" in command("list", "results")[1]


@pytest.mark.slow
def test_show_opens_sequences(tree, command):
    code, out, _ = command("show", "davis", "--split", "val-2017", "--data-root", tree)
    assert code == 0 and "val-2017: 30 sequences" in out and "neighbourhood" in out
    assert "ball" in out and "object 2 9 %" in out
    assert "davis  " in command("list", "protocols")[1]
    assert "val-2016:20" in command("list", "datasets")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--protocol", "clustering", "--model", "random-shapes"),
        ("run", "--protocol", "davis", "--model", "random-shapes", "--clusters", "3"),
        ("score", ".", "--match", "iou"),
        ("priors", "--method", "boundary", "--out", "masks"),
    ],
)
def test_what_does_not_fit_video_is_a_wrong_name(tree, command, arguments):
    name = ("davis",) if arguments[0] == "priors" else ("--dataset", "davis")
    code, out, err = command(arguments[0], *name, *arguments[1:], "--data-root", tree)
    assert code == 2 and not out and err.startswith("error: ") and "Traceback" not in err


@pytest.mark.slow
def test_check_names_the_sequences_that_moved(tree, command, tmp_path):
    made = run(Colours(), tree, tmp_path, name="colours", results=tmp_path / "r")
    shutil.copytree(tmp_path / "r", tmp_path / "old")
    (path,) = (tmp_path / "r").rglob("*.json")
    rows = FrameRows.read(record.rows_path(record.Stored(path, made)))
    own = np.array([rows.ids[frame].startswith("duck/") for frame in rows.frame])
    worse = replace(rows, similarity=np.where(own, 0.5 * rows.similarity, rows.similarity))
    record.write(made | entries(worse), worse, tmp_path / "r")
    code, out, _ = command("check", "--against", tmp_path / "old")
    assert code == 1 and "below" in out and "duck" in out


@pytest.mark.slow
def test_percentages_are_finite_and_in_range(tree, small_file, tmp_path):
    made = run(str(small_file), tree, tmp_path)
    for name, entry in made["metrics"].items():
        assert (-100 if "decay" in name else 0) <= entry["value"] <= 100
