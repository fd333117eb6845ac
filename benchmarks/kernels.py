# SPDX-License-Identifier: Apache-2.0
"""Kernels of the loss and of the head against their peers, on a CPU (one thread, CPU time) or on a CUDA device.

    python benchmarks/kernels.py                 # the device at hand; writes results/DATE-kernels_DEVICE.{md,json}
    python benchmarks/kernels.py --quick         # small sizes
    python benchmarks/kernels.py --only loss

Correctness first, all peers in one process and in turn, ratios of medians with the lowest and highest round. Where no
GPU is at hand the result says "not measured on a GPU".
"""

from __future__ import annotations

import argparse
import importlib
from importlib.util import find_spec

import torch
from harness import Row, write

PARTS = {"loss": "kernels_loss", "head": "kernels_head"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--only", choices=sorted(PARTS), help="one part instead of all")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    found: dict[str, list[Row]] = {}
    for name, module in PARTS.items():
        if arguments.only in (None, name) and find_spec(module):
            found |= importlib.import_module(module).tables(arguments.device, arguments.quick)
    print(write(f"kernels_{arguments.device}", f"Kernels against their peers ({arguments.device})", found))


if __name__ == "__main__":
    main()
