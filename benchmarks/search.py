# SPDX-License-Identifier: Apache-2.0
"""What small vectors are worth in a vector index: FAISS and usearch, on one thread.

    python benchmarks/search.py --data FOLDER [--rows 20000] [--queries 2000] [--cache FILE]

FOLDER holds ``snli/train_sample.tsv.gz`` and ``snli/test.tsv.gz``. Distinct SNLI sentences go through all-MiniLM-L6-v2
(384 numbers) and are cut and coded as `monocon export` does; queries are hypotheses of the test split, and the right
answer is the premise that entails them. The digits are those of the recipe's data, under a head trained for a minute.

Truth for recall@10 is the exact search over the full-size vectors. Queries per second are the median of repeated
searches of all queries, in CPU time of one thread; memory is that of the serialised index, scaled to a million rows.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from harness import RESULTS, environment
from numpy.typing import NDArray
from search_data import digits, sentences
from usearch.index import Index

from lightning_monocon.export import Calibration, fit_projection
from lightning_monocon.export.stack import vector_stack
from lightning_monocon.functional.moments import moments

K = 10
CONNECTIVITY, BUILD, SEARCH = 32, 100, 64  # of both graphs: neighbours kept, candidates while building and searching
REPEATS = 5

Array = NDArray[Any]
Search = Callable[[Array], Array]


@dataclass(frozen=True)
class Vectors:
    """One way to store the rows: floats for the indices that code themselves, and codes of our own calibration."""

    name: str
    gallery: Array
    query: Array
    codes: Array
    query_codes: Array
    step: Array


@dataclass(frozen=True)
class Row:
    """One index over one kind of vectors."""

    vectors: str
    index: str
    recall: float
    right: float
    rate: float
    megabytes: float


def stored(gallery: torch.Tensor, query: torch.Tensor, k: int, storage: str) -> Vectors:
    """Cut to ``k`` numbers and code, as the export does."""
    stack = vector_stack([], fit_projection(moments(gallery), k))
    with torch.no_grad():
        vectors, asked = stack(gallery), stack(query)
    calibration = Calibration.fit(vectors, storage)  # type: ignore[arg-type]
    arrays = (vectors, asked, calibration.codes(vectors), calibration.codes(asked), calibration.step)
    return Vectors(f"{k} x {storage}", *(np.ascontiguousarray(array.numpy()) for array in arrays))


def indices(vectors: Vectors, whole: bool) -> Iterator[tuple[str, Search, float]]:
    """Name, search and bytes a row of each index that suits a kind of vectors."""
    dim, n = vectors.gallery.shape[1], len(vectors.gallery)
    kind = vectors.codes.dtype
    if kind == np.uint8:
        flat: Any = faiss.IndexBinaryFlat(8 * vectors.codes.shape[1])
        flat.add(vectors.codes)
        yield "FAISS binary, exact", lambda _: flat.search(vectors.query_codes, K)[1], vectors.codes.nbytes / n
    elif kind == np.int8:
        coded = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        # The export's calibration instead of FAISS' own: it then stores round(vector / step) + 128.
        faiss.copy_array_to_vector(np.concatenate([-128.5 * vectors.step, 255 * vectors.step]), coded.sq.trained)
        coded.is_trained = True
        coded.add(vectors.gallery)
        yield "FAISS int8, exact", lambda query: coded.search(query, K)[1], faiss_bytes(coded) / n
        yield ("usearch graph, i8", *graph(vectors, "i8"))
    else:
        exact = faiss.IndexFlatIP(dim)
        exact.add(vectors.gallery)
        yield "FAISS exact", lambda query: exact.search(query, K)[1], faiss_bytes(exact) / n
        hnsw = faiss.IndexHNSWFlat(dim, CONNECTIVITY, faiss.METRIC_INNER_PRODUCT)
        hnsw.hnsw.efConstruction, hnsw.hnsw.efSearch = BUILD, SEARCH
        hnsw.add(vectors.gallery)
        yield "FAISS graph (HNSW)", lambda query: hnsw.search(query, K)[1], faiss_bytes(hnsw) / n
        yield ("usearch graph, f32", *graph(vectors, "f32"))
        if whole:
            yield ("usearch graph, i8", *graph(vectors, "i8"))


def graph(vectors: Vectors, dtype: str) -> tuple[Search, float]:
    """An HNSW graph of usearch, which rounds to ``dtype`` itself."""
    index: Any = Index(
        ndim=vectors.gallery.shape[1],
        metric="ip",
        dtype=dtype,
        connectivity=CONNECTIVITY,
        expansion_add=BUILD,
        expansion_search=SEARCH,
    )
    index.add(np.arange(len(vectors.gallery)), vectors.gallery, threads=1)
    size = index.serialized_length / len(vectors.gallery)
    return lambda query: index.search(query, K, threads=1).keys.astype(np.int64), size


def faiss_bytes(index: Any) -> int:  # noqa: ANN401  # FAISS ships no types
    return int(faiss.serialize_index(index).nbytes)


def measured(vectors: Vectors, truth: Array, answers: Array, labels: Array, whole: bool = False) -> list[Row]:
    """Recall and rate of every index over one kind of vectors."""
    rows = []
    for name, search, size in indices(vectors, whole):
        found = search(vectors.query)
        kept = np.mean([len(set(a) & set(b)) / K for a, b in zip(found, truth, strict=True)])
        right = np.mean((labels[found] == answers[:, None]).any(1))
        times = []
        for _ in range(REPEATS):
            start = time.process_time()
            search(vectors.query)
            times.append(time.process_time() - start)
        rate = len(vectors.query) / statistics.median(times)
        rows.append(Row(vectors.name, name, float(kept), float(right), rate, size))
    return rows


def compare(data: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], sizes: list[int]) -> list[Row]:
    """All rows for one data set: whole vectors first."""
    gallery, labels, query, answers = data
    unit = [torch.nn.functional.normalize(rows).numpy() for rows in (gallery, query)]
    ones = np.ones(gallery.shape[1], np.float32)
    full = Vectors(f"{gallery.shape[1]} x float32, whole", unit[0], unit[1], unit[0], unit[1], ones)
    exact = faiss.IndexFlatIP(gallery.shape[1])
    exact.add(unit[0])
    truth = exact.search(unit[1], K)[1]
    rows = measured(full, truth, answers.numpy(), labels.numpy(), whole=True)
    for k in sizes:
        for storage in ("float32", "int8", "binary"):
            rows += measured(stored(gallery, query, k, storage), truth, answers.numpy(), labels.numpy())
    return rows


def table(rows: list[Row]) -> str:
    """Markdown; rates also as multiples of the same kind of index over whole vectors."""
    base = {row.index: row.rate for row in rows if "whole" in row.vectors}
    twins = {"FAISS int8, exact": "FAISS exact", "FAISS binary, exact": "FAISS exact"}
    lines = [
        "| vectors | index | recall@10 % | right answer among 10 % | queries/s | times whole | MB per million |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        times = row.rate / base[twins.get(row.index, row.index)]
        lines.append(
            f"| {row.vectors} | {row.index} | {100 * row.recall:.1f} | {100 * row.right:.1f} | {row.rate:.0f} | "
            f"{times:.1f} | {row.megabytes:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--cache", type=Path, help="keep the sentences' embeddings in this .npz file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    facts = "; ".join(f"{name} {value}" for name, value in environment().items())
    parts = [f"# Searching small vectors\n\n{facts}; FAISS {faiss.__version__}"]
    text = sentences(options.data, options.rows, options.queries, options.cache)
    parts.append(f"## SNLI sentences, all-MiniLM-L6-v2: {len(text[0])} rows, {len(text[2])} queries")
    parts.append(table(compare(text, [128, 64])))
    images = digits()
    parts.append(f"## Digits, monotonic head: {len(images[0])} rows, {len(images[2])} queries")
    parts.append(table(compare(images, [8])))
    report = "\n\n".join(parts) + "\n"
    print(report)
    (RESULTS / f"{environment()['date']}-search.md").write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
