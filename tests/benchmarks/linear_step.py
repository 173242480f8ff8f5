"""A training step of the linear classifier against a bare frozen forward: `python tests/benchmarks/linear_step.py`.

ResNet-50 at 512×512 on the golden images, by the published recipe but for the number of steps. Forward passes and
steps on the same batch take turns, so that both see the machine in the same state. The loader's share is that
of an epoch in which the network waited for images; its first batch, which nothing can hide, is counted apart.
"""

import argparse
import time
from pathlib import Path

import torch

from bench.base.parallel import default_workers
from bench.cards import catalogue
from bench.data.preprocessing import normalise
from bench.data.samples import open_split
from bench.networks.architectures import fold_batch_norm
from bench.networks.checkpoints import build, draw_random
from bench.passes.engine import Engine, arithmetic, choose_device
from bench.protocols.linear.learner import Learner
from bench.protocols.linear.training import WaitingTime, augmented_batches

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "VOCSegmentation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2, help="three steps each at a batch of 8")
    options = parser.parse_args()
    device = choose_device(options.device)
    card = catalogue.model("random-resnet50")
    network = fold_batch_norm(build(card.architecture, draw_random(card.architecture, card.weights)))
    network = network.to(device).to(memory_format=torch.channels_last)
    samples = open_split(catalogue.dataset("pascal-voc"), "train", GOLDEN)
    preset = catalogue.dataset("pascal-voc").protocols.preset("linear")
    assert preset is not None
    preset = preset.model_copy(update={"batch": options.batch})
    engine = Engine(device, batch_size=4 if device == "cpu" else options.batch, workers=default_workers())
    learner = Learner(network.features, preset, 0, 21, 255, engine)
    forward = step = waited = first = 0.0
    steps = 0
    for epoch in range(options.epochs):
        loader = WaitingTime(augmented_batches(samples, preset, 0, epoch, engine))
        for number, (images, labels) in enumerate(loader):
            first += loader.seconds if number == 0 else 0.0
            start = time.perf_counter()
            with torch.inference_mode(), arithmetic(engine):
                for chunk in torch.from_numpy(images).to(device).split(engine.batch_size):
                    network.features(normalise(chunk, preset))
            _wait(device)
            middle = time.perf_counter()
            learner.step(images, labels, 0.1)
            _wait(device)
            forward, step = forward + middle - start, step + time.perf_counter() - middle
            steps += 1
        waited += loader.seconds
    print(f"{device}, {torch.get_num_threads()} threads, batches of {options.batch}, {steps} steps")
    print(f"bare forward   {forward / steps:.3f} s")
    print(f"training step  {step / steps:.3f} s   {step / forward:.3f} of the forward")
    share = (waited - first) / (step + waited - first)
    print(f"waiting        {100 * share:.1f} % of training (first batches of an epoch apart: {first:.2f} s)")


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
