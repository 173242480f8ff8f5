"""The method: three golden steps of the reference, the losses, what is frozen, what follows."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.cards.models import Architecture
from bench.cards.recipes import override
from bench.data.samples import Sample, Samples
from bench.networks.architectures import MaskContrastNetwork, memory_format
from bench.pretrain import losses, momentum
from bench.pretrain.held_out import hold_out
from bench.pretrain.initialise import initial_network
from bench.pretrain.momentum import MomentumContrast
from bench.pretrain.schedule import learning_rate
from tests.checkpoints import value_hash, values
from tests.conftest import ROOT

NARROW = Architecture(backbone="resnet18", width=8, decoder_width=8, embedding=6)
EVERY = 997  # the reference's figures keep one row of the logits in so many
HEADS = (1e-4, 1e-3, 2e-3)
GRADIENTS_WITHIN = {
    "backbone": (6e-4, 1.5e-2, 6e-2),
    "decoder": (1e-4, 1e-3, 2e-2),
    "head": HEADS,
    "classification_head": HEADS,
}
"""Of the sum of magnitudes, in each of the three steps: twice what was measured on the processor that is furthest away
(AMD EPYC, whose kernels sum in another order than the reference's)."""


def narrow(**settings):
    torch.manual_seed(0)
    return MomentumContrast(MaskContrastNetwork(NARROW), queue=8, **settings)


def random_batch(images=4, side=32):
    masks = torch.zeros(2, images, side, side, dtype=torch.bool)
    masks[:, :, 8:24, 4:20] = True
    views = torch.randn(2, images, 3, side, side)
    return views[0], views[1], masks[0], masks[1]


def golden_module(dropout):
    network = MaskContrastNetwork(Architecture(backbone="resnet18"))
    network.decoder[0].project[3].p = dropout
    module = MomentumContrast(network)
    drawn = values("resnet18", queue=128)
    assert value_hash(drawn) == "548cf9ea42cfe2d1"
    module.load_state_dict({k.removeprefix("module."): torch.from_numpy(np.array(v)) for k, v in drawn.items()})
    return module


def sums(tensor):
    return tensor.double().sum().item(), tensor.double().abs().sum().item()


def close_sums(tensor, expected, relative):
    """Sum and sum of magnitudes, both within `relative` of the latter."""
    return np.allclose(sums(tensor), expected, rtol=0, atol=relative * expected[1])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dropout"), [("drop", 0.5), pytest.param("nodrop", 0.0, marks=pytest.mark.long)])
def test_three_steps_give_the_references_figures(golden, parity, monkeypatch, name, dropout):
    """With dropout on, the order of random draws counts as well: f_q's dropout, the shuffle, f_k's dropout."""
    figures = json.loads((golden / f"pretrain_{name}.json").read_text())
    arrays = np.load(golden / f"pretrain_{name}.npz")
    inputs = np.load(parity / "golden" / "d_pretrain_resnet18_nodrop.npz")
    seen = {}

    def spy(*arguments):
        seen["logits"] = losses.contrast_logits(*arguments)
        return seen["logits"]

    monkeypatch.setattr(momentum, "contrast_logits", spy)
    module = golden_module(dropout)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    assert len(trained) == 84
    optimizer = torch.optim.SGD(trained, 0.004, 0.9, weight_decay=1e-4)
    torch.manual_seed(0)
    for number, step in enumerate(figures["steps"]):
        views = [torch.from_numpy(inputs[key][number]) for key in ("im_q", "im_k")]
        masks = [torch.from_numpy(inputs[key][number] == 1) for key in ("sal_q", "sal_k")]
        given = module(*views, *masks)
        optimizer.zero_grad()
        given.total.backward()
        for key in ("contrastive", "saliency", "total"):
            assert getattr(given, key).item() == pytest.approx(step[key], abs=(1e-4, 1e-4, 2e-3)[number])
        assert list(seen["logits"].shape) == step["logits_shape"]
        rows = seen["logits"].detach().numpy()[::EVERY]
        # Rounding grows with steps, and with depth: a float64 run of the same steps is away from the reference's
        # float32 by this much (tools/pretrain_rounding.py), so closer than that nobody's float32 can be held.
        assert np.abs(rows - arrays[f"logits_first_rows_{number}"]).max() < (1e-5, 2e-3, 3e-2)[number]
        targets = masks[0].nonzero(as_tuple=True)[0]
        assert torch.bincount(targets).tolist() == step["labels_hist"]
        assert losses.class_weights(targets, 132)[:5].tolist() == pytest.approx(step["w_class"], rel=1e-6)
        for key, expected in step["grads"].items():
            relative = GRADIENTS_WITHIN[key.split(".")[0]][number]
            assert close_sums(module.model_q.get_parameter(key).grad, expected, relative), (number, key)
        optimizer.step()
        state = module.state_dict()
        for key, expected in step["params"].items():
            if not key.endswith("ALL"):
                assert close_sums(state[key], expected, 1e-3), (number, key)
        assert np.abs(state["queue"].numpy() - arrays[f"queue_{number}"]).max() < 1e-4
        assert int(state["queue_ptr"]) == step["queue_ptr"]


def test_the_poly_schedule_is_the_references(golden):
    expected = json.loads((golden / "pretrain_nodrop.json").read_text())["lr_schedule"]
    recipe = catalogue.recipe("maskcontrast-sup")
    assert [learning_rate(recipe, 10 * epoch, 10) for epoch in (0, 1, 20, 39)] == pytest.approx(expected, rel=1e-12)
    assert learning_rate(recipe, 9, 10) == recipe.lr  # once per epoch


def test_the_cosine_schedule_rises_and_falls_with_every_step():
    recipe = override(catalogue.recipe("shapes"), {"warmup": 1, "epochs": 11, "lr": 1.0})
    rates = [learning_rate(recipe, step, 10) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[60] == pytest.approx(0.5) and 0 < rates[-1] < 1e-3
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_published_recipes_have_the_papers_values():
    supervised, unsupervised = (catalogue.recipe(f"maskcontrast-{kind}") for kind in ("sup", "unsup"))
    assert (supervised.batch, supervised.queue, supervised.initialisation) == (64, 128, "imagenet")
    assert supervised.frozen == ("conv1", "bn1", "layer1", "layer2")
    assert (unsupervised.batch, unsupervised.queue, unsupervised.initialisation) == (128, 256, "moco")
    assert not unsupervised.frozen
    for recipe in (supervised, unsupervised):
        assert (recipe.lr, recipe.weight_decay, recipe.epochs, recipe.temperature) == (0.004, 1e-4, 40, 0.5)
        assert (recipe.momentum, recipe.crop, recipe.area, recipe.dropout) == (0.999, 224, (0.2, 1.0), 0.5)
        assert (recipe.optimiser, recipe.schedule, recipe.contrast_stride) == ("sgd", "poly", 1)
        assert not recipe.zero_sum


def test_a_zero_sum_start_is_a_recipes_choice():
    small = {f"architecture.{key}": value for key, value in NARROW.model_dump().items()}
    for name, centred in (("maskcontrast-sup", False), ("maskcontrast-unsup", False), ("shapes", True)):
        network = initial_network(override(catalogue.recipe(name), small), "random", 0)
        sums = network.head.weight.sum(dim=1), network.backbone.conv1.weight.sum(dim=(2, 3))
        assert all(bool((value.abs() < 1e-4).all()) == centred for value in sums)
        assert bool((network.head.bias == 0).all()) == centred


def test_prototypes_are_unit_sums_of_unit_pixels():
    embedding = torch.tensor([3.0, 0.0, 0.0, 5.0, 4.0, 4.0]).reshape(1, 3, 2).permute(0, 2, 1)[..., None]
    masks = torch.tensor([[[True], [True], [False]]])
    assert torch.allclose(losses.prototypes(embedding, masks), torch.full((1, 2), math.sqrt(0.5)))
    assert not losses.prototypes(embedding, masks & False).any()


def test_a_thinning_that_leaves_no_pixel_leaves_the_saliency_loss_alone():
    module = narrow(contrast_stride=16)
    query, key, masks, _ = random_batch()
    masks = torch.zeros_like(masks)
    masks[:, 1:6, 1:6] = True  # none of it on the grid of pixels 8 and 24
    given = module(query, key, masks, masks)
    assert float(given.contrastive) == float(given.accuracy) == 0
    assert given.total.item() == given.saliency.item() > 0
    given.total.backward()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_class_weights_of_absent_classes_are_those_of_share_zero():
    weights = losses.class_weights(torch.tensor([0, 0, 0, 2]), 3)
    assert weights.tolist() == pytest.approx([1 / math.log(1.02 + share) for share in (0.75, 0, 0.25)])


def test_saliency_loss_is_balanced_and_zero_for_one_sided_masks():
    logit = torch.tensor([[[2.0, -1.0, 0.5, 0.0]]])
    masks = torch.tensor([[[True, False, False, False]]])
    foreground, background = math.log1p(math.exp(-2)), sum(math.log1p(math.exp(x)) for x in (-1.0, 0.5, 0.0))
    expected = (0.75 * foreground + 0.25 * background) / 4
    assert float(losses.saliency_loss(logit, masks)) == pytest.approx(expected)
    for same in (torch.ones_like(masks), torch.zeros_like(masks)):
        assert float(losses.saliency_loss(logit, same)) == 0


def test_frozen_parts_keep_weights_and_statistics_in_both_networks():
    module = narrow(frozen=("conv1", "bn1", "layer1", "layer2"))
    module.eval()
    module.train()  # as a trainer may do after an evaluation
    before = {key: value.clone() for key, value in module.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        module(*random_batch()).total.backward()
        optimizer.step()
    for network in ("model_q", "model_k"):
        moved = {
            key.split(".")[2]
            for key, value in module.state_dict().items()
            if key.startswith(f"{network}.backbone") and not torch.equal(value, before[key])
        }
        assert moved == {"layer3", "layer4"}
        for part in ("bn1", "layer1", "layer2"):
            assert not any(m.training for m in getattr(module, network).backbone.get_submodule(part).modules())


def test_only_parameters_follow_and_batch_norm_buffers_run_on_their_own():
    module = narrow(momentum=0.9)
    with torch.no_grad():
        for parameter in module.model_q.parameters():
            parameter.add_(1)
        module.model_q.backbone.bn1.running_mean += 1000
    before = {key: value.clone() for key, value in module.model_k.state_dict().items()}
    query, key, *masks = random_batch()
    module(query, key, *masks)
    after = module.model_k.state_dict()
    assert torch.allclose(after["backbone.conv1.weight"], before["backbone.conv1.weight"] + 0.1, atol=1e-6)
    assert after["backbone.bn1.running_mean"].abs().max() < 10
    # the statistics are of the keys, by weights that have moved already
    features = torch.nn.functional.conv2d(key, after["backbone.conv1.weight"], stride=2, padding=3)
    assert torch.allclose(after["backbone.bn1.running_mean"], 0.1 * features.mean((0, 2, 3)), atol=1e-5)


def test_the_queue_is_filled_after_the_logits_and_comes_round():
    module = narrow()
    start = module.queue.clone()
    assert torch.allclose(start.norm(dim=0), torch.ones(8))
    module(*random_batch())
    assert int(module.queue_ptr) == 4 and torch.equal(module.queue[:, 4:], start[:, 4:])
    assert not torch.isclose(module.queue[:, :4], start[:, :4]).any()
    module(*random_batch())
    assert int(module.queue_ptr) == 0
    assert torch.allclose(module.queue.norm(dim=0), torch.ones(8))


def test_a_stride_thins_what_is_contrasted_and_nothing_else():
    counts = []
    for stride in (1, 4):
        module = narrow(contrast_stride=stride)
        batch = random_batch()
        given = module(*batch)
        counts.append(float(given.saliency))
        thin = module._thin(batch[2])
        assert thin.sum() == batch[2].sum() // stride**2
    assert counts[0] == pytest.approx(counts[1])


def test_wide_convolutions_of_small_maps_are_as_torch_computes_them():
    decoder = MaskContrastNetwork(NARROW).decoder
    (wide,) = [branch[0] for branch in decoder[0].convs if getattr(branch[0], "dilation", None) == (12, 12)]
    for side in (8, 12, 13):
        maps = torch.randn(2, wide.in_channels, side, side, requires_grad=True)
        results = []
        for training in (True, False):
            wide.train(training).zero_grad()
            maps.grad = None
            output = wide(maps)
            output.square().sum().backward()
            results.append((output, maps.grad.clone(), wide.weight.grad.clone()))
        for fast, plain in zip(*results, strict=True):
            assert torch.allclose(fast, plain, atol=1e-5)


# --- the part that is held out ---


def hold_out_of(labelled, images=110):
    """What is held out of a table in which only the images at the places `labelled` have labels."""
    entries = tuple(
        Sample(f"{i:03}", Path(f"{i:03}.jpg"), Path(f"{i:03}.png") if i in labelled else None) for i in range(images)
    )
    samples = Samples(catalogue.dataset("pascal-voc"), "train", Path(), "", entries, (bytes(16),) * images)
    kept, held_out = hold_out(samples)
    assert (*kept.ids, *held_out.ids) == samples.ids
    return len(held_out)


def test_a_table_whose_first_image_has_no_label_can_be_evaluated_on():
    assert hold_out_of(range(1, 110)) == 22
    assert hold_out_of([109]) == 22


@pytest.mark.parametrize("labelled", [range(0), range(88)], ids=["no label", "none in the last fifth"])
def test_a_part_without_labels_is_not_evaluated_on(labelled):
    with pytest.raises(WrongName, match="pascal-voc train has no labels in its last fifth"):
        hold_out_of(labelled)


def test_a_part_that_is_too_small_to_be_clustered_is_refused():
    for images in (4, 99):
        with pytest.raises(BadInput, match="cluster"):
            hold_out_of(range(images), images)


# --- memory ---


@pytest.mark.slow
def test_only_networks_too_narrow_for_onednn_are_trained_in_plain_memory():
    shipped = [recipe.architecture for recipe in catalogue.recipes().values()]
    for architecture in (*shipped, NARROW, Architecture(backbone="resnet50", width=4)):
        assert memory_format(MaskContrastNetwork(architecture)) == torch.channels_last
    for width in range(4, 8):
        network = MaskContrastNetwork(NARROW.model_copy(update={"width": width}))
        assert memory_format(network) == torch.contiguous_format


REPEATED = """
import torch
from bench.networks.architectures import DilatedResNet, memory_format

for width in (4, 8):
    torch.manual_seed(0)
    network = DilatedResNet("resnet18", width)
    network, images = network.to(memory_format=memory_format(network)), torch.randn(4, 3, 32, 32)
    found = []
    for _ in range(12):
        network.zero_grad()
        network(images).square().mean().backward()
        found.append(network.layer2[0].downsample[0].weight.grad.clone())
    assert all(torch.equal(gradient, found[0]) for gradient in found), width
"""


@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["AVX2", "SSE41"])
def test_gradients_are_the_same_every_time_whatever_onednn_may_use(instructions):
    """In channels last, about half of those of width 4 were others with AVX2, where the process lived on."""
    own = {"ONEDNN_MAX_CPU_ISA": instructions, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", REPEATED]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
