#!/usr/bin/env bash
# Rows that are added without ids take the ids of rows that are there, in three of four libraries
#
# Guess: an index to which rows were added under ids, and to which more are then added without, gives these the next
# free ids (Voyager documents "based on the number of elements already in this index"), or refuses.
#
# What happens (hnswlib 0.8.0, Voyager 2.2.3, FAISS 1.15.1, usearch 2.26.6): only usearch refuses. Voyager counts the
# rows that came without ids, not the rows that it holds, so after ten rows with the ids 0 to 9 the next three become 0,
# 1 and 2 and overwrite those; the same index saved and loaded gives 10, 11 and 12. hnswlib counts the rows that it
# holds: ids from 0 go well, but of rows with the ids 1 to 10 the last is overwritten by the first row without one.
# FAISS counts likewise and keeps both, so a search returns an id that names two rows. Nothing is raised or printed.
#
# What follows for us: our stores give an id with every row, and the graphs that the scorecard builds are filled in one
# call, without ids. Whoever appends to such an index must give ids if it was built with ids.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 hnswlib==0.8.0 voyager==2.2.3 faiss-cpu==1.15.1 usearch==2.26.6

cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import faiss
import hnswlib
import numpy as np
import usearch.index
import voyager

print(*(f"{name} {version(name)}" for name in ("numpy", "hnswlib", "voyager", "faiss-cpu", "usearch")))
rows = np.random.default_rng(0).standard_normal((13, 8)).astype(np.float32)
old, new = rows[:10], rows[10:]


def hnswlib_index(ids):
    index = hnswlib.Index("l2", 8)
    index.init_index(100)
    index.add_items(old, ids)
    index.add_items(new)
    return [
        (int(found), float(distance))
        for found, distance in (tuple(x[0, 0] for x in index.knn_query(row, 1)) for row in rows)
    ]


def voyager_index(ids, load=False):
    index = voyager.Index(voyager.Space.Euclidean, 8)
    index.add_items(old, ids)
    if load:
        index.save("saved")
        index = voyager.Index.load("saved")
    index.add_items(new)
    return [
        (int(found), float(distance)) for found, distance in (tuple(x[0] for x in index.query(row, 1)) for row in rows)
    ]


def faiss_index(ids):
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(8), 8, 1)
    index.train(np.tile(rows, (4, 1)))
    index.add_with_ids(old, np.array(ids))
    index.add(new)
    distances, found = index.search(rows, 1)
    return list(zip(found[:, 0].tolist(), distances[:, 0].tolist()))


def usearch_index(ids):
    index = usearch.index.Index(ndim=8, metric="l2sq", dtype="f32")
    index.add(np.array(ids, dtype=np.uint64), old)
    index.add(None, new)
    return [(int(match.keys[0]), float(match.distances[0])) for match in (index.search(row, 1) for row in rows)]


def seen(name, make, *given):
    """Return the ids of the added rows, and how many of the ten old rows are still found."""
    try:
        answers = make(*given)
    except RuntimeError as error:
        print(f"{name}: refused: {error}")
        return None
    kept = sum(distance < 1e-6 for _, distance in answers[:10])
    print(f"{name}: added rows have the ids {[found for found, _ in answers[10:]]}, {kept} of 10 old rows are there")
    return [found for found, _ in answers[10:]], kept


from_0, from_1 = list(range(10)), list(range(1, 11))
as_stated = [
    seen("Voyager, ids from 0", voyager_index, from_0) == ([0, 1, 2], 7),
    seen("Voyager, saved and loaded", voyager_index, from_0, True) == ([10, 11, 12], 10),
    seen("hnswlib, ids from 0", hnswlib_index, from_0) == ([10, 11, 12], 10),
    seen("hnswlib, ids from 1", hnswlib_index, from_1) == ([10, 11, 12], 9),
    seen("FAISS, ids from 1 (the old row 10 and the first new one are both 10)", faiss_index, from_1)
    == ([10, 11, 12], 10),
    seen("usearch, ids from 1", usearch_index, from_1) is None,
]
print("as stated" if all(as_stated) else "NOT as stated: this finding is out of date")
sys.exit(not all(as_stated))
PYTHON

# Output:
#   numpy 2.4.6 hnswlib 0.8.0 voyager 2.2.3 faiss-cpu 1.15.1 usearch 2.26.6
#   Voyager, ids from 0: added rows have the ids [0, 1, 2], 7 of 10 old rows are there
#   Voyager, saved and loaded: added rows have the ids [10, 11, 12], 10 of 10 old rows are there
#   hnswlib, ids from 0: added rows have the ids [10, 11, 12], 10 of 10 old rows are there
#   hnswlib, ids from 1: added rows have the ids [10, 11, 12], 9 of 10 old rows are there
#   FAISS, ids from 1 (the old row 10 and the first new one are both 10): added rows have the ids [10, 11, 12], 10 of 10 old rows are there
#   usearch, ids from 1: refused: Duplicate keys not allowed in high-level wrappers
#   as stated
