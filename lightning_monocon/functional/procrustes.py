# SPDX-License-Identifier: Apache-2.0
"""Fit the rotation that brings the rows of one space closest to those of another."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.unit_rows import unit_rows


def procrustes(rows: Tensor, target: Tensor) -> Tensor:
    r"""Return the orthonormal map R ``(D, k)`` with the largest mean cosine between ``rows @ R`` and ``target``.

    Of unit rows X ``(N, D)`` and Y ``(N, k)`` it maximises :math:`\sum_i \langle x_i R, y_i\rangle`: with
    :math:`X^\top Y = U \Sigma V^\top`, R is :math:`U V^\top` (Schönemann 1966). For D = k that is the least-squares
    rotation of `scipy.linalg.orthogonal_procrustes`; otherwise R has orthonormal columns (D > k) or rows (D < k), and
    for D > k it leaves out of account that the mapped rows are shorter, which no cosine sees.

    Args:
        rows: ``(N, D)`` floating-point; row i is what one model makes of an input.
        target: ``(N, k)``; row i is what the other model makes of it.

    Raises:
        ValueError: If the numbers of rows differ, or there are none.

    Example:
        >>> turned = torch.tensor([[0.0, 2.0], [-3.0, 0.0]])
        >>> torch.eye(2) @ procrustes(torch.eye(2), turned).float()
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    if rows.ndim != 2 or target.ndim != 2 or len(rows) != len(target) or not len(rows):
        raise ValueError(
            f"`rows` and `target` must be two embeddings of the same inputs, (N, D) and (N, k); got "
            f"{tuple(rows.shape)} and {tuple(target.shape)}."
        )
    left, _, right = torch.linalg.svd(unit_rows(rows.double()).T @ unit_rows(target.double()), full_matrices=False)
    found: Tensor = left @ right
    return found
