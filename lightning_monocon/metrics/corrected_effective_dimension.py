# SPDX-License-Identifier: Apache-2.0
"""Estimate the effective dimension without bias; see `lightning_monocon.functional.corrected_effective_dimension`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import NanStrategy, check_variance
from lightning_monocon.functional.corrected_effective_dimension import corrected_from_parts
from lightning_monocon.functional.jackknife import check_groups
from lightning_monocon.functional.moments import Moments
from lightning_monocon.metrics.spectral import SmallSample, SpectrumOfOneRole
from lightning_monocon.metrics.streaming import MetricOptions, Role


class CorrectedEffectiveDimension(SpectrumOfOneRole):
    """Estimate the effective dimension of the population behind the rows, with an interval, or refuse.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns ``{"corrected_effective_dimension", "corrected_effective_dimension_low",
    "corrected_effective_dimension_high"}``, 0-d float32 tensors; if the rows are too few, value and upper end are
    NaN, with one warning. State: ``groups`` times ``2 D^2``.

    Args:
        variance: The share to explain, in (0, 1].
        groups: Parts for cross-validation and jackknife, at least 2.
        confidence: Nominal coverage of the interval.
        normalize: Divide every row by its length first.
        nan_strategy: See `SpectrumOptions`, as for the next two.
        role: Which rows the value describes.
        small_sample: Has no effect; a small sample is refused.
        kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> metric = CorrectedEffectiveDimension(normalize=False)
        >>> metric.update(torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) @ torch.eye(3, 8))
        >>> metric.compute()["corrected_effective_dimension"]
        tensor(3.)
    """

    higher_is_better = False
    biased_by_small_samples = False  # it refuses a small sample instead

    def __init__(
        self,
        variance: float = 0.99,
        groups: int = 10,
        confidence: float = 0.95,
        normalize: bool = True,
        nan_strategy: NanStrategy = "error",
        role: Role = "gallery",
        small_sample: SmallSample = "warn",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        check_variance(variance)
        check_groups(groups, confidence)
        super().__init__(normalize, nan_strategy, role, small_sample, groups, **kwargs)
        self.variance, self.confidence = variance, confidence

    def value(self, statistics: Moments) -> Tensor:
        """Return the corrected value alone; of one set of statistics it is refused."""
        return corrected_from_parts([statistics], self.variance, self.confidence)[0]

    def interval(self, parts: list[Moments], confidence: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return value, low and high from the statistics of the groups."""
        return corrected_from_parts(parts, self.variance, confidence)

    def compute(self) -> dict[str, Tensor]:
        """Return value, low and high, 0-d float32."""
        ends = corrected_from_parts(self.group_statistics(self.role), self.variance, self.confidence)
        name = "corrected_effective_dimension"
        return {key: self.result(end) for key, end in zip((name, f"{name}_low", f"{name}_high"), ends, strict=True)}
