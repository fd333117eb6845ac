# SPDX-License-Identifier: Apache-2.0
"""Measure how many of the nearest rows HNSW graphs find, of whole vectors and of small ones.

A graph is searched from row to row, and ``ef`` candidates are kept on the way: more of them find more and cost more.
How many are needed depends on the vectors, so the local intrinsic dimension stands beside what is found (Elliott and
Clark 2024, https://arxiv.org/abs/2405.17813). The graphs are those of FAISS and usearch, which are on PyPI as wheels,
and of hnswlib where it is installed; all are built on one thread, so that the same rows give the same graph. Graphs of
a store come from above this floor.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_monocon.functional.checks import DegenerateSampleWarning
from lightning_monocon.functional.local_intrinsic_dimension import local_intrinsic_dimension
from lightning_monocon.functional.spectrum import PrincipalComponents, principal_components
from lightning_monocon.functional.truncation_curve import truncated
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.scorecard.embeddings import EmbeddingSet

FOUND = 10
"""Nearest rows that are asked for."""

LINKS, BUILD = 16, 200
"""Neighbours that a graph keeps for each row (M), and candidates while it is built (ef_construction)."""

SEARCH = (10, 20, 40, 80, 160, 320)
"""Candidates while it is searched (ef)."""

MOST_QUERIES, MOST_ROWS = 1000, 10_000
"""Queries that are asked, and gallery rows of which the local dimension is estimated; evenly spaced ones of more."""

_TILE = 8192  # rows of the gallery whose inner products are held in float64 at a time

_TIE = 1e-6
"""Cosines that differ by less are equal: the libraries add in float32."""

Search = Callable[[NDArray[np.float32], int], NDArray[np.int64]]
"""Return the rows ``(Q, FOUND)``, -1 for none, that a graph finds for unit queries ``(Q, D)`` by so many candidates."""

Graphs = Callable[[NDArray[np.float32]], Iterator[tuple[str, Search]]]
"""Yield the name, with its version, and the search of each graph over unit rows; it lasts until the next is asked."""


@dataclass(frozen=True)
class GraphSearch:
    """Hold what graphs over vectors of one size find.

    Attributes:
        arm: Whose vectors they are.
        k: Numbers of a vector.
        local_dimension: Their local intrinsic dimension, by maximum likelihood from 20 neighbours; NaN of few rows.
        ef: Candidates of a search.
        recall: For each library, with its version, the share of the exact nearest rows that it finds, by ``ef``.
        nearest: Rows that are asked for: ten, or all of a smaller gallery.
    """

    arm: str
    k: int
    local_dimension: float
    ef: tuple[int, ...]
    recall: Mapping[str, tuple[float, ...]]
    nearest: int = FOUND


def check_libraries() -> None:
    """Raise ImportError if a library is missing."""
    if missing := [name for name in ("faiss", "usearch") if find_spec(name) is None]:
        raise ImportError(
            f"`--index hnsw` needs FAISS and usearch; {missing[0]} is missing: pip install 'lightning-monocon[search]'."
        )


def graph_searches(data: EmbeddingSet, sizes: Iterable[int], graphs: Graphs | None = None) -> tuple[GraphSearch, ...]:
    """Return what graphs find of the whole vectors and of those cut to fewer numbers, the most numbers first.

    Vectors are cut as for the frontier, and compared by cosine. What is found is held against an exact search among the
    same vectors, so it shows what the graph loses and not what the cut does. Rows as near as the tenth count as right.

    Args:
        data: Gallery and queries; at most `MOST_QUERIES` queries are asked.
        sizes: Numbers of dimensions, at most the width.
        graphs: What is searched; by default `library_graphs`.

    Raises:
        ImportError: If FAISS or usearch is missing.
    """
    if graphs is None:
        check_libraries()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateSampleWarning)  # the report shows what is not there
        axes = principal_components(data.gallery)
        each = graphs or library_graphs
        return tuple(_searched(data, axes, k, each) for k in sorted({data.dim, *sizes}, reverse=True))


def _searched(data: EmbeddingSet, axes: PrincipalComponents, k: int, graphs: Graphs) -> GraphSearch:
    gallery, query = (_cut(rows, axes, k, data.reading) for rows in (data.gallery, _some(data.query, MOST_QUERIES)))
    found = min(FOUND, len(gallery))
    least = _nearness_of_last(gallery, query, found) - _TIE
    recall = {}
    for name, search in graphs(gallery.numpy()):
        rows = (torch.from_numpy(search(query.numpy(), ef)) for ef in SEARCH)
        recall[name] = tuple(_share(gallery, query, least, each) for each in rows)
    dimension = local_intrinsic_dimension(_some(gallery, MOST_ROWS)).dimension
    return GraphSearch(data.arm, k, float(dimension), SEARCH, recall, found)


def _nearness_of_last(gallery: Tensor, query: Tensor, count: int) -> Tensor:
    """Return the inner product ``(Q, 1)`` float64 of each query with the last of its nearest rows."""
    asked, nearest = query.double(), torch.empty(len(query), 0, dtype=torch.float64)
    for part in torch.split(gallery, _TILE):
        among = torch.cat([nearest, asked @ part.double().T], 1)
        nearest = among.topk(min(count, among.shape[1])).values
    return nearest[:, -1:]


def _share(gallery: Tensor, query: Tensor, least: Tensor, rows: Tensor) -> float:
    """Return the share of rows that came and are as near as the last of the exact answer."""
    nearness = torch.einsum("qd,qnd->qn", query.double(), gallery[rows.clamp_min(0)].double())
    return float(((rows >= 0) & (nearness >= least)).double().mean())


def _cut(rows: Tensor, axes: PrincipalComponents, k: int, reading: str) -> Tensor:
    """Return unit float32 rows of ``k`` numbers."""
    return unit_rows((rows[:, :k] if reading == "prefix" else truncated(rows, axes, k)).double()).float().contiguous()


def _some(rows: Tensor, most: int) -> Tensor:
    """Return at most so many rows, evenly spaced."""
    return rows if len(rows) <= most else rows[torch.linspace(0, len(rows) - 1, most).long()]


def library_graphs(gallery: NDArray[np.float32]) -> Iterator[tuple[str, Search]]:
    """Yield the name and the search of each library's graph over unit rows ``(N, D)``."""
    yield _faiss_graph(gallery)
    yield _usearch_graph(gallery)
    if find_spec("hnswlib") is not None:  # its package on PyPI must be compiled
        yield _hnswlib_graph(gallery)


