"""In-context labels: stage by stage against the reference's outputs, and whole runs."""

import hashlib
import json

import numpy as np
import pytest
import scipy
import torch
from PIL import Image
from torch import nn

import bench
from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.cards.presets import override
from bench.data.placement import place
from bench.data.preprocessing import label_to_input, normalise, to_input
from bench.passes.features import unit
from bench.protocols.base import Settings
from bench.protocols.in_context import augmentation, scoring, search
from bench.protocols.in_context.patches import bank_label, choose, patch_counts, patch_scores, patches_per_image
from bench.protocols.in_context.preset import InContextPreset
from bench.runs.score_folder import score_folder
from bench.scoring.id_counts import Painted, contingency, given_classes, matched_classes
from bench.scoring.metrics import seed_metrics
from tests.conftest import GOLDEN

FOLDER = GOLDEN / "hummingbird"
FIGURES = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
RUNS, PAIRS = FIGURES["runs"], FIGURES["metric"]
MATCHINGS = {"hungarian_iou": "one-to-one", "many_to_one_iou": "many-iou", "many_to_one_precision": "precision"}
TRAIN, VAL, GRID, CLASSES = 6, 4, (8, 8), 21
TEN_DIGITS = 1e-9
PLAIN = {"input": [64, 64], "memory": None, "augmentation": "none", "passes": 1}
PRESET = override(InContextPreset(), PLAIN)
PLACED = place((70, 90), PRESET)


def read(name):
    with np.load(FOLDER / f"{name}.npz") as found:
        return dict(found)


@pytest.fixture(scope="module")
def arrays():
    return read("golden_arrays")


@pytest.fixture(scope="module")
def inputs():
    return read("inputs")


def projection():
    """The stand-in for the backbone."""
    weights = {name: torch.from_numpy(array) for name, array in read("net").items()}
    network = nn.Conv2d(3, 12, 8, stride=8)
    network.load_state_dict(weights)
    return network.eval()


def features(picture):
    with torch.inference_mode():
        found = projection()(normalise(torch.from_numpy(picture.copy())[None], PRESET))
    return found[0].flatten(1).T.numpy()


def unit_rows(found):
    return unit(torch.from_numpy(np.ascontiguousarray(found.reshape(-1, found.shape[-1]))), dim=1).numpy()


def shares_of(labels):
    counts = np.concatenate([patch_counts(label.astype(np.int32), GRID, CLASSES) for label in labels])
    return counts / counts.sum(axis=1, keepdims=True)


def sparse(shares):
    return scipy.sparse.csr_array(shares.astype(np.float32))


def painted_of(maps, labels, ignored=None):
    ids = [str(number) for number in range(len(maps))]
    pairs = zip(maps, labels, strict=True)
    tables = [contingency(found, scoring.counted_label(label, ignored, 255), 255) for found, label in pairs]
    return Painted(ids, tables, "")


def bank_of(name, arrays):
    """Rows and label shares of a run's bank, from the reference's features and its sampled patches."""
    seen = "augmented" if name == "augmented" else "plain"
    rows, labels = arrays[f"{seen}_train_features"], arrays[f"{seen}_train_label"]
    shares = shares_of(labels).reshape(len(labels), -1, CLASSES)
    sampled = arrays.get(f"{name}_sampled")
    if sampled is not None:
        images = np.arange(len(sampled))[:, None] % TRAIN
        rows, shares = rows[images, sampled], shares[images, sampled]
    return unit_rows(rows), shares.reshape(-1, CLASSES)


# --- the reference's outputs ---


def test_pictures_and_labels_come_to_the_reference_s_features_and_labels(inputs, arrays):
    for split, images in (("train", TRAIN), ("val", VAL)):
        found = [features(to_input(inputs[f"{split}_image_{i}"], PRESET)) for i in range(images)]
        np.testing.assert_allclose(found, arrays[f"plain_{split}_features"], atol=2e-5)
    train = [bank_label(label_to_input(inputs[f"train_label_{i}"], PRESET), 255, "background") for i in range(TRAIN)]
    np.testing.assert_array_equal(train, arrays["plain_train_label"])
    val = [label_to_input(inputs[f"val_label_{i}"], PRESET) for i in range(VAL)]
    np.testing.assert_array_equal(val, arrays["plain_label"])


