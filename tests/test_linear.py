"""The linear classifier: against the reference implementation's figures, resumption, bad input."""

import json
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bench
from bench.base import folders
from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.cards.datasets import Protocols
from bench.data.preprocessing import normalise
from bench.data.samples import open_split
from bench.networks.checkpoints import read_checkpoint
from bench.passes.classify import Classifiers, classify, store
from bench.passes.engine import Engine
from bench.protocols.linear.learner import Learner, accumulate_gradient
from bench.protocols.linear.preset import LinearPreset
from bench.protocols.linear.scoring import choose, score
from bench.protocols.linear.training import Training, augmented_batches, learning_rate, train
from bench.records import published
from bench.scoring.id_counts import given_classes
from bench.scoring.metrics import seed_metrics
from tests.checkpoints import network_of, write_linear_checkpoint
from tests.resizing import limits_here

pytestmark = pytest.mark.slow

SMALL = LinearPreset(input=(48, 48), train="train", batch=8, epochs=3)


def split(golden, name="train"):
    return open_split(catalogue.dataset("pascal-voc"), name, golden / "VOCSegmentation")


@pytest.fixture(scope="module")
def reference():
    folder = folders.checkout() / "tests" / "golden"
    return json.loads((folder / "linear.json").read_text()), dict(np.load(folder / "linear.npz"))


def golden_classifiers(arrays):
    epochs = [("w_after_0", "b_after_0"), ("w_after_1", "b_after_1")]
    return Classifiers(np.stack([arrays[w][:, :, 0, 0] for w, _ in epochs]), np.stack([arrays[b] for _, b in epochs]))


# --- parity ---


@pytest.fixture(scope="module")
def golden_batches(parity):
    """The reference's 16 batches of 4: 64×512×512×3 images and 64×512×512 labels."""
    with np.load(parity / "golden" / "b_batches_u8.npz") as batches:
        return batches["images"].transpose(0, 2, 3, 1), batches["semseg"]


def test_sixteen_steps_give_the_references_losses_and_weights(golden_batches, reference, resnet18_file):
    """Our steps on the reference's batches from the reference's initial weights, in as many epochs of 8 as asked."""
    epochs = int(os.environ.get("GOLDEN_EPOCHS", "2"))
    figures, arrays = reference
    images, labels = golden_batches
    preset = LinearPreset(batch=4, epochs=2)
    learner = Learner(network_of(resnet18_file).features, preset, 0, 21, 255, Engine("cpu", batch_size=4))
    learner.start(arrays["init_w"][:, :, 0, 0], arrays["init_b"])
    training = None
    for epoch in range(epochs):
        rate = learning_rate(preset, epoch)
        starts = range(32 * epoch, 32 * epoch + 32, 4)
        losses = [learner.step(images[i : i + 4].copy(), labels[i : i + 4], rate) for i in starts]
        training = learner.after_epoch(training, losses, rate, (1.0, 0.0))
    expected = [step["loss"] for step in figures["steps"]]
    assert np.abs(training.losses.reshape(-1) - expected[: 8 * epochs]).max() < 1e-4
    theirs = golden_classifiers(arrays)
    assert np.abs(training.weights - theirs.weights[:epochs]).max() < 1e-3
    assert np.abs(training.biases - theirs.biases[:epochs]).max() < 1e-3


def test_batches_are_normalised_as_the_reference_has_them(golden_batches, reference):
    images, _ = golden_batches
    for number, step in enumerate(reference[0]["steps"]):
        tensor = normalise(torch.from_numpy(images[4 * number : 4 * number + 4].copy()), LinearPreset())
        assert tensor.double().sum().item() == pytest.approx(step["img_sum"], abs=0.5)


@pytest.fixture(scope="module")
def golden_pass(reference, golden_run, tmp_path_factory):
    """One pass of the reference's two epochs over val."""
    samples = split(folders.checkout() / "tests" / "golden", "val")
    classifiers = golden_classifiers(reference[1])
    kept = store(tmp_path_factory.mktemp("pass"), {})
    engine = Engine("cpu", batch_size=4)
    return classifiers, classify(lambda: golden_run.features, classifiers, samples, LinearPreset(), kept, engine)


def test_golden_weights_give_the_references_miou_online_and_offline(golden_pass, reference):
    _, epochs = golden_pass
    online, offline = (
        [m["mIoU"] / 100 for m in seed_metrics(given_classes([e[grid] for e in epochs], 21), "zero")]
        for grid in ("input", "label")
    )
    within = limits_here().miou
    assert online == pytest.approx(reference[0]["online"], abs=within)
    assert offline[1] == pytest.approx(reference[0]["offline"]["mIoU"], abs=within)