def _faiss_graph(gallery: NDArray[np.float32]) -> tuple[str, Search]:
    faiss: Any = import_module("faiss")  # its types do not know graphs
    threads = faiss.omp_get_max_threads()
    index = faiss.IndexHNSWFlat(gallery.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD
    faiss.omp_set_num_threads(1)
    try:
        index.add(gallery)
    finally:
        faiss.omp_set_num_threads(threads)

    def search(query: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
        index.hnsw.efSearch = ef
        rows: NDArray[np.int64] = index.search(query, min(FOUND, len(gallery)))[1]
        return rows

    return f"FAISS {faiss.__version__}", search


def _usearch_graph(gallery: NDArray[np.float32]) -> tuple[str, Search]:
    usearch: Any = import_module("usearch")
    index = import_module("usearch.index").Index(
        ndim=gallery.shape[1], metric="ip", dtype="f32", connectivity=LINKS, expansion_add=BUILD
    )
    index.add(np.arange(len(gallery)), gallery, threads=1)

    def search(query: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
        index.expansion_search = ef
        found = np.full((len(query), min(FOUND, len(gallery))), -1, np.int64)
        for place, row in enumerate(query):  # a batch of one query has answers of another shape
            keys = index.search(row, found.shape[1], threads=1).keys
            found[place, : len(keys)] = keys
        return found

    return f"usearch {usearch.__version__}", search


def _hnswlib_graph(gallery: NDArray[np.float32]) -> tuple[str, Search]:
    index = import_module("hnswlib").Index("ip", gallery.shape[1])
    index.init_index(len(gallery), ef_construction=BUILD, M=LINKS, random_seed=0)
    index.add_items(gallery, num_threads=1)

    def search(query: NDArray[np.float32], ef: int) -> NDArray[np.int64]:
        index.set_ef(ef)
        rows: NDArray[np.uint64] = index.knn_query(query, min(FOUND, len(gallery)), num_threads=1)[0]
        return rows.astype(np.int64)

    return f"hnswlib {version('hnswlib')}", search
