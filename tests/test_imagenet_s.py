"""ImageNet-S: its tree, its labels, and its figures against those of the benchmark's toolbox."""

import hashlib
import json
import shutil
from itertools import permutations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.optimize import linear_sum_assignment

import bench
from bench import catalogue
from bench.boundaries import band_width, count_bands, is_boundary
from bench.decode import read_ids, read_label
from bench.errors import BadInput, WrongName
from bench.matching import UNMATCHED, match_images, unique_optima
from bench.plan import Settings
from bench.presets import override
from bench.protocols import imagenet_s
from bench.record import shortfall
from bench.samples import open_split
from bench.score import score_folder
from bench.tables import Painted, contingency, matched_by_images
from tests.conftest import GOLDEN
from tests.imagenet import encode, put

CARD = catalogue.dataset("imagenet-s-50")
FOLDER = GOLDEN / "imagenet_s"
FIGURES = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))["groups"]
CLASSES, IGNORE = 51, 1000
KEYS = {"miou": "mIoU"} | {f"miou_{s}": f"mIoU_{s}" for s in imagenet_s.SIZES}
KEYS |= {f"boundary_{theirs}": f"boundary_{ours}" for theirs, ours in KEYS.items()}
KEYS |= {"f_measure": "f_measure", "image_accuracy": "image_accuracy"}
POINTS = 1e-4
MATCHED = [name for name in FIGURES if "match" in FIGURES[name]]
few = settings(max_examples=40, deadline=None)


def maps_of(group):
    """(prediction, label) of every image."""
    for line in (FOLDER / group / "names.txt").read_text().split():
        file = f"{line.removesuffix('.png')}.png"
        label, _ = read_label(FOLDER / group / "gt" / file, CARD)
        yield read_ids(FOLDER / group / "pred" / file, "rgb")[0], label


def joined(parts):
    names = imagenet_s.BandRows.__annotations__
    return imagenet_s.BandRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def rows_of(group):
    return joined([imagenet_s.map_rows(i, p, t, IGNORE) for i, (p, t) in enumerate(maps_of(group))])


def check(rows, images, theirs):
    ours = imagenet_s.figures(rows, images, CLASSES)
    for key, own in KEYS.items():
        if theirs[key] is None:
            assert ours[own] is None, key
        else:
            assert ours[own] == pytest.approx(theirs[key], abs=POINTS), key
    np.testing.assert_allclose(imagenet_s.class_iou(rows, CLASSES), theirs["iou_per_class"], atol=POINTS)
    np.testing.assert_allclose(imagenet_s.boundary_iou(rows, CLASSES), theirs["boundary_iou_per_class"], atol=POINTS)


def shared_of(rows):
    shared = np.zeros((50, 50), np.int64)
    for image in np.unique(rows.image):
        own = rows.image == image
        predicted, true = (np.unique(column[own]) for column in (rows.predicted, rows.true))
        shared[np.ix_(predicted[predicted > 0] - 1, true[true > 0] - 1)] += 1
    return shared


def given_table(group):
    table = {int(k): v for k, v in FIGURES[group]["match"].items()}
    return np.array([table[i] for i in range(CLASSES)])


# --- the golden figures ---


@pytest.mark.parametrize("group", FIGURES)
def test_figures_without_matching_are_the_toolbox_s(group):
    check(rows_of(group), FIGURES[group]["images"], FIGURES[group]["without_match"])


@pytest.mark.parametrize("group", MATCHED)
def test_figures_with_the_given_table_are_the_toolbox_s(group):
    rows = rows_of(group).matched(given_table(group), CLASSES)
    check(rows, FIGURES[group]["images"], FIGURES[group]["with_match"])


def test_our_own_matching_gives_the_toolbox_s_figures_where_any_solver_must():
    rows, theirs = rows_of("unique"), FIGURES["unique"]
    check(rows.matched(match_images(shared_of(rows)), CLASSES), theirs["images"], theirs["with_match"])


@pytest.mark.parametrize("group", MATCHED)
def test_our_own_matching_costs_what_the_best_costs(group):
    rows, theirs = rows_of(group), FIGURES[group]["matching"]
    shared = shared_of(rows)
    listed = {tuple(map(int, key.split(","))): n for key, n in theirs["cooccurrence"].items()}
    assert {(i + 1, j + 1): shared[i, j] for i, j in np.argwhere(shared)} == listed
    mapping = match_images(shared)
    kept = shared[np.arange(50), mapping[1:] - 1].sum()
    assert 50 - kept / FIGURES[group]["images"] == pytest.approx(theirs["total_cost_official"], abs=1e-5)


