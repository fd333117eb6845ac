# SPDX-License-Identifier: Apache-2.0
"""HNSW graphs: recall against ef, whole and cut, and whether the order in which rows are inserted moves it.

    OMP_NUM_THREADS=1 python benchmarks/graph_indexes.py TEXT FASHION [--rows 6000] [--seeds 5]

TEXT is a folder that `codes_task.py` writes, FASHION one with the files of Fashion-MNIST. The order is the claim of
Elliott and Clark (2024, https://arxiv.org/abs/2405.17813): rows are inserted by descending or ascending local intrinsic
dimension (maximum likelihood from 100 neighbours), by class, or at random, with 16 links and 128 candidates while
building, on one thread: by hnswlib (`pip install hnswlib==0.8.0`, built from source), by FAISS at once, and by FAISS
row by row, since it shuffles what is added at once. A seed draws the random order, and the levels of the graph in every
order. Half of the planted rows lie in 4 dimensions and half in 48.

Every build is a line of ``results/DATE-graph-indexes.jsonl``; a line that is there is not measured again, so that the
same command resumes a run that was stopped. The report is written from all lines.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import hnswlib
import numpy as np
import torch
from harness import RESULTS, environment
from numpy.typing import NDArray
from scipy.stats import ttest_ind

from lightning_monocon.data.images.fashion_mnist import FashionMNISTData
from lightning_monocon.functional import neighbours
from lightning_monocon.scorecard import EmbeddingSet
from lightning_monocon.scorecard.graph_index import graph_searches

LINKS, BUILD, SEARCH, K, QUERIES = 16, 128, (10, 20, 40), 10, 400
ORDERS = ("random", "descending", "ascending", "class")
LINE = dict[str, Any]
Array = NDArray[Any]


class Rows(NamedTuple):
    """Unit float32 rows, the queries, and the classes of the rows if they have any."""

    gallery: Array
    query: Array
    labels: Array | None = None


def text(folder: Path, rows: int) -> Rows:
    return Rows(np.load(folder / "gallery.npy")[:rows], np.load(folder / "query.npy")[:QUERIES])


def fashion(folder: Path, rows: int) -> Rows:
    data = FashionMNISTData(root=str(folder))
    train, test = (data.read(role) for role in ("train", "test"))
    pixels = [table.images[:count].reshape(count, -1) for table, count in ((train, rows), (test, QUERIES))]
    return Rows(*map(unit, pixels), np.asarray(train.labels[:rows]))


def planted(_: Path, rows: int) -> Rows:
    """Half of the rows in 4 dimensions of 64, half in 48."""
    random = np.random.default_rng(0)
    bases = [np.linalg.qr(random.standard_normal((64, dim)))[0] for dim in (4, 48)]

    def drawn(count: int) -> Array:
        parts = [random.standard_normal((count // 2, basis.shape[1])) @ basis.T for basis in bases]
        return unit(random.permutation(np.vstack(parts)))

    return Rows(drawn(rows), drawn(QUERIES))


def unit(rows: Array) -> Array:
    wide = rows.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


LIBRARIES = ("hnswlib", "FAISS", "FAISS, row by row")

SETS: dict[str, tuple[Callable[[Path, int], Rows], int]] = {
    "SNLI, MiniLM": (text, 64),
    "Fashion-MNIST, pixels": (fashion, 64),
    "planted, 4 and 48 dimensions": (planted, 16),
}
"""Each with the numbers to which it is cut for the curves of ef."""


def ordered(rows: Rows, order: str, seed: int, dimension: Array) -> Array:
    """Return the order of insertion."""
    drawn = np.random.default_rng(seed).permutation(len(rows.gallery))
    if order == "random":
        return drawn
    if order == "class":
        assert rows.labels is not None
        return drawn[np.argsort(rows.labels[drawn], kind="stable")]
    return np.argsort(dimension if order == "ascending" else -dimension, kind="stable")


def dimensions(gallery: Array) -> Array:
    """Return the local intrinsic dimension around each row; of copies, which have none, the median."""
    near = neighbours(torch.from_numpy(gallery), None, 100, "euclidean").distances.numpy()
    with np.errstate(divide="ignore"):
        found = 1 / np.log(near[:, -1:] / near[:, :-1]).mean(1)
    alone = near[:, 0] > 0
    return np.where(alone, found, np.median(found[alone]))


def built(library: str, rows: Array, seed: int) -> Callable[[Array, int], Array]:
    """Insert rows in their order, on one thread; return a search by ef."""
    if library == "hnswlib":
        index = hnswlib.Index("ip", rows.shape[1])
        index.init_index(len(rows), M=LINKS, ef_construction=BUILD, random_seed=seed)
        index.add_items(rows, num_threads=1)

        def search(query: Array, ef: int) -> Array:
            index.set_ef(ef)
            return np.asarray(index.knn_query(query, K, num_threads=1)[0]).astype(np.int64)

        return search
    graph: Any = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BUILD
    graph.hnsw.rng = faiss.RandomGenerator(seed)
    for block in np.split(rows, len(rows) if library.endswith("row by row") else 1):
        graph.add(block)

    def answered(query: Array, ef: int) -> Array:
        graph.hnsw.efSearch = ef
        return np.asarray(graph.search(query, K)[1])

    return answered


def recalls(rows: Rows, order: Array, library: str, seed: int) -> dict[str, float]:
    """Return the share of the exact ten nearest that a graph finds, by ef; rows as near as the tenth are right."""
    gallery = rows.gallery[order]
    cosines = rows.query.astype(np.float64) @ gallery.T.astype(np.float64)
    least = np.partition(cosines, -K, axis=1)[:, -K, None] - 1e-6
    search = built(library, gallery, seed)
    found = {ef: np.take_along_axis(cosines, search(rows.query, ef), axis=1) >= least for ef in SEARCH}
    return {str(ef): round(float(right.mean()), 5) for ef, right in found.items()}


def lines_of(name: str, rows: Rows, cut: int, seeds: int, known: set[tuple[Any, ...]]) -> Iterator[LINE]:
    """Measure what is not known of a data set."""
    if (name, "curve") not in known:
        data = EmbeddingSet(torch.from_numpy(rows.gallery), None, torch.from_numpy(rows.query))
        for one in graph_searches(data, [cut]):
            dimension = round(one.local_dimension, 2)
            yield {"data": name, "curve": one.k, "dimension": dimension, "ef": one.ef, "recall": one.recall}
    dimension = dimensions(rows.gallery)
    orders = [order for order in ORDERS if order != "class" or rows.labels is not None]
    for seed, order, library in product(range(seeds), orders, LIBRARIES):
        if (name, library, order, seed) not in known:
            found = recalls(rows, ordered(rows, order, seed, dimension), library, seed + 1)
            yield {"data": name, "library": library, "order": order, "seed": seed, "recall": found}


def key(line: LINE) -> tuple[Any, ...]:
    if "curve" in line:
        return line["data"], "curve"
    return line["data"], line["library"], line["order"], line["seed"]


def report(lines: list[LINE], rows: int) -> str:
    """Return the curves of ef, and a row for each order but the random one against it."""
    facts = "; ".join(f"{name} {value}" for name, value in environment().items())
    versions = f"hnswlib 0.8.0; FAISS {faiss.__version__}; {rows} rows, {QUERIES} queries; other jobs running"
    curves = [line for line in lines if "curve" in line]
    of_curves = [f"| data | numbers | local dimension | library | {' | '.join(map(str, curves[0]['ef']))} |"]
    of_curves.append("| --- | ---: | ---: | --- |" + " ---: |" * len(curves[0]["ef"]))
    for line in curves:
        for library, found in line["recall"].items():
            shares = " | ".join(f"{100 * share:.1f}" for share in found)
            of_curves.append(f"| {line['data']} | {line['curve']} | {line['dimension']:.1f} | {library} | {shares} |")
    of_orders = ["| data | library | ef | random, % (sd) | order | recall, % | difference, points | p |"]
    of_orders.append("| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |")
    for name, library, ef in product(SETS, LIBRARIES, map(str, SEARCH)):
        of_orders += compared([line for line in lines if line["data"] == name and line.get("library") == library], ef)
    parts = (
        "# Graph indexes: candidates, local dimension and the order of insertion",
        f"`python benchmarks/graph_indexes.py TEXT FASHION`; {facts}; {versions}",
        "## recall@10 in % against ef (16 links, 200 candidates while building)",
        "\n".join(of_curves),
        "## The order of insertion (16 links, 128 candidates while building)",
        "p: Welch's t-test over seeds, without a correction for their number.",
        "\n".join(of_orders),
    )
    return "\n\n".join(parts) + "\n"


def compared(lines: list[LINE], ef: str) -> Iterator[str]:
    if not lines:
        return
    found = {order: [100 * line["recall"][ef] for line in lines if line["order"] == order] for order in ORDERS}
    random = found.pop("random")
    start = (
        f"| {lines[0]['data']} | {lines[0]['library']} | {ef} | {np.mean(random):.2f} ({np.std(random, ddof=1):.2f}) |"
    )
    for order, shares in found.items():
        if len(shares) > 1:
            chance = float(ttest_ind(shares, random, equal_var=False).pvalue)
            told = "-" if math.isnan(chance) else f"{chance:.2g}"
            yield f"{start} {order} | {np.mean(shares):.2f} | {np.mean(shares) - np.mean(random):+.2f} | {told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("fashion", type=Path)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--date", default=environment()["date"], help="whose lines are resumed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    path = RESULTS / f"{options.date}-graph-indexes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {key(line) for line in lines}
    for name, (load, cut) in SETS.items():
        rows = load(options.fashion if load is fashion else options.text, options.rows)
        for line in lines_of(name, rows, cut, options.seeds, known):
            lines.append(line)
            print(line, flush=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    path.with_suffix(".md").write_text(report(lines, options.rows), encoding="utf-8")


if __name__ == "__main__":
    main()
