# SPDX-License-Identifier: Apache-2.0
"""Judge by a reference: does a search find the rows that a search over the reference's whole vectors finds?

Nothing outside says whether the reference is right, so this measures change, not quality.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from lightning_monocon.functional.effective_dimension import effective_dimension
from lightning_monocon.functional.neighbour_overlap import neighbour_overlap, reference_recall
from lightning_monocon.functional.rank_biased_overlap import rank_biased_overlap
from lightning_monocon.functional.red_flags import REPEATED_SHARE
from lightning_monocon.functional.row_keys import row_keys
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.scorecard.truths.truth import Found, Kind, Unit, digest, distinct

_DEEP = 100
"""Rows among which the reference's nearest are looked for by ``recall@100``, as deep as a search that is reranked."""

_TILE = 8192  # rows that are taken to float64 at a time

_EQUAL = 1e-9
"""Cosines that differ by less are equal: rounding of float32 rows moves one by more than that."""

_TIED_SHARE = 0.05
"""Share of queries whose last neighbour is as near as the next one, above which the reference is doubted."""


class Reference(Protocol):
    """Embeddings whose neighbours count, such as an `lightning_monocon.scorecard.EmbeddingSet`."""

    @property
    def arm(self) -> str:
        """Return the name in tables."""
        ...

    @property
    def gallery(self) -> Tensor:
        """Return the rows that are searched, ``(N, D)``."""
        ...

    @property
    def query(self) -> Tensor:
        """Return the queries ``(Q, D)``."""
        ...

    def nearest(self, count: int) -> Tensor:
        """Return the nearest rows of each query by the cosine of whole vectors, ``(Q, count)``."""
        ...


@dataclass(frozen=True, eq=False)
class NeighbourTruth:
    """Know the rows of the gallery that each query finds in a reference embedding.

    Measures ``overlap@k``, the share of the reference's k nearest among the k nearest; ``recall@100``, their share
    among the 100 nearest, which a reranker could still find; ``rbo``, the rank-biased overlap of both lists of k; and
    ``first_kept``, whether the nearest row is the same.

    Args:
        nearest: ``(Q, k)`` rows of the gallery, nearest first.
        rows: N, rows of the gallery.
        reference: Name of the embedding that they were found in.
        name: How tables call it.
        warnings: Why the reference is in doubt.
    """

    nearest: Tensor = field(repr=False)
    rows: int
    reference: str
    name: str = "neighbours"
    warnings: tuple[str, ...] = ()
    original: str = field(default="", repr=False)
    """Key of the truth that this one was made of by `onto`; empty for an original."""

    kind: ClassVar[Kind] = "neighbours"
    unit: ClassVar[Unit] = "query"

    @classmethod
    def of(cls, reference: Reference, k: int = 10) -> NeighbourTruth:
        """Return the k nearest rows by the cosine of a reference's whole vectors, all of them if there are fewer."""
        rows = len(reference.gallery)
        found = reference.nearest(min(k + 1, rows))
        nearest = found[:, :k].contiguous()
        return cls(nearest, rows, reference.arm, warnings=_doubts(reference, found, k))

    @property
    def measures(self) -> tuple[str, ...]:
        """``overlap@k``, ``recall@100``, ``rbo`` and ``first_kept``."""
        return (f"overlap@{self.nearest.shape[1]}", f"recall@{_DEEP}", "rbo", "first_kept")

    @property
    def units(self) -> int:
        """Number of queries."""
        return len(self.nearest)

    @property
    def key(self) -> str:
        """Digest of the reference's neighbours."""
        return self.original or digest(self.kind, self.nearest)

    @property
    def chance(self) -> float:
        """Overlap with rows that are drawn at random."""
        return self.nearest.shape[1] / self.rows

    @property
    def answers(self) -> Tensor:
        """Rows of the gallery that are a neighbour in the reference, ascending."""
        return distinct(self.nearest)

    def needs(self) -> tuple[tuple[str, int, bool], ...]:
        """Return the rows of both sides."""
        return ("gallery", self.rows, True), ("query", len(self.nearest), True)

    def depth(self, rows: int) -> int:
        """Return 100, or the depth of the reference if it is deeper."""
        return min(max(_DEEP, self.nearest.shape[1]), rows)

    def judge(self, found: Found) -> dict[str, Tensor]:
        """Return the measures of each query."""
        k = self.nearest.shape[1]
        depth = max(k, min(_DEEP, found.nearest.shape[1]))
        return {
            f"overlap@{k}": neighbour_overlap(found.nearest, self.nearest, k),
            f"recall@{_DEEP}": reference_recall(found.nearest, self.nearest, k, depth),
            "rbo": rank_biased_overlap(found.nearest, self.nearest, k),
            "first_kept": (found.nearest[:, 0] == self.nearest[:, 0]).double(),
        }

    def onto(self, rows: Tensor) -> NeighbourTruth | None:
        """Return the same lists in a gallery that lacks other rows; None if a neighbour is lost, or a row repeats."""
        if len(distinct(rows)) < len(rows) or not torch.isin(self.answers, rows).all():
            return None
        place = torch.full((self.rows,), -1)
        place[rows] = torch.arange(len(rows))
        return replace(self, nearest=place[self.nearest], rows=len(rows), original=self.key)


def reference_doubts(
    name: str, rows: int, different: int, collapsed: bool, gaps: Tensor | None, k: int
) -> tuple[str, ...]:
    """Say what makes a reference a poor measure: its own neighbours are then not worth keeping.

    Args:
        name: The reference.
        rows: Rows of its gallery.
        different: How many of them differ.
        collapsed: Whether one direction holds their variance.
        gaps: ``(Q,)`` by how much the cosine of the k-th neighbour is above that of the next; None if there is none.
        k: Neighbours that count.
    """
    found = []
    if different < (1 - REPEATED_SHARE) * rows:
        found.append(f"the reference, {name}, repeats rows ({different} of {rows} differ)")
    if collapsed:
        found.append(f"the reference, {name}, has collapsed to one direction")
    tied = 0 if gaps is None else int((gaps < _EQUAL).sum())
    if gaps is not None and tied > _TIED_SHARE * len(gaps):
        found.append(f"the reference, {name}, ties its own neighbours ({tied} of {len(gaps)} queries at {k})")
    return tuple(found)


def _doubts(reference: Reference, found: Tensor, k: int) -> tuple[str, ...]:
    parts = torch.split(reference.gallery, _TILE)
    different = len(distinct(torch.cat([row_keys(unit_rows(part.double())) for part in parts])))
    collapsed = reference.gallery.shape[1] > 1 and not effective_dimension(reference.gallery) > 1
    gaps = None
    if found.shape[1] > k:
        last, following = (_cosines(reference, found[:, place]) for place in (k - 1, k))
        gaps = last - following
    return reference_doubts(reference.arm, len(reference.gallery), different, collapsed, gaps, k)


def _cosines(data: Reference, rows: Tensor) -> Tensor:
    return (unit_rows(data.query.double()) * unit_rows(data.gallery[rows].double())).sum(1)
