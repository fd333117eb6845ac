# SPDX-License-Identifier: Apache-2.0
"""Measure the classical codes of the package beside the indexes of faiss that they stand for.

    OMP_NUM_THREADS=1 python benchmarks/codes_classical.py FOLDER 8 16 32 --fit 6000 --gallery 6000 --queries 500

FOLDER holds unit float32 rows: fit.npy, gallery.npy, query.npy. Each line is recall@10 of the exact neighbours of whole
vectors by float queries against codes, the difference of the package's code to faiss' with its standard error over
queries, and seconds of CPU time on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import torch

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import fit_lsq, fit_opq, fit_pq, fit_rabit, fit_residual

_NEAREST = 10
_FACTOR_BYTES = 8  # two float32 a vector in IndexRaBitQ, whose signs take the rest

PAIRS: dict[str, tuple[Callable[[FittingRows, int], Codec], Callable[[int], str]]] = {
    "pq": (fit_pq, lambda size: f"PQ{size}np"),
    "opq": (fit_opq, lambda size: f"OPQ{size},PQ{size}np"),
    "residual": (fit_residual, lambda size: f"RQ{size}x8"),
    "lsq": (fit_lsq, lambda size: f"LSQ{size}x8"),
    "rabit1": (partial(fit_rabit, bits=1), lambda size: f"PCAR{8 * (size - _FACTOR_BYTES)},RaBitQ"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--families", nargs="+", choices=PAIRS, default=list(PAIRS))
    for name in ("fit", "gallery", "queries"):
        parser.add_argument(f"--{name}", type=int, default=12_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    fit, gallery, queries = (
        np.load(given.folder / f"{name}.npy")[:rows]
        for name, rows in (("fit", given.fit), ("gallery", given.gallery), ("query", given.queries))
    )
    truth = best(queries @ gallery.T)
    print(f"{len(fit)} fitted rows, gallery of {len(gallery)}, {len(queries)} queries, faiss {faiss.__version__}\n")
    print("| code | bytes | package | faiss | package ahead | fit s, package | faiss | encode s, package | faiss |")
    print("| --- " * 9 + "|")
    for size in given.sizes:
        for family in given.families:
            print(line(family, size, fit, gallery, queries, truth), flush=True)


def line(family: str, size: int, fit: np.ndarray, gallery: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> str:
    """Return the line of one family and size."""
    own, name = PAIRS[family]
    if family == "rabit1" and size <= _FACTOR_BYTES:
        return f"| {family} | {size} | faiss has no such code | | | | | | |"
    times = [time.process_time()]
    codec = own(FittingRows.of(torch.from_numpy(fit)), size)
    times.append(time.process_time())
    codes = codec.encode(gallery)
    times.append(time.process_time())
    index = rival(name(size))
    index.train(fit)
    times.append(time.process_time())
    index.add(gallery)
    times.append(time.process_time())
    stored = index.sa_code_size()
    assert codes.shape[1] == stored == size, (codes.shape, stored)
    ours, theirs = (
        (found[:, :, None] == truth[:, None]).any(2).mean(1)
        for found in (best(codec.score(queries, codes)), index.search(queries, _NEAREST)[1])
    )
    ahead = ours - theirs
    error = ahead.std() / len(ahead) ** 0.5
    own_fit, own_encode, rival_fit, rival_encode = np.diff(times)
    return (
        f"| {family} | {size} | {ours.mean():.3f} | {theirs.mean():.3f} | {ahead.mean():+.3f} ± {error:.3f} "
        f"| {own_fit:.1f} | {rival_fit:.1f} | {own_encode:.2f} | {rival_encode:.2f} |"
    )


def rival(name: str) -> faiss.Index:
    """Return an index of faiss by inner product; "np" in a name spares polysemous training, which only costs time."""
    index = faiss.index_factory(384, name, faiss.METRIC_INNER_PRODUCT)
    if name.startswith("RQ"):
        index.rq.max_beam_size = 8
    if name.endswith("RaBitQ"):
        faiss.downcast_index(index.index).qb = 0  # float queries
    return index


def best(scores: np.ndarray) -> np.ndarray:
    return np.argpartition(-scores, _NEAREST, axis=1)[:, :_NEAREST]


if __name__ == "__main__":
    main()
