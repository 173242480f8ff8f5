"""Distance matching: the bank, the votes, and whole runs, against direct computations."""

import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import bench
from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.data.decoding import read_ids, read_image, read_label
from bench.data.samples import open_split
from bench.passes.classify import decode_map
from bench.passes.engine import Engine
from bench.passes.image_pass import Loaded, load_sample, to_device
from bench.protocols.base import Settings
from bench.protocols.distance_matching.bank import (
    _instances,
    bank_store,
    fill_bank,
    paint,
    painted_store,
    upsampled_rows,
    vote,
)
from bench.protocols.distance_matching.preset import DistancePreset
from bench.runs.score_folder import score_folder
from tests.imagenet import IGNORE, encode, put
from tests.networks import Colours

CARD = catalogue.dataset("imagenet-s-50")
SMALL = {"input": [32, 32], "upsample": 2}


def run(model, tree, **more):
    entries = SMALL | more.pop("entries", {})
    return bench.evaluate(model, "imagenet-s-50", "distance-matching", data_root=tree, entries=entries, **more)


def bank_of(tree, folder, model=None, **entries):
    preset = DistancePreset(**(SMALL | {"figures": "imagenet-s"} | entries))
    samples = open_split(CARD, "train-semi", tree)
    kept = bank_store(folder, {"test": 1}, preset)
    model = model or Colours()
    return fill_bank(lambda: model.features, samples, preset, kept, Engine("cpu", batch_size=7)), samples, preset


# --- the bank ---


@pytest.mark.slow
@pytest.mark.parametrize("background", [False, True])
def test_an_entry_is_the_mean_of_the_features_upsampled_to_the_label(imagenet_tree, tmp_path, background):
    bank, samples, preset = bank_of(imagenet_tree, tmp_path, background=background)
    entries, classes = [], []
    for sample in samples:
        image, _ = read_image(sample.image)
        label, _ = read_label(sample.label, CARD)
        batch = [load_sample(sample, samples, preset)]
        feature = Colours().features(to_device(batch, preset, Engine("cpu")))
        wide = F.interpolate(feature, size=image.shape[:2], mode="bilinear", align_corners=False)[0]
        for value in np.unique(label):
            if value != IGNORE and (value or background):
                mean = wide[:, torch.from_numpy(label == value)].mean(dim=1)
                entries.append((mean / mean.norm()).numpy())
                classes.append(value)
    assert bank.classes.tolist() == classes and len(classes) == (100 if background else 50)
    np.testing.assert_allclose(bank.entries, entries, atol=2e-6)


def test_the_bank_is_kept_and_goes_on_where_it_stopped(imagenet_tree, tmp_path):
    model = Colours()
    samples = open_split(CARD, "train-semi", imagenet_tree)
    preset = DistancePreset(**SMALL)
    kept = bank_store(tmp_path, {"test": 2}, preset)
    fill_bank(lambda: model.features, samples.first(28), preset, kept, Engine("cpu", batch_size=4))
    fill_bank(lambda: model.features, samples, preset, kept, Engine("cpu", batch_size=4))
    whole = fill_bank(lambda: model.features, samples, preset, kept, Engine("cpu", batch_size=4))
    assert model.calls == 50 and len(whole.classes) == 50


def test_a_region_of_one_pixel_is_an_instance_too(imagenet_tree, tmp_path):
    samples = open_split(CARD, "train-semi", imagenet_tree).first(1)
    label, _ = read_label(samples.entries[0].label, CARD)
    label[:] = 0
    label[39, 47] = 33
    found = _instances(
        Loaded(samples.entries[0], np.empty(0), label, label.shape, bytes(16)),
        torch.arange(3 * 8 * 8, dtype=torch.float32).reshape(3, 8, 8),
        DistancePreset(),
        IGNORE,
    )
    assert found[0].tolist() == [33]
    corner = np.array([63.0, 127.0, 191.0])
    np.testing.assert_allclose(found[1][0], corner / np.linalg.norm(corner), atol=1e-6)


