#!/usr/bin/env bash
# A PCA stage of FAISS in front of an inner product
#
# Guess: "PCA64,Flat" on 64 numbers keeps all of them, so that it is a rotation: it changes no inner product and the
# search answers as "Flat" does, as it does after "RR64", a random rotation. `train(x)` learns the basis from x.
#
# What happens (faiss-cpu 1.15.1): PCA also subtracts the mean, from the stored rows and from the query. Distances
# stay, but (q - m).(x - m) ranks the rows by q.x - m.x: a row is punished for being like the average one. Of unit
# vectors in a cone, where the mean is much of every vector, "PCA64,Flat" with METRIC_INNER_PRODUCT finds few of the
# neighbours by inner product, though no dimension is gone and nothing is rounded; with METRIC_L2, which ranks unit
# vectors the same way, it finds all of them. And the basis is learnt from a sample of at most 1000 rows for each
# number: of 40 000 rows of 2 numbers from 2 000, so that the mean it subtracts is not the mean of the rows.
#
# What follows for us: the encoder with PCA, our main rival, is centred too, and its neighbours are those of the
# centred vectors: a recall by inner product must be taken against the exact search over the vectors that were stored,
# not over the uncentred ones. FAISS gets vectors that the export projected, never a "PCA" factory string, and whoever
# wants the cosine of the uncentred vectors behind a PCA normalises and uses METRIC_L2.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 faiss-cpu==1.15.1

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import faiss
import numpy as np

print(*(f"{name} {version(name)}" for name in ("numpy", "faiss-cpu")))
random = np.random.default_rng(0)
# a cone of unit vectors: numbers of different variance around a mean, as an encoder that ends in a ReLU gives
rows = np.abs(random.standard_normal((5000, 64))) * np.geomspace(0.2, 2, 64)
rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
queries, gallery = rows[:200], rows[200:]
truth = np.argsort(-queries @ gallery.T, axis=1)[:, :10]


def recall(factory, metric):
    index = faiss.index_factory(64, factory, metric)
    index.train(gallery)
    index.add(gallery)
    found = index.search(queries, 10)[1]
    return round(float(np.mean([len(set(got) & set(want)) / 10 for got, want in zip(found, truth)])), 3)


shares = {}
for metric, name in ((faiss.METRIC_INNER_PRODUCT, "inner product"), (faiss.METRIC_L2, "L2")):
    shares[name] = {factory: recall(factory, metric) for factory in ("Flat", "RR64,Flat", "PCA64,Flat")}
    print(f"ten neighbours by inner product found under {name:13}:", shares[name])
centre = gallery.mean(axis=0)
ranked = np.argsort(-(queries @ gallery.T - gallery @ centre), axis=1)[:, :10]
punished = round(float(np.mean([len(set(got) & set(want)) / 10 for got, want in zip(ranked, truth)])), 3)
print("and by q.x - m.x:", punished)

many = random.standard_normal((40_000, 2)).astype(np.float32)
many[20_000:] += 5
stage = faiss.PCAMatrix(2, 2)
stage.train(many)
learnt, whole = faiss.vector_to_array(stage.mean), many.mean(axis=0, dtype=np.float64)
at_most = stage.max_points_per_d
print("rows per number at most:", at_most, "mean learnt:", learnt.round(3), "mean:", whole.round(3))
stage.max_points_per_d = 20_000
stage.train(many)
asked = faiss.vector_to_array(stage.mean)
print("with 20 000 rows per number:", asked.round(3))

as_stated = (
    min(*shares["L2"].values(), shares["inner product"]["Flat"], shares["inner product"]["RR64,Flat"]) > 0.99
    and shares["inner product"]["PCA64,Flat"] < 0.6
    and abs(shares["inner product"]["PCA64,Flat"] - punished) < 0.01
    and at_most == 1000
    and abs(learnt - whole).max() > 0.02
    and abs(asked - whole).max() < 1e-3
)
print("as stated" if as_stated else "NOT as stated: this finding is out of date")
sys.exit(not as_stated)
PYTHON

# Output:
#   numpy 2.4.6 faiss-cpu 1.15.1
#   ten neighbours by inner product found under inner product: {'Flat': 1.0, 'RR64,Flat': 1.0, 'PCA64,Flat': 0.339}
#   ten neighbours by inner product found under L2           : {'Flat': 1.0, 'RR64,Flat': 1.0, 'PCA64,Flat': 1.0}
#   and by q.x - m.x: 0.339
#   rows per number at most: 1000 mean learnt: [2.515 2.468] mean: [2.493 2.503]
#   with 20 000 rows per number: [2.493 2.503]
#   as stated
