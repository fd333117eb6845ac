# SPDX-License-Identifier: Apache-2.0
"""Load the vectors on which heads and codes are compared, and judge what a search over codes finds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from embedded_images import features
from torch import Tensor
from torch.nn.functional import normalize

from lightning_monocon.functional.correlation_values import spearman_values

CHOOSING, NEAREST, VOTES = 1000, 10, 5

Place = Callable[[Tensor], Tensor]
"""Maps vectors ``(N, D)`` to points ``(N, k)`` whose inner products are scores."""


@dataclass(frozen=True)
class Domain:
    """Hold vectors and what is known of them.

    Attributes:
        fit: ``(N, D)``: heads are trained and codes are fitted on them.
        gallery: ``(M, D)``: searched.
        query: ``(Q, D)``: on the first `CHOOSING` the code of a size is chosen, on the others it is judged.
        labels: Classes ``(M,)`` of the gallery, which then is `fit` too, and ``(Q,)`` of the queries; None without.
        nearest: Numbers ``(Q, 10)`` of the gallery rows of highest cosine.
        pairs: Two sentences each ``(P, D)`` of another domain, and the similarity ``(P,)`` that people gave them.
    """

    name: str
    fit: Tensor = field(repr=False)
    gallery: Tensor = field(repr=False)
    query: Tensor = field(repr=False)
    nearest: Tensor = field(repr=False)
    labels: tuple[Tensor, Tensor] | None = None
    pairs: tuple[Tensor, Tensor, Tensor] | None = None

    def judge(self, stored: Place, asked: Place) -> dict[str, Tensor]:
        """Return by truth the quality of each query ``(Q,)``, or pair ``(P,)``, float64."""
        found = (asked(self.query) @ stored(self.gallery).T).topk(NEAREST)
        kept = (found.indices[:, :, None] == self.nearest[:, None]).any(1).double().mean(1)
        judged = {"neighbours": kept}
        if self.labels is not None:
            judged["labels"] = vote(found.values[:, :VOTES], self.labels[0][found.indices[:, :VOTES]], self.labels[1])
        if self.pairs is not None:
            cosines = (asked(self.pairs[0]) * stored(self.pairs[1])).sum(1)
            judged["pairs"] = spearman_values(cosines, self.pairs[2])
        return judged


def vote(scores: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
    """Return whether five rows ``(Q, 5)`` vote for the true class, ``(Q,)`` float64; similarity breaks ties."""
    votes = torch.zeros(len(truth), int(max(labels.max(), truth.max())) + 1)
    votes.scatter_add_(1, labels, 1 + scores / 100)
    return (votes.argmax(1) == truth).double()


def _nearest(query: Tensor, gallery: Tensor) -> Tensor:
    return (normalize(query) @ normalize(gallery).T).topk(NEAREST).indices


def load(name: str, data: Path, scratch: Path, rows: int, queries: int) -> Domain:
    """Return a domain of `rows` vectors to fit on, and `CHOOSING` + `queries` to ask."""
    scratch.mkdir(parents=True, exist_ok=True)
    if name == "sentences":
        return _sentences(data, scratch, rows, queries)
    return _images(name, data, scratch, rows, queries)


def _sentences(data: Path, scratch: Path, rows: int, queries: int) -> Domain:
    folder = scratch / "text"
    if not (folder / "nearest_judge.npy").is_file():
        script = Path(__file__).with_name("codes_task.py")
        subprocess.run([sys.executable, str(script), str(data), str(folder)], check=True)
    read = {
        name: torch.from_numpy(np.load(folder / f"{name}.npy")).float()
        for name in ("fit", "gallery", "query", "judge", "stsb_a", "stsb_b", "stsb_score")
    }
    query = torch.cat([read["query"][:CHOOSING], read["judge"][:queries]])
    pairs = read["stsb_a"], read["stsb_b"], read["stsb_score"]
    gallery = read["gallery"][:rows]
    return Domain("sentences", read["fit"][:rows], gallery, query, _nearest(query, gallery), pairs=pairs)


def _images(name: str, data: Path, scratch: Path, rows: int, queries: int) -> Domain:
    pictures = {"images": "cifar100", "clothes": "fashion_mnist"}[name]
    files = features(data / pictures, scratch, pictures)
    (fit, classes), (query, truth) = (
        [torch.from_numpy(np.load(file)[name]) for name in ("embeddings", "labels")] for file in files
    )
    fit, query, truth = fit[:rows], query[: CHOOSING + queries], truth[: CHOOSING + queries]
    return Domain(name, fit, fit, query, _nearest(query, fit), (classes[:rows], truth))
