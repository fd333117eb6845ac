# SPDX-License-Identifier: Apache-2.0
"""Fit a transform code: principal components, bits by reverse water-filling, Lloyd-Max levels."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.fitting import FittingRows, check_size, check_varying
from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.space import Scoring, Space

_MOST_BITS = 8
_COLUMNS = 32  # that are sorted at a time


def fit_transform(rows: FittingRows, size: int, scoring: Scoring = "whole") -> Codec:
    """Fit a transform code of ``size`` bytes.

    Args:
        rows: What to fit on.
        size: Bytes of a code.
        scoring: What a score estimates.

    Returns:
        The codec. It is smaller than ``size`` where every component that varies has its 8 bits.

    Raises:
        ValueError: If ``size`` is below 1, or no component varies.
    """
    check_size(size)
    check_varying(rows)
    found = rows.components
    bits = allocate_bits(found.variances, 8 * size)
    kept = int((bits > 0).sum())
    space = Space(found.mean.float(), found.components[:kept].float(), rows.similarity, scoring)
    coordinates = rows.sample.double() @ space.matrix.double().T - space.offset
    levels = lloyd_max(coordinates, bits[:kept])
    return Codec(f"transform-{-(-int(bits.sum()) // 8)}", "transform", space, LevelQuantiser(bits[:kept], levels))


def allocate_bits(variances: Tensor, total: int) -> Tensor:
    """Give at most ``total`` bits to components one at a time, each to the largest distortion that is left.

    A bit quarters a component's distortion (6 dB), so this is reverse water-filling in whole bits.

    Returns:
        ``(D,)`` int64, from 0 to 8, descending.
    """
    bits = torch.zeros(len(variances), dtype=torch.int64)
    left = variances.double().clone()
    left[left <= left.amax() * torch.finfo(torch.float64).eps * len(left)] = 0.0  # rounding, no variance
    for _ in range(total):
        j = int(left.argmax())
        if left[j] <= 0:
            break  # bits beyond these would tell nothing
        bits[j] += 1
        left[j] = left[j] / 4 if bits[j] < _MOST_BITS else 0.0
    return bits


def lloyd_max(coordinates: Tensor, bits: Tensor, rounds: int = 50) -> Tensor:
    """Return the levels ``(k, 2 ** max(bits))`` float32 that minimise the squared error of each column's own sample."""
    levels = torch.zeros(len(bits), 2 ** int(bits.max()), dtype=torch.float64)
    for own in sorted(set(bits.tolist())):
        for columns in torch.split((bits == own).nonzero().flatten(), _COLUMNS):
            sample = coordinates[:, columns].T.contiguous()
            sample.numpy().sort(axis=1)  # several times as fast as torch's
            levels[columns, : 2**own] = _levels(sample, 2**own, rounds)
    return levels.float()


def _levels(columns: Tensor, count: int, rounds: int) -> Tensor:
    """Return ``count`` levels of each of some sorted columns ``(g, n)``, as ``(g, count)``."""
    sums = torch.nn.functional.pad(columns.cumsum(1), (1, 0))
    levels = columns[:, ((torch.arange(count) + 0.5) / count * columns.shape[1]).long()]
    ends = torch.zeros(len(columns), count + 1, dtype=torch.int64)
    ends[:, -1] = columns.shape[1]
    for _ in range(rounds):
        edges = torch.searchsorted(columns, (levels[:, 1:] + levels[:, :-1]) / 2, right=True)
        if torch.equal(edges, ends[:, 1:-1]):
            break  # so are the levels, from now on
        ends[:, 1:-1] = edges
        size = ends.diff(dim=1)
        levels = torch.where(size > 0, sums.gather(1, ends).diff(dim=1) / size.clamp_min(1), levels)
    return levels
