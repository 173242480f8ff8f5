"""The protocol `davis`: propagation against the plain way, whole runs, figures from rows, resumption, bad input."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bench
from bench import record
from bench.cli import main
from bench.errors import BadInput, WrongName
from bench.plan import Settings
from bench.presets import DavisPreset
from bench.protocols.davis import METRICS, Tracked, intervals, object_table
from bench.score import score_folder
from bench.video import propagate, track
from bench.video.measures import score_ids, statistics
from bench.video.propagate import Propagation, paint, shares
from bench.video.rows import FrameRows
from tests.video import HEIGHT, WIDTH, Colours, frame, write_list, write_sequence

# --- propagation ---


def plain_step(context, features, preset):
    """One frame, cell by cell: every cell of the context in reach is compared, sorted, the best ones weighted."""
    height, width = features.shape[-2:]
    unit = F.normalize(features.double(), dim=0)
    result = torch.zeros(context[0][1].shape, dtype=torch.float64)
    reach = preset.neighbourhood
    for y in range(height):
        for x in range(width):
            found = []
            for keys, labels in context:
                near = F.normalize(keys.double(), dim=0)
                for v in range(max(0, y - reach), min(height, y + reach + 1)):
                    for u in range(max(0, x - reach), min(width, x + reach + 1)):
                        found.append((float(unit[:, y, x] @ near[:, v, u]), labels[:, v, u].double()))
            best = sorted(found, key=lambda pair: -pair[0])[: preset.top_k]
            weights = torch.tensor([similar for similar, _ in best], dtype=torch.float64) / preset.temperature
            result[:, y, x] = sum(w * label for w, (_, label) in zip(weights.softmax(0), best, strict=True))
    return result


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 6)),
    top_k=st.integers(1, 12),
    reach=st.integers(1, 7),
    context=st.integers(0, 3),
    cells=st.sampled_from([1, 1 << 22]),
)
def test_propagation_is_what_the_plain_way_gives(seed, shape, top_k, reach, context, cells):
    generator = torch.Generator().manual_seed(seed)
    preset = DavisPreset(top_k=top_k, neighbourhood=reach, context=context, temperature=0.1)
    frames = [torch.randn(4, *shape, generator=generator) for _ in range(4)]
    first = torch.rand(3, *shape, generator=generator).softmax(dim=0)
    fast, remembered = Propagation(frames[0], first, preset), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(propagate, "_CELLS", cells)
        for features in frames[1:]:
            expected = plain_step([(frames[0], first), *remembered], features, preset)
            labels = fast.step(features)
            torch.testing.assert_close(labels.double(), expected, atol=1e-4, rtol=0)
            torch.testing.assert_close(labels.sum(dim=0), torch.ones(shape))
            remembered = [*remembered, (features, labels)][-context:] if context else []


def test_labels_follow_features_that_move():
    preset = DavisPreset(top_k=1, neighbourhood=2)
    features = torch.randn(16, 8, 10, generator=torch.Generator().manual_seed(0))
    first = shares(torch.randint(0, 3, (8, 10), generator=torch.Generator().manual_seed(1)), 2, (8, 10))
    context = Propagation(features, first, preset)
    for step in range(1, 4):
        moved = context.step(features.roll((step, step), (1, 2)))
        inside = (slice(None), slice(step, None), slice(step, None))
        assert torch.equal(moved[inside], first.roll((step, step), (1, 2))[inside])


def test_nothing_older_than_the_context_is_kept():
    context = Propagation(torch.randn(4, 3, 3), torch.rand(2, 3, 3), DavisPreset(context=2))
    for _ in range(5):
        context.step(torch.randn(4, 3, 3))
    assert len(context.recent) == 2
    context = Propagation(torch.randn(4, 3, 3), torch.rand(2, 3, 3), DavisPreset(context=0))
    context.step(torch.randn(4, 3, 3))
    assert not context.recent


def test_shares_and_paint_undo_each_other_on_whole_cells():
    ids = torch.zeros(32, 48, dtype=torch.uint8)
    ids[8:24, 16:32] = 2
    labels = shares(ids, 2, (4, 6))
    assert labels.shape == (3, 4, 6) and labels[2].sum() == 4 and torch.all(labels.sum(dim=0) == 1)
    assert torch.equal(paint(shares(ids, 2, (32, 48)), (32, 48)), ids)


@pytest.mark.parametrize(
    "size, expected", [((480, 854), (480, 856)), ((480, 910), (480, 912)), ((854, 480), (480, 272))]
)
def test_inputs_keep_the_frames_proportions_in_multiples_of_eight(size, expected):
    assert track.input_size(size, 480) == expected


# --- figures ---


def rows_of(*lengths, objects=(1, 2), seed=0):
    """Rows of a sequence per length, with random values."""
    rng = np.random.default_rng(seed)
    ids, columns = [], []
    for number, length in enumerate(lengths):
        count = objects[number % len(objects)]
        columns += [(k + 1, len(ids) + 1 + t) for k in range(count) for t in range(length)]
        ids += [f"s{number}/{i:05d}" for i in range(length + 2)]
    number, index = (np.array(column, np.int32) for column in zip(*columns, strict=True))
    return FrameRows(tuple(ids), index, number, *rng.random((2, len(index))))


def test_figures_are_means_over_objects_of_their_statistics():
    rows = rows_of(9, 14, 5)
    figures = Tracked(rows).figures()
    objects = [(statistics(j), statistics(f)) for _, _, j, f in rows.objects()]
    assert len(objects) == 4
    for name, part in (("mean", "J_mean"), ("recall", "J_recall"), ("decay", "J_decay")):
        expected = 100 * np.mean([getattr(j, name) for j, _ in objects])
        assert figures["metrics"][part]["value"] == pytest.approx(expected)
    both = (figures["metrics"]["J_mean"]["value"] + figures["metrics"]["F_mean"]["value"]) / 2
    assert figures["metrics"]["JF_mean"]["value"] == pytest.approx(both)
    assert list(figures["metrics"]) == list(METRICS)
    assert {n: (e["frames"], e["objects"]) for n, e in figures["per_sequence"].items()} == {
        "s0": (11, 1), "s1": (16, 2), "s2": (7, 1),
    }  # fmt: skip


def test_two_halves_weighed_by_their_objects_are_the_whole():
    whole = Tracked(rows_of(9, 14, 5, 8)).figures()
    entries = whole["per_sequence"].values()
    for name in METRICS:
        mean = np.average([e[name] for e in entries], weights=[e["objects"] for e in entries])
        assert whole["metrics"][name]["value"] == pytest.approx(mean)


def test_decay_of_a_sequence_too_long_for_it_is_left_out_not_half_averaged():
    figures = Tracked(rows_of(9, 257)).figures()
    assert not {"J_decay", "F_decay"} & set(figures["metrics"])
    assert set(METRICS) - set(figures["metrics"]) == {"J_decay", "F_decay"}
    assert "J_decay" in figures["per_sequence"]["s0"] and "J_decay" not in figures["per_sequence"]["s1"]
    assert "ci95" in figures["metrics"]["J_mean"]
    json.dumps(figures, allow_nan=False)


def test_one_sequence_has_no_interval():
    assert "ci95" not in Tracked(rows_of(9)).figures()["metrics"]["J_mean"]


def test_intervals_draw_whole_sequences():
    table = np.array([[0.0] * 7, [100.0] * 7, [100.0] * 7, [100.0] * 7])
    low, high = intervals(table, np.array([0, 1, 1, 1]))["J_mean"]
    assert (low, high) == (0.0, 100.0)
    same = intervals(np.full((4, 7), 30.0), np.array([0, 1, 1, 2]))
    assert all(bounds == pytest.approx((30.0, 30.0)) for bounds in same.values())
    assert set(same) == set(METRICS)


def test_rows_survive_their_file_and_a_damaged_one_is_named(tmp_path):
    rows = rows_of(4, 6)
    rows.write(tmp_path / "a.npz")
    again = FrameRows.read(tmp_path / "a.npz")
    assert again.ids == rows.ids and again.sequences == ("s0", "s1")
    for name in ("frame", "object", "similarity", "accuracy"):
        assert np.array_equal(getattr(again, name), getattr(rows, name))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(BadInput, match=r"b\.npz is missing or damaged"):
        FrameRows.read(tmp_path / "b.npz")


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
    assert made["metrics"]["J_mean"]["value"] > 80 and made["metrics"]["F_recall"]["value"] == 100
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
    figures = Tracked(rows).figures()
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
    assert own["metrics"]["J_mean"]["value"] > 80


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


def test_a_killed_run_goes_on_with_the_next_sequence(tree, small_file, tmp_path, monkeypatch):
    whole = run(str(small_file), tree, tmp_path, cache=tmp_path / "other")
    opened = []
    original = track.read_frame

    def killed(video, number, objects):
        if video.id == "duck":
            raise KeyboardInterrupt
        return original(video, number, objects)

    def counting(video, number, objects):
        opened.append(video.id)
        return original(video, number, objects)

    monkeypatch.setattr(track, "read_frame", killed)
    with pytest.raises(KeyboardInterrupt):
        run(str(small_file), tree, tmp_path)
    monkeypatch.setattr(track, "read_frame", counting)
    resumed = run(str(small_file), tree, tmp_path, save_predictions=tmp_path / "p")
    assert set(opened) == {"duck"} and resumed["observed"]["from_cache"] == 2
    assert resumed["metrics"] == whole["metrics"] and resumed["dataset"]["manifest"] == whole["dataset"]["manifest"]
    assert len(shown(tmp_path / "p")) == 18


def test_limit_takes_whole_sequences(tree, small_file, tmp_path):
    made = run(str(small_file), tree, tmp_path, limit=2, results=tmp_path / "r")
    assert (made["dataset"]["sequences"], made["dataset"]["images"], made["dataset"]["limited"]) == (2, 11, True)
    assert [path.name.endswith("-limit2.json") for path in (tmp_path / "r").rglob("*.json")] == [True]


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
    monkeypatch.setattr("bench.video.measures.LONGEST", 4)
    made = run(Colours(), tmp_path, tmp_path)
    assert "J_decay" not in made["metrics"] and "J_mean" in made["metrics"]
    assert any("J_decay and F_decay left out" in line for line in made["warnings"])


# --- bad input ---


def test_a_size_that_changes_within_a_sequence_is_named(tree, tmp_path):
    other = shutil.copytree(tree, tmp_path / "tree")
    for folder, suffix, mode in (("JPEGImages", "jpg", "RGB"), ("Annotations", "png", "L")):
        Image.new(mode, (80, 64)).save(other / folder / "480p" / "kite" / f"00003.{suffix}")
    with pytest.raises(BadInput, match=r"kite/00003\.jpg is 80×64 pixels, its sequence began with 96×64"):
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

    with pytest.raises(BadInput, match="the network's features are"):
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


def test_scoring_saved_masks_gives_the_runs_figures(tree, small_file, tmp_path):
    made = run(str(small_file), tree, tmp_path, save_predictions=tmp_path / "p")
    again = rescore(tree, tmp_path)
    for key in ("metrics", "per_sequence"):
        assert again[key] == made[key]
    assert again["dataset"]["manifest"] == made["dataset"]["manifest"]
    assert again["model"]["id"] == made["model"]["id"] and again["protocol"]["id"] == "predictions"
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
        (Image.new("RGB", (WIDTH, HEIGHT)), "has RGB pixels"),
    ],
)
def test_a_mask_that_cannot_be_scored_is_named(tree, masks, tmp_path, picture, words):
    picture.save(masks / "duck" / "00003.png")
    with pytest.raises(BadInput, match=rf"duck/00003\.png {words}"):
        rescore(tree, tmp_path)


def test_a_missing_mask_is_named_and_others_are_counted(tree, masks, tmp_path):
    Image.new("L", (4, 4)).save(masks / "other.png")
    assert "holds 1 files that are no image" in rescore(tree, tmp_path)["warnings"][0]
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


def test_the_real_cut_from_run_to_check(realdata, small_file, command, tmp_path):
    root = realdata / "DAVIS"
    base = ("run", "--dataset", "davis", "--protocol", "davis", "--data-root", root, "--model", small_file)
    arguments = (*base, "--set", "height=64", "--workers", "2")
    code, out, _ = command(*arguments, "--save-predictions", tmp_path / "p")
    assert code == 0 and "2 sequences of 20, 99 frames" in out and "J&F mean" in out
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

    code, out, _ = command(*arguments, "--json")
    again = json.loads(out)
    assert again["observed"]["from_cache"] == 2 and again["rows"]["sha256"] == made["rows"]["sha256"]
    assert "J\\_mean" in command("report", "--format", "md")[1]
    code, out, _ = command("check", "--against", tmp_path / "r")
    assert code == 0 and out.count("reproduced") >= len(METRICS)
    code, out, _ = command(*arguments, "--dry-run")
    assert code == 0 and "99 images" in out and "2 of 2 sequences are cached" in out
    assert "JF_mean" in command("list", "results")[1]


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


def test_check_names_the_sequences_that_moved(tree, command, tmp_path):
    run(Colours(), tree, tmp_path, name="colours", results=tmp_path / "r")
    shutil.copytree(tmp_path / "r", tmp_path / "old")
    (path,) = (tmp_path / "old").rglob("*.json")
    made = json.loads(path.read_text())
    made["metrics"]["J_mean"]["value"] += 5
    made["per_sequence"]["duck"]["JF_mean"] += 15
    path.write_text(json.dumps(made))
    code, out, _ = command("check", "--against", tmp_path / "old")
    assert code == 1 and "below" in out and "duck" in out


def test_percentages_are_finite_and_in_range(tree, small_file, tmp_path):
    made = run(str(small_file), tree, tmp_path)
    for name, entry in made["metrics"].items():
        assert (-100 if "decay" in name else 0) <= entry["value"] <= 100
    table = object_table([(np.array([0.5, 1.0]), np.array([1.0, 1.0]))])
    assert table[0].tolist() == [75.0, 50.0, -50.0, 100.0, 100.0, 0.0, 87.5]
