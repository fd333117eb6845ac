# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/which_number.md: seven effective ranks of one set of embeddings, and what moves them.

Run    python benchmarks/which_number.py
Does   writes both tables between their marks in docs/which_number.md; about a minute on one core
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from harness import Row, markdown
from torch import Tensor

from lightning_monocon.functional import (
    effective_dimension,
    knn_accuracy,
    mean_cosine,
    participation_ratio,
    reconstruction_error,
    spectral_effective_rank,
    stable_rank,
    total_variance,
    two_nn,
)
from lightning_monocon.heads import MonotonicMLP

DOCS = Path(__file__).parents[1] / "docs" / "which_number.md"
ROWS, QUERIES, WIDTH, CLASSES = 6000, 1000, 512, 100


def embeddings() -> tuple[Tensor, Tensor]:
    """Classes on a power-law spectrum in a random basis, off the origin."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.arange(1.0, WIDTH + 1).pow(-0.55)
    mix = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator)).Q
    labels = torch.randint(CLASSES, (ROWS + QUERIES,), generator=generator)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)[labels]
    noise = torch.randn(len(labels), WIDTH, generator=generator)
    return (0.6 * centres + noise) * spread @ mix + 0.06, labels


def ranks(rows: Tensor) -> list[Row]:
    """Return the seven ranks, from the largest."""
    named: dict[str, tuple[str, Callable[[], Tensor]]] = {
        "n99": ("`EffectiveDimension()`, unit rows", lambda: effective_dimension(rows)),
        "RankMe": ("`SpectralEffectiveRank()`", lambda: spectral_effective_rank(rows)),
        "RankMe, centred": (
            "`SpectralEffectiveRank(centred=True)`",
            lambda: spectral_effective_rank(rows, centred=True),
        ),
        "entropy of the eigenvalues": (
            '`SpectralEffectiveRank(centred=True, values="eigenvalues")`',
            lambda: spectral_effective_rank(rows, centred=True, values="eigenvalues"),
        ),
        "participation ratio": ("`ParticipationRatio()`, unit rows", lambda: participation_ratio(rows)),
        "stable rank": ("`StableRank()`, unit rows", lambda: stable_rank(rows)),
        "TwoNN": ("`TwoNN()`", lambda: two_nn(rows).dimension),
    }
    table: list[Row] = [{"number": n, "here": here, "value": round(float(f()), 1)} for n, (here, f) in named.items()]
    return sorted(table, key=lambda row: -float(str(row["value"])))


def figures(name: str, gallery: Tensor, query: Tensor, known: Tensor, truth: Tensor) -> Row:
    error = reconstruction_error(gallery, query)
    return {
        "embeddings": name,
        "n99": int(error.dimension),
        "rmse": f"{float(error.rmse):.2g}",
        "fvu": f"{float(error.fvu):.2g}",
        "5-NN %": f"{100 * float(knn_accuracy(gallery, known, query, truth)):.1f}",
        "total variance": f"{float(total_variance(gallery)):.2g}",
        "mean cosine": f"{float(mean_cosine(gallery)):.4f}",
        "RankMe": round(float(spectral_effective_rank(gallery)), 1),
    }


def changes(rows: Tensor, labels: Tensor) -> list[Row]:
    """Return the figures of the embeddings and of what was done to them."""
    (gallery, query), (known, truth) = rows.split([ROWS, QUERIES]), labels.split([ROWS, QUERIES])
    torch.manual_seed(0)
    with torch.no_grad():
        head = MonotonicMLP(WIDTH, init="reference")
        untrained = head(gallery), head(query)
    shift = 10.0 * gallery.norm(dim=1).mean() * torch.nn.functional.normalize(torch.randn(WIDTH), dim=0)
    few = slice(0, ROWS // 10)
    return [
        figures("as they are", gallery, query, known, truth),
        figures("ten times as long", 10 * gallery, 10 * query, known, truth),
        figures("a constant direction added", gallery + shift, query + shift, known, truth),
        figures("a tenth of the gallery", gallery[few], query, known[few], truth),
        figures("each gallery row twice", gallery.repeat(2, 1), query, known.repeat(2), truth),
        figures("through an untrained monotonic head", *untrained, known, truth),
    ]


def growth(rows: Tensor) -> str:
    """Return n99 of the first n rows as one line."""
    found = [f"{int(effective_dimension(rows[:n]))} (n = {n})" for n in (100, 250, 500, 1000, 2000, 4000, 6000)]
    return "n99 of the first n rows: " + ", ".join(found) + "."


def insert(page: str, mark: str, text: str) -> str:
    return re.sub(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.S)


def main() -> None:
    torch.set_num_threads(1)
    rows, labels = embeddings()
    page = insert(DOCS.read_text(), "ranks", f"{markdown(ranks(rows[:ROWS]))}\n\n{growth(rows)}")
    DOCS.write_text(insert(page, "changes", markdown(changes(rows, labels))))
    print(DOCS.read_text().split("## The effective dimension of a small sample")[0])


if __name__ == "__main__":
    main()
