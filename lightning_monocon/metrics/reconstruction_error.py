# SPDX-License-Identifier: Apache-2.0
"""Measure reconstruction error as a metric; see `lightning_monocon.functional.reconstruction_error`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import NanStrategy, check_choice, check_variance
from lightning_monocon.functional.jackknife import Estimate, check_groups, student_interval
from lightning_monocon.functional.moments import Moments, empty_moments, merge_all
from lightning_monocon.functional.reconstruction_error import ReconstructionResult, reconstruction_from_moments
from lightning_monocon.metrics.spectral import SmallSample, SpectralMetric, warn_of_small_sample
from lightning_monocon.metrics.streaming import MetricOptions


class ReconstructionError(SpectralMetric):
    r"""Measure what the gallery's principal subspace leaves out of the query (MonoCon: robustness).

    .. math::
        \mathrm{rmse} = \sqrt{\frac{1}{ND}\sum_i |r_i|^2},\quad
        \mathrm{fvu} = \frac{\sum_i |r_i|^2}{\sum_i |q_i - m|^2},\quad r_i = (I - P)(q_i - m)

    with m and P the gallery's mean and the projector on its first k principal components, k its effective dimension.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and ``role``, ``"gallery"`` or ``"query"``.
    As output of ``compute`` it returns ``{"rmse", "fvu", "dimension"}``, 0-d float32 tensors; NaN, with one
    warning, if the gallery has fewer than two rows or no variance, or the query has no row.

    Args:
        variance: The share of the gallery's variance that fixes k, in (0, 1].
        normalize: Divide every row by its length first.
        nan_strategy: Rows with NaN or Inf raise (``"error"``), or are left out with (``"warn"``) or without
            (``"ignore"``) a warning.
        small_sample: Below ten gallery rows per feature ``"warn"`` or ``"ignore"``.
        groups: Parts that the rows are dealt to; `estimate` needs at least 2, better 10.
        kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``variance`` is outside (0, 1] or ``nan_strategy`` is unknown.

    Example:
        >>> import torch
        >>> metric = ReconstructionError(normalize=False, small_sample="ignore")
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
        small_sample: SmallSample = "warn",
        groups: int = 1,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        check_variance(variance)
        check_choice("small_sample", small_sample, get_args(SmallSample))
        super().__init__(normalize, nan_strategy, groups, **kwargs)
        self.variance = variance
        self.small_sample: SmallSample = small_sample

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"rmse", "fvu", "dimension"}``, 0-d float32 tensors."""
        gallery, query = (merge_all(side) for side in self._sides())
        warn_of_small_sample(type(self).__name__, gallery, self.small_sample)
        values = reconstruction_from_moments(gallery, query, self.variance)._asdict()
        return {name: self.result(value) for name, value in values.items()}

    def estimate(self, confidence: float = 0.95) -> dict[str, Estimate]:
        """Return each value with its delete-group jackknife interval; float64, over all ranks.

        Group g of the gallery and group g of the query are left out together. ``rows`` are those of the gallery.

        Raises:
            ValueError: If the metric was made with ``groups`` below 2, or ``confidence`` is not in (0, 1).
        """
        check_groups(self.groups, confidence)
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            gallery, query = self._sides()
            pairs = [Pair(*pair) for pair in zip(gallery, query, strict=True)]
        whole = merge_all(gallery)
        warn_of_small_sample(type(self).__name__, whole, self.small_sample)
        rows, width = int(whole.rows), len(whole.mean)
        without = [merge_pairs([*pairs[:index], *pairs[index + 1 :]]) for index in range(len(pairs))]
        value, *rest = (self._values(pair) for pair in (merge_pairs(pairs), *without))
        estimates = {}
        for index, name in enumerate(ReconstructionResult._fields):
            ends = student_interval(value[index], torch.stack([one[index] for one in rest]), confidence)
            estimates[name] = Estimate(*ends, confidence, rows, width, self.normalize)
        return estimates

    def _values(self, pair: Pair) -> ReconstructionResult:
        return reconstruction_from_moments(pair.gallery, pair.query, self.variance)

    def _sides(self) -> tuple[list[Moments], list[Moments]]:
        """Return the groups of gallery and query, those of no rows with the width of the other side."""
        sides = self.group_statistics("gallery"), self.group_statistics("query")
        width = max(len(side[0].mean) for side in sides)
        gallery, query = (
            [part if len(part.mean) == width else empty_moments(width, part.mean.device) for part in side]
            for side in sides
        )
        return gallery, query


class Pair(NamedTuple):
    """Hold one group of rows: its part of the gallery and of the query."""

    gallery: Moments
    query: Moments


def merge_pairs(pairs: Sequence[Pair]) -> Pair:
    """Return all groups together."""
    return Pair(merge_all([pair.gallery for pair in pairs]), merge_all([pair.query for pair in pairs]))