@pytest.mark.parametrize("group", MATCHED)
def test_clusters_with_a_unique_optimum_are_the_given_ones(group):
    shared = shared_of(rows_of(group))
    unique = unique_optima(shared) & shared.any(axis=1)
    assert (np.flatnonzero(unique) + 1).tolist() == FIGURES[group]["matching"]["clusters_with_a_unique_optimum"]


@pytest.mark.parametrize("group", FIGURES)
def test_boundary_maps_are_the_toolbox_s(group):
    for (predicted, label), theirs in zip(maps_of(group), FIGURES[group]["per_image"], strict=True):
        assert band_width(*label.shape) == theirs["band"]
        hashes = [hashlib.sha256(whole_map(ids).astype("<u2").tobytes()).hexdigest() for ids in (label, predicted)]
        assert set(hashes) <= {value for value in map(str, flat(theirs))}


def whole_map(ids):
    return np.where(is_boundary(ids), ids + 1, 0)


def flat(value):
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from flat(inner)
    else:
        yield value


# --- what must not matter ---


def draw_maps(generator, images, classes):
    """Id maps with ignored pixels, as (prediction, label)."""
    shapes = generator.integers(4, 12, (images, 2))
    return [
        (
            generator.integers(0, classes, s).astype(np.uint16),
            generator.choice([*range(classes), IGNORE], s).astype(np.uint16),
        )
        for s in shapes
    ]


