# SPDX-License-Identifier: Apache-2.0
"""Count far rows of other domains, and measure what a code keeps of their neighbours.

    OMP_NUM_THREADS=1 python benchmarks/far_rows.py FOLDER

FOLDER holds unit float32 rows of one encoder: fit.npy, held.npy and gallery.npy of one domain, stsb_a.npy and
stsb_b.npy of another. Codes are fitted on fit.npy, and their domain is measured on held.npy.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.domain import Domain
from lightning_monocon.codes.families import ScalarOptions, fit_scalar
from lightning_monocon.functional.unit_rows import unit_rows

OPTIONS = {
    "half": ScalarOptions(16, centre=False),
    "int8": ScalarOptions(8, centre=False, step="common", levels="uniform"),
    "bit": ScalarOptions(1, rotation="random"),
}
CODES = [("half", 32), ("half", 128), ("int8", 32), ("int8", 128), ("int8", 384), ("bit", 16), ("bit", 32), ("bit", 48)]
ASKED = 1500
"""Rows that search among their own domain."""


def rows_of(folder: Path) -> dict[str, Tensor]:
    """Return the new rows of each domain."""
    gallery, first, second = (
        np.load(folder / f"{name}.npy").astype(np.float32) for name in ("gallery", "stsb_a", "stsb_b")
    )
    random = np.random.default_rng(0)
    directions = random.normal(size=(2000, gallery.shape[1])).astype(np.float32)
    return {
        "same": torch.from_numpy(gallery),
        "STS-B": torch.from_numpy(np.unique(np.concatenate([first, second]), axis=0)),
        "mixed": unit_rows(torch.from_numpy(gallery[:2000])) + unit_rows(torch.from_numpy(directions)),
        "random": torch.from_numpy(directions),
        "shuffled": torch.from_numpy(gallery[:2000, random.permutation(gallery.shape[1])]),
    }


def recall(codec: Codec, rows: Tensor, asked: Tensor) -> float:
    """Return the share of the ten nearest rows that the code finds, for some of the rows."""
    if not len(asked):
        return float("nan")
    unit = unit_rows(rows)
    found = []
    for scores in (unit[asked] @ unit.T, codec.score(rows[asked], codec.encode(rows))):
        scores[torch.arange(len(asked)), asked] = -torch.inf
        found.append(scores.topk(10).indices.numpy())
    return float(np.mean([np.isin(true, own).mean() for true, own in zip(*found, strict=True)]))


def by_moments(fit: Tensor, domains: dict[str, Tensor]) -> None:
    """Print the shares of rows beyond the 99.9 % quantile of the fitting rows by Mahalanobis distances."""
    unit = unit_rows(fit.double())
    mean = unit.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov(unit.T))

    def distances(rows: Tensor, count: int) -> Tensor:
        return ((unit_rows(rows.double()) - mean) @ axes[:, -count:]).square() @ (
            1 / variances[-count:].clamp_min(1e-12)
        )

    print(f"\n| leading axes | far: {' | '.join(domains)} |")
    print("|" + " --- |" * (1 + len(domains)))
    for count in (16, 128, len(variances)):
        limit = distances(fit, count).quantile(0.999)
        shares = [f"{(distances(rows, count) > limit).double().mean():.3f}" for rows in domains.values()]
        print(f"| {count} | {' | '.join(shares)} |")


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    fit, held = (torch.from_numpy(np.load(folder / f"{name}.npy").astype(np.float32)) for name in ("fit", "held"))
    domains, fitting = rows_of(folder), FittingRows.of(fit)
    print(f"| code | bytes | limit | far: {' | '.join(domains)} | recall: same | STS-B, near rows | STS-B, far rows |")
    print("|" + " --- |" * (6 + len(domains)))
    for kind, size in CODES:
        codec = fit_scalar(fitting, size, OPTIONS[kind])
        domain = Domain.of(codec, held)
        shares = [f"{domain.far(codec, rows).double().mean():.3f}" for rows in domains.values()]
        other = domains["STS-B"]
        far = domain.far(codec, other)
        kept = [
            recall(codec, domains["same"], torch.arange(ASKED)),
            *(recall(codec, other, which.nonzero().flatten()[:ASKED]) for which in (~far, far)),
        ]
        print(f"| {kind} | {size} | {domain.limit:.3g} | {' | '.join(shares)} | ", end="")
        print(" | ".join(f"{one:.3f}" for one in kept) + " |", flush=True)
    by_moments(fit, domains)


if __name__ == "__main__":
    main()
