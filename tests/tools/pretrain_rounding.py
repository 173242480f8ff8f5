"""How much of the reference's pre-training figures is rounding: the same three steps in float64, printed beside them.

    python tests/tools/pretrain_rounding.py ../shared/parity [float32]

prints, for each step, how far loss, logits, gradients and parameters are from tests/golden/pretrain_nodrop.*. In
float64 that is the rounding error of the reference itself: 0.6 % of the first layers' gradients in the second step,
2 to 6 % in the third, 0.0011 of the third loss.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.pretrain import losses, momentum  # noqa: E402
from tests.test_pretrain import EVERY, golden_module, sums  # noqa: E402


def in_double_precision() -> None:
    """Let the casts that mixed precision needs lead to float64."""
    weights = losses.class_weights
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    losses.class_weights = lambda *given: weights(*given).double()


def main(parity: Path, precision: torch.dtype) -> None:
    figures = json.loads((ROOT / "tests/golden/pretrain_nodrop.json").read_text())
    arrays = np.load(ROOT / "tests/golden/pretrain_nodrop.npz")
    inputs = np.load(parity / "golden" / "d_pretrain_resnet18_nodrop.npz")
    if precision is torch.float64:
        in_double_precision()
    seen = []
    logits_of = losses.contrast_logits
    momentum.contrast_logits = lambda *given: seen.append(logits_of(*given)) or seen[-1]
    module = golden_module(0.0).to(precision)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.004, 0.9, weight_decay=1e-4)
    torch.manual_seed(0)
    for number, step in enumerate(figures["steps"]):
        views = [torch.from_numpy(inputs[key][number]).to(precision) for key in ("im_q", "im_k")]
        masks = [torch.from_numpy(inputs[key][number] == 1) for key in ("sal_q", "sal_k")]
        given = module(*views, *masks)
        optimizer.zero_grad()
        given.total.backward()
        optimizer.step()
        rows = np.abs(seen[-1].detach().numpy()[::EVERY] - arrays[f"logits_first_rows_{number}"]).max()
        print(f"step {number + 1}: loss {abs(given.total.item() - step['total']):.1e}, logits {rows:.1e}")
        for key, expected in step["grads"].items():
            measured = sums(module.model_q.get_parameter(key).grad)
            distance = max(abs(a - b) for a, b in zip(measured, expected, strict=True))
            print(f"  gradient of {key}: {distance / expected[1]:.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), torch.float32 if "float32" in sys.argv[2:] else torch.float64)
