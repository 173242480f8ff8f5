"""Two ranks under torchrun (gloo): what they share, and what is each rank's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.cards.models import Architecture
from bench.networks.architectures import MaskContrastNetwork
from bench.pretrain.momentum import MomentumContrast
from tests.conftest import ROOT
from tests.training import write_training_set

pytestmark = pytest.mark.slow

FROZEN = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
STEPS, WORLD, SHARE = 3, 2, 4


def make_module():
    """A module whose batch norms are all at rest, so that a rank's share of a batch does not change them."""
    torch.manual_seed(7)
    architecture = Architecture(backbone="resnet18", width=8, decoder_width=8, embedding=6)
    module = MomentumContrast(MaskContrastNetwork(architecture), queue=16, momentum=0.9, frozen=FROZEN)
    for part in (module.model_q.decoder, module.model_k.decoder):
        for layer in part.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
    return module


def rest(module):
    """Batch norms of the decoder as well: the recipe has no name for them."""
    for network in (module.model_q, module.model_k):
        network.decoder.eval()
    return module


def make_batch(step):
    generator = torch.Generator().manual_seed(100 + step)
    views = torch.randn(2, WORLD * SHARE, 3, 32, 32, generator=generator)
    masks = (
        torch.rand(2, WORLD * SHARE, 4, 4, generator=generator).gt(0.5).repeat_interleave(8, 2).repeat_interleave(8, 3)
    )
    return views[0], views[1], masks[0], masks[1]


def worker(out):
    """One rank: a few steps on its share, and what came of them."""
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo")
    number = distributed.get_rank()
    module = rest(make_module())
    wrapped = DistributedDataParallel(module)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.05)
    found = []
    for step in range(STEPS):
        torch.manual_seed(number)  # ranks draw apart, and yet must shuffle alike
        share = [tensor[number * SHARE : (number + 1) * SHARE] for tensor in make_batch(step)]
        losses = wrapped(*share)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        found.append([value.item() for value in losses])
    torch.save({"losses": found, "state": module.state_dict()}, Path(out) / f"rank{number}.pt")


def torchrun(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(WORLD)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def world_aware_losses():
    """The same steps in one process, by the rule: all but the queue is each rank's own, gradients are averaged."""
    module = rest(make_module())
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.05)
    expected = []
    for step in range(STEPS):
        queue, pointer = module.queue.clone(), int(module.queue_ptr)
        leaders = [parameter.clone() for parameter in module.model_k.parameters()]
        optimizer.zero_grad()
        given, keys = [], []
        for number in range(WORLD):
            # each rank begins the step with the queue and the f_k of before it
            module.queue.copy_(queue)
            module.queue_ptr.fill_(pointer)
            with torch.no_grad():
                for parameter, before in zip(module.model_k.parameters(), leaders, strict=True):
                    parameter.copy_(before)
            share = [tensor[number * SHARE : (number + 1) * SHARE] for tensor in make_batch(step)]
            losses = module(*share)
            (losses.total / WORLD).backward()
            given.append([value.item() for value in losses])
            keys.append(module.queue[:, pointer : pointer + SHARE].clone())
        optimizer.step()
        module.queue.copy_(queue)
        module.queue[:, pointer : pointer + WORLD * SHARE] = torch.cat(keys, dim=1)
        module.queue_ptr.fill_((pointer + WORLD * SHARE) % module.queue.shape[1])
        expected.append(given)
    return expected, module.state_dict()


def test_two_ranks_share_queue_and_weights_and_give_the_expected_losses(tmp_path):
    done = torchrun(__file__, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"rank{number}.pt", weights_only=True) for number in range(WORLD))
    for key, value in first["state"].items():
        assert torch.equal(value, second["state"][key]), key
    expected, state = world_aware_losses()
    for step in range(STEPS):
        for found, wanted in zip((first, second), expected[step], strict=True):
            assert found["losses"][step][:3] == pytest.approx(wanted[:3], abs=1e-5)
            # rounding decides which prototype is nearest where two are as near
            assert found["losses"][step][3] == pytest.approx(wanted[3], abs=0.05)
    assert torch.allclose(first["state"]["queue"], state["queue"], atol=1e-5)
    weight = "model_q.decoder.1.weight"
    assert torch.allclose(first["state"][weight], state[weight], atol=1e-6)
    assert int(first["state"]["queue_ptr"]) == STEPS * WORLD * SHARE % 16


def test_the_command_runs_under_torchrun(tmp_path):
    folder = write_training_set(tmp_path)
    given = ["--recipe", folder / "tiny.toml", "--dataset", "shapes", "--data-root", folder / "data", "--epochs", 1]
    given += ["--priors", folder / "masks", "--out", tmp_path / "out", "--device", "cpu", "--set", "dropout=0.1"]
    done = torchrun("-m", "bench", "train", *given)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("trained on 24 images, 6 steps") == 1
    content = torch.load(tmp_path / "out/checkpoint.pth.tar", weights_only=True)
    assert content["step"] == 6 and content["identity"]["ranks"] == 2
    assert (tmp_path / "out/log.csv").read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        pytest.param(
            *(["--set", "batch=2", "--set", "queue=2"], "error: batch: 2 gives the 2 ranks fewer than two images each"),
            marks=pytest.mark.long,
        ),
        (["--set", "temperature=1e-300"], "error: the loss is nan at step 1"),
    ],
    ids=["before the work", "in training"],
)
def test_an_error_of_all_ranks_is_said_once(tmp_path, extra, words):
    folder = write_training_set(tmp_path)
    given = ["--recipe", folder / "tiny.toml", "--dataset", "shapes", "--data-root", folder / "data"]
    given += ["--priors", folder / "masks", "--out", tmp_path / "out", "--device", "cpu"]
    done = torchrun("-m", "bench", "train", *given, *extra)
    assert done.returncode != 0
    assert done.stderr.count(words) == 1, done.stderr[-3000:]


if __name__ == "__main__":
    worker(sys.argv[1])