def test_the_best_epoch_on_val_is_chosen_and_the_last_stands_beside_it(golden_pass):
    classifiers, epochs = golden_pass
    best = choose(classifiers, epochs[::-1], None, LinearPreset(), 21)
    assert best.epoch == 0 and best.online[0] > best.online[1]
    last = choose(classifiers, epochs[::-1], None, LinearPreset(selection="last"), 21)
    assert last.epoch == 1 and last.painted is last.last
    ones = np.ones((2, 1), np.float32)
    training = Training(
        classifiers.weights, classifiers.biases, ones, ones[:, 0], (ones, ones), np.full((2, 2), [10.0, 1.0])
    )
    chosen = choose(classifiers, epochs[::-1], training, LinearPreset(), 21)
    rows, extra, detail = score([chosen], None, LinearPreset(), 21, "train")
    figure = seed_metrics(rows, "zero")[0]["mIoU"]
    assert figure > extra["mIoU_last_epoch"][0]
    history = detail["training"][0]
    assert history["selection"] == "best on train" and (history["epoch"], history["epochs"]) == (1, 2)
    assert history["waiting_share"] == pytest.approx(0.1)


# --- the frozen part and the step ---


def test_a_step_equals_autograd_through_the_whole_graph(golden, small_file):
    """Features without autograd and images one by one are the same step as the plain way."""
    network = network_of(small_file)
    loader = augmented_batches(split(golden), SMALL, 7, 0, Engine("cpu", workers=1))
    batches = [next(loader) for _ in range(2)]
    learner = Learner(network.features, SMALL, 7, 21, 255, Engine("cpu", batch_size=3))
    losses = [learner.step(*batch, 0.1) for batch in batches]
    plain = nn.Conv2d(64, 21, 1)
    noise = np.random.default_rng([7]).standard_normal((21, 64))
    plain.weight.data = torch.from_numpy((0.01 * noise).astype(np.float32))[..., None, None]
    plain.bias.data.zero_()
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    for (images, labels), loss in zip(batches, losses, strict=True):
        features = network.features(normalise(torch.from_numpy(images), SMALL))
        logits = F.interpolate(plain(features), size=(48, 48), mode="bilinear", align_corners=False)
        expected = F.cross_entropy(logits, torch.from_numpy(labels).long(), ignore_index=255)
        optimiser.zero_grad()
        expected.backward()
        optimiser.step()
        assert loss == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(learner.classifier.weight, plain.weight, rtol=1e-4, atol=1e-5)


def test_features_are_computed_once_per_image_without_autograd(golden, small_file, tmp_path):
    seen = []

    def features(images):
        assert torch.is_inference_mode_enabled()
        seen.append(len(images))
        return network.features(images)

    network = network_of(small_file)
    train(lambda: features, split(golden), SMALL, 0, tmp_path / "a.npz", Engine("cpu", batch_size=4))
    assert sum(seen) == 3 * 24


def test_the_learning_rate_drops_after_epoch_25_strictly():
    rates = [learning_rate(LinearPreset(), epoch) for epoch in (0, 25, 26, 59)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01])


def test_a_batch_without_a_valid_pixel_moves_nothing_but_the_decay():
    classifier = nn.Conv2d(4, 3, 1)
    labels = np.full((2, 8, 8), 255, np.uint8)
    assert accumulate_gradient(classifier, torch.ones(2, 4, 2, 2), labels, 255) == 0.0
    assert not classifier.weight.grad.any()


# --- resumption ---


def test_a_killed_training_resumes_to_the_same_weights(golden, small_file, tmp_path):
    network, samples = network_of(small_file), split(golden)
    whole = train(lambda: network.features, samples, SMALL, 5, tmp_path / "whole.npz", Engine("cpu"))
    calls = []

    def killed(images):
        calls.append(1)
        if len(calls) > 8:  # in the second epoch of three steps of two chunks each
            raise KeyboardInterrupt
        return network.features(images)

    with pytest.raises(KeyboardInterrupt):
        train(lambda: killed, samples, SMALL, 5, tmp_path / "cut.npz", Engine("cpu", batch_size=4))
    assert len(Training.read(tmp_path / "cut.npz")) == 1
    resumed = train(lambda: network.features, samples, SMALL, 5, tmp_path / "cut.npz", Engine("cpu", workers=1))
    assert np.abs(resumed.losses - whole.losses).max() < 1e-6
    assert np.abs(resumed.weights - whole.weights).max() < 1e-6


def test_a_resumed_training_is_bit_identical_in_equal_chunks(golden, small_file, tmp_path):
    network, samples = network_of(small_file), split(golden)
    whole = train(lambda: network.features, samples, SMALL, 5, tmp_path / "a.npz", Engine("cpu"))
    short = SMALL.model_copy(update={"epochs": 1})
    train(lambda: network.features, samples, short, 5, tmp_path / "b.npz", Engine("cpu"))
    longer = train(lambda: network.features, samples, SMALL, 5, tmp_path / "b.npz", Engine("cpu"))
    for name in ("weights", "biases", "losses"):
        assert np.array_equal(getattr(whole, name), getattr(longer, name)), name
    assert np.array_equal(whole.velocity[0], longer.velocity[0])


