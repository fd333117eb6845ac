#!/usr/bin/env bash
# torch on a CPU copies the whole tensor to sum it in float64, and to ask whether its numbers are finite
#
# Guess: `x.sum(dtype=torch.float64)` adds float32 numbers to a float64 total as it reads them, as NumPy's
# `x.sum(dtype="float64")` does: nothing of the size of x is allocated. `torch.isfinite(x)` allocates its mask, a byte a
# number, a quarter of x.
#
# What happens (torch 2.13.0, CPU): sum, mean and vector_norm with dtype=torch.float64 first convert all of x, twice its
# size, whatever is reduced. isfinite holds |x|, as large as x, beside three masks. Of a gallery of 10 GB that is
# 20 GB more to add it up and 17 GB more to check it. `torch.aminmax`, which gives NaN where one number is NaN, answers
# whether all are finite and allocates two numbers.
#
# What follows for us: the check that rows are finite, which every metric and codec makes, takes aminmax (17 times as fast
# as the sum on 400 MB), and lengths in float64 are taken of some rows at a time.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys
import tracemalloc

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

print("torch", torch.__version__, "numpy", np.__version__)
rows = torch.ones(10_000, 500)


def share(run):
    """Return the most that torch holds beyond the rows meanwhile, as a share of their bytes."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    held = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return round(most / rows.nbytes, 2)


tracemalloc.start()
rows.numpy().sum(dtype="float64")
by_numpy = round(tracemalloc.get_traced_memory()[1] / rows.nbytes, 2)
tracemalloc.stop()
found = {
    "sum": share(lambda: rows.sum()),
    "sum in float64": share(lambda: rows.sum(dtype=torch.float64)),
    "sum of each row in float64": share(lambda: rows.sum(1, dtype=torch.float64)),
    "mean in float64": share(lambda: rows.mean(dtype=torch.float64)),
    "length of each row in float64": share(lambda: torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)),
    "isfinite": share(lambda: torch.isfinite(rows)),
    "aminmax": share(lambda: torch.aminmax(rows)),
    "NumPy's sum in float64": by_numpy,
}
for name, size in found.items():
    print(f"{name}: {size} times the bytes of the rows")
wide = [size for name, size in found.items() if name.endswith("float64") and not name.startswith("NumPy")]
small = (found["sum"], found["aminmax"], by_numpy)
as_stated = all(size >= 2 for size in wide) and found["isfinite"] > 1 and all(size < 0.05 for size in small)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   torch 2.13.0+cpu numpy 2.4.6
#   sum: 0.0 times the bytes of the rows
#   sum in float64: 2.0 times the bytes of the rows
#   sum of each row in float64: 2.0 times the bytes of the rows
#   mean in float64: 2.0 times the bytes of the rows
#   length of each row in float64: 2.0 times the bytes of the rows
#   isfinite: 1.75 times the bytes of the rows
#   aminmax: 0.0 times the bytes of the rows
#   NumPy's sum in float64: 0.0 times the bytes of the rows
#   as stated
