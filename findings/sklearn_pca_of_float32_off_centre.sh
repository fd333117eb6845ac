#!/usr/bin/env bash
# scikit-learn's PCA of float32 rows that lie far from zero gives wrong variances
#
# Guess: `PCA()` subtracts the mean before anything else, so float32 costs some digits: variances of components agree
# with those of float64 to about 1e-4, wherever the rows lie.
#
# What happens (scikit-learn 1.9.1): for rows of at most 1 000 columns and ten times as many rows, `svd_solver="auto"`
# takes "covariance_eigh": it multiplies the rows as they are and subtracts the mean's outer product from the result. In
# float32 that cancels. With a mean of 10 standard deviations of the largest component a variance is off by 3 %, with
# 100 one comes out as 0, with 1 000 ten of 32 do and others are 30 times too large. `svd_solver="full"` and
# `IncrementalPCA` stay within 3e-4 of the float64 result on the same rows.
#
# What follows for us: the oracles of our tests pass `svd_solver="full"` and float64 rows. Effective
# dimensions from a float32 PCA of vectors with a large common part are not to be trusted.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scikit-learn==1.9.1

OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA

print(*(f"{name} {version(name)}" for name in ("numpy", "scikit-learn")))

centred = np.random.default_rng(0).standard_normal((5000, 32)) * np.linspace(1, 0.05, 32)
worst = {}
for mean in (0, 10, 100, 1000):
    rows = (centred + mean).astype(np.float32)
    true = PCA(svd_solver="full").fit(rows.astype(np.float64)).explained_variance_
    fitted = {
        "auto": PCA().fit(rows),
        "full": PCA(svd_solver="full").fit(rows),
        "incremental": IncrementalPCA(batch_size=500).fit(rows),
    }
    solver = fitted["auto"]._fit_svd_solver
    off = {name: float(np.abs(pca.explained_variance_ / true - 1).max()) for name, pca in fitted.items()}
    zeros = int((fitted["auto"].explained_variance_ == 0).sum())
    worst[mean] = solver, off["auto"], max(off["full"], off["incremental"]), zeros
    print(f"mean {mean}: {solver}; a variance is off by", *(f"{name} {value:.0e}" for name, value in off.items()), f"{zeros} of 32 are 0")

as_stated = (
    all(solver == "covariance_eigh" and others < 1e-3 for solver, _, others, _ in worst.values())
    and worst[0][1] < 1e-4
    and worst[10][1] > 0.01
    and worst[1000][1] > 5
    and worst[1000][3] > 5
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 scikit-learn 1.9.1
#   mean 0: covariance_eigh; a variance is off by auto 2e-07 full 2e-06 incremental 1e-07 0 of 32 are 0
#   mean 10: covariance_eigh; a variance is off by auto 3e-02 full 8e-07 incremental 9e-07 0 of 32 are 0
#   mean 100: covariance_eigh; a variance is off by auto 1e+00 full 1e-05 incremental 2e-05 1 of 32 are 0
#   mean 1000: covariance_eigh; a variance is off by auto 3e+01 full 8e-05 incremental 3e-04 10 of 32 are 0
#   as stated