def rows_from(maps):
    return joined([imagenet_s.map_rows(i, p, t, IGNORE) for i, (p, t) in enumerate(maps)])


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 6))
@few
def test_permuting_cluster_ids_changes_no_metric_where_the_optimum_is_unique(seed, images, classes):
    generator = np.random.default_rng(seed)
    maps = draw_maps(generator, images, classes)
    order = np.concatenate([[0], 1 + generator.permutation(classes - 1)]).astype(np.uint16)
    before, after = rows_from(maps), rows_from([(order[p], t) for p, t in maps])
    mapping = np.concatenate([[0], 1 + generator.permutation(classes - 1)])
    figures = [
        imagenet_s.figures(before.matched(mapping[order], classes), images, classes),
        imagenet_s.figures(after.matched(mapping, classes), images, classes),
    ]
    assert figures[0] == pytest.approx(figures[1], abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
@few
def test_rows_of_two_halves_join_to_the_whole(seed, images):
    maps = draw_maps(np.random.default_rng(seed), images, 4)
    parts = [imagenet_s.map_rows(i, p, t, IGNORE) for i, (p, t) in enumerate(maps)]
    halves = joined([joined(parts[images // 2 :]), joined(parts[: images // 2])])
    assert imagenet_s.figures(halves, images, 4) == pytest.approx(imagenet_s.figures(rows_from(maps), images, 4))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@few
def test_an_image_of_only_ignored_pixels_counts_only_in_means_over_images(seed, images):
    maps = draw_maps(np.random.default_rng(seed), images, 4)
    void = (np.full((5, 5), 2, np.uint16), np.full((5, 5), IGNORE, np.uint16))
    before = imagenet_s.figures(rows_from(maps), images, 4)
    after = imagenet_s.figures(rows_from([*maps, void]), images + 1, 4)
    for name, value in before.items():
        if name in ("f_measure", "image_accuracy"):
            assert after[name] == pytest.approx(value * images / (images + 1))
        else:
            assert after[name] == value


def squares(largest):
    sizes = st.integers(1, largest).flatmap(lambda c: st.tuples(st.integers(1, c), st.just(c)))
    return sizes.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 4)))


@given(squares(6))
@few
def test_image_matching_is_optimal_and_one_to_one(shared):
    clusters, classes = shared.shape
    best = max(sum(shared[i, c] for i, c in enumerate(chosen)) for chosen in permutations(range(classes), clusters))
    mapping = match_images(shared)
    assert mapping[0] == 0 and UNMATCHED not in mapping and len(set(mapping.tolist())) == clusters + 1
    assert shared[np.arange(clusters), mapping[1:] - 1].sum() == best


@given(squares(5))
@few
def test_a_unique_optimum_is_one_that_every_best_assignment_has(shared):
    clusters, classes = shared.shape
    scores = {c: sum(shared[i, j] for i, j in enumerate(c)) for c in permutations(range(classes), clusters)}
    best = [chosen for chosen, score in scores.items() if score == max(scores.values())]
    theirs = [len({chosen[i] for chosen in best}) == 1 for i in range(clusters)]
    assert unique_optima(shared).tolist() == theirs


def test_unique_optima_of_many_clusters_are_found_in_time():
    shared = np.random.default_rng(0).poisson(0.3, (919, 919)) + np.diag(np.full(919, 9))
    _, chosen = linear_sum_assignment(shared, maximize=True)
    assert (chosen == np.arange(919)).all() and unique_optima(shared).sum() > 900


@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(3, 40))
@few
def test_bands_of_a_mask_are_those_of_the_map_it_paints(seed, height, width):
    generator = np.random.default_rng(seed)
    label = np.repeat(generator.choice([0, 3, IGNORE], (height, 1)), width, axis=1).astype(np.uint16)
    mask = (generator.random((height, width)) < 0.1).astype(np.uint8)
    bands = count_bands(label, mask)
    classes = np.array([c for c in (0, 3) if (label == c).any()], np.uint16)
    offsets = np.array([0, len(classes)])
    ours = imagenet_s.mask_rows(
        offsets, classes, bands[classes].astype(np.int32), np.array([6], np.int32), np.arange(8)
    )
    theirs = imagenet_s.map_rows(0, mask.astype(np.uint16) * 7, label, IGNORE)
    assert as_table(ours) == as_table(theirs)


def as_table(rows):
    columns = (getattr(rows, name).tolist() for name in imagenet_s.BandRows.__annotations__)
    return sorted(zip(*columns, strict=True))


# --- the tree, and whole runs ---


@pytest.fixture
def tree(imagenet_tree):
    return imagenet_tree


def run(model, tree, **more):
    """A run; what it observes is cached for the other tests."""
    entries = {"input": [32, 32], "restarts": 1, "iterations": 10} | more.pop("entries", {})
    return bench.evaluate(model, "imagenet-s-50", data_root=tree, entries=entries, **more)


def test_ids_are_folder_and_name_sorted_and_classes_are_the_folders(tree):
    for root in (tree, tree.parent):
        samples = open_split(CARD, "train", root)
        ids = [sample.id for sample in samples]
        assert len(ids) == 100 and ids == sorted(ids) and ids[0] == "n00000001/n00000001_0"
        assert all(sample.label is None for sample in samples)
        assert samples.card.classes[:2] == ("other", "n00000001") and len(samples.card.classes) == 51


def test_the_three_sizes_have_their_official_numbers():
    for count, sizes in ((50, (64431, 752, 1682)), (300, (384862, 4097, 9088)), (919, (1183322, 12419, 27423))):
        card = catalogue.dataset(f"imagenet-s-{count}")
        assert tuple(card.splits[s].images for s in ("train", "val", "test")) == sizes
        assert len(card.classes) == count + 1 and card.protocols.clustering.clusters == count


def test_a_wrong_tree_and_a_missing_folder_are_named(tree, tmp_path):
    with pytest.raises(BadInput, match=r"does not hold ImageNet-S-50 \(val\).*ImageNetS50/validation"):
        open_split(CARD, "val", tmp_path)
    (tmp_path / "validation/n1").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"holds no folder with \*\.JPEG files"):
        open_split(CARD, "val", tmp_path)
    put(tmp_path / "validation/n1/a.JPEG", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(BadInput, match=r"holds 1 folders; ImageNet-S-50 has 50 classes"):
        open_split(CARD, "val", tmp_path)
    with pytest.raises(BadInput, match=r"holds 50 folders; ImageNet-S-300 has 300"):
        open_split(catalogue.dataset("imagenet-s-300"), "val", tree)


def test_a_run_is_fitted_on_train_and_reports_the_benchmark_s_figures(tree, small_file, tmp_path):
    record = run(small_file, tree, num_seeds=2, save_predictions=tmp_path / "predictions")
    assert record["fitted_on"]["split"] == "train" and record["fitted_on"]["images"] == 100
    assert record["dataset"]["limited"] and record["dataset"]["images"] == 50
    assert shortfall(record) == "run on 50 images, 100 of 64431 train images: not the whole splits"
    for metric in ("mIoU", "boundary_mIoU", "f_measure", "image_accuracy", "mIoU_ml"):
        assert 0 <= record["metrics"][metric]["value"] <= 100
    assert "mIoU_s" not in record["metrics"]  # nothing is that small
    assert (
        record["matching"]["solver"].startswith("scipy")
        and len(record["matching"]["clusters_with_a_unique_optimum"]) == 2
    )
    assert record["cluster_to_class"][0][0] == 0 and "n00000007" in record["per_class"]
    # the same from the maps that the run painted
    for number, seed in enumerate(record["seeds"]):
        maps = []
        for sample in open_split(CARD, "val", tree):
            painted, _ = read_ids(tmp_path / f"predictions/seed-{seed}/{sample.id}.png", "rgb")
            maps.append((painted, read_label(sample.label, CARD)[0]))
        figures = imagenet_s.figures(rows_from(maps), len(maps), CLASSES)
        for name, value in figures.items():
            if value is not None:
                assert record["metrics"][name]["per_seed"][number] == pytest.approx(value, abs=1e-9), name


def test_saved_predictions_score_to_the_last_digit(tree, small_file, tmp_path):
    made = run(small_file, tree, num_seeds=1, save_predictions=tmp_path / "predictions")
    scored = score_folder(tmp_path / "predictions", "imagenet-s-50", tmp_path / "r", Settings(data_root=tree)).record
    assert scored["metrics"]["mIoU"]["value"] == made["metrics"]["mIoU"]["value"]
    assert scored["dataset"]["manifest"] == made["dataset"]["manifest"] and scored["per_class"] == made["per_class"]


def test_fitting_on_val_needs_no_train_and_is_recorded(tree, small_file, tmp_path):
    for folder in ("validation", "validation-segmentation"):
        (tmp_path / "cut").mkdir(exist_ok=True)
        (tmp_path / "cut" / folder).symlink_to(tree / folder)
    record = run(small_file, tmp_path / "cut", num_seeds=1, entries={"fit": "val"})
    assert record["fitted_on"]["split"] == "val" and record["protocol"]["modified"]
    with pytest.raises(BadInput, match=r"does not hold ImageNet-S-50 \(train\)"):
        run(small_file, tmp_path / "cut", num_seeds=1)


# --- matched on val, used elsewhere ---


@pytest.fixture
def labelled_test(tree, tmp_path):
    """The tree with its test images as train-semi, whose labels then are those of test."""
    root = tmp_path / "labelled"
    root.mkdir()
    for folder in ("train", "validation", "validation-segmentation"):
        (root / folder).symlink_to(tree / folder)
    (root / "train-semi").symlink_to(tree / "test")
    for path in (tree / "test").glob("*/*.JPEG"):
        label = np.zeros((40, 48), np.uint16)
        label[5:20, 5:40] = int(path.parent.name[1:])
        put(root / "train-semi-segmentation" / path.parent.name / f"{path.stem}.png", encode(label))
    return root


def test_clusters_of_train_matched_on_val_give_another_split_its_classes(labelled_test, small_file):
    on_val = run(small_file, labelled_test, num_seeds=2)
    elsewhere = run(small_file, labelled_test, num_seeds=2, split="train-semi")
    assert elsewhere["cluster_to_class"] == on_val["cluster_to_class"]
    assert elsewhere["matching"] == on_val["matching"]
    assert elsewhere["fitted_on"] == on_val["fitted_on"] and len(set(on_val["fitted_on"]["centres_sha256"])) == 2
    assert elsewhere["matched_on"] == on_val["matched_on"]
    assert (elsewhere["matched_on"]["split"], elsewhere["matched_on"]["images"]) == ("val", 50)
    assert elsewhere["protocol"]["fingerprint"] == on_val["protocol"]["fingerprint"]
    own = run(small_file, labelled_test, num_seeds=2, split="train-semi", entries={"matched_on": "train-semi"})
    assert own["cluster_to_class"] != on_val["cluster_to_class"] and own["protocol"]["modified"]


def test_the_figures_of_another_split_are_those_of_what_val_s_matching_paints(labelled_test, small_file, tmp_path):
    made = run(small_file, labelled_test, num_seeds=1, split="train-semi", save_predictions=tmp_path / "p")
    settings = Settings(data_root=labelled_test, split="train-semi")
    scored = score_folder(tmp_path / "p", "imagenet-s-50", tmp_path / "r", settings).record
    for name, entry in scored["metrics"].items():
        assert entry["value"] == pytest.approx(made["metrics"][name]["value"], abs=1e-9), name


def test_centres_are_kept_and_found_anew_alike(tree, small_file, tmp_path):
    first, again = (run(small_file, tree, num_seeds=1, cache=tmp_path / "cache") for _ in range(2))
    fresh = run(small_file, tree, num_seeds=1, cache=tmp_path / "cache", fresh=True)
    assert first["fitted_on"] == again["fitted_on"] == fresh["fitted_on"]
    assert first["cluster_to_class"] == again["cluster_to_class"] == fresh["cluster_to_class"]


def test_clusters_cannot_be_matched_where_nothing_is_labelled(tree, small_file):
    with pytest.raises(WrongName, match="train has no labels to match clusters on"):
        run(small_file, tree, entries={"matched_on": "train"})


# --- cluster ids of any program, matched by images ---


def test_raw_cluster_ids_matched_by_images_score_as_the_run(tree, small_file, tmp_path):
    made = run(small_file, tree, num_seeds=2, save_predictions=tmp_path / "p")
    for number, seed in enumerate(made["seeds"]):
        clusters = np.argsort(made["cluster_to_class"][number]).astype(np.uint16)
        for path in (tmp_path / f"p/seed-{seed}").rglob("*.png"):
            put(path, encode(clusters[read_ids(path, "rgb")[0]]))
    settings = Settings(data_root=tree)
    scored = score_folder(tmp_path / "p", "imagenet-s-50", tmp_path / "r", settings, matching="images").record
    assert scored["cluster_to_class"] == made["cluster_to_class"] and scored["matching"] == made["matching"]
    assert (
        scored["protocol"]["id"] == "predictions-clustering+images"
        and scored["protocol"]["preset"]["figures"] == "imagenet-s"
    )
    for name, entry in scored["metrics"].items():
        assert entry["per_seed"] == pytest.approx(made["metrics"][name]["per_seed"], abs=1e-9), name


@pytest.mark.parametrize("group", MATCHED)
def test_painted_ids_matched_by_images_are_the_toolbox_s(group):
    names = [f"{group}-{i}" for i in range(FIGURES[group]["images"])]
    bands = tuple(imagenet_s.band_table(p, t, IGNORE) for p, t in maps_of(group))
    painted = Painted(tuple(names), tuple(map(imagenet_s.counts_of, bands)), "", {}, bands)
    _, (mapping,), detail = matched_by_images([painted], CLASSES)
    assert mapping.tolist() == match_images(shared_of(rows_of(group))).tolist()
    unique = FIGURES[group]["matching"]["clusters_with_a_unique_optimum"]
    assert detail["matching"]["clusters_with_a_unique_optimum"] == [len(unique)]
    if group == "unique":
        figures = imagenet_s.painted_figures([painted], [mapping], CLASSES)
        for key, own in KEYS.items():
            theirs = FIGURES[group]["with_match"][key]
            if own != "mIoU" and theirs is not None:
                assert figures[own] == [pytest.approx(theirs, abs=POINTS)], key


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@few
def test_a_band_table_without_boundaries_is_the_contingency_table(seed, classes):
    ((predicted, label),) = draw_maps(np.random.default_rng(seed), 1, classes)
    found = imagenet_s.counts_of(imagenet_s.band_table(predicted, label, IGNORE))
    assert found.tolist() == contingency(predicted, label, IGNORE).tolist()


def test_many_cluster_ids_go_to_the_class_that_they_share_most_images_with(tmp_path):
    counts = tuple(np.array([[900 + i, 1 + i % 2, 5], [0, 0, 5]]) for i in range(4))
    rows, (mapping,), detail = matched_by_images([Painted(tuple("abcd"), counts, "")], 3)
    assert [mapping[i] for i in (0, 900, 901, 902, 903)] == [0, 1, 2, 1, 2]
    assert detail["matching"]["clusters_with_a_unique_optimum"] == []
    assert rows.confusion(0)[:3].tolist() == [[20, 0, 0], [0, 10, 0], [0, 0, 10]]


# --- bad input ---


@pytest.fixture
def val_only(tree, tmp_path):
    """A copy of val that a test may spoil."""
    for folder in ("validation", "validation-segmentation"):
        shutil.copytree(tree / folder, tmp_path / "copy" / folder)
    return tmp_path / "copy"


def label_of(root, number=7):
    return root / f"validation-segmentation/n{number:08d}/n{number:08d}_0.png"


@pytest.mark.parametrize("strange", [51, 300, 999, 1001])
def test_an_unknown_label_id_is_named(val_only, small_file, strange):
    put(label_of(val_only), encode(np.full((40, 48), strange, np.uint16)))
    with pytest.raises(BadInput, match=rf"n00000007_0\.png holds the label {strange}, but imagenet-s-50 has"):
        run(small_file, val_only, num_seeds=1, entries={"fit": "val"})


def test_labels_of_16_bits_are_refused_grey_and_rgb(val_only, small_file):
    Image.fromarray(np.full((40, 48), 7, np.uint16)).save(label_of(val_only))
    with pytest.raises(BadInput, match=r"n00000007_0\.png has I;16 pixels; an RGB PNG"):
        run(small_file, val_only, num_seeds=1, entries={"fit": "val"})
    cv2.imwrite(str(label_of(val_only)), np.full((40, 48, 3), 7, np.uint16))
    with pytest.raises(BadInput, match=r"n00000007_0\.png has 16-bit RGB pixels; an RGB PNG"):
        run(small_file, val_only, num_seeds=1, entries={"fit": "val"})


def test_an_alpha_channel_beside_rgb_is_let_through_as_the_benchmark_does(val_only, tree, small_file):
    with Image.open(label_of(val_only)) as picture:
        clear = picture.convert("RGBA")
    clear.putalpha(3)
    clear.save(label_of(val_only))
    spoilt, sound = (run(small_file, root, num_seeds=1, entries={"fit": "val"}) for root in (val_only, tree))
    assert spoilt["metrics"] == sound["metrics"]


def test_a_missing_label_and_one_of_another_size_are_named(val_only, small_file):
    put(label_of(val_only), encode(np.zeros((39, 48), np.uint16)))
    with pytest.raises(BadInput, match=r"n00000007_0\.png is 48×39 pixels, its image 48×40"):
        run(small_file, val_only, num_seeds=1, entries={"fit": "val"})
    label_of(val_only).unlink()
    with pytest.raises(BadInput, match=r"n00000007_0\.png is missing \(1 of 50 samples"):
        open_split(CARD, "val", val_only)


def test_an_empty_class_folder_is_named(val_only):
    for path in (val_only / "validation/n00000009").iterdir():
        path.unlink()
    with pytest.raises(BadInput, match=r"n00000009 holds no \*\.JPEG file \(1 class folders are empty\)"):
        open_split(CARD, "val", val_only)


def test_a_flat_folder_is_no_tree(tree, tmp_path):
    (tmp_path / "test").mkdir()
    for path in (tree / "test").glob("*/*.JPEG"):
        shutil.copy(path, tmp_path / "test" / path.name)
    with pytest.raises(BadInput, match="Images lie in a folder a class"):
        open_split(CARD, "test", tmp_path)


def test_test_has_no_labels_to_score_against(tree, small_file):
    with pytest.raises(BadInput, match="imagenet-s-50 test has no labels to score against"):
        run(small_file, tree, num_seeds=1, split="test")
    record = run(small_file, tree, num_seeds=1, split="test", entries={"matched_on": None})
    assert record["protocol"]["id"] == "clustering-unlabelled" and "mIoU" not in record["metrics"]
    assert record["fitted_on"]["split"] == "train"


def test_presets_that_contradict_themselves_are_refused():
    preset = CARD.protocols.clustering
    with pytest.raises(WrongName, match="set whiten = 0"):
        override(preset, {"whiten": 32})
    with pytest.raises(WrongName, match="set grid = label"):
        override(preset, {"grid": "input"})
    with pytest.raises(WrongName, match="set fit to one split as well"):
        override(preset, {"fit": None})
