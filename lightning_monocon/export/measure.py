# SPDX-License-Identifier: Apache-2.0
"""Measure what the cut and the codes cost: the same queries before and after, beside the encoder and its PCA."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lightning_monocon.export.calibration import Calibration
from lightning_monocon.export.gallery import Embedded
from lightning_monocon.functional.knn_accuracy import majority_vote
from lightning_monocon.functional.neighbours import DistanceName
from lightning_monocon.functional.paired_mean import query_interval
from lightning_monocon.functional.quantisation import Storage, vector_bytes
from lightning_monocon.functional.spectrum import numerical_rank, principal_components
from lightning_monocon.functional.truncation_curve import projected, ties_of

_NEAREST = 10
_VOTERS = 5
_KNOWN = 0.5  # share of the queries whose label must occur in the gallery, or labels mean something else there
_ROWS_PER_CLASS = 2  # with fewer, a vote of five is drawn by lot
Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Line:
    """Hold one way to store the rows, and what the queries find with it.

    Attributes:
        name: What is stored.
        dims: Numbers in a vector.
        storage: How a number is kept.
        knn_hits: ``(Q,)`` bool, the 5-NN vote is right; None without classes of several rows.
        recall_hits: ``(Q, 10)`` bool, a right label is among the first r; None without labels that both sides share.
        overlap: ``(Q,)`` share of the ten nearest rows by the whole vectors that are among the ten found.
    """

    name: str
    dims: int
    storage: Storage
    knn_hits: Tensor | None = field(repr=False)
    recall_hits: Tensor | None = field(repr=False)
    overlap: Tensor = field(repr=False)

    @property
    def bytes(self) -> int:
        """Bytes of one vector."""
        return vector_bytes(self.dims, self.storage)

    @property
    def knn_accuracy(self) -> float:
        """Share of queries that the 5-NN vote gets right; NaN where there is none."""
        return math.nan if self.knn_hits is None else float(self.knn_hits.double().mean())

    def recall(self, r: int) -> float:
        """Return the share of queries with their label among the r nearest, r up to 10; NaN without shared labels."""
        return math.nan if self.recall_hits is None else float(self.recall_hits[:, r - 1].double().mean())

    @property
    def neighbours_kept(self) -> float:
        """Recall@10 against the exact search with whole vectors."""
        return float(self.overlap.mean())


@dataclass(frozen=True)
class Loss:
    """Hold a fall of ``figure`` by ``points`` of a hundred between two lines, 95 % from ``low`` to ``high``.

    A rise has points below zero.
    """

    before: str
    after: str
    figure: str
    points: float
    low: float
    high: float

    def sentence(self) -> str:
        """Return the loss, or the gain, in words."""
        low, high = (self.low, self.high) if self.points >= 0 else (-self.high, -self.low)
        return (
            f"{self.after} instead of {self.before} {'loses' if self.points >= 0 else 'gains'} {abs(self.points):.2f} "
            f"points of {self.figure} (95 % over queries: {low:.2f} to {high:.2f})."
        )


def measure_lines(gallery: Embedded, query: Embedded, stack: nn.Module, calibration: Calibration) -> list[Line]:
    """Judge encoder, encoder with PCA, whole output, cut output and codes on the same queries.

    Args:
        gallery: Its sample is searched, and fits the encoder's own PCA.
        query: Its sample searches.
        stack: Features to vectors.
        calibration: Vectors to codes.
    """
    k, dtype = len(calibration.step), calibration.storage
    judge = Judge(gallery, query).line
    vectors = stack(gallery.features), stack(query.features)
    lines = [
        judge("encoder", (gallery.features, query.features), "float32"),
        judge(f"encoder, PCA to {k}", cut(gallery.features, query.features, k), "float32"),
        judge("head, whole", (gallery.embeddings, query.embeddings), "float32"),
        judge("exported", vectors, "float32"),
    ]
    if dtype != "float32":
        coded = [calibration.decode(calibration.codes(rows)) for rows in vectors]
        lines.append(judge(f"exported, {dtype}", (coded[0], coded[1]), dtype, calibration.metric))
    return lines


def loss(before: Line, after: Line) -> Loss:
    """Return what the queries lose from one line to another, paired: 5-NN, else Recall@10, else neighbours kept."""
    if before.knn_hits is not None and after.knn_hits is not None:
        figure, lost = "5-NN accuracy", before.knn_hits.double() - after.knn_hits.double()
    elif before.recall_hits is not None and after.recall_hits is not None:
        figure, lost = "Recall@10", before.recall_hits[:, -1].double() - after.recall_hits[:, -1].double()
    else:
        figure, lost = "neighbours kept", before.overlap - after.overlap
    low, high = query_interval([lost.numpy()])
    return Loss(before.name, after.name, figure, 100 * float(lost.mean()), 100 * low, 100 * high)


class Judge:
    """Measure what the queries find in the gallery, stored in one way or another.

    Args:
        gallery: Its sample is searched.
        query: Its sample searches.
    """

    def __init__(self, gallery: Embedded, query: Embedded) -> None:
        self._labels, self._truth = gallery.labels, query.labels
        self._count = min(_NEAREST, len(gallery.labels))
        classes = torch.unique(gallery.labels)
        known = torch.isin(query.labels, classes).double().mean()
        self._shared = len(classes) > 1 and float(known) >= _KNOWN
        several = len(gallery.labels) >= _ROWS_PER_CLASS * len(classes) and self._count >= _VOTERS
        self._votes = self._shared and several
        self._ties = ties_of(gallery.embeddings, gallery.labels, query.embeddings)
        self._whole = self._ties.nearest(gallery.embeddings, query.embeddings, self._count)

    def line(self, name: str, rows: Rows, dtype: Storage, metric: DistanceName = "cosine") -> Line:
        """Return what the queries find when gallery and queries are stored as ``rows``."""
        found = self._ties.nearest(*rows, self._count, metric)
        labels = self._labels[found]
        right = (labels == self._truth[:, None]).cumsum(1) > 0
        kept = (found[:, :, None] == self._whole[:, None, :]).any(2).double().mean(1)
        hits = majority_vote(labels[:, :_VOTERS]) == self._truth if self._votes else None
        return Line(name, rows[0].shape[1], dtype, hits, right if self._shared else None, kept)


def cut(gallery: Tensor, query: Tensor, k: int) -> Rows:
    """Project unit rows on the gallery's leading components: at most ``k``, and at most its rank."""
    axes = principal_components(gallery)
    kept = max(1, min(k, numerical_rank(axes.variances)))
    return projected(gallery, axes, kept).float(), projected(query, axes, kept).float()
