#!/usr/bin/env bash
# NumPy's mean of 1 000 ones in bfloat16 is .256
#
# Guess: `np.mean` of 16-bit floats is summed in float32, as its documentation says of float16, and bfloat16 (ml_dtypes,
# the type in which JAX and ONNX hand it to NumPy) merely rounds the result: three digits are right.
#
# What happens (numpy 2.4.6, ml_dtypes 0.6.0): only float16 is. bfloat16 has 8 bits, and a sum in it stops growing where
# the next number is no more than half a unit in its last place: 1 000 ones add up to 256, so their mean is .256. The
# standard deviation of 1 000 equal numbers 3 is 1.008 instead of 0, the mean of 4 096 rows around 1 is a quarter as
# long as it should be, and the squares of a unit row of 1 024 numbers add up to .816. `np.linalg.norm` and `@`, which
# compute in wider numbers, are right. Nothing is said.
#
# What follows for us: bfloat16 is widened to float32 before any arithmetic; a mean or a length of rows in bfloat16 that
# NumPy made is no oracle.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from ml_dtypes import bfloat16

print(*(f"{name} {version(name)}" for name in ("numpy", "ml_dtypes")))
ones = {name: np.ones(1000, kind) for name, kind in (("float16", np.float16), ("bfloat16", bfloat16))}
means = {name: float(row.mean()) for name, row in ones.items()}
spread = {name: float((3 * row).std()) for name, row in ones.items()}
print("mean of 1000 ones:", means)
print("standard deviation of 1000 times 3:", spread)

random = np.random.default_rng(0)
rows = (1 + random.standard_normal((4096, 64))).astype(bfloat16)
true = rows.astype(np.float64).mean(0)
centre = rows.mean(0).astype(np.float64)
length = np.linalg.norm(centre) / np.linalg.norm(true)
print(f"centre of 4096 rows: {length:.3f} of its true length")

unit = random.standard_normal((200, 1024))
unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(bfloat16)
squares = float((unit * unit).sum(1).astype(np.float64).mean())
products = float(np.mean([unit[row] @ unit[row] for row in range(200)], dtype=np.float64))
norms = float(np.mean([np.linalg.norm(row) for row in unit]))
print(f"unit rows of 1024 numbers: sum of squares {squares:.3f}, by @ {products:.3f}, norm {norms:.3f}")

as_stated = (
    means["float16"] == 1
    and abs(means["bfloat16"] - 0.256) < 1e-3
    and spread["float16"] == 0
    and spread["bfloat16"] > 0.5
    and length < 0.3
    and squares < 0.95
    and abs(products - 1) < 0.01
    and abs(norms - 1) < 0.01
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 ml_dtypes 0.6.0
#   mean of 1000 ones: {'float16': 1.0, 'bfloat16': 0.255859375}
#   standard deviation of 1000 times 3: {'float16': 0.0, 'bfloat16': 1.0078125}
#   centre of 4096 rows: 0.257 of its true length
#   unit rows of 1024 numbers: sum of squares 0.816, by @ 1.000, norm 1.000
#   as stated
