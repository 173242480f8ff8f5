"""What it costs that no damaged file is read: `python tests/benchmarks/decoding.py`.

Photographs and label maps of VOC's size are decoded by turns as the program does it and by Pillow alone, which keeps
quiet about damage; then the difference is set against the observe stage of a random ResNet-18 on the golden images.
"""

import io
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from bench.cards import catalogue
from bench.data.decoding import read_ids, read_image, read_sample
from bench.data.samples import open_split
from bench.networks.checkpoints import build, draw_random
from bench.passes.engine import Engine
from bench.passes.image_pass import load_sample
from bench.passes.prototypes import run_batch

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "VOCSegmentation"
ROUNDS = 40


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        photograph, label = Path(folder, "im.jpg"), Path(folder, "label.png")
        random = np.random.default_rng(0)
        coarse = random.integers(0, 256, (47, 63, 3)).astype(np.uint8)
        large = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
        noisy = np.clip(large + random.normal(0, 8, large.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(photograph, quality=92)
        Image.fromarray(np.asarray(large[..., 0] // 64 * 3, np.uint8)).save(label)
        for name, path, ours in (("JPEG", photograph, read_image), ("label PNG", label, read_ids)):
            seconds = by_turns(lambda path=path, ours=ours: ours(path), lambda path=path: pillow(path))
            print(f"{name}: {1000 * seconds[0]:.2f} ms, {seconds[0] / seconds[1]:.2f} of Pillow's time")
    samples = open_split(catalogue.dataset("pascal-voc"), "val", GOLDEN)
    card = samples.card
    seconds = by_turns(
        lambda: [read_sample(sample, card) for sample in samples],
        lambda: [(pillow(sample.image), pillow(sample.label)) for sample in samples],
    )
    observed = observe(samples)
    change = 100 * (seconds[0] - seconds[1]) / observed
    print(f"the observe stage of random-resnet18 on one thread of decoding: {change:+.2f} %")


def pillow(path: Path) -> np.ndarray:
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        return np.asarray(picture)


def by_turns(*what) -> list[float]:
    """The least seconds of each over the rounds, taken by turns."""
    least = [float("inf")] * len(what)
    for _ in range(ROUNDS):
        for place, one in enumerate(what):
            start = time.perf_counter()
            one()
            least[place] = min(least[place], time.perf_counter() - start)
    return least


def observe(samples) -> float:
    """Seconds from files to prototypes, nothing of it in parallel."""
    card = catalogue.model("random-resnet18")
    network = build(card.architecture, draw_random(card.architecture, card.weights))
    preset = samples.card.protocols.preset("clustering")
    engine = Engine("cpu", batch_size=4)
    start = time.perf_counter()
    for first in range(0, len(samples), engine.batch_size):
        batch = [load_sample(sample, samples, preset) for sample in samples.entries[first : first + engine.batch_size]]
        run_batch(network, batch, preset, engine)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
