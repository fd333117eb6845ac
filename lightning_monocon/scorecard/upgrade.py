# SPDX-License-Identifier: Apache-2.0
"""Compare ways to put a new model into service over a gallery that an old model embedded.

Queries may stay old, or be of a new model and search the old gallery, as they are (a model that was trained with
``compatible_with``) or through a Procrustes map; or the whole gallery may be embedded again. Every way answers the same
queries, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.functional.paired_mean import CONFIDENCE, deviations, paired_mean
from lightning_monocon.functional.procrustes import procrustes
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.frontier import Measure
from lightning_monocon.scorecard.truths import Found, Truth

_JUDGING = ("labels", "qrels")
"""Kinds of truths that a search is judged by; pairs need no gallery, and neighbours have no right answer here."""


@dataclass(frozen=True)
class Margin:
    """Hold a mean difference between two ways, and its interval, which holds together with all of a report.

    Attributes:
        difference: Mean over queries, as a share (0.01 is one point).
        low: Lower end of the interval.
        high: Its upper end.
    """

    difference: float
    low: float
    high: float

    @property
    def ahead(self) -> bool:
        """Whether the first way is better by more than noise."""
        return self.low > 0


@dataclass(frozen=True, eq=False)
class Way:
    """Hold what one way of searching finds.

    Attributes:
        name: What is searched with what.
        keeps: Whether the old gallery stays as it is stored.
        values: For each measure of the truth one number per query, ``(U,)``.
    """

    name: str
    keeps: bool
    values: Mapping[Measure, Tensor] = field(repr=False)

    def mean(self, measure: Measure) -> float:
        """Return the mean of a measure over the queries."""
        return float(self.values[measure].mean())


@dataclass(frozen=True, eq=False)
class Upgrade:
    """Hold the ways of an upgrade as one truth judges them.

    Attributes:
        truth: What judges.
        ways: The old model first.
        fitted: Rows that the Procrustes map was fitted on.
    """

    truth: Truth
    ways: tuple[Way, ...]
    fitted: int

    @property
    def measure(self) -> Measure:
        """The measure that ways are compared by."""
        return self.truth.measures[0]

    @property
    def old(self) -> Way:
        """The old model on its own gallery."""
        return self.ways[0]

    @property
    def again(self) -> Way:
        """The best of the ways that embed the gallery again."""
        return max((way for way in self.ways if not way.keeps), key=lambda way: way.mean(self.measure))

    @property
    def best(self) -> Way:
        """The best of the ways that change queries alone."""
        return max((way for way in self.ways[1:] if way.keeps), key=lambda way: way.mean(self.measure))

    @property
    def level(self) -> tuple[Way, ...]:
        """Other ways that change queries alone, and that the best of them is not ahead of by more than noise."""
        return tuple(
            way for way in self.ways[1:] if way.keeps and way is not self.best and not self.lead(self.best, way).ahead
        )

    def lead(self, way: Way, other: Way) -> Margin:
        """Return what one way is ahead of another by; intervals hold together for all pairs (Bonferroni)."""
        pairs = len(self.ways) * (len(self.ways) - 1) / 2  # which of them is told is chosen on the queries that tell it
        values = way.values[self.measure] - other.values[self.measure]
        mean = paired_mean([np.asarray(values.double().numpy())])
        low, high = mean.interval(deviations(1 - (1 - CONFIDENCE) / pairs))
        return Margin(mean.difference, max(low, -1.0), min(high, 1.0))  # shares differ by no more


def upgrade(old: EmbeddingSet, new: EmbeddingSet, free: EmbeddingSet | None = None) -> tuple[Upgrade, ...]:
    """Judge the ways from an old model to a new one, by each truth of the old set: labels or qrels.

    The map is fitted on the gallery, which both models have embedded here; fit it on a sample of one that is larger.

    Args:
        old: Gallery and queries of the old model, with what is known of them.
        new: The same rows of the new model, in the same order. Its first numbers, as many as the old model has, search
            the old gallery if it has as many.
        free: The same rows of a model that was trained without regard to the old one: what re-indexing and the map
            would take; ``new`` by default.

    Raises:
        ValueError: If the sets are of other rows or labels, or the old set has neither labels nor qrels.
    """
    truths = [truth for truth in old.judges() if truth.kind in _JUDGING]
    if not truths:
        raise ValueError("`old` must have labels or qrels, by which a search is judged; it has neither.")
    for name, rows in (("new", new), ("free", free)):
        if rows is not None:
            _check_same_rows(name, rows, old)
    searches = _searches(old, new, free)
    found = [(name, keeps, _judged(data, truths)) for name, keeps, data in searches]
    return tuple(
        Upgrade(truth, tuple(Way(name, keeps, values[i]) for name, keeps, values in found), len(old.gallery))
        for i, truth in enumerate(truths)
    )


def _searches(old: EmbeddingSet, new: EmbeddingSet, free: EmbeddingSet | None) -> list[tuple[str, bool, EmbeddingSet]]:
    """Return each way: its name, whether the gallery stays, and the rows that it compares."""
    rival, name = (new, "new") if free is None else (free, "free")
    mapped = (unit_rows(rival.query.double()) @ procrustes(rival.gallery, old.gallery)).to(old.query.dtype)
    ways = [("old model, old gallery", True, old)]
    if new.dim >= old.dim:
        ways.append(("new queries as they are, old gallery", True, _asking(old, new.query[:, : old.dim])))
    ways.append((f"{name} queries through a map, old gallery", True, _asking(old, mapped)))
    if free is not None:
        ways.append(("new model, gallery embedded again", False, _embedded(old, new)))
    return [*ways, (f"{name} model, gallery embedded again", False, _embedded(old, rival))]


def _asking(old: EmbeddingSet, query: Tensor) -> EmbeddingSet:
    return replace(old, query=query.to(old.gallery.dtype))


def _embedded(old: EmbeddingSet, rows: EmbeddingSet) -> EmbeddingSet:
    return replace(old, gallery=rows.gallery, query=rows.query, sides={}, truths=_searched(old.truths))


def _searched(truths: Sequence[Truth]) -> tuple[Truth, ...]:
    return tuple(truth for truth in truths if truth.kind in _JUDGING)


def _judged(data: EmbeddingSet, truths: Sequence[Truth]) -> list[dict[Measure, Tensor]]:
    """Return what each truth makes of one search at full width by cosine."""
    depth = max(truth.depth(len(data.gallery)) for truth in truths)
    nearest = data.nearest(depth)
    return [truth.judge(Found(data.gallery, data.query, nearest=nearest)) for truth in truths]


def _check_same_rows(name: str, rows: EmbeddingSet, old: EmbeddingSet) -> None:
    """Refuse embeddings of other rows than the old model's."""
    for side in ("gallery", "query"):
        ours, theirs = len(getattr(old, side)), len(getattr(rows, side))
        if ours != theirs:
            raise ValueError(
                f"`{name}` must embed the rows of `old` in their order; its {side} has {theirs} rows, the old one "
                f"{ours}: embed the same rows with both models."
            )
        labels = [getattr(each, f"{side}_labels") for each in (rows, old)]
        if not any(each is None for each in labels) and not torch.equal(*labels):
            raise ValueError(
                f"`{name}` must embed the rows of `old` in their order; the labels of its {side} differ: embed the "
                "same rows with both models."
            )
