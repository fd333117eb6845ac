# SPDX-License-Identifier: Apache-2.0
r"""Map rows to the coordinates that are quantised, and decoded coordinates to what a query is scored against.

.. math:: y = W \left(\tfrac{x}{\lVert x\rVert} - m\right)

W has orthonormal rows: principal axes, possibly rotated. For ``similarity="dot"`` rows keep their lengths.

Scoring is either ``"centred"``, the cosine of the centred query's coordinates and the decoded ones, or ``"whole"``: the
decoded coordinates are put back on the mean, so that the score estimates the similarity of the *original* vectors. For
that a decoded row is :math:`(\hat y + W m,\; \lVert m_\perp\rVert)`, where :math:`m_\perp` is the part of the mean
outside the span of W, and a query is :math:`(W q,\; q \cdot m_\perp / \lVert m_\perp\rVert)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_monocon.codes.fitting import Similarity
from lightning_monocon.functional.checks import check_choice
from lightning_monocon.functional.unit_rows import unit_rows

Scoring = Literal["centred", "whole"]
"""What a score estimates: the cosine about the mean, or the similarity of the original vectors."""


@dataclass(frozen=True, eq=False)
class Space:
    """Hold the map from rows to coordinates.

    Attributes:
        mean: ``(D,)`` float32; zeros for a code that does not centre.
        matrix: ``(k, D)`` float32; its rows are orthonormal, except in codes that were learnt.
        similarity: What ranks whole vectors.
        scoring: What a score estimates; ``"centred"`` needs ``similarity="cosine"``.
        stored_offset: ``(k,)`` float64, `offset` as a file or another device has it; it is computed if ``None``.
    """

    mean: Tensor = field(repr=False)
    matrix: Tensor = field(repr=False)
    similarity: Similarity = "cosine"
    scoring: Scoring = "whole"
    stored_offset: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_choice("similarity", self.similarity, get_args(Similarity))
        check_choice("scoring", self.scoring, get_args(Scoring))
        if self.scoring == "centred" and self.similarity == "dot":
            raise ValueError(
                '`scoring` must be "whole" for similarity="dot", whose scores depend on the mean; got "centred".'
            )

    @cached_property
    def offset(self) -> Tensor:
        """Coordinates ``(k,)`` float64 of the mean."""
        if self.stored_offset is not None:
            return self.stored_offset
        return self.matrix.double() @ self.mean.double()

    @cached_property
    def beyond(self) -> Tensor:
        """Part of the mean outside the span of the matrix, ``(D,)`` float64."""
        return self.mean.double() - self.matrix.double().T @ self.offset

    def coordinates(self, rows: Tensor) -> Tensor:
        """Return the coordinates ``(N, k)`` float64 of rows ``(N, D)``: the definition, that every port repeats.

        A sum in another order differs by less than ``2**-40`` of the lengths of row and mean, up to 4096 numbers a row.
        """
        return self._scaled(rows) @ self.matrix.double().T - self.offset

    def points(self, coordinates: Tensor) -> Tensor:
        """Return decoded coordinates ``(N, k)`` as rows of the scoring space, ``(N, k)`` or ``(N, k + 1)`` float32."""
        points = coordinates.double()
        if self.scoring == "whole":
            length = torch.linalg.vector_norm(self.beyond)
            points = torch.cat([points + self.offset, length.expand(len(points), 1)], 1)
        return (unit_rows(points) if self.similarity == "cosine" else points).float()

    def queries(self, rows: Tensor) -> Tensor:
        """Return queries ``(Q, D)`` as rows of the scoring space, so that inner products with `points` are scores."""
        if self.scoring == "centred":
            return unit_rows(self.coordinates(rows)).float()
        scaled = self._scaled(rows)
        length = torch.linalg.vector_norm(self.beyond).clamp_min(torch.finfo(torch.float64).tiny)
        return torch.cat([scaled @ self.matrix.double().T, scaled @ (self.beyond / length)[:, None]], 1).float()

    def _scaled(self, rows: Tensor) -> Tensor:
        return unit_rows(rows.double()) if self.similarity == "cosine" else rows.double()