def test_crops_give_the_reference_s_labels_and_pictures(inputs, arrays):
    crops = np.reshape(RUNS["augmented"]["crops_top_left_height_width"], (-1, 4))
    for number, crop in enumerate(crops.tolist()):
        label = augmentation.crop_label(inputs[f"train_label_{number % TRAIN}"], crop, (64, 64))
        np.testing.assert_array_equal(bank_label(label, 255, "background"), arrays["augmented_train_label"][number])
    # the reference's draws of colours are not known; of this picture brightness and hue, which grey levels round
    jittered = augmentation.jittered(inputs["train_image_2"], (1.011, None, None, -0.0035))
    found = features(augmentation.crop_image(jittered, crops[2].tolist(), (64, 64)))
    np.testing.assert_allclose(found, arrays["augmented_train_features"][2], atol=0.02)


@pytest.mark.parametrize(("name", "seed", "passes"), [("bounded", 0, 1), ("bounded_two_epochs", 1, 2)])
def test_a_bounded_bank_takes_the_reference_s_patches(arrays, name, seed, passes):
    if torch.__version__.split("+")[0].rsplit(".", 1)[0] != FIGURES["versions"]["torch"].rsplit(".", 1)[0]:
        pytest.skip("the reference's random numbers are of another torch")
    torch.manual_seed(seed)
    keep = patches_per_image(RUNS[name]["memory_size"], TRAIN, passes)
    sampled = []
    for _ in range(passes):
        torch.empty((), dtype=torch.int64).random_()  # by the data loader
        uniform = np.concatenate([torch.rand(3, 64).numpy() for _ in range(2)])
        for number, label in enumerate(arrays["plain_train_label"]):
            scores = patch_scores(patch_counts(label.astype(np.int32), GRID, CLASSES))
            sampled.append(choose(scores, uniform[number], keep))
    np.testing.assert_array_equal(sampled, arrays[f"{name}_sampled"])


@pytest.mark.parametrize("name", RUNS)
def test_neighbours_labels_maps_and_figures_are_the_reference_s(arrays, name):
    told = RUNS[name]
    rows, shares = bank_of(name, arrays)
    assert len(rows) == told["memory_rows"]
    np.testing.assert_allclose(shares.sum(axis=0), told["sum_of_memory_labels"], atol=1e-6)
    if name == "bounded":
        np.testing.assert_allclose(shares, arrays["bounded_memory_labels"], atol=1e-7)
    maps, hats = [], []
    for number, queries in enumerate(arrays["plain_val_features"]):
        cosines, places = search.nearest(rows, unit_rows(queries), told["n_neighbours"])
        if f"{name}_neighbours" in arrays:
            np.testing.assert_array_equal(np.sort(places), np.sort(arrays[f"{name}_neighbours"][number]))
        hats.append(scoring.label_hat(cosines, places, sparse(shares), 0.02))
        maps.append(scoring.most_likely(hats[-1], GRID, PLACED))
    if name in ("plain", "ignore_0"):
        np.testing.assert_allclose(hats, arrays["plain_label_hat"], atol=5e-6)
    digest = hashlib.sha256(np.stack(maps).astype(np.uint8).tobytes()).hexdigest()
    assert digest[:16] == told["sha_of_predictions_uint8"]
    if f"{name}_prediction" in arrays:
        np.testing.assert_array_equal(maps, arrays[f"{name}_prediction"])
    ignored = told["ignore_index"] if told["ignore_index"] != 255 else None
    painted = painted_of(maps, arrays["plain_label"], ignored)
    confusion = given_classes([painted], CLASSES).confusion(0)[:-1].T
    np.testing.assert_array_equal(confusion, arrays[f"{name}_confusion"])
    assert confusion.sum() == told["counted_pixels"]
    scored = scoring.score([painted], PRESET, CLASSES)
    assert scored.mappings[0].tolist() == told["class_of_prediction"]
    iou = scored.rows.per_class([str(number) for number in range(CLASSES)]).values()
    np.testing.assert_allclose([(one or 0) / 100 for one in iou], told["iou_per_class"], atol=TEN_DIGITS)
    assert seed_metrics(scored.rows, "zero")[0]["mIoU"] / 100 == pytest.approx(told["miou"], abs=TEN_DIGITS)
    (plain,) = scored.extra["mIoU_without_matching"]
    assert plain / 100 == pytest.approx(told["miou_without_matching"], abs=TEN_DIGITS)
    other = scoring.score([painted], PRESET.model_copy(update={"matching": "none"}), CLASSES)
    assert seed_metrics(other.rows, "zero")[0]["mIoU"] == plain
    assert other.extra == {"mIoU_matched": [seed_metrics(scored.rows, "zero")[0]["mIoU"]]}


