# SPDX-License-Identifier: Apache-2.0
"""Everything that needs a card, in one command: the tests marked `gpu`, then the kernels against their peers.

    python benchmarks/on_gpu.py [--quick]

Writes results/DATE-gpu_tests.md and what `kernels.py` writes. The tests are those of Triton's interpreter, compiled.
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    quick = ["--quick"] if parser.parse_args().quick else []
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
    if not counts.get("passed"):
        print("no test passed on the GPU: what the benchmark says counts for nothing", file=sys.stderr)
        return 1
    return tests.returncode or timed.returncode


if __name__ == "__main__":
    sys.exit(main())
