# SPDX-License-Identifier: Apache-2.0
"""Measure how far classes shrink to their means, and the means to a simplex (Papyan et al. 2020)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, check_labels, warn_degenerate
from lightning_monocon.functional.moments import Moments, moments, range_fault, statistics_device
from lightning_monocon.functional.unit_rows import unit_rows


class NeuralCollapseResult(NamedTuple):
    """Hold measures of neural collapse; 0-d float64 tensors.

    Attributes:
        nc1: Within-class over between-class variability, >= 0.
        simplex_distance: Distance of the normalised Gram matrix of the centred class means from a simplex's, >= 0.
    """

    nc1: Tensor
    simplex_distance: Tensor


def class_sums(embeddings: Tensor, labels: Tensor | None, num_classes: int, normalize: bool) -> tuple[Tensor, Tensor]:
    """Return each class's number of rows ``(C,)`` and their sum ``(C, D)``, float64; labels are 0 ... C - 1."""
    rows = check_embeddings(embeddings)
    known = check_labels(labels, len(rows))
    if len(known) and not (0 <= int(known.min()) and int(known.max()) < num_classes):
        raise ValueError(
            f"`labels` must lie in 0 ... {num_classes - 1} for num_classes={num_classes};"
            f" got {int(known.min())} ... {int(known.max())}."
        )
    device = statistics_device(rows.device)
    wide, known = rows.to(device).to(torch.float64), known.to(device)
    if normalize:
        wide = unit_rows(wide)
    sums = wide.new_zeros(num_classes, wide.shape[1]).index_add_(0, known, wide)
    return torch.bincount(known, minlength=num_classes).to(torch.float64), sums


def collapse_from_statistics(statistics: Moments, counts: Tensor, sums: Tensor) -> NeuralCollapseResult:
    """Return the result from all moments and the counts and sums of classes.

    It is NaN, with one warning, if fewer than two classes are present.
    """
    nan = statistics.mean.new_tensor(torch.nan)
    present = counts > 0
    classes = int(present.sum())
    if classes < 2:
        warn_degenerate(f"Neural collapse needs at least 2 classes, got {classes}")
        return NeuralCollapseResult(nan, nan)
    if fault := range_fault(statistics):
        warn_degenerate(f"The sums of squares {fault} float64 (rescale the embeddings)")
        return NeuralCollapseResult(nan, nan)
    weight, means = counts[present], sums[present] / counts[present, None]
    about = means - statistics.mean
    within = (statistics.comoment - about.T @ (weight[:, None] * about)) / statistics.rows
    centred = means - means.mean(dim=0)
    # tr(W pinv(B)) with B = M^T M / C: through the C x C Gram matrix, whose rank is at most C - 1.
    gram = centred @ centred.T
    values, vectors = torch.linalg.eigh(gram)
    kept = values > values[-1] * 1e-12 * classes
    if not values[-1] > 0:
        warn_degenerate("All class means are equal")
        return NeuralCollapseResult(nan, nan)
    axes = centred.T @ vectors[:, kept] / values[kept].sqrt()  # (D, r), the eigenvectors of B
    spread = ((within @ axes) * axes).sum(dim=0)
    nc1 = (spread / (values[kept] / classes)).sum() / classes
    ideal = torch.eye(classes, dtype=gram.dtype, device=gram.device) - 1.0 / classes
    distance = torch.linalg.matrix_norm(gram / torch.linalg.matrix_norm(gram) - ideal / (classes - 1) ** 0.5)
    return NeuralCollapseResult(nc1.clamp_min(0.0), distance)


def neural_collapse(embeddings: Tensor, labels: Tensor, normalize: bool = False) -> NeuralCollapseResult:
    r"""Return within-class variability (NC1) and the class means' distance from a simplex (NC2).

    .. math::
        \mathrm{NC1} = \frac1C\,\mathrm{tr}\bigl(\Sigma_W\Sigma_B^{+}\bigr),\qquad
        \mathrm{NC2} = \Bigl\|\frac{MM^\top}{\|MM^\top\|_F}
        - \frac{I - \frac1C 11^\top}{\sqrt{C-1}}\Bigr\|_F

    with :math:`\Sigma_W` the covariance about the class means over all rows, M the class means about their own mean
    and :math:`\Sigma_B = M^\top M/C` (Papyan, Han & Donoho 2020; the norm of NC2 as in Zhu et al. 2021). Both near 0
    for a collapsed classifier; neither says anything of classes that were not trained on.

    Args:
        embeddings: ``(N, D)``, any floating dtype.
        labels: ``(N,)`` integers from 0.
        normalize: Divide every row by its length first.

    Raises:
        TypeError: If ``embeddings`` is not a floating-point tensor or ``labels`` are not integers.
        ValueError: If a shape is wrong, a label is negative, or a row is not finite.

    Example:
        >>> result = neural_collapse(torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2))
        >>> bool(result.nc1 < 1e-9), bool(result.simplex_distance < 1e-9)
        (True, True)
    """
    rows = check_embeddings(embeddings)
    known = check_labels(labels, len(rows))
    statistics = moments(rows, normalize)
    return collapse_from_statistics(
        statistics, *class_sums(rows, known, int(known.max()) + 1 if len(known) else 1, normalize)
    )
