import hashlib
import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.cards.datasets import IdRange
from bench.cards.presets import GeometryPreset, override
from bench.data.decoding import read_image
from bench.data.preprocessing import normalise, resize_image
from bench.data.samples import open_split
from bench.passes.cache import ShardStore
from bench.passes.engine import Engine
from bench.passes.image_pass import observation_recipe
from bench.passes.observation_pass import observe
from bench.passes.observations import MASK, observation_store
from bench.passes.prototypes import summarise
from bench.protocols import registry
from bench.protocols.clustering.preset import ClusteringPreset
from tests.checkpoints import network_of
from tests.resizing import limits_here

SMALL = ClusteringPreset(input=(64, 48))


def run(path, samples, preset, folder, **options):
    return run_network(lambda: network_of(path), samples, preset, folder, **options)


def run_network(network, samples, preset, folder, fresh=False, **options):
    recipe = observation_recipe("weights", samples, preset, "float32")
    store = observation_store(folder, recipe)
    return observe(network, samples, preset, store, Engine("cpu", **options), fresh=fresh), store


def val(golden, limit=None):
    return open_split(catalogue.dataset("pascal-voc"), "val", golden / "VOCSegmentation").first(limit)


def assert_alike(seen, reference):
    """Equal within floating point: where a pixel lies at the threshold, the sum may differ by that pixel."""
    same = seen.areas == reference.areas
    assert (np.abs(seen.areas - reference.areas) <= reference.near).all() and same.mean() > 0.8
    assert np.abs(seen.prototypes - reference.prototypes)[same].max() < 1e-5


def test_preprocessing_equals_the_reference_bit_by_bit_where_opencv_goes_the_same_way(golden):
    limits = limits_here()
    for entry in json.loads((golden / "preprocessing.json").read_text())["images"]:
        image, _ = read_image(golden / "VOCSegmentation" / "images" / f"{entry['name']}.jpg")
        assert hashlib.sha1(image.tobytes()).hexdigest() == entry["decoded_sha1"]
        resized = resize_image(image, (512, 512))
        assert abs(int(resized.sum(dtype=np.int64)) - entry["resized_u8_sum"]) <= limits.levels
        tensor = normalise(torch.from_numpy(resized)[None], ClusteringPreset())[0].contiguous().numpy()
        one = 1 / 255 / min(ClusteringPreset().std)  # what a level comes to
        assert tensor.sum(dtype=np.float64) == pytest.approx(entry["tensor_sum"], abs=1e-2 + one * limits.levels)
        if not limits.levels:
            assert hashlib.sha1(resized.tobytes()).hexdigest() == entry["resized_u8_sha1"]
            assert hashlib.sha1(tensor.tobytes()).hexdigest() == entry["tensor_sha1"]


def cubic(source, target):
    """The weights (target×source) of cubic interpolation with a = −0.75, pixels' centres at halves, edges repeated."""
    centre = (np.arange(target) + 0.5) * source / target - 0.5
    first = np.floor(centre).astype(int)
    found = np.zeros((target, source))
    for tap in range(-1, 3):
        far = np.abs(centre - first - tap)
        near, wide = (1.25 * far - 2.25) * far * far + 1, ((-0.75 * far + 3.75) * far - 6) * far + 3
        np.add.at(found, (np.arange(target), np.clip(first + tap, 0, source - 1)), np.where(far <= 1, near, wide))
    return found


def test_every_way_of_resizing_is_cubic_interpolation_within_a_level(golden):
    """IPP is within .5001, which is rounding; OpenCV's own, in whole numbers, within .75."""
    for path in sorted((golden / "VOCSegmentation" / "images").glob("*.jpg"))[:3]:
        image, _ = read_image(path)
        height, width = image.shape[:2]
        exact = np.einsum("yh,hwc,xw->yxc", cubic(height, 512), image, cubic(width, 512), optimize=True)
        far = np.abs(resize_image(image, (512, 512)) - np.clip(exact, 0, 255))
        assert far.max() < limits_here().rounding


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "images"), [("resnet18", 12), pytest.param("resnet50", 3, marks=pytest.mark.long)]
)
def test_masks_and_prototypes_equal_the_reference(golden, tmp_path, request, backbone, images):
    limits = limits_here()
    network = network_of(request.getfixturevalue(f"{backbone}_file"))
    if backbone == "resnet18":
        network.features = request.getfixturevalue("golden_run").features
    reference = np.load(golden / f"clustering_{backbone}.npz")
    samples = val(golden, images)
    seen, store = run_network(lambda: network, samples, ClusteringPreset(), tmp_path, batch_size=3)
    assert list(seen.ids) == reference["names"][:images].tolist()
    assert np.abs(seen.prototypes - reference["prototypes"][:images]).max() < limits.prototypes
    allowed = 1 + reference["near"][:images]
    assert (np.abs(seen.areas - reference["areas"][:images]) <= allowed + limits.area).all()
    masks = store.load_apart(0)
    ours = np.unpackbits(np.stack([masks[key] for key in samples.keys]), axis=1)
    theirs = np.unpackbits(reference["masks"][:images], axis=1)
    assert ((ours != theirs).sum(axis=1) <= allowed + limits.mask).all()