def test_a_finished_or_longer_training_needs_no_network(golden, small_file, tmp_path):
    network, samples = network_of(small_file), split(golden)
    whole = train(lambda: network.features, samples, SMALL, 5, tmp_path / "a.npz", Engine("cpu"))
    short = SMALL.model_copy(update={"epochs": 2})

    def never():
        raise AssertionError("nothing should be trained")

    again = train(never, samples, short, 5, tmp_path / "a.npz", Engine("cpu"))
    assert np.array_equal(again.weights, whole.weights[:2])


def test_a_damaged_state_is_trained_anew(golden, small_file, tmp_path):
    network, samples = network_of(small_file), split(golden)
    path = tmp_path / "a.npz"
    whole = train(lambda: network.features, samples, SMALL, 5, path, Engine("cpu"))
    path.write_bytes(path.read_bytes()[:500])
    again = train(lambda: network.features, samples, SMALL, 5, path, Engine("cpu"))
    assert np.array_equal(again.weights, whole.weights)


# --- whole runs ---

OPTIONS = {"input": [48, 48], "train": "train", "batch": 8, "epochs": 2}
RELEASED = {"input": OPTIONS["input"]}


def run(model, golden, tmp_path, protocol="linear", options=OPTIONS, **more):
    entries = options | more.pop("entries", {})
    return bench.evaluate(
        model,
        "pascal-voc",
        protocol,
        data_root=golden / "VOCSegmentation",
        entries=entries,
        cache=tmp_path / "c",
        **more,
    )


def test_a_run_trains_classifies_and_keeps_its_curve(golden, small_file, tmp_path):
    record = run(small_file, golden, tmp_path, results=tmp_path / "r", num_seeds=2)
    assert record["protocol"]["id"] == "linear" and record["seeds"] == [1234, 1235]
    assert record["protocol"]["preset"]["classifier"] == "trained"
    assert len(record["metrics"]["mIoU"]["per_seed"]) == 2 and "mIoU_last_epoch" in record["metrics"]
    history = record["training"][0]
    assert len(history["loss"]) == len(history["online_mIoU"]) == 2 and history["steps"] == 3
    assert record["classifier"] == {"on": "the decoder's output", "kind": "trained"}
    assert record["dataset"]["limited"], "the golden train split is not PASCAL VOC's"
    again = run(small_file, golden, tmp_path, num_seeds=2)
    assert again["metrics"]["mIoU"] == record["metrics"]["mIoU"]
    assert again["observed"]["from_cache"] == 40


def test_a_released_classifier_is_evaluated_as_it_is(golden, linear_file, tmp_path):
    record = run(linear_file, golden, tmp_path, options=RELEASED)
    assert record["protocol"]["preset"]["classifier"] == "released" and "lr" not in record["protocol"]["preset"]
    assert record["seeds"] == [] and record["protocol"]["deterministic"] and "training" not in record
    weights = read_checkpoint(linear_file)
    network = network_of(linear_file)
    samples = split(golden, "val")
    from bench.passes.image_pass import load_sample

    item = load_sample(samples.entries[0], samples, LinearPreset(input=(48, 48)))
    with torch.inference_mode():
        features = network.features(normalise(torch.from_numpy(item.image)[None], LinearPreset()))
        logits = F.conv2d(features, weights.state["decoder.4.weight"], weights.state["decoder.4.bias"])
        best = F.interpolate(logits, size=(48, 48), mode="bilinear", align_corners=False)[0].argmax(0)
    predicted = np.bincount(best.numpy().reshape(-1), minlength=21)
    assert predicted.max() > 0
    one = run(linear_file, golden, tmp_path, options=RELEASED, limit=1)
    shares = np.array(one["confusion"]["mean"]).sum(axis=1)[:21]
    assert np.argmax(shares) == np.argmax(predicted)


class Colours(nn.Module):
    """No features of its own: its embedding is what a classifier can stand on."""

    def forward(self, images):
        return images, images.mean(1)


def test_a_module_in_memory_and_a_bare_backbone_can_be_probed(golden, tmp_path):
    record = run(Colours(), golden, tmp_path, name="colours")
    assert record["classifier"]["on"] == "what `forward` returns"
    from torchvision.models import resnet18

    state = {f"module.encoder_q.{key}": value for key, value in resnet18().state_dict().items()}
    state |= {"module.encoder_k.conv1.weight": torch.zeros(1), "module.queue": torch.zeros(2, 2)}
    torch.save({"state_dict": state}, tmp_path / "moco.pth.tar")
    record = run(str(tmp_path / "moco.pth.tar"), golden, tmp_path, entries={"epochs": 1})
    assert record["classifier"]["on"] == "the backbone's last feature map"
    with pytest.raises(BadInput, match="is a bare backbone: it has no embedding"):
        bench.evaluate(
            str(tmp_path / "moco.pth.tar"), "pascal-voc", data_root=golden / "VOCSegmentation", cache=tmp_path / "c"
        )


