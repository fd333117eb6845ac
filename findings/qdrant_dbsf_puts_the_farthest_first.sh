#!/usr/bin/env bash
# Qdrant's distribution-based fusion of lists by Euclidean distance puts the farthest rows first
#
# Guess: fusing a list of results with itself leaves its order. DBSF scales the scores of each list by their mean and
# deviation and adds them; as Qdrant knows that a distance is better when it is smaller (searches, score thresholds and
# reciprocal rank fusion of the same lists do), it turns the sign for Euclidean and Manhattan distance.
#
# What happens (qdrant-edge-py 0.9.0, the engine; qdrant-client 1.20.0, its local mode in Python): it does not. The
# larger distance gets the larger score. A list fused with itself, and one list alone, comes back reversed; the first
# ten of 100 candidates hold none of the ten nearest rows. Nor do they if a Euclidean list is fused with a cosine list,
# although the rows are unit rows, for which both rank alike. The two implementations agree, so a test of one by the
# other passes.
#
# What follows for us: our Qdrant files are searched by one vector and fuse nothing. Whoever adds a text search to them
# uses reciprocal rank fusion, or stores unit rows under cosine.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 qdrant-edge-py==0.9.0 qdrant-client==1.20.0

cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import os
import sys
from importlib.metadata import version

import numpy as np
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

print(*(f"{name} {version(name)}" for name in ("numpy", "qdrant-edge-py", "qdrant-client")))
rng = np.random.default_rng(0)
rows = rng.standard_normal((500, 16))
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
query = rows[0] + 0.2 * rng.standard_normal(16)
query = (query / np.linalg.norm(query)).tolist()
nearest = np.argsort(-(rows @ query))[:100].tolist()


def by_engine():
    os.mkdir("shard")
    spaces = {"euclid": edge.Distance.Euclid, "manhattan": edge.Distance.Manhattan, "cosine": edge.Distance.Cosine}
    vectors = {name: edge.EdgeVectorParams(size=16, distance=distance) for name, distance in spaces.items()}
    shard = edge.EdgeShard.create("shard", edge.EdgeConfig(vectors=vectors))
    points = [edge.Point(i, {name: row for name in spaces}) for i, row in enumerate(rows.tolist())]
    shard.update(edge.UpdateOperation.upsert_points(points))

    def fused(method, *names):
        lists = [edge.Prefetch(limit=100, query=edge.Query.Nearest(query, using=name)) for name in names]
        fusion = {"dbsf": edge.Fusion.Dbsf(), "rrf": edge.Fusion.Rrf(k=2)}[method]
        return [point.id for point in shard.query(edge.QueryRequest(limit=100, query=fusion, prefetches=lists))]

    def searched(name):
        asked = edge.QueryRequest(limit=100, query=edge.Query.Nearest(query, using=name))
        return [point.id for point in shard.query(asked)]

    return searched, fused


def by_client():
    client = QdrantClient(":memory:")
    spaces = {
        "euclid": models.Distance.EUCLID,
        "manhattan": models.Distance.MANHATTAN,
        "cosine": models.Distance.COSINE,
    }
    client.create_collection(
        "rows", {name: models.VectorParams(size=16, distance=distance) for name, distance in spaces.items()}
    )
    points = [models.PointStruct(id=i, vector={name: row for name in spaces}) for i, row in enumerate(rows.tolist())]
    client.upsert("rows", points)

    def fused(method, *names):
        lists = [models.Prefetch(query=query, using=name, limit=100) for name in names]
        fusion = models.FusionQuery(fusion={"dbsf": models.Fusion.DBSF, "rrf": models.Fusion.RRF}[method])
        return [point.id for point in client.query_points("rows", prefetch=lists, query=fusion, limit=100).points]

    def searched(name):
        return [point.id for point in client.query_points("rows", query=query, using=name, limit=100).points]

    return searched, fused


def share(found):
    return len(set(found[:10]) & set(nearest[:10])) / 10


def correlation(order, found):
    """Return the correlation of ranks: 1 for the order that was found, -1 for its reverse (to rounding of scores)."""
    return round(float(np.corrcoef(np.argsort(order), np.argsort(found))[0, 1]), 3)


as_stated = []
for name, (searched, fused) in {"engine": by_engine(), "client": by_client()}.items():
    for metric in ("euclid", "manhattan", "cosine"):
        found = searched(metric)
        lists = {
            "DBSF of one list": ("dbsf", metric),
            "DBSF of two equal ones": ("dbsf", metric, metric),
            "RRF": ("rrf", metric, metric),
        }
        orders = {way: correlation(fused(*given), found) for way, given in lists.items()}
        print(f"{name}, {metric}, correlation with the order that was fused:", orders)
        sign = 1 if metric == "cosine" else -1
        as_stated.append(all(sign * order > 0.99 for order in list(orders.values())[:2]) and orders["RRF"] > 0.99)
    shares = {
        "search": share(searched("euclid")),
        "DBSF of euclid": share(fused("dbsf", "euclid", "euclid")),
        "DBSF of euclid and cosine": share(fused("dbsf", "euclid", "cosine")),
        "DBSF of cosine": share(fused("dbsf", "cosine", "cosine")),
    }
    print(f"{name}, share of the ten nearest among the first ten:", shares)
    as_stated.append(shares["search"] == shares["DBSF of cosine"] == 1)
    as_stated.append(shares["DBSF of euclid"] == shares["DBSF of euclid and cosine"] == 0)

print("as stated" if all(as_stated) else "NOT as stated: this finding is out of date")
sys.exit(not all(as_stated))
PYTHON

# Output:
#   numpy 2.4.6 qdrant-edge-py 0.9.0 qdrant-client 1.20.0
#   engine, euclid, correlation with the order that was fused: {'DBSF of one list': -1.0, 'DBSF of two equal ones': -1.0, 'RRF': 1.0}
#   engine, manhattan, correlation with the order that was fused: {'DBSF of one list': -1.0, 'DBSF of two equal ones': -1.0, 'RRF': 1.0}
#   engine, cosine, correlation with the order that was fused: {'DBSF of one list': 1.0, 'DBSF of two equal ones': 1.0, 'RRF': 1.0}
#   engine, share of the ten nearest among the first ten: {'search': 1.0, 'DBSF of euclid': 0.0, 'DBSF of euclid and cosine': 0.0, 'DBSF of cosine': 1.0}
#   client, euclid, correlation with the order that was fused: {'DBSF of one list': -1.0, 'DBSF of two equal ones': -1.0, 'RRF': 1.0}
#   client, manhattan, correlation with the order that was fused: {'DBSF of one list': -1.0, 'DBSF of two equal ones': -1.0, 'RRF': 1.0}
#   client, cosine, correlation with the order that was fused: {'DBSF of one list': 1.0, 'DBSF of two equal ones': 1.0, 'RRF': 1.0}
#   client, share of the ten nearest among the first ten: {'search': 1.0, 'DBSF of euclid': 0.0, 'DBSF of euclid and cosine': 0.0, 'DBSF of cosine': 1.0}
#   as stated
