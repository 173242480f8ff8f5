"""Logistic regression on patches against scikit-learn's: `python tests/benchmarks/linear_patches.py`.

The same iterations of L-BFGS on the same rows, with a history of 5 and of 10 steps. Time per iteration and peak memory
beyond the rows are printed as ratios.
"""

import argparse
import time
import tracemalloc
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

from bench.scoring import logistic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--iterations", type=int, default=20)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((options.rows, options.width)).astype(np.float32)
    labels = (rows @ rng.standard_normal((options.width, options.classes)) / 4).argmax(axis=1)
    warnings.simplefilter("ignore")

    def ours() -> int:
        return logistic.fit(rows, labels, 1.0, iterations=options.iterations).iterations

    def theirs() -> int:
        fitted = LogisticRegression(C=1.0, tol=1e-14, max_iter=options.iterations).fit(rows.astype(np.float64), labels)
        return int(fitted.n_iter_[0])

    found = {}
    for name, work in (("ours", ours), ("scikit-learn", theirs)):
        start = time.process_time()
        done = work()
        each = (time.process_time() - start) / done
        tracemalloc.start()
        work()
        found[name] = each, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(
            f"{name:15} {1000 * each:7.1f} ms an iteration   {found[name][1] / rows.nbytes:5.2f} × the rows in memory"
        )
    print(f"scikit-learn's takes {found['scikit-learn'][0] / found['ours'][0]:.2f} × as long")


if __name__ == "__main__":
    main()
