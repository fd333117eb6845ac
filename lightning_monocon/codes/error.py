# SPDX-License-Identifier: Apache-2.0
"""Measure how far decoded vectors lie from the rows that were encoded."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.codes.codec import Codec
from lightning_monocon.functional.checks import check_embeddings, finite_rows
from lightning_monocon.functional.unit_rows import unit_rows


def squared_error(codec: Codec, rows: Tensor) -> float:
    r"""Return the mean squared error of rows that are encoded and decoded, summed over the numbers of a row.

    .. math:: \tfrac1N \sum_i \lVert x_i - m - a\, W^{+} \hat y_i \rVert^2

    with the codec's mean m, the pseudo-inverse of its matrix W (the transpose where its rows are orthonormal, as those
    of a learnt code are not) and decoded coordinates. A score by cosine sees no length, and codes such as
    signs decode to none; so all decoded coordinates are scaled by the one factor a that makes the error least, which
    is about 1 for levels that are the means of their cells.

    Args:
        codec: The code.
        rows: ``(N, D)``, floating-point; scaled to unit length first where the codec does so.

    Returns:
        The error in the unit of the variances of such rows, to be compared with `rate_distortion`. What the matrix
        leaves out counts.

    Raises:
        TypeError: If ``rows`` is not a floating-point tensor.
        ValueError: If there is no row, its width is not the codec's, or one is not finite.
    """
    check_embeddings(rows, "rows", codec.dim)
    finite_rows(rows, "error", "rows")
    if not len(rows):
        raise ValueError("`rows` must hold at least one row to measure an error; got 0.")
    codec = codec.to(rows.device)
    space = codec.space
    matrix = space.matrix.double()
    back = torch.linalg.pinv(matrix @ matrix.T, hermitian=True) @ matrix
    decoded = codec.quantiser.decode(codec.encode(rows)).double() @ back
    scaled = unit_rows(rows.double()) if space.similarity == "cosine" else rows.double()
    target = scaled - space.mean.double()
    length = decoded.square().sum()
    factor = (target * decoded).sum() / length if length > 0 else length
    return float((target - factor * decoded).square().sum(1).mean())
