#!/usr/bin/env bash
# usearch's "i8" stores a direction, whatever the metric
#
# Guess: an index of usearch with `dtype="i8"` rounds float vectors by one step, say 127 codes to 1.0, clipping what is
# longer. The inner products and squared distances are then those of the rounded vectors, in units of that step.
#
# What happens (usearch 2.26.6): each row is first divided by its own length, also under `metric="ip"` and "l2sq",
# which are accepted without a word. 0.1, 0.5, 1 and 2 times a vector become the same code; their inner products are
# equal and their squared distances 0. So on rows of different lengths a search by inner product answers as one by
# cosine does. The query is treated alike. int8 codes of one's own are stored as they are, but a *float* query against
# them is again divided by its length: of the rows 10, 50 and 100 the nearest to 50.0 is 100.
#
# What follows for us: docs/search.md must not say that `dtype="i8"` rounds with one step for all rows, for each row
# gets a step of its own. Vectors whose lengths mean something (an unnormalised head, whitened principal components,
# our own int8 steps) go in as float32, or as int8 codes that are asked with int8 codes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 usearch==2.26.6

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from usearch.index import Index

print(*(f"{name} {version(name)}" for name in ("numpy", "usearch")))


def filled(rows, metric, dtype):
    index = Index(ndim=rows.shape[1], metric=metric, dtype=dtype)
    index.add(np.arange(len(rows)), rows)
    return index


def recall(rows, queries, metric):
    """Returns the share of the ten exact neighbours by `metric` (of float64) that an exact i8 search finds."""
    wide, asked = rows.astype(np.float64), queries.astype(np.float64)
    products = asked @ wide.T
    lengths = np.linalg.norm(wide, axis=1)
    nearness = {"ip": products, "l2sq": 2 * products - lengths**2, "cos": products / lengths}
    ids = filled(rows, metric, "i8").search(queries, 10, exact=True).keys
    answers = {
        name: float(np.mean([len(set(got) & set(want)) / 10 for got, want in zip(ids, np.argsort(-near)[:, :10])]))
        for name, near in nearness.items()
    }
    print(f"i8, metric {metric:4}: share of the ten neighbours by", {name: round(one, 3) for name, one in answers.items()})
    return answers


line = np.array([[0.1, 0], [0.5, 0], [1, 0], [2, 0]], dtype=np.float32)
codes = {metric: [filled(line, metric, "i8").get(key).tolist() for key in range(4)] for metric in ("ip", "l2sq")}
print("codes of 0.1, 0.5, 1 and 2:", codes)
distances = filled(line, "l2sq", "i8").search(line[0], 4, exact=True).distances.tolist()
print("squared distances to 0.1:", distances)

random = np.random.default_rng(0)
rows = random.standard_normal((2000, 16)) * random.uniform(0.2, 2, (2000, 1))
queries = random.standard_normal((100, 16))
by_product, by_distance = (recall(rows.astype(np.float32), queries.astype(np.float32), name) for name in ("ip", "l2sq"))

own = filled(np.array([[10, 0], [50, 0], [100, 0]], dtype=np.int8), "l2sq", "i8")
by_code = own.search(np.array([50, 0], dtype=np.int8), 3, exact=True).keys.tolist()
by_float = own.search(np.array([50, 0], dtype=np.float32), 3, exact=True).keys.tolist()
print("rows 10, 50, 100 by the code 50:", by_code, "and by the float 50.0:", by_float)

as_stated = (
    all(np.ptp(np.array(code), axis=0).max() <= 1 and code[0][0] >= 126 for code in codes.values())
    and max(distances) <= 1
    and all(answers["cos"] > 0.9 for answers in (by_product, by_distance))
    and by_product["ip"] < 0.5
    and by_distance["l2sq"] < 0.5
    and by_code == [1, 0, 2]
    and by_float[0] == 2
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 usearch 2.26.6
#   codes of 0.1, 0.5, 1 and 2: {'ip': [[127, 0], [127, 0], [127, 0], [127, 0]], 'l2sq': [[127, 0], [127, 0], [127, 0], [127, 0]]}
#   squared distances to 0.1: [0.0, 0.0, 0.0, 0.0]
#   i8, metric ip  : share of the ten neighbours by {'ip': 0.287, 'l2sq': 0.433, 'cos': 0.966}
#   i8, metric l2sq: share of the ten neighbours by {'ip': 0.289, 'l2sq': 0.431, 'cos': 0.965}
#   rows 10, 50, 100 by the code 50: [1, 0, 2] and by the float 50.0: [2, 1, 0]
#   as stated
