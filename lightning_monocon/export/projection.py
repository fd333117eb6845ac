# SPDX-License-Identifier: Apache-2.0
"""Choose the principal components of the gallery that a vector keeps, behind numbers that it must keep.

Fitted on sums (count, mean and co-moment of the unit rows), so a gallery of any size costs one pass and D x D numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.spectrum import PrincipalComponents, components_from_moments, numerical_rank

_FLOAT32_NOISE = (8 * torch.finfo(torch.float32).eps) ** 2
"""Variance that a few rounding errors of float32 leave in any direction of unit rows."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Hold the mean and the leading principal components of a gallery.

    Attributes:
        mean: ``(D,)`` float64, of the gallery's unit rows; zeros where it is not subtracted.
        basis: ``(k, D)`` float64, one unit direction a row, by falling variance behind the first ``old``.
        explained: Share of the variance along them.
        rank: Principal directions of the gallery that hold more than rounding error.
        rows: Rows of the gallery.
        old: Leading numbers that are those of the unit rows: a query in the space of an older model.
    """

    mean: Tensor = field(repr=False)
    basis: Tensor = field(repr=False)
    explained: float
    rank: int
    rows: int
    old: int = 0

    def layer(self) -> nn.Linear:
        """Return centring and projection as one stock layer, for unit rows; float32."""
        layer = nn.Linear(self.basis.shape[1], self.basis.shape[0])
        layer.load_state_dict({"weight": self.basis.float(), "bias": (-self.basis @ self.mean).float()})
        return layer.requires_grad_(False)

    def turned(self, rotation: Tensor) -> Projection:
        """Return the directions behind the first ``old`` turned by an orthogonal matrix; cosines stay as they are."""
        return replace(self, basis=torch.cat([self.basis[: self.old], rotation @ self.basis[self.old :]]))

    @classmethod
    def whole(cls, statistics: Moments) -> Projection:
        """Keep rows as they are: for a code, which chooses its own components."""
        width, rank = len(statistics.mean), _checked(statistics)[1]
        mean, basis = torch.zeros(width, dtype=torch.float64), torch.eye(width, dtype=torch.float64)
        return cls(mean, basis, 1.0, rank, int(statistics.rows))


def fit_projection(statistics: Moments, dim: float, centre: bool = True, old: int = 0) -> Projection:
    """Choose the components to keep.

    Args:
        statistics: Moments of the gallery's L2-normalised rows, ``(N, D)``.
        dim: a share of the variance in (0, 1), such as 0.99, or a whole number of components.
        centre: Whether the mean is subtracted. Without, as many components of the uncentred second moment are kept.
        old: Leading numbers that stay as they are, and count among ``dim``; components are those of the others.

    Raises:
        ValueError: If the rows are too few or all equal, the share is not in (0, 1), fewer components are asked for
            than stay as they are, or more than the gallery's rank.
    """
    found, rank = _checked(statistics)
    rows, width = int(statistics.rows), len(statistics.mean)
    if old:
        return _beside(statistics, dim, centre, old)
    kept = _kept(dim, found.variances, rank, width)
    if not centre:
        found = components_from_moments(_uncentred(statistics))
    explained = float(found.variances[:kept].sum() / found.variances.sum())
    return Projection(found.mean, found.components[:kept], explained, rank, rows)


def _beside(statistics: Moments, dim: float, centre: bool, old: int) -> Projection:
    """Keep the first ``old`` numbers, and leading components of the others."""
    rows, width = int(statistics.rows), len(statistics.mean)
    if 1 <= dim < old:
        raise ValueError(
            f"`dim` must be at least {old}, because the first {old} numbers search the gallery of the old model; got "
            f"{dim}. Keep more, or give them up with compatible=False (--compatible false)."
        )
    variances, _ = _spread(statistics, old)
    kept = max(_kept(dim, variances, old + _rank(variances[old:]), width), old)

    if not centre:
        statistics = _uncentred(statistics)
    variances, directions = _spread(statistics, old)
    basis, mean = torch.eye(width, dtype=directions.dtype), statistics.mean.clone()
    basis[old:, old:], mean[:old] = directions, 0.0
    explained = float(variances[:kept].sum() / variances.sum())
    return Projection(mean, basis[:kept], explained, old + _rank(variances[old:]), rows, old)


def _spread(statistics: Moments, old: int) -> tuple[Tensor, Tensor]:
    """Return variances ``(D,)``, of the first numbers and of the others' components, and their directions."""
    matrix = (statistics.comoment + statistics.comoment.T) / (2.0 * (statistics.rows - 1.0))
    variances, directions = torch.linalg.eigh(matrix[old:, old:])
    return torch.cat([matrix.diagonal()[:old], variances.flip(0).clamp_min(0.0)]), directions.T.flip(0)


def _uncentred(statistics: Moments) -> Moments:
    """Return the second moments about zero."""
    second = statistics.comoment + statistics.rows * torch.outer(statistics.mean, statistics.mean)
    return Moments(statistics.rows, torch.zeros_like(statistics.mean), second)


def _rank(variances: Tensor) -> int:
    return min(numerical_rank(variances), int((variances > _FLOAT32_NOISE).sum()))


def _checked(statistics: Moments) -> tuple[PrincipalComponents, int]:
    """Return components and rank; raise ValueError if there are too few rows, or all are equal."""
    rows = int(statistics.rows)
    if rows < 2 or not bool(statistics.comoment.trace() > 0):
        raise ValueError(f"`gallery` must hold at least 2 different rows to fit a projection; got {rows} equal ones.")
    found = components_from_moments(statistics)
    rank = _rank(found.variances)
    if rank == 0:
        raise ValueError(
            f"`gallery` must spread further than float32 rounds; its {rows} unit rows have a total variance of "
            f"{float(found.variances.sum()):.1e}: the embedding has collapsed."
        )
    return found, rank


def _kept(dim: float, variances: Tensor, rank: int, width: int) -> int:
    if isinstance(dim, float) and 0 < dim < 1:
        return min(int(components_for(variances, dim)), rank)
    if isinstance(dim, bool) or not float(dim).is_integer() or dim < 1:
        raise ValueError(f"`dim` must be a share of the variance between 0 and 1 or a whole number; got {dim}.")
    if dim > rank:
        raise ValueError(
            f"`dim` must not exceed {rank}, the gallery's rank in {width} dimensions: directions beyond it hold "
            f"rounding error only; got {int(dim)}."
        )
    return int(dim)