def test_the_prototype_is_the_sum_that_the_paper_defines():
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(2, 5, 7, 6, generator=generator)
    logit = torch.randn(2, 7, 6, generator=generator)
    size = (52, 45)
    prototypes, masks, _ = summarise(embedding, logit, size, 0.5)
    up_embedding = F.interpolate(embedding, size=size, mode="bilinear", align_corners=False)
    up_logit = F.interpolate(logit[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    salient = up_logit > 0.5
    expected = F.normalize((up_embedding * (up_logit * salient)[:, None]).sum((2, 3)), dim=1)
    assert torch.equal(masks, salient)
    torch.testing.assert_close(prototypes, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_results_do_not_depend_on_batches_workers_or_shards(golden, tmp_path, small_file, monkeypatch):
    samples = val(golden)
    reference, _ = run(small_file, samples, SMALL, tmp_path / "a", batch_size=1, workers=1)
    monkeypatch.setattr("bench.passes.cache.SHARD", 7)
    other, _ = run(small_file, samples, SMALL, tmp_path / "b", batch_size=16, workers=4)
    assert other.ids == reference.ids and other.manifest == reference.manifest
    assert_alike(other, reference)


def test_counts_are_label_histograms_inside_and_outside_the_mask(golden, tmp_path, small_file):
    samples = val(golden, 6)
    seen, store = run(small_file, samples, SMALL, tmp_path)
    masks = store.load_apart(0)
    for grid in ("label", "input"):
        inside, outside = (h.toarray() for h in seen.histograms(grid, 21))
        for i, sample in enumerate(samples):
            label = cv2.imread(str(sample.label), cv2.IMREAD_UNCHANGED)
            label = np.asarray(__import__("PIL.Image").Image.open(sample.label))
            mask = np.unpackbits(masks[samples.keys[i]])[: 64 * 48].reshape(64, 48)
            if grid == "label":
                mask = cv2.resize(mask, label.shape[::-1], interpolation=cv2.INTER_NEAREST)
            else:
                label = cv2.resize(label, (48, 64), interpolation=cv2.INTER_NEAREST)
            for c in range(21):
                assert inside[i, c] == ((label == c) & (mask == 1)).sum()
                assert outside[i, c] == ((label == c) & (mask == 0)).sum()


class Dies(nn.Module):
    """Lets some images through and then fails."""

    def __init__(self, inner, after):
        super().__init__()
        self.inner, self.left = inner, after

    def forward(self, images):
        self.left -= len(images)
        if self.left < 0:
            raise KeyboardInterrupt
        return self.inner(images)


@pytest.mark.slow
def test_an_interrupted_pass_is_resumed_where_it_stopped(golden, tmp_path, small_file):
    samples = val(golden)
    store = ShardStore(tmp_path / "store", MASK)
    with pytest.raises(KeyboardInterrupt):
        observe(lambda: Dies(network_of(small_file), 20), samples, SMALL, store, Engine("cpu", batch_size=4))
    kept = len(store.known(samples.keys))
    assert kept == 20  # all that the network had finished
    counted = []
    resumed = observe(
        lambda: network_of(small_file),
        samples,
        SMALL,
        store,
        Engine("cpu", batch_size=4, progress=lambda done, total: counted.append(done)),
    )
    assert counted == list(range(kept + 1, len(samples) + 1))
    whole, _ = run(small_file, samples, SMALL, tmp_path / "whole", batch_size=4)
    assert_alike(resumed, whole)
    assert resumed.manifest == whole.manifest


@pytest.mark.parametrize("missing", [[1], [0, 5, 6], [9]])
def test_what_is_missing_is_observed_in_the_batches_of_an_undisturbed_pass(golden, tmp_path, small_file, missing):
    """A network rounds otherwise in a batch of another size, and K-means can make a large difference of a small one."""
    samples, sizes = val(golden, 10), []
    network = network_of(small_file)

    class Watched(nn.Module):
        def forward(self, images):
            sizes.append(len(images))
            return network(images)

    def look(folder, samples):
        return observe(Watched, samples, SMALL, ShardStore(folder, MASK), Engine("cpu", batch_size=4))

    whole = look(tmp_path / "whole", samples)
    assert sizes == [4, 4, 2]
    for name in ("part", "whole"):
        look(tmp_path / name, samples)
    store = ShardStore(tmp_path / "part", MASK)
    kept = {key: item for key, item in store.load(0).items()}
    masks = store.load_apart(0)
    for path in store.folder.glob("*.npz"):
        path.unlink()
    known = [key for i, key in enumerate(samples.keys) if i not in missing]
    store.save(0, {key: kept[key] | {MASK: masks[key]} for key in known})
    sizes.clear()
    again = look(tmp_path / "part", samples)
    assert sizes == [2 if batch == 2 else 4 for batch in sorted({i // 4 for i in missing})]
    assert again.meta["fresh"] == len(missing)
    assert np.array_equal(again.prototypes, whole.prototypes) and np.array_equal(again.counts, whole.counts)
    assert again.manifest == whole.manifest


def never():
    raise AssertionError("nothing should be observed")


def test_a_second_pass_computes_nothing_and_fresh_computes_all(golden, tmp_path, small_file):
    samples = val(golden, 10)
    first, store = run(small_file, samples, SMALL, tmp_path)
    again = observe(never, samples, SMALL, store, Engine("cpu"))
    assert np.array_equal(first.prototypes, again.prototypes) and first.manifest == again.manifest
    assert again.meta["fresh"] == 0
    fresh, _ = run(small_file, samples, SMALL, tmp_path, fresh=True)
    assert fresh.meta["fresh"] == 10


def test_a_limited_run_and_a_full_one_share_their_images(golden, tmp_path, small_file):
    _, store = run(small_file, val(golden, 10), SMALL, tmp_path)
    full, _ = run(small_file, val(golden), SMALL, tmp_path)
    assert full.meta["fresh"] == 30
    observe(never, val(golden, 10), SMALL, store, Engine("cpu"))


def test_a_changed_image_is_observed_again_and_changes_the_manifest(golden, tmp_path, small_file):
    root = tmp_path / "data"
    shutil.copytree(golden / "VOCSegmentation", root)
    card = catalogue.dataset("pascal-voc")
    before, _ = run(small_file, open_split(card, "val", root), SMALL, tmp_path)
    sample = open_split(card, "val", root).entries[3]
    image = cv2.imread(str(sample.image))
    cv2.imwrite(str(sample.image), 255 - image)
    after, _ = run(small_file, open_split(card, "val", root), SMALL, tmp_path)
    assert after.meta["fresh"] == 1
    assert after.manifest != before.manifest
    assert not np.allclose(after.prototypes[3], before.prototypes[3])


@pytest.mark.parametrize("change", [{"input": (64, 64)}, {"saliency_threshold": 0.4}, {"interpolation": "linear"}])
def test_another_recipe_never_meets_this_cache(golden, change):
    samples = val(golden, 3)
    other = SMALL.model_copy(update=change)
    assert observation_recipe("w", samples, SMALL, "float32") != observation_recipe("w", samples, other, "float32")
    assert observation_recipe("w", samples, SMALL, "float32") != observation_recipe("v", samples, SMALL, "float32")
    assert observation_recipe("w", samples, SMALL, "float32") != observation_recipe("w", samples, SMALL, "bfloat16")


SEEN = {"interpolation": "linear", "mean": (0.5, 0.456, 0.406), "std": (0.229, 0.224, 0.5)}
SEEN_OF_IMAGES = SEEN | {"input": (64, 64), "resizing": "torch"}
SALIENT, BOUNDARIES = {"saliency_threshold": 0.4}, {"figures": "imagenet-s"}
COUNTED = {"absent": "skip", "grid": "input", "clusters": 9, "solver": "minibatch", "temperature": 0.5, "top_k": 3}
"""Entries that do not change what is seen."""
FEATURES = {"features": "last4", "output_stride": 16}
GEOMETRY = SEEN_OF_IMAGES | FEATURES | {"interpolation": "area", "fit": "longer", "label_resizing": "opencv"}
GEOMETRY |= {"pad": "centre", "multiple": 32, "mirror": True, "scales": [1, 2]}
WINDOWS = {"window": 500, "window_stride": 300, "views_mean": "probabilities"}
FOREGROUND = SEEN | FEATURES | {"longer_side": 300, "multiple": 32, "similarity": 0.3, "weak": 1e-4}
FOREGROUND |= {"mask": "saliency-head"}
INSTEAD = {"interpolation": "cubic", "resizing": "opencv", "fit": "crop", "label_resizing": "torch", "mirror": False}
"""Of entries that a preset has at the value above."""
ALL_READ = {"in-context": {"augmentation": "none"}, "saliency": {"longer_side": 400}, "discovery": {"longer_side": 400}}
"""Entries with which all others have an effect."""
SEEN_BY = {
    "clustering": SEEN_OF_IMAGES | SALIENT | BOUNDARIES,
    "clustering-dense": SEEN_OF_IMAGES | FEATURES,
    "linear": SEEN_OF_IMAGES | FEATURES,
    "linear-dinov3": GEOMETRY | WINDOWS,
    "retrieval-21": SEEN_OF_IMAGES | SALIENT,
    "retrieval-7": SEEN_OF_IMAGES | SALIENT,
    "distance-matching": SEEN_OF_IMAGES | BOUNDARIES | FEATURES,
    "patch-clustering": GEOMETRY,
    "in-context": GEOMETRY,
    "knn": GEOMETRY,
    "linear-patches": GEOMETRY,
    "linear-leopart": SEEN_OF_IMAGES | FEATURES,
    "stego-cluster": GEOMETRY,
    "stego-kmeans": GEOMETRY,
    "stego-linear": GEOMETRY,
    "saliency": FOREGROUND,
    "discovery": FOREGROUND,
    "davis": SEEN,
}


@pytest.mark.parametrize("protocol", [entry.id for entry in registry.BUILT_IN])
def test_what_decides_how_an_image_is_seen_and_nothing_else_is_in_the_cache_s_key(golden, protocol):
    samples, preset = val(golden, 1), registry.preset_type(protocol)(**ALL_READ.get(protocol, {}))
    assert sorted(preset.observed) == sorted(SEEN_BY[protocol])
    key = observation_recipe("w", samples, preset, "float32")
    for entry, value in (SEEN_BY[protocol] | COUNTED).items():
        if entry in type(preset).model_fields:
            value = INSTEAD.get(entry, value) if getattr(preset, entry) == value else value  # noqa: PLW2901
            other = observation_recipe("w", samples, override(preset, {entry: value}), "float32")
            assert (other != key) == (entry in SEEN_BY[protocol]), entry


def test_protocols_that_share_kept_tokens_meet_only_those_of_the_same_pictures(golden):
    samples = val(golden, 1)

    class Other(GeometryPreset):
        resizing: str = "torch"

    entries = {"input": [64, 64], "interpolation": "linear"}
    found = [override(kind(), entries) for kind in (Other, registry.preset_type("patch-clustering"))]
    one, other = (observation_recipe("w", samples, preset, "float32") for preset in found)
    assert (one.pop("resizing"), other.pop("resizing")) == ("torch", "pillow") and one == other


def recipe_of(card, **changes):
    samples = SimpleNamespace(card=card.model_copy(update=changes), split="val")
    return observation_recipe("w", samples, SMALL, "float32")


def test_the_cache_s_key_names_the_data_and_how_labels_are_read():
    voc = catalogue.dataset("pascal-voc")
    plain = recipe_of(voc)
    about = ["classes", "dataset", "ignore", "orientation", "precision", "split", "weights"]
    assert plain.keys() == {"decoding", *about, *SEEN_BY["clustering"]} - {"figures", "resizing"}  # which came later
    assert [plain[key] for key in about] == [21, "pascal-voc", 255, "stored", "float32", "val", "w"]
    for labels in ({"encoding": "rgb"}, {"map": (IdRange(ids=(1, 1), classes=(2, 2)),)}):
        assert recipe_of(voc, labels=voc.labels.model_copy(update=labels)) != plain
    assert recipe_of(voc, classes=voc.classes[:-1]) != plain
    assert recipe_of(voc, orientation="upright") != plain
    coloured = voc.labels.model_copy(update={"encoding": "colour"})
    palettes = [((0, 0, number), (1, 1, 1)) for number in (0, 2)]
    assert len({str(recipe_of(voc, labels=coloured, palette=palette)) for palette in palettes}) == 2


def test_the_other_way_of_resizing_observes_again(golden, tmp_path, small_file):
    samples = val(golden, 3)
    first, _ = run(small_file, samples, SMALL, tmp_path)
    other, _ = run(small_file, samples, override(SMALL, {"resizing": "torch"}), tmp_path)
    again, _ = run(small_file, samples, SMALL, tmp_path)
    assert [seen.meta["fresh"] for seen in (first, other, again)] == [3, 3, 0]
    assert not np.array_equal(first.prototypes, other.prototypes)
    np.testing.assert_array_equal(first.prototypes, again.prototypes)


def test_a_damaged_shard_is_made_anew(golden, tmp_path, small_file):
    samples = val(golden, 5)
    first, store = run(small_file, samples, SMALL, tmp_path)
    for path in store.folder.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    again, _ = run(small_file, samples, SMALL, tmp_path)
    assert again.meta["fresh"] == 5
    assert np.abs(again.prototypes - first.prototypes).max() < 1e-6


class Constant(nn.Module):
    """The same embedding everywhere; salient where the image's mean is above `bar`."""

    def __init__(self, bar, value=1.0):
        super().__init__()
        self.bar, self.value = bar, value

    def forward(self, images):
        level = images.mean((1, 2, 3))
        logit = torch.where(level > self.bar, 1.0, 0.0)[:, None, None].expand(-1, 4, 4)
        return torch.full((len(images), 3, 4, 4), self.value), logit.clone()


def test_images_without_a_salient_pixel_stay_in_and_are_warned_of(golden, tmp_path):
    samples, said = val(golden, 12), []
    levels = [
        normalise(torch.from_numpy(resize_image(read_image(s.image)[0], (64, 48)))[None], SMALL).mean() for s in samples
    ]
    bar = float(np.median(levels))
    seen = observe(lambda: Constant(bar), samples, SMALL, ShardStore(tmp_path, MASK), Engine("cpu", warn=said.append))
    assert len(seen) == 12 and (seen.areas == 0).sum() == 6
    assert not seen.prototypes[seen.areas == 0].any()
    assert said == ["6 of 12 images have no salient pixel; they count, with a zero prototype"]


def test_nothing_salient_anywhere_is_an_error(golden, tmp_path):
    with pytest.raises(BadInput, match="nothing is salient in any of the 4 images"):
        observe(lambda: Constant(1e9), val(golden, 4), SMALL, ShardStore(tmp_path, MASK), Engine("cpu"))


def test_a_network_that_gives_nan_is_an_error_that_names_the_image(golden, tmp_path):
    with pytest.raises(BadInput, match=r"NaN or infinity on .*2007_000324\.jpg"):
        observe(lambda: Constant(-1e9, float("nan")), val(golden, 4), SMALL, ShardStore(tmp_path, MASK), Engine("cpu"))


class Wrong(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, images):
        return self.output if not callable(self.output) else self.output(images)


@pytest.mark.parametrize("output", [torch.zeros(2, 3), (torch.zeros(1, 3, 4, 4),), "text"])
def test_a_network_of_another_kind_is_told_what_is_expected(golden, tmp_path, output):
    with pytest.raises(BadInput, match="the network returned"):
        observe(lambda: Wrong(output), val(golden, 2), SMALL, ShardStore(tmp_path, MASK), Engine("cpu"))


def test_a_network_that_raises_is_bad_input_not_a_bug(golden, tmp_path):
    def fail(images):
        raise RuntimeError("size mismatch")

    with pytest.raises(BadInput, match="size mismatch"):
        observe(lambda: Wrong(fail), val(golden, 2), SMALL, ShardStore(tmp_path, MASK), Engine("cpu"))


def test_a_batch_that_does_not_fit_is_halved(golden, tmp_path, small_file):
    inner, said = network_of(small_file), []

    def greedy(images):
        if len(images) > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return inner(images)

    seen = observe(
        lambda: Wrong(greedy),
        val(golden, 12),
        SMALL,
        ShardStore(tmp_path, MASK),
        Engine("cpu", batch_size=8, warn=said.append),
    )
    whole, _ = run(small_file, val(golden, 12), SMALL, tmp_path / "b")
    assert_alike(seen, whole)
    assert any("batches of 2" in message for message in said)
