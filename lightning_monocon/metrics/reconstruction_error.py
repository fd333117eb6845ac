# SPDX-License-Identifier: Apache-2.0
"""Reconstruction error as a metric; the arithmetic is :func:`lightning_monocon.functional.reconstruction_error`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_monocon.functional.checks import NanStrategy, check_variance
from lightning_monocon.functional.moments import Moments, empty_moments
from lightning_monocon.functional.reconstruction_error import reconstruction_from_moments
from lightning_monocon.metrics.spectral import SpectralMetric


class ReconstructionError(SpectralMetric):
    r"""What the gallery's principal subspace leaves out of the query (MonoCon: robustness).

    .. math::
        \mathrm{rmse} = \sqrt{\frac{1}{ND}\sum_i |r_i|^2},\quad
        \mathrm{fvu} = \frac{\sum_i |r_i|^2}{\sum_i |q_i - m|^2},\quad r_i = (I - P)(q_i - m)

    with m and P the gallery's mean and the projector on its first k principal components, k its effective dimension.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and ``role``, ``"gallery"`` or ``"query"``.
    As output of ``compute`` it returns ``{"rmse", "fvu", "dimension"}``, 0-d float32 tensors; NaN and one warning
    where the gallery has fewer than two rows or no variance, or the query has no row.

    Args:
        variance: The share of the gallery's variance that fixes k, in (0, 1].
        normalize: Divide every row by its length first.
        nan_strategy: Rows with NaN or Inf raise (``"error"``), or are left out with (``"warn"``) or without
            (``"ignore"``) a warning.
        kwargs: See :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``variance`` is outside (0, 1] or ``nan_strategy`` is unknown.

    Example:
        >>> import torch
        >>> metric = ReconstructionError(normalize=False)
        >>> metric.update(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), role="gallery")
        >>> metric.update(torch.tensor([[3.0, 4.0]]), role="query")
        >>> metric.compute()["fvu"]
        tensor(0.6400)
    """

    higher_is_better = False

    def __init__(
        self,
        variance: float = 0.99,
        normalize: bool = True,
        nan_strategy: NanStrategy = "error",
        **kwargs: Any,  # noqa: ANN401 - the options of torchmetrics.Metric
    ) -> None:
        check_variance(variance)
        super().__init__(normalize, nan_strategy, **kwargs)
        self.variance = variance

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"rmse", "fvu", "dimension"}``, 0-d float32 tensors."""
        gallery, query = self.statistics("gallery"), self.statistics("query")
        width = max(len(gallery.mean), len(query.mean))
        sides = (_of_width(gallery, width), _of_width(query, width))
        values = reconstruction_from_moments(*sides, self.variance)._asdict()
        return {name: self.result(value) for name, value in values.items()}


def _of_width(statistics: Moments, width: int) -> Moments:
    """Return the statistics, those of no rows with the width of the other side."""
    return statistics if len(statistics.mean) == width else empty_moments(width, statistics.mean.device)