def test_a_shorter_training_can_never_be_compared(golden, small_file, tmp_path, monkeypatch):
    """Even on the whole split and under the card's own name. That the card's preset is small makes it quick."""
    card = catalogue.dataset("pascal-voc")
    presets = {name: card.protocols.preset(name) for name in card.protocols.given}
    presets["linear"] = presets["linear"].model_copy(update={"input": (48, 48)})
    stand_in = card.model_copy(update={"protocols": Protocols(presets)})
    monkeypatch.setitem(catalogue.datasets(), "pascal-voc", stand_in)
    root = golden / "VOCSegmentation"
    entries = {"epochs": 1, "train": "train", "train_images": 16}
    record = bench.evaluate(small_file, "pascal-voc", "linear", data_root=root, entries=entries, cache=tmp_path)
    figures = [f for f in published.figures() if f.protocol == "linear" and "maskcontrast-sup" in f.card]
    record["dataset"]["limited"] = False
    assert published.compare(record, figures[0])["reason"] == "the preset was modified"
    record["protocol"]["published_recipe"] = True
    assert published.compare(record, figures[0])["reason"] == "run with 1 seed; a spread needs --num-seeds 5"


@pytest.mark.parametrize("classes", [7, 81])
def test_a_classifier_of_other_classes_is_refused(golden, tmp_path, classes):
    path = write_linear_checkpoint(tmp_path / "other.pth.tar", classes)
    with pytest.raises(BadInput, match=f"classifies into {classes} classes, pascal-voc has 21"):
        run(path, golden, tmp_path)


def test_a_classifier_has_no_clusters_and_no_recipe_to_choose(golden, linear_file, tmp_path):
    with pytest.raises(BadInput, match="is a linear classifier: it has no embedding"):
        bench.evaluate(linear_file, "pascal-voc", data_root=golden / "VOCSegmentation", cache=tmp_path / "c")
    with pytest.raises(WrongName, match=r"the classifier of .* is released"):
        run(linear_file, golden, tmp_path, entries={"classifier": "trained"})
    for key, value in {"epochs": 2, "lr": 0.5, "selection": "last", "train": "val", "seeds": 3}.items():
        with pytest.raises(WrongName, match=f"'{key}' has no effect here: the checkpoint's own classifier"):
            run(linear_file, golden, tmp_path, options=RELEASED, entries={key: value})
    with pytest.raises(WrongName, match="nothing is drawn at random"):
        run(linear_file, golden, tmp_path, options=RELEASED, num_seeds=3)


def test_too_few_images_and_missing_masks_are_bad_input(golden, small_file, tmp_path):
    with pytest.raises(BadInput, match="24 training images do not fill one batch of 25"):
        run(small_file, golden, tmp_path, entries={"batch": 25})
    with pytest.raises(BadInput, match=r"\(trainaug\): none of .*sets/trainaug.txt"):
        run(small_file, golden, tmp_path, entries={"train": "trainaug"})


class Explodes(nn.Module):
    """Features that become huge after some images, as a diverging training has them."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def features(self, images):
        self.left -= len(images)
        return images * (float("inf") if self.left < 0 else 1.0)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_epoch(golden, tmp_path):
    samples, network = split(golden), Explodes(30)
    with pytest.raises(BadInput, match=r"no longer finite in epoch 2, step 1.*--epochs 1 evaluates it"):
        train(lambda: network.features, samples, SMALL, 0, tmp_path / "a.npz", Engine("cpu", batch_size=8))
    assert len(Training.read(tmp_path / "a.npz")) == 1
    short = SMALL.model_copy(update={"epochs": 1})
    assert len(train(lambda: network.features, samples, short, 0, tmp_path / "a.npz", Engine("cpu"))) == 1


def test_real_images_train_and_evaluate(realdata, small_file, tmp_path):
    record = bench.evaluate(
        small_file,
        "pascal-voc",
        "linear",
        data_root=realdata / "VOCdevkit",
        cache=tmp_path,
        results=tmp_path / "r",
        entries={"input": [96, 96], "epochs": 2},
    )
    assert record["dataset"]["images"] == 48 and record["dataset"]["limited"] and record["protocol"]["modified"]
    assert record["training"][0]["loss"][1] < record["training"][0]["loss"][0]
    assert not record["protocol"]["published_recipe"]
