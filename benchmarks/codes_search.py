# SPDX-License-Identifier: Apache-2.0
"""Measure product codes against the codes of faiss, on the task that `codes_task.py` wrote.

    OMP_NUM_THREADS=1 python benchmarks/codes_search.py FOLDER judge 8 48
    OMP_NUM_THREADS=1 python benchmarks/codes_search.py FOLDER judge 8 48 --learnt

With --learnt the codes are trained further, as the recipe `learnt_code` does it. Settings are chosen with "query" and
judged with "judge". Each code is fitted with three seeds, its recall of a query is the mean over them, and it is
compared query by query with every code of FOLDER/rivals (`codes_rivals.py`) that has as many bytes. Rivals are scored
as ours are: decoded, put back on the mean, by the cosine.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from scipy.stats import rankdata

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families.product import fit_product
from lightning_monocon.learnt import EmbeddingData, LearntCode

Own = tuple[np.ndarray, float, float, float]
SEEDS, DIM = (0, 1, 2), 384
QUIET: dict[str, Any] = {
    name: False for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("queries", choices=["query", "judge", "more"])
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--learnt", action="store_true")
    arguments = parser.parse_args()
    folder, queries, name = arguments.folder, arguments.queries, "learnt" if arguments.learnt else "product"
    data = {name: np.load(folder / f"{name}.npy") for name in ("fit", "gallery", "stsb_a", "stsb_b", "stsb_score")}
    data |= {"query": np.load(folder / f"{queries}.npy"), "nearest": np.load(folder / f"nearest_{queries}.npy")}
    for size in arguments.sizes:
        with ProcessPoolExecutor(len(SEEDS), get_context("spawn")) as pool:
            ours = list(pool.map(partial(own, data, size, folder if arguments.learnt else None), SEEDS))
        found = np.mean([recalls for recalls, *_ in ours], 0)
        middle, spread = found.mean(), np.std([recalls.mean() for recalls, *_ in ours], ddof=1)
        pairs, fit, cost = np.mean([figures for _, *figures in ours], 0)
        print(f"| {name}-{size} | {told(found)}, seeds {spread:.4f} | | {pairs:.3f} | {fit:.0f} | {cost:.1f} |")
        for path in sorted((folder / "rivals").glob("*.npz")):
            with np.load(path) as stored:
                if stored["bytes"] == size:
                    theirs, pairs = rival(data, stored["gallery"], stored["stsb_b"])
                    fit, cost = stored["fit_s"], stored["encode_us"]
                    print(
                        f"| {path.stem} | {told(theirs)} | {told(found - theirs, '+')} | {pairs:.3f} | {fit:.0f} "
                        f"| {cost:.1f} |",
                        flush=True,
                    )
        print(f"(ours is {middle:.4f}; differences are ours less theirs)", flush=True)


def own(
    data: dict[str, np.ndarray], size: int, learnt: Path | bool, seed: int
) -> tuple[np.ndarray, float, float, float]:
    """Return the recall of each query, Spearman's correlation, seconds of the fit, microseconds to encode a row."""
    torch.set_num_threads(1)
    start = time.process_time()
    if learnt:
        codec = trained(learnt / "fit.npy", size, seed)
    else:
        codec = fit_product(FittingRows.of(torch.from_numpy(data["fit"]), seed=seed), size)
    fit = time.process_time() - start
    codec.encode(data["gallery"][:256])  # tables are made at the first call
    codes, cost = encoded(codec, data["gallery"])
    queries = codec.space.queries(torch.from_numpy(data["stsb_a"])).numpy()
    pairs = (queries * codec.decode(codec.encode(data["stsb_b"]))).sum(1)
    found = recall(codec.score(data["query"], codes), data["nearest"])
    return found, spearman(pairs, data["stsb_score"]), fit, cost


def trained(file: Path, size: int, seed: int) -> Codec:
    """Return a product code that was trained with the rounding in every step."""
    data = EmbeddingData(str(file), batch_size=2048, val_size=0.02, seed=seed, split_seed=seed)
    seed_everything(seed, verbose=False)
    model = LearntCode(size, DIM, lr=1e-4)
    Trainer(accelerator="cpu", max_epochs=60, limit_val_batches=0, **QUIET).fit(model, data)
    return model.codec()


def encoded(codec: Codec, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Return codes, and the least of three measurements in CPU microseconds per row."""
    costs = []
    for _ in range(3):
        start = time.process_time()
        codes = codec.encode(rows)
        costs.append((time.process_time() - start) / len(rows) * 1e6)
    return codes, min(costs)


def rival(data: dict[str, np.ndarray], gallery: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the recall of each query, and Spearman's correlation, of decoded rows."""
    gallery, others = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (gallery, others))
    pairs = (data["stsb_a"] * others).sum(1)
    return recall(data["query"] @ gallery.T, data["nearest"]), spearman(pairs, data["stsb_score"])


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def recall(scores: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    found = np.argpartition(-scores, 10, axis=1)[:, :10]
    return (found[:, :, None] == nearest[:, None]).any(2).mean(1)


def told(values: np.ndarray, sign: str = "") -> str:
    """Return the mean and its standard error over queries."""
    return f"{values.mean():{sign}.4f} ± {values.std(ddof=1) / len(values) ** 0.5:.4f}"


if __name__ == "__main__":
    main()