# --- the votes ---


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([1e-3, 0.07, 1.0, 50.0]))
@settings(max_examples=60, deadline=None)
def test_a_vote_is_the_largest_sum_of_weights(seed, neighbours, temperature):
    generator = np.random.default_rng(seed)
    similar = -np.sort(-generator.uniform(-1, 1, (20, neighbours)).astype(np.float32), axis=1)
    classes = generator.choice(np.array([1, 2, 5, 900], np.uint16), similar.shape)
    won = vote(similar, classes, temperature)
    for row, own, winner in zip(similar.astype(np.float64), classes, won, strict=True):
        sums = {c: np.exp((row[own == c] - row.max()) / temperature).sum() for c in set(own.tolist())}
        assert sums[int(winner)] == pytest.approx(max(sums.values()), rel=1e-12)


def test_a_tied_vote_goes_to_the_smaller_class():
    similar = np.full((1, 4), 0.5, np.float32)
    assert vote(similar, np.array([[7, 3, 3, 7]], np.uint16), 0.07).tolist() == [3]
    assert vote(similar, np.array([[7, 3, 7, 7]], np.uint16), 0.07).tolist() == [7]


@pytest.mark.parametrize("part", [1, 1 << 24])
def test_features_are_upsampled_and_normalised_whatever_the_parts(monkeypatch, part):
    monkeypatch.setattr("bench.protocols.distance_matching.bank.PART", part)
    feature = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 6, 7)).astype(np.float32))
    found = np.concatenate(list(upsampled_rows(feature, 4)))
    wide = F.interpolate(feature[None], scale_factor=4, mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(found, F.normalize(wide, dim=0).flatten(1).T.numpy(), atol=2e-6)


def test_what_is_painted_is_what_all_pairs_give(imagenet_tree, tmp_path):
    bank, _, preset = bank_of(imagenet_tree, tmp_path)
    samples = open_split(CARD, "val", imagenet_tree).first(5)
    kept = painted_store(tmp_path, {"test": 1}, preset, bank)
    painted = paint(lambda: Colours().features, bank, samples, preset, kept, Engine("cpu", batch_size=2))
    different = total = 0
    for sample, counts, data in zip(samples, painted.counts, kept.iterate_apart(samples.keys), strict=True):
        batch = [load_sample(sample, samples, preset)]
        feature = Colours().features(to_device(batch, preset, Engine("cpu")))
        wide = F.interpolate(feature, scale_factor=2, mode="bilinear", align_corners=False)
        pixels = F.normalize(wide, dim=1)[0].flatten(1).T.numpy()
        near = np.argsort(-(pixels @ bank.entries.T), axis=1, kind="stable")[:, :10]
        similar = np.take_along_axis(pixels @ bank.entries.T, near, axis=1)
        ours = decode_map(data)
        naive = np.zeros((len(pixels), 51))
        for i, (row, own) in enumerate(zip(similar, bank.classes[near], strict=True)):
            np.add.at(naive[i], own, np.exp(row.astype(np.float64) / 0.07))
        rows, columns = (np.arange(n) * 16 // n for n in ours.shape)
        expected = naive.argmax(axis=1).reshape(16, 16)[np.ix_(rows, columns)]
        different, total = different + int((ours != expected).sum()), total + ours.size
        assert counts[:, 2].sum() == (read_label(sample.label, CARD)[0] != IGNORE).sum()
    assert different / total < 0.01  # of single pixels, rounding decides who is the tenth


# --- whole runs ---


@pytest.fixture
def coloured(tmp_path):
    """A data set of anyone's: three classes, told apart by colour, and a card that names the bank's split."""
    colours = np.array([[20, 20, 20], [250, 30, 30], [30, 30, 250]], np.uint8)
    for split, count in (("train", 3), ("val", 4)):
        for index in range(count):
            label = np.zeros((32, 32), np.uint8)
            label[8:24, 8 * (index % 2) : 16] = 1
            label[8:24, 16:24] = 2
            put(tmp_path / f"data/images/{split}{index}.png", colours[label])
            put(tmp_path / f"data/labels/{split}{index}.png", label)
        (tmp_path / f"data/{split}.txt").write_text("".join(f"{split}{i}\n" for i in range(count)))
    layouts = "".join(
        f'[layouts.splits.{s}]\nlist = "{s}.txt"\nimage = "images/{{id}}.png"\nlabel = "labels/{{id}}.png"\n'
        for s in ("train", "val")
    )
    (tmp_path / "card.toml").write_text(
        'schema = 1\nid = "mine"\ntitle = "Mine"\nlicence = "CC0"\nroot = "data"\n'
        'classes = ["background", "red", "blue"]\n'
        f'[splits.train]\n[splits.val]\n[[layouts]]\nname = "mine"\n{layouts}'
        '[protocols.distance-matching]\nbank = "train"\ninput = [32, 32]\nupsample = 4\nbackground = true\n'
    )
    return str(tmp_path / "card.toml")


def test_any_data_set_whose_card_names_a_bank_is_measured(coloured, tmp_path):
    options = {"cache": tmp_path / "cache", "results": tmp_path / "results"}
    made = bench.evaluate(Colours(), coloured, "distance-matching", **options)
    assert made["metrics"]["mIoU"]["value"] > 75  # all but what a quarter's resolution blurs
    assert made["bank"]["entries"] == 9 and made["bank"]["split"] == "train" and made["seeds"] == []
    assert "boundary_mIoU" not in made["metrics"] and made["solver"]["library"] == "faiss"
    objects = bench.evaluate(Colours(), coloured, "distance-matching", entries={"background": False}, **options)
    assert objects["bank"]["entries"] == 6
    assert objects["per_class"]["background"] == 0.0 and sum(objects["confusion"]["mean"][0]) == 0


@pytest.mark.slow
def test_a_run_reports_what_its_pngs_score(imagenet_tree, small_file, tmp_path):
    made = run(small_file, imagenet_tree, save_predictions=tmp_path / "p")
    assert made["dataset"]["limited"] and made["bank"]["images"] == 50
    assert {"mIoU", "boundary_mIoU", "f_measure", "image_accuracy", "mIoU_ml"} <= made["metrics"].keys()
    assert made["pixels"]["of"] == "the pixel embedding"
    scored = score_folder(tmp_path / "p", "imagenet-s-50", tmp_path / "r", Settings(data_root=imagenet_tree)).record
    for name, entry in scored["metrics"].items():
        assert entry["value"] == pytest.approx(made["metrics"][name]["value"], abs=1e-9), name
    again = run(small_file, imagenet_tree)
    assert again["metrics"] == made["metrics"] and again["observed"]["from_cache"] == 50


@pytest.mark.slow
def test_every_entry_makes_another_recipe(imagenet_tree, small_file):
    others = {"neighbours": 3, "temperature": 0.5, "upsample": 1, "background": True, "figures": "classes"}
    prints = [run(small_file, imagenet_tree)["protocol"]["fingerprint"]]
    for key, value in others.items():
        prints.append(run(small_file, imagenet_tree, entries={key: value})["protocol"]["fingerprint"])
    assert len(set(prints)) == 1 + len(others)


def test_a_bank_without_labels_or_of_no_split_is_an_error(imagenet_tree, small_file):
    with pytest.raises(
        BadInput, match="imagenet-s-50 has no labels for train, and this part of the protocol needs them"
    ):
        run(small_file, imagenet_tree, entries={"bank": "train"})
    with pytest.raises(WrongName, match="unknown split"):
        run(small_file, imagenet_tree, entries={"bank": "nowhere"})
    with pytest.raises(BadInput, match="has no labels for test, and --protocol distance-matching needs them"):
        run(small_file, imagenet_tree, split="test")
    with pytest.raises(WrongName, match="temperature"):
        run(small_file, imagenet_tree, entries={"temperature": 0})


@pytest.mark.slow
def test_a_label_of_the_bank_that_does_not_fit_is_named(imagenet_tree, small_file, tmp_path):
    for folder in ("validation", "validation-segmentation", "train-semi", "train-semi-segmentation"):
        shutil.copytree(imagenet_tree / folder, tmp_path / "copy" / folder)
    spoilt = tmp_path / "copy/train-semi-segmentation/n00000031/n00000031_0.png"
    put(spoilt, encode(np.full((40, 48), 77, np.uint16)))
    with pytest.raises(BadInput, match=r"n00000031_0\.png holds the label 77"):
        run(small_file, tmp_path / "copy")
    spoilt.unlink()
    with pytest.raises(BadInput, match=r"n00000031_0\.png is missing"):
        run(small_file, tmp_path / "copy")


def test_saved_ids_are_rgb(imagenet_tree, small_file, tmp_path):
    run(small_file, imagenet_tree, save_predictions=tmp_path / "p")
    ids, _ = read_ids(tmp_path / "p/n00000004/n00000004_0.png", "rgb")
    assert ids.shape == (40, 48) and ids.min() >= 1 and ids.max() <= 50
