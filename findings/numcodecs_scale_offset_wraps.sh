#!/usr/bin/env bash
# numcodecs' FixedScaleOffset wraps numbers beyond its range around
#
# Guess: a quantiser to `u1` or `i1` that meets a number beyond its 256 levels clips it to the last one, as those of faiss,
# ONNX (`QuantizeLinear`) and torch do.
#
# What happens (numcodecs 0.16.6, the filter that Zarr stores such arrays with): it wraps. At a scale of 100 the number
# 2.56 comes back as 0, 3.0 as .44 and -.01 as 2.55; no warning. One row beyond the range of those that the scale was
# chosen from is not slightly but wholly wrong, in every number that is beyond.
#
# What follows for us: our codes compare a number with the thresholds between levels, so one far outside gets the last
# level; vectors that go into Zarr are stored as those codes, not through this filter.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 numcodecs==0.16.6

OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numcodecs
import numpy as np

print(*(f"{name} {version(name)}" for name in ("numpy", "numcodecs")))

unsigned = numcodecs.FixedScaleOffset(offset=0, scale=100, dtype="f4", astype="u1")
signed = numcodecs.FixedScaleOffset(offset=0, scale=127, dtype="f4", astype="i1")
back = {
    "u1": unsigned.decode(unsigned.encode(np.array([1, 2.55, 2.56, 3, -0.01], dtype="f4"))),
    "i1": signed.decode(signed.encode(np.array([-1, 1, 1.01, -1.02], dtype="f4"))),
}
for name, numbers in back.items():
    print(name, np.round(numbers, 4).tolist())

as_stated = np.allclose(back["u1"], [1, 2.55, 0, 0.44, 2.55]) and np.allclose(
    back["i1"], [-1, 1, -1.00787, 0.99213], atol=1e-4
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 numcodecs 0.16.6
#   u1 [1.0, 2.549999952316284, 0.0, 0.4399999976158142, 2.549999952316284]
#   i1 [-1.0, 1.0, -1.0078999996185303, 0.9921000003814697]
#   as stated
