# SPDX-License-Identifier: Apache-2.0
"""Kernels of the loss and of the head against their peers, on a CPU (one thread, CPU time) or on a CUDA device.

    python benchmarks/kernels.py                 # the device at hand; writes results/DATE-kernels_DEVICE.{md,json}
    python benchmarks/kernels.py --quick         # small sizes
    python benchmarks/kernels.py --only loss

Correctness first, all peers in one process and in turn, ratios of medians with the lowest and highest round. The
shapes where torch or another peer wins are printed. Where no GPU is at hand the result says "not measured on a GPU".
"""

from __future__ import annotations

import argparse
import importlib

import torch
from harness import Row, markdown, write

PARTS = {"loss": "kernels_loss", "cross": "kernels_cross", "head": "kernels_head"}


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
        if arguments.only in (None, name):
            found |= importlib.import_module(module).tables(arguments.device, arguments.quick)
    print(write(f"kernels_{arguments.device}", f"Kernels against their peers ({arguments.device})", found))
    for title, rows in found.items():
        if "wins" in title:
            print(f"\n{title}\n\n{markdown(rows)}" if rows else f"\n{title}: nowhere")


if __name__ == "__main__":
    main()