@pytest.mark.parametrize(
    ("name", "group"),
    [(name, key) for name, told in PAIRS.items() for key in told if key not in ("classes", "clusters")],
)
def test_its_metrics_are_the_reference_s(name, group):
    pairs, told = read("metric"), PAIRS[name][group]
    classes, clusters = pairs[f"classes_{name}"].tolist()
    painted = painted_of(pairs[f"prediction_{name}"].astype(np.int64), pairs[f"label_{name}"])
    if group == "no_matching":
        rows = given_classes([painted], classes)
    else:
        rows, (mapping,) = matched_classes([painted], MATCHINGS[group], classes, clusters)
        assert mapping.tolist() == told["class_of_cluster"]
        if group != "hungarian_iou":
            assert (mapping == 0).mean() == pytest.approx(told["share_of_clusters_on_background"])
    iou = [(one or 0) / 100 for one in rows.per_class([str(number) for number in range(classes)]).values()]
    np.testing.assert_allclose(iou, told["iou_per_class"], atol=TEN_DIGITS)
    assert np.mean(iou) == pytest.approx(told["miou"], abs=TEN_DIGITS)


# --- stages ---


def test_shares_are_of_the_pixels_that_have_a_part():
    label = np.array([[0, 1, 255, 255], [2, 2, 255, 255]], np.uint8)
    counts = patch_counts(bank_label(label, 255, "background"), (1, 2), 3)
    assert counts.tolist() == [[1, 1, 2], [4, 0, 0]]
    dropped = patch_counts(bank_label(label, 255, "drop"), (1, 2), 3)
    assert dropped.tolist() == [[1, 1, 2], [0, 0, 0]]
    assert choose(patch_scores(dropped), np.zeros(2, np.float32), None).tolist() == [0]
    assert choose(patch_scores(dropped, "uniform"), np.zeros(2, np.float32), 5).tolist() == [0]


def test_padding_has_no_label_in_the_bank():
    preset = override(PRESET, {"fit": "own", "multiple": 4})
    placed = place((6, 7), preset)
    label = bank_label(np.full((6, 7), 255, np.uint8), 255, "background", placed)
    assert label.shape == (8, 8) and (label == -1).sum() == 64 - 42


