"""knn and linear-patches: what CAPI's dense evaluation makes of the same pictures, stage by stage, and whole runs."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression

import bench
from bench.base.errors import BadInput, WrongName
from bench.cards.presets import fingerprint
from bench.data.placement import place
from bench.data.preprocessing import label_to_input, normalise, to_input
from bench.passes.tokens import ImageTokens
from bench.protocols.knn.preset import KnnPreset
from bench.protocols.knn.scoring import Setting, figures, paint, voted
from bench.protocols.linear_patches.preset import LinearPatchesPreset
from bench.protocols.shared_by_patch import Bank, Order, Part, add_to_table, draw_val, miou
from bench.scoring import logistic
from bench.scoring.id_counts import Painted, contingency, given_classes
from bench.scoring.metrics import seed_metrics
from bench.scoring.neighbours import Scaling, search
from bench.scoring.patch_labels import join_patches, majority, split_patches, vote
from tests.conftest import GOLDEN

FIGURES = json.loads((GOLDEN / "capi_dense" / "golden.json").read_text())
RUNS = FIGURES["runs"]
SPLITS = ("train", "val", "test")
CLOSE = 5e-11
"""Ten digits of a fraction were stored."""
GRID = (8, 8)


@pytest.fixture(scope="module")
def arrays():
    return dict(np.load(GOLDEN / "capi_dense" / "golden_arrays.npz"))


@pytest.fixture(scope="module")
def inputs():
    return dict(np.load(GOLDEN / "capi_dense" / "inputs.npz"))


class Net(torch.nn.Module):
    """The stand-in for the backbone."""

    def __init__(self):
        super().__init__()
        arrays = np.load(GOLDEN / "capi_dense" / "net.npz")
        self.conv = torch.nn.Conv2d(3, 10, 8, 8)
        with torch.no_grad():
            self.conv.weight.copy_(torch.from_numpy(arrays["weight"]))
            self.conv.bias.copy_(torch.from_numpy(arrays["bias"]))

    def forward(self, images):
        return self.conv(images)


# --- stage by stage, with ids as they stand in the files ---


@pytest.mark.parametrize("split", SPLITS)
def test_pictures_become_the_reference_s_features_and_labels(split, arrays, inputs):
    preset = KnnPreset(input=(64, 64))
    for number, expected in enumerate(arrays[f"features_{split}"]):
        image, label = inputs[f"{split}_image_{number}"], inputs[f"{split}_label_{number}"]
        with torch.no_grad():
            batch = normalise(torch.from_numpy(to_input(image, preset).copy())[None], preset)
            found = Net()(batch)[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5)
        patches = split_patches(label_to_input(label, preset), GRID)
        np.testing.assert_array_equal(patches, arrays[f"labels_{split}"][number].reshape(64, 64))


def of_files(run, arrays):
    """Features and patch labels of each split as the run compares them, and what it makes a bank of."""
    ignored, every = run["ignored"], run["options"].get("train_set_subsampling", 1)
    flat = {s: (arrays[f"features_{s}"].reshape(-1, 10), arrays[f"labels_{s}"].reshape(-1, 64)) for s in SPLITS}
    if run is not RUNS["no_standardisation"]:
        scaling = Scaling.of([flat["train"][0]])
        flat = {s: (scaling(features), labels) for s, (features, labels) in flat.items()}

    def bank(*splits):
        features, labels = (np.concatenate([flat[s][i] for s in splits])[::every] for i in (0, 1))
        kept = ~np.isin(majority(labels), ignored)
        return features[kept], labels[kept]

    return flat, bank


def metrics_of(found, label, ignored):
    """Every id is a class, and void is one where it is predicted."""
    label = np.where(np.isin(label, ignored), 255, label)
    table = contingency(found, label, 255)
    return given_classes([Painted(("all",), [table], "")], 256), table


def fractions(found, label, ignored):
    figures = seed_metrics(metrics_of(found, label, ignored)[0], "skip")[0]
    return figures["mIoU"] / 100, figures["pixel_accuracy"] / 100


def setting_of(name):
    """Neighbours and distance of a setting as the release names it."""
    number, distance = name.removeprefix("num_neighbors=").split("_distance=")
    return int(number), distance.lower()


@pytest.mark.parametrize("name", RUNS)
def test_figures_of_every_setting_and_of_the_test_images(name, arrays):
    run = RUNS[name]
    close, final = (0.0115, 0.0055) if name == "bfloat16" else (CLOSE, CLOSE)
    chunk = run["options"].get("train_set_chunk_size", 10**6)
    flat, bank = of_files(run, arrays)
    features, labels = bank("train")
    said = {}
    for setting, expected in run["validation_miou"].items():
        number, distance = setting_of(setting)
        parts = [features[i : i + chunk] for i in range(0, len(features), chunk)]
        _, nearest = search(flat["val"][0], parts, number, distance)
        said[setting], _ = fractions(voted(labels[nearest]), flat["val"][1], run["ignored"])
        assert said[setting] == pytest.approx(expected, abs=close)
    best = max(said, key=lambda one: said[one])
    assert best == run["best"]
    features, labels = bank("train", "val")
    assert len(features) == run["rows_of_the_final_bank"]
    number, distance = setting_of(best)
    _, nearest = search(flat["test"][0], [features[:7], features[7:]], number, distance)
    found = voted(labels[nearest])
    rows, table = metrics_of(found, flat["test"][1], run["ignored"])
    value, accuracy = fractions(found, flat["test"][1], run["ignored"])
    assert value == pytest.approx(run["test_miou"], abs=final)
    assert accuracy == pytest.approx(run["test_accuracy"], abs=final)
    if name == "bfloat16":
        return
    per_class = rows.per_class([str(i) for i in range(256)])
    counted = {int(key): iou / 100 for key, iou in per_class.items() if iou is not None}
    assert list(counted) == run["classes_in_the_mean"]
    np.testing.assert_allclose(list(counted.values()), run["iou_of_them"], atol=CLOSE)
    void = np.isin(table[:, 0], run["ignored"])
    assert table[void, 2].sum() == run["valid_pixels_predicted_as_an_ignored_id"]
    without = np.mean([iou for one, iou in counted.items() if one not in run["ignored"]])
    assert without == pytest.approx(run["mean_without_ignored_ids"], abs=CLOSE)
    if name == "float32":
        np.testing.assert_array_equal(found, arrays["test_predictions"])


def test_features_are_scaled_by_the_reference_s_mean_and_deviation(arrays):
    parts = [features.reshape(-1, 10) for features in arrays["features_train"]]
    scaling = Scaling.of([parts[0][:0], *parts])
    np.testing.assert_allclose(scaling.mean, RUNS["float32"]["train_mean"], atol=1e-8)
    np.testing.assert_allclose(scaling.deviation, RUNS["float32"]["train_std"], atol=1e-8)


def test_the_smallest_of_equally_frequent_ids_wins():
    ties = FIGURES["mode_ties"]
    rows = np.array(ties["input"], np.uint8)
    assert majority(rows).tolist() == vote(np.ascontiguousarray(rows.T)).tolist() == ties["mode"]


# --- whole runs on the same pictures ---


CARD = """
schema = 1
id = "capi-like"
title = "generated"
licence = "none"
default_split = "test"
classes = [{classes}]
[labels]
ignore = 255
[splits.train]
[splits.val]
[splits.test]
[[layouts]]
name = "as written"
{layouts}
[protocols.knn]
input = [64, 64]
val = "val"
"""


def write_tree(folder, inputs):
    """The golden pictures as files, and a card that ignores 255. Returns the card."""
    layouts = []
    for split in SPLITS:
        names = [key.rsplit("_", 1)[1] for key in inputs if key.startswith(f"{split}_image")]
        (folder / split).mkdir(parents=True)
        for name in names:
            Image.fromarray(inputs[f"{split}_image_{name}"]).save(folder / split / f"{name}.png")
            Image.fromarray(inputs[f"{split}_label_{name}"]).save(folder / split / f"{name}_label.png")
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        layouts.append(f'[layouts.splits.{split}]\nlist = "{split}.txt"')
        layouts.append(f'image = "{split}/{{id}}.png"\nlabel = "{split}/{{id}}_label.png"')
    classes = ", ".join(f'"class {i}"' for i in range(12))
    card = folder / "card.toml"
    card.write_text(CARD.format(classes=classes, layouts="\n".join(layouts)))
    return card


def evaluate(card, protocol="knn", model=None, **more):
    more = {"batch_size": 3, "normalisation": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))} | more
    return bench.evaluate(model or Net(), str(card), protocol, data_root=card.parent, **more)


def test_a_run_is_the_reference_s_with_void_as_a_class_of_its_own(tmp_path, inputs):
    card, run = write_tree(tmp_path / "data", inputs), RUNS["ignore_only_255"]
    made = evaluate(card, cache=tmp_path / "cache", cache_key="net", results=tmp_path, save_predictions=tmp_path / "p")
    assert made["metrics"]["mIoU"]["value"] / 100 == pytest.approx(run["test_miou"], abs=CLOSE)
    assert made["metrics"]["pixel_accuracy"]["value"] / 100 == pytest.approx(run["test_accuracy"], abs=CLOSE)
    assert made["bank"]["entries"] == run["rows_of_the_final_bank"] and made["selected_on"]["chosen"] == "3 l2"
    chosen_by = [value / 100 for value in made["selected_on"]["mIoU"].values()]
    np.testing.assert_allclose(chosen_by, list(run["validation_miou"].values()), atol=CLOSE)
    assert "void is one of IoU 0" in KnnPreset.definition(counted(made))
    shutil.rmtree(tmp_path / "p")
    again = evaluate(card, cache=tmp_path / "cache", cache_key="net", save_predictions=tmp_path / "p")
    assert again["metrics"] == made["metrics"] and again["observed"]["from_cache"] == 3
    fixed = evaluate(card, "knn+fixed", cache=tmp_path / "cache", cache_key="net")
    assert fixed["protocol"]["id"] == "knn+fixed" and not fixed["protocol"]["modified"]
    assert np.array(fixed["confusion"]["mean"])[-1].sum() == 0 < np.array(made["confusion"]["mean"])[-1].sum()


def counted(made):
    from bench.cards.counting import Counted

    return Counted(made["protocol"]["preset"], made["dataset"]["split"])


@pytest.mark.parametrize("name", ["float32", "every_third", "no_standardisation"])
def test_a_class_can_be_void_as_well(name, tmp_path, inputs):
    run = RUNS[name]
    entries = {"void_classes": ["class 0"], "every": run["options"].get("train_set_subsampling", 1)}
    entries["standardise"] = name != "no_standardisation"
    card = write_tree(tmp_path / "data", inputs)
    made = evaluate(card, entries=entries, cache=tmp_path / "cache")
    assert made["metrics"]["mIoU"]["value"] / 100 == pytest.approx(run["test_miou"], abs=CLOSE)
    assert made["bank"]["entries"] == run["rows_of_the_final_bank"]
    chosen_by = [value / 100 for value in made["selected_on"]["mIoU"].values()]
    np.testing.assert_allclose(chosen_by, list(run["validation_miou"].values()), atol=CLOSE)
    fixed = evaluate(card, "knn+fixed", entries=entries, cache=tmp_path / "cache")
    assert not np.array(fixed["confusion"]["mean"])[[0, -1]].any()


def test_void_can_be_the_smallest_id():
    label = np.array([[0, 255, 1, 255]], np.uint8)
    assert [Order(2, 255, first=first).rank(label).tolist() for first in (False, True)] == [
        [[0, 2, 1, 2]],
        [[1, 0, 2, 0]],
    ]
    for order, most in ((Order(2, 255), 1), (Order(2, 255, first=True), 2)):
        ranks = order.rank(np.array([[1, 255, 255, 1]], np.uint8))
        assert majority(ranks).tolist() == [most if order.void == 2 else 0]
        assert order.classes_of(ranks).tolist() == [[1, 2, 2, 1]]


def test_logistic_regression_counts_patches(tmp_path, inputs, arrays):
    card = write_tree(tmp_path / "data", inputs)
    entries = {"input": [64, 64], "val": "val", "strengths": [1e-3, 1.0], "iterations": 30, "tolerance": 1e-9}
    card.write_text(card.read_text() + "[protocols.linear-patches]\ninput = [64, 64]\n")
    made = evaluate(card, "linear-patches", entries=entries, cache=tmp_path / "cache", save_predictions=tmp_path / "p")
    labels = majority(arrays["labels_test"].reshape(-1, 64))
    assert np.sum(made["confusion"]["mean"]) == (labels != 255).sum()
    assert made["solver"]["library"] == "scipy" and "cuML" in made["solver"]["in_place_of"]
    scaling = Scaling.of([arrays["features_train"].reshape(-1, 10)])
    rows, wanted = [], []
    for split in ("train", "val"):
        rows.append(scaling(arrays[f"features_{split}"].reshape(-1, 10)))
        wanted.append(majority(arrays[f"labels_{split}"].reshape(-1, 64)))
    kept = np.concatenate(wanted) != 255
    fitted = LogisticRegression(C=float(made["selected_on"]["chosen"]), max_iter=30, tol=1e-9)
    fitted.fit(np.concatenate(rows)[kept].astype(np.float64), np.concatenate(wanted)[kept])
    found = fitted.predict(scaling(arrays["features_test"].reshape(-1, 10)).astype(np.float64))
    accuracy = 100 * (found == labels)[labels != 255].mean()
    assert made["metrics"]["pixel_accuracy"]["value"] == pytest.approx(accuracy, abs=1.1)  # a patch of 163


# --- bad input ---


@pytest.mark.parametrize(
    ("protocol", "entries", "problem"),
    [
        ("knn", {"neighbours": [1, 700]}, "fewer than the 700 neighbours"),
        ("knn", {"every": 600}, "the bank has 1 patch, fewer than the 30"),
        ("knn", {"val": "train"}, "the bank's split too"),
        ("knn", {"val": None, "bank_images": 1}, "none is left to choose settings on"),
        ("knn", {"val_seed": 3}, "no effect here"),
        ("knn", {"input": [68, 68]}, "cannot be cut into patches"),
        ("knn", {"void_classes": ["clas 0"]}, "unknown class 'clas 0'"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(protocol, entries, problem, tmp_path, inputs):
    card = write_tree(tmp_path / "data", inputs)
    with pytest.raises((BadInput, WrongName), match=problem):
        evaluate(card, protocol, entries=entries, cache=tmp_path / "cache")


def test_a_bank_of_void_is_said(tmp_path, inputs):
    void = {name: np.full_like(one, 255) if name.startswith("train_label") else one for name, one in inputs.items()}
    card = write_tree(tmp_path / "data", void)
    with pytest.raises(BadInput, match="none of the 8 images of train that make the bank has a patch"):
        evaluate(card, cache=tmp_path / "cache")


def test_features_that_are_not_finite_name_the_image(tmp_path, inputs):
    card, broken = write_tree(tmp_path / "data", inputs), Net()
    with torch.no_grad():
        broken.conv.bias.fill_(torch.nan)
    with pytest.raises(BadInput, match=r"NaN or infinity on .*0\.png"):
        evaluate(card, model=broken, cache=tmp_path / "cache")


# --- properties ---


def slow_vote(labels, left_out=None):
    found = []
    for column in labels.T:
        kept = [int(one) for one in column if one != left_out] or [left_out]
        found.append(min(set(kept), key=lambda one: (-kept.count(one), one)))
    return found


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.sampled_from([2, 5, 300]), st.sampled_from([None, 0, 1]))
def test_votes_are_those_of_counting_one_by_one(seed, neighbours, ids, left_out):
    labels = np.random.default_rng(seed).integers(0, ids, (neighbours, 40)).astype(np.uint16)
    assert vote(labels, left_out).tolist() == slow_vote(labels, left_out)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.sampled_from(["cosine", "l2"]))
def test_parts_of_a_bank_give_the_neighbours_of_the_whole(seed, chunk, distance):
    rng = np.random.default_rng(seed)
    bank, queries = rng.standard_normal((60, 6)).astype(np.float32), rng.standard_normal((9, 6)).astype(np.float32)
    whole = search(queries, [bank], 7, distance)
    parts = search(queries, [bank[i : i + chunk] for i in range(0, 60, chunk)], 7, distance)
    np.testing.assert_array_equal(whole[1], parts[1])
    one, other = queries[:, None].astype(np.float64), bank[None].astype(np.float64)
    if distance == "cosine":
        one, other = (rows / np.linalg.norm(rows, axis=2, keepdims=True) for rows in (one, other))
        exact = 1 - (one * other).sum(axis=2)
    else:
        exact = ((one - other) ** 2).sum(axis=2)
    np.testing.assert_array_equal(whole[1], np.argsort(exact, axis=1)[:, :7])


def test_patches_are_cut_and_joined():
    label = np.random.default_rng(0).integers(0, 9, (12, 20)).astype(np.uint8)
    patches = split_patches(label, (3, 5))
    assert patches.shape == (15, 16) and patches[6].tolist() == label[4:8, 4:8].reshape(-1).tolist()
    np.testing.assert_array_equal(join_patches(patches, (3, 5), (12, 20)), label)


def image_of(name, label, tokens, grid, preset):
    return ImageTokens(name, tokens, grid, label, place(label.shape, preset))


def bank_of(images, order, folder, **more):
    tokens = SimpleNamespace(
        of=lambda places: (images[i] for i in places),
        bare=lambda places: (images[i] for i in places),
        samples=SimpleNamespace(split="train"),
    )
    return Bank([Part(tokens, np.arange(len(images)))], order, None, folder, **more)


def test_an_image_of_void_changes_nothing_and_another_order_of_images_neither(tmp_path):
    rng, order = np.random.default_rng(3), Order(5, 255, first=False)
    preset = KnnPreset(input=(16, 16), neighbours=(3,), distances=("l2",))
    images = []
    for i in range(6):
        label = rng.choice([0, 1, 2, 3, 4, 255], (16, 16)).astype(np.uint8)
        images.append(image_of(f"{i}", label, rng.standard_normal((16, 4)).astype(np.float32), (4, 4), preset))
    void = image_of("void", np.full((16, 16), 255, np.uint8), np.zeros((16, 4), np.float32), (4, 4), preset)
    chosen = [Setting(3, "l2")]
    plain = [maps[0] for _, maps in paint(images[:2], bank_of(images[2:], order, tmp_path), chosen, preset)]
    other = bank_of([void, *images[:1:-1]], order, tmp_path)
    for found, (_, maps) in zip(plain, paint(images[:2], other, chosen, preset), strict=True):
        np.testing.assert_array_equal(found, maps[0])
    assert figures([*images[:2], void], other, chosen, preset) == figures(images[:2], other, chosen, preset)


def test_without_votes_void_is_never_predicted(tmp_path):
    rng, order = np.random.default_rng(4), Order(3, 255, first=True)
    preset = KnnPreset(input=(8, 8), void_votes=False, absent="skip")
    label = np.where(rng.random((8, 8)) < 0.45, 255, rng.integers(0, 3, (8, 8))).astype(np.uint8)
    image = image_of("a", label, rng.standard_normal((4, 4)).astype(np.float32), (2, 2), preset)
    bank = bank_of([image], order, tmp_path)
    (_, (found,)) = next(paint([image], bank, [Setting(1, "l2")], preset))
    assert found.max() < 3
    own, given = split_patches(found, (2, 2))[bank.kept[0]], split_patches(label, (2, 2))[bank.kept[0]]
    np.testing.assert_array_equal(own[given != 255], given[given != 255])


def test_mean_with_void_counts_it_only_where_it_is_predicted():
    table = np.array([[4, 0, 0], [0, 2, 0], [0, 0, 0], [0, 0, 0]])
    assert miou([table], "skip+void") == miou([table], "skip") == [100.0]
    add_to_table(table, np.array([[3, 3]]), np.array([[1, 255]]), 255)
    assert miou([table], "skip") == pytest.approx([(100 + 200 / 3) / 2])
    assert miou([table], "skip+void") == pytest.approx([(100 + 200 / 3) / 3])


def test_images_to_choose_on_are_drawn_by_seed():
    stay, drawn = draw_val(30, 0.1, 7)
    assert len(drawn) == 3 and sorted([*stay, *drawn]) == list(range(30))
    assert (draw_val(30, 0.1, 7)[1] == drawn).all() and not (draw_val(30, 0.1, 8)[1] == drawn).all()
    assert len(draw_val(2, 0.1, 7)[1]) == 1


def test_memory_of_a_bank_is_its_patches(tmp_path):
    order, preset = Order(5, 255, first=False), KnnPreset(input=(16, 16))
    label = np.zeros((16, 16), np.uint8)
    image = image_of("a", label, np.ones((4, 3), np.float32), (2, 2), preset)
    bank = bank_of([image] * 5, order, tmp_path, every=3)
    assert len(bank) == 7 and isinstance(bank.pixels, np.memmap) and bank.pixels.dtype == np.uint8
    assert [len(part) for part in bank.rows(chunk=3)] == [3, 3, 1] and not list(tmp_path.iterdir())


# --- logistic regression ---


def problem(seed, rows=160, width=5, classes=4):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, width)) * rng.uniform(0.2, 3, width)
    labels = (features @ rng.standard_normal((width, classes)) + rng.gumbel(size=(rows, classes))).argmax(axis=1)
    return features, labels


@pytest.mark.parametrize("strength", [1e-6, 1e-3, 1.0, 10.0])
def test_it_agrees_with_scikit_learn(strength):
    features, labels = problem(1)
    ours = logistic.fit(features.astype(np.float32), labels * 3, strength)
    features = features.astype(np.float32).astype(np.float64)
    theirs = LogisticRegression(C=strength, tol=1e-12, max_iter=10_000).fit(features, labels * 3)
    np.testing.assert_allclose(ours.weights, theirs.coef_, atol=2e-6 * (1 + np.abs(theirs.coef_).max()))
    np.testing.assert_array_equal(ours.predict(features), theirs.predict(features))
    assert ours.converged and ours.classes.tolist() == [0, 3, 6, 9]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([1e-3, 1.0, 100.0]))
def test_its_gradient_is_that_of_its_loss(seed, strength):
    features, labels = problem(seed, rows=20, width=3)
    shape = (4, 4)

    def value(theta):
        return logistic.mean_loss(theta.reshape(shape), features, labels, strength)[0]

    def gradient(theta):
        return logistic.mean_loss(theta.reshape(shape), features, labels, strength)[1].reshape(-1)

    start = np.random.default_rng(seed).standard_normal(16)
    assert check_grad(value, gradient, start) < 1e-5 * (1 + np.abs(gradient(start)).max())


def test_parts_of_the_rows_give_the_loss_of_all(monkeypatch):
    features, labels = problem(2)
    theta = np.random.default_rng(0).standard_normal((4, 6))
    whole = logistic.mean_loss(theta, features, labels, 1.0)
    monkeypatch.setattr(logistic, "_AT_ONCE", 7)
    parts = logistic.mean_loss(theta, features, labels, 1.0)
    assert whole[0] == pytest.approx(parts[0], rel=1e-12)
    np.testing.assert_allclose(whole[1], parts[1], atol=1e-14)


def test_one_class_and_no_numbers_are_said():
    with pytest.raises(BadInput, match="all 5 labelled patches are of one class"):
        logistic.fit(np.ones((5, 2), np.float32), np.full(5, 3), 1.0)
    with pytest.raises(BadInput, match="not finite"):
        logistic.fit(np.full((5, 2), np.nan, np.float32), np.arange(5), 1.0)


def test_its_strengths_are_eight_from_a_millionth_to_a_hundred_thousand():
    np.testing.assert_allclose(LinearPatchesPreset().strengths, np.logspace(-6, 5, 8), rtol=1e-12)
    assert fingerprint("linear-patches", LinearPatchesPreset().resolved())
