import pickle
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.cards.card import ID_PATTERN
from bench.networks.architectures import MaskContrastNetwork, fold_batch_norm
from bench.networks.checkpoints import build, classifier_of, draw_random, read_checkpoint, recognise
from bench.networks.find_model import find_model
from tests.checkpoints import QUERY, small_state, value_hash, values, write_linear_checkpoint


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "expected"), [("resnet18", "b5a69be5b48b550e"), ("resnet50", "181b195266aeb4c8")])
def test_the_generated_checkpoint_is_the_one_the_goldens_were_measured_with(backbone, expected):
    assert value_hash(values(backbone)) == expected


def test_the_query_network_is_taken_and_the_leftovers_dropped(small_file):
    state = read_checkpoint(small_file).state
    assert state.keys() == small_state().keys()
    assert all(torch.equal(state[k], v) for k, v in small_state().items())


@pytest.mark.slow
@pytest.mark.parametrize("wrap", ["no outer dict", "unprefixed", "state_dict", "safetensors", "half precision"])
def test_every_documented_wrapping_gives_the_same_network(tmp_path, small_file, wrap):
    state = small_state()
    path = tmp_path / ("file.safetensors" if wrap == "safetensors" else "file.pth")
    if wrap == "safetensors":
        save_file(state, path)
    elif wrap == "unprefixed":
        torch.save(state, path)
    elif wrap == "state_dict":
        torch.save({"state_dict": state, "epoch": 3}, path)
    elif wrap == "half precision":
        torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
    else:
        torch.save({QUERY + k: v for k, v in state.items()}, path)
    weights = read_checkpoint(path)
    architecture = recognise(weights.state, path)
    assert (architecture.backbone, architecture.width, architecture.decoder_width) == ("resnet18", 16, 64)
    network = build(architecture, weights)
    tolerance = 1e-3 if wrap == "half precision" else 0
    for key, tensor in network.state_dict().items():
        assert torch.allclose(tensor.double(), state[key].double(), rtol=tolerance, atol=tolerance), key
    assert not network.training


@pytest.mark.slow
def test_a_resnet50_file_is_recognised_by_its_keys(tmp_path):
    card = catalogue.model("random-resnet50")
    torch.save(draw_random(card.architecture, card.weights).state, tmp_path / "r50.pth")
    weights = read_checkpoint(tmp_path / "r50.pth")
    assert recognise(weights.state, tmp_path / "r50.pth") == card.architecture


def save(tmp_path, state):
    path = tmp_path / "file.pth"
    torch.save(state, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("missing", "1 missing (head.bias)"),
        ("unexpected", "1 unexpected (extra)"),
        ("shape", "1 of the wrong shape (decoder.2.weight (3,) instead of (64,))"),
    ],
)
def test_loading_is_strict_and_lists_the_keys(tmp_path, damage, words):
    state = small_state()
    if damage == "missing":
        del state["head.bias"]
    elif damage == "unexpected":
        state["extra"] = torch.zeros(2)
    else:
        state["decoder.2.weight"] = torch.zeros(3)
    weights = read_checkpoint(save(tmp_path, state))
    with pytest.raises(BadInput) as caught:
        build(catalogue.model("random-shapes").architecture, weights)
    assert words in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        ("backbone.conv1.weight", (8, 3, 7, 7), "backbone.conv1.weight (8, 3, 7, 7) instead of (16, 3, 7, 7)"),
        ("decoder.1.weight", (5, 64, 3, 3), "decoder.1.weight (5, 64, 3, 3) instead of (64, 64, 3, 3)"),
        ("decoder.1.weight", (), "decoder.1.weight () instead of (64, 64, 3, 3)"),
        ("head.weight", (7, 64, 1, 1), "1 of the wrong shape (head."),
    ],
)
def test_one_wrong_tensor_does_not_change_what_the_file_is_read_as(tmp_path, key, shape, words):
    path = save(tmp_path, small_state() | {key: torch.zeros(shape)})
    with pytest.raises(BadInput) as caught:
        find_model(path, None, tmp_path, print)
    assert "read as resnet18 (width 16, decoder 64, embedding" in caught.value.problem
    assert "1 of the wrong shape" in caught.value.problem and words in caught.value.problem
    assert "--model" not in caught.value.remedy  # that is what was done


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(small_state()))
def test_one_missing_tensor_is_the_one_that_is_named(tmp_path, key):
    state = small_state()
    del state[key]
    path = save(tmp_path, state)
    with pytest.raises(BadInput) as caught:
        find_model(path, None, tmp_path, print)
    assert f"1 missing ({key})" in caught.value.problem