def test_rare_classes_are_preferred():
    counts = np.zeros((10, 3), np.int64)
    counts[:9, 0], counts[9, 1] = 4, 4
    assert patch_scores(counts).tolist() == [9] * 9 + [1]
    counts[8, 1] = 1
    assert patch_scores(counts).tolist() == [9] * 8 + [11, 2]
    assert (
        patches_per_image(127, 6, 1) == 21 and patches_per_image(3, 6, 1) == 1 and patches_per_image(None, 6, 1) is None
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_search_in_blocks_is_search_in_all(dtype):
    rng = np.random.default_rng(0)
    rows, queries = (
        unit_rows(rng.standard_normal((700, 16))),
        unit_rows(rng.standard_normal((40, 16))).astype(np.float32),
    )
    kept = rows.astype(dtype)
    cosines, places = search.nearest(kept, queries, 30, block=96)
    whole = queries @ kept.astype(np.float32).T
    np.testing.assert_allclose(cosines, -np.sort(-whole)[:, :30], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(whole, places, axis=1), cosines, atol=1e-6)


def test_product_codes_find_most_of_the_neighbours():
    rng = np.random.default_rng(0)
    rows = unit_rows(rng.standard_normal((20, 16))[rng.integers(0, 20, 3000)] + 0.3 * rng.standard_normal((3000, 16)))
    parts = np.array_split(rows.astype(np.float32), 7)
    find = search.quantised(lambda: iter(parts), len(rows), 16, 8)
    _, exact = search.exact(rows.astype(np.float32))(rows[:50].astype(np.float32), 30)
    _, found = find(rows[:50].astype(np.float32), 30)
    assert np.mean([len(set(a) & set(b)) / 30 for a, b in zip(exact, found, strict=True)]) > 0.6
    assert [search.code_bytes(width, None) for width in (384, 768, 12, 7)] == [48, 96, 1, 1]
    with pytest.raises(BadInput, match="code_bytes is 5, which does not divide the 16 features"):
        search.code_bytes(16, 5)
    with pytest.raises(BadInput, match="a bank of 100 patches is too small for 256 codes"):
        search.quantised(lambda: iter(parts), 100, 16, None)


def test_crops_lie_within_the_image_and_are_its_middle_where_none_fits():
    rng = np.random.default_rng(0)
    for size in ((75, 100), (10, 300), (1, 1)):
        for _ in range(50):
            top, left, rows, columns = augmentation.draw_crop(rng, size, (0.5, 2.0), (3 / 4, 4 / 3))
            assert 0 <= top <= top + rows <= size[0] and 0 <= left <= left + columns <= size[1] and rows * columns
    assert augmentation.draw_crop(rng, (75, 100), (1.5, 2.0), (3 / 4, 4 / 3)) == (0, 0, 75, 100)
    assert augmentation.draw_crop(rng, (30, 100), (1.5, 2.0), (3 / 4, 4 / 3)) == (0, 30, 30, 40)
    areas = [np.prod(augmentation.draw_crop(rng, (100, 100), (0.5, 1.0), (1, 1))[2:]) for _ in range(200)]
    assert 0.7 < np.mean(areas) / 10000 < 0.8


def test_weights_are_a_softmax_that_does_not_overflow():
    cosines = np.array([[0.5, 0.48, -1.0]], np.float32)
    found = scoring.vote_weights(cosines, 1e-4)
    assert np.isfinite(found).all() and found.sum() == pytest.approx(1)
    expected = np.exp(cosines[0].astype(float) / 0.02)
    np.testing.assert_allclose(scoring.vote_weights(cosines, 0.02)[0], expected / expected.sum(), rtol=1e-6)


# --- whole runs ---


@pytest.fixture(scope="module")
def tree(tmp_path_factory, inputs):
    """The reference's pictures as a data set, in files that lose nothing."""
    root = tmp_path_factory.mktemp("in-context")
    for split, images in (("train", TRAIN), ("val", VAL), ("void", 2)):
        names = [f"{split}_{number}" for number in range(images)]
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            picture, label = (
                inputs[name.replace("void", "val").replace("_", f"_{kind}_")] for kind in ("image", "label")
            )
            Image.fromarray(picture).save(root / f"{name}.png")
            Image.fromarray(np.full_like(label, 255) if split == "void" else label).save(root / f"{name}-label.png")
    classes = json.dumps([f"class {number}" for number in range(CLASSES)])
    layouts = "".join(
        f'[layouts.splits.{split}]\nlist = "{split}.txt"\nimage = "{{id}}.png"\nlabel = "{{id}}-label.png"\n'
        for split in ("train", "val", "void")
    )
    (root / "card.toml").write_text(
        'schema = 1\nid = "cells"\ntitle = "cells"\ndescription = "d"\nlicence = "none"\ndefault_split = "val"\n'
        f"classes = {classes}\n[labels]\nignore = 255\n[splits.train]\n[splits.val]\n[splits.void]\n"
        f'[[layouts]]\nname = "plain"\n{layouts}[protocols.in-context]\ninput = [64, 64]\n'
    )
    return root


class Projection(nn.Module):
    """The stand-in for the backbone, which counts the images that it sees."""

    def __init__(self):
        super().__init__()
        self.project, self.calls = projection(), 0

    def forward(self, images):
        self.calls += len(images)
        return self.project(images)


def run(tree, protocol="in-context", model=None, **settings):
    entries = PLAIN | settings.pop("entries", {})
    model = Projection() if model is None else model
    return bench.evaluate(model, str(tree / "card.toml"), protocol, data_root=tree, entries=entries, **settings)


def figure(record, name="mIoU"):
    return record["metrics"][name]["value"]


@pytest.mark.parametrize(
    ("name", "entries"), [("plain", {}), ("plain_k5", {"neighbours": 5}), ("ignore_0", {"ignored": 0})]
)
def test_a_run_on_the_reference_s_pictures_comes_to_its_figures(tree, tmp_path, name, entries):
    record = run(tree, entries=entries, cache=tmp_path)
    assert figure(record) / 100 == pytest.approx(RUNS[name]["miou"], abs=TEN_DIGITS)
    plain = figure(record, "mIoU_without_matching") / 100
    assert plain == pytest.approx(RUNS[name]["miou_without_matching"], abs=TEN_DIGITS)
    assert record["cluster_to_class"] == [RUNS[name]["class_of_prediction"]]
    assert record["bank"]["entries"] == 384 and record["protocol"]["deterministic"] and not record["seeds"]
    other = run(tree, entries=entries | {"matching": "none"}, cache=tmp_path)
    assert (figure(other) / 100, figure(other, "mIoU_matched")) == (pytest.approx(plain, abs=1e-12), figure(record))


def test_a_second_run_sees_no_image_and_another_seed_draws_another_bank(tree, tmp_path):
    drawn = {"entries": {"augmentation": "crops", "memory": 120, "passes": 2}, "cache": tmp_path, "cache_key": "k"}
    model = Projection()
    record = run(tree, model=model, num_seeds=2, **drawn)
    assert record["bank"]["entries"] == 120 and record["seeds"] == [1234, 1235]
    assert len(set(record["metrics"]["mIoU"]["per_seed"])) == 2
    seen = model.calls
    again = run(tree, model=model, num_seeds=2, **drawn)
    assert (model.calls, again["metrics"]) == (seen, record["metrics"])
    one = run(tree, model=model, num_seeds=1, first_seed=1235, **drawn)
    assert one["metrics"]["mIoU"]["per_seed"] == record["metrics"]["mIoU"]["per_seed"][1:] and model.calls == seen
    fresh = run(tree, num_seeds=2, fresh=True, **drawn)
    assert fresh["metrics"] == record["metrics"]
    other = run(tree, model=model, **(drawn | {"entries": drawn["entries"] | {"neighbours": 7}}))
    assert model.calls == seen and figure(other) != figure(record)


def test_the_bank_s_storage_moves_the_figure_little(tree, tmp_path):
    exact = run(tree, cache=tmp_path)
    half = run(tree, entries={"bank_type": "float16"}, cache=tmp_path)
    codes = run(tree, entries={"bank_type": "quantised", "code_bytes": 6}, cache=tmp_path)
    assert figure(half) == pytest.approx(figure(exact), abs=0.2)
    assert figure(codes) > 5 and codes["solver"]["algorithm"] == "inner product with product codes"
    prints = {record["protocol"]["fingerprint"] for record in (exact, half, codes)}
    assert len(prints) == 3


def test_the_fixed_variant_has_a_name_of_its_own(tree, tmp_path):
    record = run(tree, "in-context+fixed", cache=tmp_path)
    assert record["protocol"]["id"] == "in-context+fixed" and "mIoU_matched" in record["metrics"]
    preset = record["protocol"]["preset"]
    assert (preset["std"], preset["void"], preset["matching"]) == ([0.229, 0.224, 0.225], "drop", "none")
    named = run(tree, entries={"std": [0.229, 0.224, 0.225], "void": "drop", "matching": "none"}, cache=tmp_path)
    assert named["protocol"]["id"] == "in-context+fixed" and named["metrics"] == record["metrics"]


def test_all_models_are_normalised_alike_unless_asked_otherwise(tree, tmp_path):
    stated = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    alike = run(tree, cache=tmp_path, normalisation=stated)
    assert figure(alike) == figure(run(tree, cache=tmp_path)) and "by_model" not in alike["protocol"]
    assert any("in-context gives all models its own" in line for line in alike["warnings"])
    own = run(tree, entries={"normalisation": "model"}, cache=tmp_path, normalisation=stated)
    assert own["protocol"]["by_model"]["std"] == [0.229, 0.224, 0.255] and figure(own) != figure(alike)
    assert not any("normalis" in line for line in own["warnings"])


def test_pixels_can_be_counted_at_the_label_s_own_size_as_predictions_are(tree, tmp_path):
    folder = tmp_path / "maps"
    more = {"entries": {"grid": "label", "matching": "none"}, "cache": tmp_path, "save_predictions": folder}
    record = run(tree, **more)
    scored = score_folder(folder, str(tree / "card.toml"), tmp_path / "results", Settings(data_root=tree))
    assert figure(scored.record) == pytest.approx(figure(record), abs=1e-9)


def test_few_images_can_be_drawn(tree, tmp_path):
    record = run(tree, entries={"shots": 0.5}, cache=tmp_path)
    assert record["bank"]["images"] == 3 and record["seeds"] == [1234]
    few = run(tree, entries={"shots": 2}, cache=tmp_path)
    assert (few["bank"]["images"], few["bank"]["entries"]) == (2, 128)
    assert few["protocol"]["fingerprint"] != record["protocol"]["fingerprint"]


class Broken(Projection):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, images):
        return super().forward(images) * self.value


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"bank": "void"}, "no pixel of the 2 images of void is labelled"),
        ({"bank": "void", "void": "drop"}, "no pixel of the 2 images of void is labelled"),
        ({"neighbours": 385}, "the bank has 384 patches, and neighbours = 385 asks for more"),
        ({"shots": 7}, "shots = 7 asks for more images than the 6 of train"),
        ({"bank_type": "quantised", "shots": 3}, "a bank of 192 patches is too small for 256 codes"),
        ({"bank_type": "quantised", "code_bytes": 5}, "code_bytes is 5, which does not divide the 12 features"),
    ],
)
def test_what_cannot_be_a_bank_is_said(tree, tmp_path, entries, said):
    with pytest.raises(BadInput, match=said):
        run(tree, entries=entries, cache=tmp_path)


