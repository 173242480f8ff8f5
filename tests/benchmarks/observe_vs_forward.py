"""The observe stage against bare forward passes: `python tests/benchmarks/observe_vs_forward.py`.

ResNet-50 at 512×512 on the golden images. "Unprepared" is the network as loaded, on a tensor already in
memory; "prepared" has its batch norms folded and its channels last. Observing does everything: decoding,
resizing, forward, mask, prototype, both histograms, the cache. Seconds per image; ratios within this run.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from bench.cards import catalogue
from bench.data.samples import open_split
from bench.networks.architectures import fold_batch_norm
from bench.networks.checkpoints import build, draw_random
from bench.passes.cache import ShardStore
from bench.passes.engine import Engine, choose_device
from bench.passes.observation_pass import observe
from bench.passes.observations import MASK
from bench.protocols.clustering.preset import ClusteringPreset

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "VOCSegmentation"


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def forward_seconds(network: torch.nn.Module, images: torch.Tensor, repeats: int) -> float:
    with torch.inference_mode():
        network(images)
        synchronise(str(images.device))
        start = time.perf_counter()
        for _ in range(repeats):
            network(images)
        synchronise(str(images.device))
    return (time.perf_counter() - start) / (repeats * len(images))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=4)
    options = parser.parse_args()
    device = choose_device(options.device)
    card = catalogue.model("random-resnet50")
    weights = draw_random(card.architecture, card.weights)
    samples = open_split(catalogue.dataset("pascal-voc"), "val", GOLDEN).first(options.images)
    batch = torch.randn(options.batch_size, 3, 512, 512, device=device)
    repeats = max(1, options.images // options.batch_size)
    unprepared = forward_seconds(build(card.architecture, weights).to(device), batch, repeats)
    network = fold_batch_norm(build(card.architecture, weights)).to(device).to(memory_format=torch.channels_last)
    prepared = forward_seconds(network, batch.to(memory_format=torch.channels_last), repeats)
    # a random network may find nothing salient here, which is an error; the arithmetic is the same
    preset = ClusteringPreset(saliency_threshold=-1e9)
    print(f"{device}, {torch.get_num_threads()} threads, batches of {options.batch_size}, {options.images} images")
    print(f"unprepared forward  {unprepared:.4f} s")
    print(f"prepared forward    {prepared:.4f} s   {prepared / unprepared:.2f} of unprepared")
    for precision in ("float32", "bfloat16"):
        with tempfile.TemporaryDirectory() as folder:
            engine = Engine(device, precision, options.batch_size)  # type: ignore[arg-type]
            start = time.perf_counter()
            observe(lambda: network, samples, preset, ShardStore(Path(folder), MASK), engine)
            seconds = (time.perf_counter() - start) / len(samples)
        print(
            f"observe, {precision:<9}  {seconds:.4f} s   {seconds / unprepared:.2f} of unprepared, "
            f"{seconds / prepared:.2f} of prepared"
        )


if __name__ == "__main__":
    main()
