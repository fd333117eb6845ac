# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST, 10 000 train images: encoder, MLP head and monotonic head on the same recipe.

Run    python benchmarks/fashion_mnist.py --data FOLDER [--out OUT] [--seeds 0 1 2]
FOLDER holds the four published .gz files. The first seed's three arms are timed, then the others follow. Writes
results/DATE-fashion_mnist.md. The aim is three arms within six minutes on two cores, n99 about 48, 9 and 4 and 5-NN
about 88.7, 88.4 and 87.2 %.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from training_runs import Measured, monocon, shared_machine, write_text

from lightning_monocon.functional import effective_dimension
from lightning_monocon.scorecard import EmbeddingSet

ARMS = ("encoder", "mlp", "monotonic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out.resolve() if options.out else Path(scratch) / "out"
        words = ["compare", "--config", "fashion_mnist", "--data.root", options.data.resolve(), "--out", out]
        words += ["--arms", *ARMS, "--seeds"]
        first = monocon([*words, options.seeds[0]], Path(scratch))
        every = monocon([*words, *options.seeds], Path(scratch)) if len(options.seeds) > 1 else first
        dimensions = _dimensions(out / "runs", options.seeds)
    print(
        write_text("fashion_mnist", "Fashion-MNIST, 10 000 train images: three arms", _body(first, every, dimensions))
    )


def _dimensions(runs: Path, seeds: list[str]) -> str:
    """Return n99 of every run, on the images it was trained on and on images it never saw."""
    lines = [
        "n99, last epoch",
        f"{'arm':10s} {'seed':>4s} {'gallery (train images)':>23s} {'queries (test images)':>22s}",
    ]
    for arm in ARMS:
        for seed in seeds:
            rows = EmbeddingSet.load(runs / f"{arm}-seed{seed}" / "embeddings.safetensors")
            gallery, query = (int(effective_dimension(part)) for part in (rows.gallery, rows.query))
            lines.append(f"{arm:10s} {seed:>4s} {gallery:23d} {query:22d}")
    return "\n".join(lines)


def _body(first: Measured, every: Measured, dimensions: str) -> str:
    table = every.output.rpartition("Written to")[0].rstrip()
    return (
        f"`monocon compare --config fashion_mnist --arms {' '.join(ARMS)}`, one seed: {first.wall:.0f} s of wall time, "
        f"{first.cpu:.0f} CPU seconds on two cores. {shared_machine()}\n\n"
        f"```\n{dimensions}\n```\n\n```\n{table}\n```"
    )


if __name__ == "__main__":
    main()
