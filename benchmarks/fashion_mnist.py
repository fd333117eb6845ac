# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST, 10 000 train images: encoder, MLP head and monotonic head on the same recipe.

Run    python benchmarks/fashion_mnist.py --data FOLDER [--out OUT] [--seeds 0]
FOLDER holds the four published .gz files. Writes results/DATE-fashion_mnist.md. The aim is three arms within six
minutes on two cores, n99 about 48, 9 and 4 and 5-NN about 88.7, 88.4 and 87.2 %.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from training_runs import monocon, shared_machine, write_text

ARMS = ("encoder", "mlp", "monotonic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", nargs="+", default=["0"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out.resolve() if options.out else Path(scratch)
        words = ["compare", "--config", "fashion_mnist", "--data.root", options.data.resolve(), "--out", out]
        done = monocon([*words, "--arms", *ARMS, "--seeds", *options.seeds], Path(scratch))
    command = f"monocon compare --config fashion_mnist --arms {' '.join(ARMS)} --seeds {' '.join(options.seeds)}"
    body = (
        f"`{command}`: {done.wall:.0f} s of wall time, {done.cpu:.0f} CPU seconds on two cores. {shared_machine()}\n\n"
        f"```\n{done.output.rpartition('Written to')[0].rstrip()}\n```"
    )
    print(write_text("fashion_mnist", "Fashion-MNIST, 10 000 train images: three arms", body))


if __name__ == "__main__":
    main()