def test_a_network_that_gives_nothing_is_said(tree, tmp_path):
    with pytest.raises(BadInput, match="NaN or infinity"):
        run(tree, model=Broken(float("nan")), cache=tmp_path)
    with pytest.raises(BadInput, match="all 384 patches of the bank are equal"):
        run(tree, model=Broken(0.0), cache=tmp_path)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"crop_area": [0.5, 1]}, "'crop_area' has no effect here: augmentation is none"),
        ({"sampling": "uniform"}, "'sampling' has no effect here: the bank takes in all patches"),
        ({"code_bytes": 4}, "'code_bytes' has no effect here: the bank's features are kept as float32"),
        ({"augmentation": "crops", "crop_area": [2, 1]}, "crop_area: the first must not be larger"),
        ({"augmentation": "crops", "fit": "own"}, "fit: crops are resized to the input"),
        ({"shots": 1.5}, "shots"),
        ({"bank": "nowhere"}, "nowhere"),
    ],
)
def test_entries_that_cannot_be_are_wrong_names(tree, tmp_path, entries, said):
    with pytest.raises(WrongName, match=said):
        run(tree, entries=entries, cache=tmp_path)


def test_every_image_data_set_can_be_measured_by_it():
    for card in catalogue.datasets().values():
        counted = card.protocols.preset("clustering-dense") is not None
        assert (card.protocols.preset("in-context") is not None) == counted
    voc = catalogue.dataset("pascal-voc").protocols.preset("in-context")
    assert (voc.bank, voc.for_patch(14), voc.for_patch(16)) == (
        "trainaug",
        {"input": (504, 504)},
        {"input": (512, 512)},
    )
    assert InContextPreset(memory=0).memory is None and PRESET.num_seeds == 0


@pytest.mark.slow
def test_a_crf_refines_the_classes_and_predictions_are_what_was_counted(tree, tmp_path):
    record = run(tree, "in-context+crf", cache=tmp_path / "cache", save_predictions=tmp_path / "maps")
    assert record["protocol"]["id"] == "in-context+crf"
    assert figure(record, "mIoU_without_crf") / 100 == pytest.approx(RUNS["plain"]["miou"], abs=TEN_DIGITS)
    assert figure(record) != figure(record, "mIoU_without_crf")
    assert len(list((tmp_path / "maps").glob("*.png"))) == VAL
    again = run(tree, "in-context+crf", cache=tmp_path / "cache")
    assert again["metrics"]["mIoU"] == record["metrics"]["mIoU"]
