#!/usr/bin/env bash
# safetensors writes NumPy arrays in the order of memory: rows of PCA and of data frames come back shuffled
#
# Guess: `safetensors.numpy.save_file` of a contiguous array and `load_file` give the array back, whichever of NumPy's
# two orders it has, as `numpy.save` does; "Tensors need to be contiguous and dense" is met by an array of either.
#
# What happens (safetensors 0.8.0, scikit-learn 1.9.1, pandas 3.1.1): the shape is written as it is and the numbers as
# they lie in memory, column after column in Fortran's order, so the file holds another matrix of the same numbers.
# Nothing is raised; shape, type, sum, mean, largest number and norm of the whole are right. scikit-learn's `PCA`
# returns such arrays (`components_`, and `fit_transform` with "full"), pandas' `to_numpy` of a frame of columns does,
# and so does any `.T`. Of rows reduced by PCA, stored and read, 1 % of the ten nearest neighbours are left, which is
# chance. 0.7.0 copied.
#
# What follows for us: arrays are made C-contiguous before they are written. A file of someone else's that was written
# so cannot be told by its numbers: a figure near chance beside a good training loss is a sign.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    numpy==2.4.6 safetensors==0.8.0 scikit-learn==1.9.1 pandas==3.1.1

cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA

print(*(f"{name} {version(name)}" for name in ("numpy", "safetensors", "scikit-learn", "pandas")))


def stored(rows):
    save_file({"rows": rows}, "rows.safetensors")
    return load_file("rows.safetensors")["rows"]


def nearest(rows):
    distances = np.square(rows[:, None] - rows[None]).sum(-1)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, :10]


def kept(rows):
    """Return the share of ten nearest neighbours that are still neighbours when the rows were stored and read."""
    pairs = zip(nearest(rows), nearest(stored(rows)), strict=True)
    return float(np.mean([len(np.intersect1d(one, other)) / 10 for one, other in pairs]))


small = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
np.save("rows.npy", small)
print(
    "0 1 2 / 3 4 5 in Fortran's order: numpy.save", np.load("rows.npy").tolist(), "safetensors", stored(small).tolist()
)

samples = np.random.default_rng(0).standard_normal((1000, 32)).astype(np.float32)
pca = PCA(8, svd_solver="full")
reduced = pca.fit_transform(samples)
frame = pd.DataFrame({f"x{i}": samples[:, i] for i in range(8)}).to_numpy()
orders = {"fit_transform": reduced, "components_": pca.components_, "to_numpy": frame}
is_fortran = {name: bool(rows.flags.f_contiguous and not rows.flags.c_contiguous) for name, rows in orders.items()}
print("in Fortran's order:", is_fortran)
read = stored(reduced)
same = read.shape == reduced.shape and np.array_equal(np.sort(read, None), np.sort(reduced, None))
shares = {"fit_transform": kept(reduced), "to_numpy": kept(frame), "copied first": kept(np.ascontiguousarray(reduced))}
print(
    "the same numbers in the same shape:",
    bool(same),
    "and neighbours kept:",
    {k: round(v, 3) for k, v in shares.items()},
)

as_stated = (
    stored(small).tolist() == [[0, 3, 1], [4, 2, 5]]
    and np.array_equal(np.load("rows.npy"), small)
    and all(is_fortran.values())
    and same
    and max(shares["fit_transform"], shares["to_numpy"]) < 0.03
    and shares["copied first"] == 1
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 safetensors 0.8.0 scikit-learn 1.9.1 pandas 3.1.1
#   0 1 2 / 3 4 5 in Fortran's order: numpy.save [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] safetensors [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]]
#   in Fortran's order: {'fit_transform': True, 'components_': True, 'to_numpy': True}
#   the same numbers in the same shape: True and neighbours kept: {'fit_transform': 0.009, 'to_numpy': 0.012, 'copied first': 1.0}
#   as stated
