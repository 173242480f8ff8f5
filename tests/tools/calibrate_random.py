"""Find the saliency constants of a random card: `python tests/tools/calibrate_random.py random-shapes`.

A random network finds nothing salient. Its saliency head is w = scale · u + shift with u standard normal, so
a pixel's logit is scale · (u · f) + shift · Σf with f ≥ 0 its features. The shift is chosen such that 42 % of
the pixels are positive, the scale such that the threshold 0.5 is small beside the logits' spread.
"""

import sys

import numpy as np
import torch

from bench.base.files import cache_folder
from bench.cards import catalogue
from bench.data.decoding import read_image
from bench.data.find_samples import find_samples
from bench.data.preprocessing import normalise, resize_image
from bench.networks.checkpoints import build, draw_random

IMAGES = 40
SHARE = 0.42


def main(name: str) -> None:
    card = catalogue.model(name)
    unit = card.weights.model_copy(update={"saliency_scale": 1.0, "saliency_shift": 0.0})
    network = build(card.architecture, draw_random(card.architecture, unit))
    dataset = catalogue.dataset("shapes")
    preset = dataset.protocols.preset("clustering")
    samples = find_samples(dataset, "val", None, cache_folder()).first(IMAGES)
    pictures = np.stack([resize_image(read_image(s.image)[0], preset.input) for s in samples])
    with torch.inference_mode():
        features = network.decoder(network.backbone(normalise(torch.from_numpy(pictures), preset)))
        drawn = network.classification_head(features)[:, 0]
        total = features.sum(1)
    shift = float(torch.quantile((drawn / total.clamp_min(1e-12)).flatten(), 1 - SHARE))
    logits = drawn - shift * total
    scale = 5.0 / float(logits.std())
    print(f"saliency_scale = {scale:.4g}\nsaliency_shift = {-scale * shift:.4g}")
    print(f"salient on the 1/8 grid: {float((scale * logits > 0.5).float().mean()):.1%}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