def test_a_network_without_its_decoder_is_told_what_it_lacks(tmp_path):
    state = {key: value for key, value in small_state().items() if not key.startswith("decoder")}
    with pytest.raises(BadInput, match=r"lacks 'decoder\.1\.weight' \(it holds backbone\.\* \(120\), head"):
        find_model(save(tmp_path, state), None, tmp_path, print)


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, capsys):
    path = tmp_path / "bomb.pth"
    torch.save({"model": {"head.weight": torch.zeros(1)}, "payload": Bomb()}, path)
    with pytest.raises(BadInput, match="would run code"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput):
        read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>Google Drive - Virus scan warning", "web page"),
        (b"", "is empty"),
        (b"PK\x03\x04 half an archive", "truncated or not a checkpoint"),
        (b"\x80\x02garbage", "truncated or not a checkpoint"),
        (b"\x80\x02.", "truncated or not a checkpoint"),
        (b"#!/bin/sh\necho a script\n", "is a text file, and no checkpoint"),
        ("ein Text über Gewichte, ".encode() * 100, "is a text file, and no checkpoint"),
        (
            b'{"metadata": {"total_size": 3},\n "weight_map": {"a": "b"}}',
            "a list of the files that a checkpoint was split",
        ),
        ("ein Text".encode("utf-16"), "truncated or not a checkpoint"),
        (pickle.dumps({"a": 1}, 4), "is a Python pickle (protocol 4), not a file of torch.save"),
    ],
)
@pytest.mark.filterwarnings("error")  # torch's own words on the pickle protocol would reach the user
def test_files_that_are_no_checkpoint_are_named_as_what_they_are(tmp_path, content, words):
    for name in ("file.pth.tar", "file.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadInput) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
        assert words in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("start", [b"", b"\x80\x02", b"PK\x03\x04"])
def test_random_bytes_are_no_checkpoint(tmp_path, start):
    random = np.random.default_rng(0)
    for length in range(1, 100):
        (tmp_path / "file.pth").write_bytes(start + random.bytes(length))
        with pytest.raises(BadInput):
            read_checkpoint(tmp_path / "file.pth")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["_best.pth", "+run 2.pth.tar", "-.pth", "Ωmega.pth", f"{'x' * 90}.pth"])
def test_any_file_name_gives_an_id_that_a_record_can_have(tmp_path, small_file, name):
    path = tmp_path / name
    path.write_bytes(small_file.read_bytes())
    assert re.fullmatch(ID_PATTERN, find_model(path, None, tmp_path, print).id)


def test_a_truncated_checkpoint_is_an_error(tmp_path, small_file):
    path = tmp_path / "half.pth.tar"
    path.write_bytes(small_file.read_bytes()[:-5000])
    with pytest.raises(BadInput, match="truncated"):
        read_checkpoint(path)


def test_nan_in_the_weights_is_named(tmp_path):
    state = small_state()
    state["head.bias"][3] = float("nan")
    with pytest.raises(BadInput, match=r"NaN or infinity in 'head\.bias'"):
        read_checkpoint(save(tmp_path, state))


def test_other_networks_and_linear_classifiers_are_told_apart(tmp_path):
    path = save(tmp_path, {"fc.weight": torch.zeros(2, 2)})
    with pytest.raises(BadInput, match="not a MaskContrast network"):
        recognise(read_checkpoint(path).state, path)
    path = write_linear_checkpoint(tmp_path / "linear.pth.tar", 7)
    weights = read_checkpoint(path)
    found = recognise(weights.state, path)
    assert (found.width, found.decoder_width, found.embedding, found.classes) == (16, 64, 0, 7)
    weight, bias = classifier_of(weights)
    assert weight.shape == (7, 64) and bias.shape == (7,)
    build(found, weights)
    with pytest.raises(BadInput, match="holds no tensors"):
        read_checkpoint(save(tmp_path, {"epoch": 3}))


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module.encoder_q."])
def test_a_bare_resnet_of_torchvision_or_moco_is_a_backbone(tmp_path, prefix):
    resnet18 = pytest.importorskip("torchvision.models").resnet18

    torch.manual_seed(0)
    state = {prefix + key: value for key, value in resnet18().state_dict().items()}
    if prefix:
        state |= {"module.encoder_k.conv1.weight": torch.zeros(1), "module.queue": torch.zeros(2, 2)}
    torch.save({"state_dict": state}, tmp_path / "r18.pth")
    weights = read_checkpoint(tmp_path / "r18.pth")
    found = recognise(weights.state, tmp_path / "r18.pth")
    assert (found.backbone, found.width, found.decoder_width, found.what) == ("resnet18", 64, 0, "a bare backbone")
    network = build(found, weights)
    images = torch.randn(1, 3, 64, 64)
    whole = resnet18()
    whole.load_state_dict(
        {key.removeprefix(prefix): value for key, value in state.items() if prefix in key or not prefix}
    )
    whole.eval()
    stem = whole.layer2(whole.layer1(whole.maxpool(whole.relu(whole.bn1(whole.conv1(images))))))
    ours = network.backbone
    assert torch.allclose(ours.layer2(ours.layer1(ours.maxpool(ours.relu(ours.bn1(ours.conv1(images)))))), stem)
    assert network.features(images).shape == (1, 512, 8, 8)


@pytest.mark.slow
def test_random_cards_draw_the_same_weights_every_time():
    for name in ("random-shapes", "random-resnet18"):
        card = catalogue.model(name)
        assert (
            draw_random(card.architecture, card.weights).sha256 == draw_random(card.architecture, card.weights).sha256
        )


def test_folding_batch_norms_keeps_the_function():
    """In float64, where it differs by 5e-13 of 40; in float32 by 2.4e-4 to 3e-4, as the processor sums."""
    card = catalogue.model("random-shapes")
    network = build(card.architecture, draw_random(card.architecture, card.weights)).double()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            generator = torch.Generator().manual_seed(1)
            module.running_mean = torch.randn(module.num_features, generator=generator).double() * 0.1
            module.running_var = torch.rand(module.num_features, generator=generator).double() + 0.5
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 80, 64)))
    with torch.inference_mode():
        before = network(images)
        after = fold_batch_norm(network)(images)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_the_resnet50_backbone_is_torchvisions():
    resnet50 = pytest.importorskip("torchvision.models").resnet50

    theirs = resnet50(replace_stride_with_dilation=[False, True, True]).eval()
    ours = MaskContrastNetwork(catalogue.model("random-resnet50").architecture).backbone.eval()
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    ours.load_state_dict(state)
    theirs.avgpool = theirs.fc = torch.nn.Identity()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images).flatten(1), theirs(images))
