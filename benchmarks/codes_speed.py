# SPDX-License-Identifier: Apache-2.0
"""Time codes of 32 bytes: encoding beside the float32 product in it, and search beside faiss' scalar quantiser.

    OMP_NUM_THREADS=1 python benchmarks/codes_speed.py VECTORS.npy [ROWS]

Rows are made of real ones (N, 384) as `shrink_speed.py` makes them. Times are CPU microseconds a row on one thread, the
least of five runs. A search finds the ten best of ROWS codes (200 000 by default) for 1 000 queries and is timed in
turn with `faiss.IndexScalarQuantizer` of as many bytes, on as many principal components as fit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import faiss
import numpy as np
import torch
from shrink_speed import made
from torch import Tensor

from lightning_monocon.codes import Codec, FittingRows, Space
from lightning_monocon.codes.candidates import named
from lightning_monocon.functional.neighbours import best_of

CODES = ("transform-32", "scalar1-32", "scalar2-32", "scalar4-32", "int8-32", "bytes-32", "transform-8")
QUERIES, NEAREST, ENCODED, RUNS, BLOCK = 1_000, 10, 65_536, 5, 4_096
RIVALS = {"8 bits, 32 numbers": (faiss.ScalarQuantizer.QT_8bit, 32), "4 bits, 64": (faiss.ScalarQuantizer.QT_4bit, 64)}


def least(steps: Sequence[Callable[[], object]], rows: int) -> list[float]:
    """Return the microseconds a row of each step, which are run in turn."""
    taken: list[list[float]] = [[] for _ in steps]
    for _ in range(RUNS):
        for own, step in zip(taken, steps, strict=True):
            start = time.process_time()
            step()
            own.append((time.process_time() - start) / rows * 1e6)
    return [min(own) for own in taken]


def product(codec: Codec, rows: np.ndarray) -> None:
    """Compute the float32 product that is in every encoding, by NumPy, which is faster here than torch."""
    matrix = codec.space.matrix.numpy()
    for start in range(0, len(rows), BLOCK):
        np.matmul(matrix, rows[start : start + BLOCK].T)


def search(codec: Codec, queries: Tensor, codes: Tensor) -> Tensor:
    """Return the rows ``(Q, 10)`` of the codes that score best."""
    asked = codec.space.queries(queries)
    scores, found = torch.empty(len(asked), 0), torch.empty(len(asked), 0, dtype=torch.int64)
    for start in range(0, len(codes), BLOCK):
        scores, found = merged(scores, found, asked @ codec.decode(codes[start : start + BLOCK]).T, start)
    return found


def main(path: str, count: str = "200000") -> None:
    """Print both tables as Markdown."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    given, total = np.load(path), int(count)
    fitting = FittingRows.of(torch.from_numpy(made(given, 20_000, seed=7)))
    codecs = {name: named(name, given.shape[1]).fit(fitting, int(name.partition("-")[2])) for name in CODES}

    rows = made(given, ENCODED, seed=8)
    print("| code | components | encode us | product us | ratio |\n| --- | --- | --- | --- | --- |")
    for name, codec in codecs.items():
        encode, floor = least([lambda own=codec: own.encode(rows), lambda own=codec: product(own, rows)], len(rows))
        print(f"| {name} | {len(codec.space.matrix)} | {encode:.2f} | {floor:.2f} | {encode / floor:.2f} |", flush=True)

    queries = torch.from_numpy(made(given, QUERIES, seed=9))
    gallery = torch.from_numpy(made(given, total, seed=10))
    exact = search_whole(queries, gallery)
    space = named("int8-64", given.shape[1]).fit(fitting, 64).space
    print("\n| code | us a row | " + " | ".join(f"to {name}" for name in RIVALS) + " | recall@10 |")
    print("| --- " * (len(RIVALS) + 3) + "|")
    indexes = {name: index(space, kind, width, gallery) for name, (kind, width) in RIVALS.items()}
    asked = space.coordinates(queries).float()
    rivals = [lambda own=own, width=RIVALS[name][1]: own.search(asked[:, :width].numpy().copy(), NEAREST)
              for name, own in indexes.items()]  # fmt: skip
    for name, codec in codecs.items():
        codes = codec.encode(gallery)
        own, *theirs = least([lambda own=codec, codes=codes: search(own, queries, codes), *rivals], total)
        ratios = " | ".join(f"{own / their:.2f}" for their in theirs)
        print(f"| {name} | {own:.2f} | {ratios} | {recall(search(codec, queries, codes), exact):.3f} |", flush=True)
    for name, their, rival in zip(RIVALS, theirs, rivals, strict=True):
        print(f"| faiss, {name} | {their:.2f} | | | {recall(torch.from_numpy(rival()[1]), exact):.3f} |", flush=True)


def search_whole(queries: Tensor, gallery: Tensor) -> Tensor:
    """Return the rows ``(Q, 10)`` of the gallery that are nearest."""
    scores, found = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(gallery), BLOCK):
        scores, found = merged(scores, found, queries @ gallery[start : start + BLOCK].T, start)
    return found


def merged(scores: Tensor, found: Tensor, further: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Return the ten best scores ``(Q, 10)`` and their rows, of those so far and of a block ``(Q, B)``."""
    own, rows = best_of(further, NEAREST)
    scores, order = torch.cat([scores, own], 1).topk(NEAREST)
    return scores, torch.cat([found, rows + start], 1).gather(1, order)


def index(space: Space, kind: int, width: int, gallery: Tensor) -> faiss.Index:
    """Return an index of the first principal components."""
    found = faiss.IndexScalarQuantizer(width, kind, faiss.METRIC_INNER_PRODUCT)
    rows = [space.coordinates(block)[:, :width].float().numpy() for block in torch.split(gallery, ENCODED)]
    found.train(rows[0])
    for block in rows:
        found.add(block)
    return found


def recall(found: Tensor, exact: Tensor) -> float:
    """Return the share of the exact nearest rows that were found."""
    return float((found[:, :, None] == exact[:, None]).any(2).float().mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
