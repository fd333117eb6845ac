#!/usr/bin/env bash
# Kuzu's index by dot product and SurrealDB's searches by Pearson and Jaccard return the rows that are least alike
#
# Guess: whichever metric a vector index is told, its first row is the one most like the query. Where the metric is a
# similarity, the index orders downwards, or takes 1 - x or -x as its "distance"; the row itself finds itself first.
#
# What happens (kuzu 0.11.3): an index with `metric := 'dotproduct'` returns, as "distance", the dot product itself, the
# smallest first: its ten rows are the ten of the smallest product. On unit rows, where cosine, l2, l2sq and dot product
# must rank alike, the other three agree and this one gives the opposite rows.
#
# What happens (surrealdb 2.0.0, its engine in process): the operator `<|k, PEARSON|>` orders upwards by the correlation,
# and an HNSW index with `DIST PEARSON` likewise, so that the row that is asked for is the last of all; `JACCARD` gives
# rows that share nothing with the query. EUCLIDEAN and COSINE are right. Nothing is raised in either.
#
# What follows for us: a store is asked with rows of its own before it is called supported, and its answers are held
# against our own scores, as `monocon load` does (stores/check.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 kuzu==0.11.3 surrealdb==2.0.0

cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import kuzu
import numpy as np
from surrealdb import Surreal

print(*(f"{name} {version(name)}" for name in ("numpy", "kuzu", "surrealdb")))
rng = np.random.default_rng(0)
rows = rng.standard_normal((500, 16))
rows -= rows.mean(1, keepdims=True)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)  # unit rows of mean 0: dot product, cosine and Pearson are one
query = rows[7]
order = np.argsort(-(rows @ query))
nearest, farthest = set(order[:10].tolist()), set(order[-10:].tolist())
as_stated = []


def shown(name, found, right):
    """Print what a search found, and keep whether it was as the comment above says."""
    ids = [one for one, _ in found]
    shares = len(nearest & set(ids)), len(farthest & set(ids))
    print(f"{name}: {shares[0]} of the ten nearest, {shares[1]} of the ten farthest; first {found[0]}")
    as_stated.append(shares[0] >= 9 and ids[0] == 7 if right else shares[0] == 0 and shares[1] >= 8)


graph = kuzu.Connection(kuzu.Database("graph"), num_threads=1)
graph.execute("LOAD VECTOR")
graph.execute("CREATE NODE TABLE Row (id INT64 PRIMARY KEY, v FLOAT[16])")
for number, row in enumerate(rows.tolist()):
    graph.execute("CREATE (:Row {id: $id, v: CAST($v, 'FLOAT[16]')})", {"id": number, "v": row})
for metric in ("cosine", "l2", "l2sq", "dotproduct"):
    graph.execute(f"CALL CREATE_VECTOR_INDEX('Row', 'by_{metric}', 'v', metric := '{metric}')")
    vector = f"CAST({query.tolist()}, 'FLOAT[16]')"
    asked = f"CALL QUERY_VECTOR_INDEX('Row', 'by_{metric}', {vector}, 10, efs := 500)"
    answer = graph.execute(f"{asked} RETURN node.id, distance ORDER BY distance")
    found = [(one, round(distance, 3)) for one, distance in answer.get_all()]
    shown(f"Kuzu, {metric}", found, metric != "dotproduct")

# Jaccard is a similarity of sets: eight different numbers per row, of which the neighbours of a row share seven
sets = [[int(one) for one in range(number, number + 8)] for number in range(500)]
shared = [len(set(one) & set(sets[250])) for one in sets]
with Surreal("mem://") as database:
    database.use("a", "b")
    for number, row in enumerate(rows.tolist()):
        database.query("CREATE row SET n = $n, v = $v, s = $s", {"n": number, "v": row, "s": sets[number]})

    def searched(field, how, vector):
        asked = f"SELECT n, vector::distance::knn() AS d FROM row WHERE {field} <|10, {how}|> $asked ORDER BY d"
        return [(one["n"], round(float(one["d"]), 3)) for one in database.query(asked, {"asked": vector})]

    for metric in ("EUCLIDEAN", "COSINE", "PEARSON"):
        right = metric != "PEARSON"
        shown(f"SurrealDB, {metric}", searched("v", metric, query.tolist()), right)
        database.query(f"DEFINE INDEX near ON row FIELDS v HNSW DIMENSION 16 DIST {metric} TYPE F32 EFC 500 M 16")
        shown(f"SurrealDB, {metric}, HNSW", searched("v", 500, query.tolist()), right)
        database.query("REMOVE INDEX near ON row")
    found = searched("s", "JACCARD", sets[250])
    counts = [shared[one] for one, _ in found]
    print(f"SurrealDB, JACCARD: numbers that the ten rows share with the query {counts}, distances", found[0][1])
    as_stated.append(max(counts) == 0 and all(distance == 0 for _, distance in found))

print("as stated" if all(as_stated) else "NOT as stated: this finding is out of date")
sys.exit(not all(as_stated))
PYTHON

# Output:
#   numpy 2.4.6 kuzu 0.11.3 surrealdb 2.0.0
#   Kuzu, cosine: 10 of the ten nearest, 0 of the ten farthest; first (7, 0.0)
#   Kuzu, l2: 10 of the ten nearest, 0 of the ten farthest; first (7, 0.0)
#   Kuzu, l2sq: 10 of the ten nearest, 0 of the ten farthest; first (7, 0.0)
#   Kuzu, dotproduct: 0 of the ten nearest, 10 of the ten farthest; first (412, -0.767)
#   SurrealDB, EUCLIDEAN: 10 of the ten nearest, 0 of the ten farthest; first (7, 0.0)
#   SurrealDB, EUCLIDEAN, HNSW: 10 of the ten nearest, 0 of the ten farthest; first (7, 0.0)
#   SurrealDB, COSINE: 10 of the ten nearest, 0 of the ten farthest; first (7, 0.0)
#   SurrealDB, COSINE, HNSW: 10 of the ten nearest, 0 of the ten farthest; first (7, -0.0)
#   SurrealDB, PEARSON: 0 of the ten nearest, 10 of the ten farthest; first (412, -0.767)
#   SurrealDB, PEARSON, HNSW: 0 of the ten nearest, 10 of the ten farthest; first (412, -0.767)
#   SurrealDB, JACCARD: numbers that the ten rows share with the query [0, 0, 0, 0, 0, 0, 0, 0, 0, 0], distances 0.0
#   as stated
