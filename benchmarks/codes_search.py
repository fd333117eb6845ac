# SPDX-License-Identifier: Apache-2.0
"""Measure product codes against the residual quantiser of faiss on embeddings of sentences.

    OMP_NUM_THREADS=1 python benchmarks/codes_search.py FOLDER 8 16 32 48

FOLDER holds unit float32 rows: fit.npy, gallery.npy, query.npy, stsb_a.npy and stsb_b.npy (pairs of sentences), with
stsb_score.npy, and nearest.npy, the exact nearest gallery rows of each query, best first.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import faiss
import numpy as np
import torch
from scipy.stats import spearmanr

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families.product import fit_product
from lightning_monocon.codes.families.transform import fit_transform
from lightning_monocon.codes.space import Space


class Residual:
    """Quantise by the residual quantiser of faiss, beam 8."""

    kind = "residual"

    def __init__(self, rows: np.ndarray, size: int) -> None:
        self.bytes, self.faiss = size, faiss.ResidualQuantizer(rows.shape[1], size, 8)
        self.faiss.max_beam_size = 8
        self.faiss.train(rows)

    def encode(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Return codes of coordinates."""
        return torch.from_numpy(self.faiss.compute_codes(coordinates.float().numpy()))

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return coordinates of codes."""
        return torch.from_numpy(self.faiss.decode(codes.numpy()))


def fit_residual(rows: FittingRows, size: int) -> Codec:
    """Fit on all centred coordinates, unrotated."""
    space = Space(rows.statistics.mean.float(), torch.eye(rows.dim))
    return Codec(f"residual-{size}", "residual", space, Residual((rows.sample - space.mean).numpy(), size))


def recall(scores: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    found = np.argpartition(-scores, 10, axis=1)[:, :10]
    return (found[:, :, None] == nearest[:, None, :10]).any(2).mean(1)


def main() -> None:
    folder, sizes = Path(sys.argv[1]), [int(size) for size in sys.argv[2:]]
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    names = ("fit", "gallery", "query", "stsb_a", "stsb_b", "stsb_score", "nearest")
    data = {name: np.load(folder / f"{name}.npy") for name in names}
    rows = FittingRows.of(torch.from_numpy(data["fit"]))
    for size in sizes:
        rival = None
        for fit in (fit_residual, fit_product, fit_transform):
            start = time.process_time()
            codec = fit(rows, size)
            middle = time.process_time()
            codes = codec.encode(data["gallery"])
            cost = (time.process_time() - middle) / len(codes) * 1e6
            found = recall(codec.score(data["query"], codes), data["nearest"])
            both = recall(codec.score_codes(codec.encode(data["query"]), codes), data["nearest"]).mean()
            queries = codec.space.queries(torch.from_numpy(data["stsb_a"])).numpy()
            pairs = (queries * codec.decode(codec.encode(data["stsb_b"]))).sum(1)
            rival = found if rival is None else rival
            ahead = found - rival
            error = len(ahead) ** -0.5
            print(
                f"| {codec.name} | {found.mean():.4f} ± {found.std() * error:.4f} | {both:.4f} "
                f"| {ahead.mean():+.4f} ± {ahead.std() * error:.4f} | {spearmanr(pairs, data['stsb_score'])[0]:.3f} "
                f"| {middle - start:.1f} | {cost:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
