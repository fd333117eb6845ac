# SPDX-License-Identifier: Apache-2.0
"""Hold count, mean and co-moment of the embeddings, for the metrics that are computed from them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import NanStrategy, check_choice, check_embeddings
from lightning_monocon.functional.jackknife import Estimate, check_groups, group_numbers, jackknife_interval
from lightning_monocon.functional.moments import Moments, empty_moments, merge_all, merge_moments, moments
from lightning_monocon.metrics.streaming import ROLES, MetricOptions, Role, StreamingMetric, check_role, named_after
from lightning_monocon.metrics.sync import common_shape, widen


class SmallSampleWarning(UserWarning):
    """A spectrum was estimated from fewer than ten rows per feature, so it is biased."""


SmallSample = Literal["warn", "ignore"]


def warn_of_small_sample(name: str, statistics: Moments, small_sample: SmallSample) -> None:
    """Warn, unless told not to, if a spectrum is estimated from fewer than ten rows per feature."""
    rows, width = int(statistics.rows), len(statistics.mean)
    if small_sample == "warn" and 2 <= rows < 10 * width:
        warnings.warn(
            f"{name} of {rows} rows in {width} dimensions is biased: below {10 * width} rows compare only at equal"
            " numbers of rows.",
            SmallSampleWarning,
            stacklevel=4,
        )


def pack(statistics: Moments) -> Tensor:
    """Return the statistics as one ``(D + 1, D + 1)`` tensor: count and mean in the first row, the co-moment below."""
    width = len(statistics.mean)
    packed = statistics.mean.new_zeros(width + 1, width + 1)
    packed[0, 0], packed[0, 1:], packed[1:, 1:] = statistics
    return packed


def unpack(packed: Tensor) -> Moments:
    """Return the statistics that `pack` took, as views; a ``(1, 1)`` tensor holds no rows and no features."""
    return Moments(packed[0, 0], packed[0, 1:], packed[1:, 1:])


def merge_packed(stacked: Tensor) -> Tensor:
    """Merge packed statistics ``(R, G, D + 1, D + 1)`` of R ranks or batches group by group: a ``dist_reduce_fx``."""
    return torch.stack([pack(merge_all([unpack(part) for part in group])) for group in stacked.unbind(1)])


class StatisticsOptions(MetricOptions, total=False):
    """Type the keyword arguments of the metrics of the spectrum, beside those of `torchmetrics.Metric`.

    Attributes:
        nan_strategy: Rows with NaN or Inf raise (``"error"``, the default), or are left out with (``"warn"``) or
            without (``"ignore"``) a warning.
        groups: Parts that the rows are dealt to, 1 by default; ``estimate`` needs at least 2, better 10.
    """

    nan_strategy: NanStrategy
    groups: int


class SpectralMetric(StreamingMetric):
    """Hold one set of sufficient statistics for every metric of the spectrum.

    Two states, the packed float64 statistics of gallery and query rows: at most ``2 D^2 + O(D)`` numbers whatever
    the number of rows. They are named after how the rows are prepared, so a ``MetricCollection`` updates all metrics
    of equal preparation once (compute groups), and never mixes two preparations that happen to agree on a batch.

    With ``groups > 1`` rows are dealt to that many sets of statistics by a hash of their numbers, whatever the order,
    the batches and the ranks; their union is the whole. A delete-group jackknife needs this, at ``groups`` times the
    state.
    """

    def __init__(
        self,
        normalize: bool = True,
        nan_strategy: NanStrategy = "error",
        groups: int = 1,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        check_choice("nan_strategy", nan_strategy, get_args(NanStrategy))
        super().__init__(**kwargs)
        self.normalize = normalize
        self.nan_strategy: NanStrategy = nan_strategy
        self.groups = groups
        for role in ROLES:
            default = torch.zeros(groups, 1, 1, dtype=torch.float64)
            self.add_state(self._state_name(role), default, dist_reduce_fx=merge_packed)

    def _state_name(self, role: str) -> str:
        return named_after(role, "unit" if self.normalize else "raw", self.nan_strategy, self.groups)

    def group_statistics(self, role: Role = "gallery") -> list[Moments]:
        """Return this rank's statistics of the rows with ``role``, one entry a group; views, not to be changed."""
        check_role(role)
        return [unpack(packed) for packed in getattr(self, self._state_name(role))]

    def statistics(self, role: Role = "gallery") -> Moments:
        """Return this rank's statistics of the rows with ``role`` so far; views, not to be changed."""
        return merge_all(self.group_statistics(role))

    def features(self) -> int:
        """Return D over all ranks, 0 before any row; every rank must call it."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return max(len(self.group_statistics(role)[0].mean) for role in ROLES)

    def update(self, embeddings: Tensor, role: Role = "gallery") -> None:
        """Add rows.

        Args:
            embeddings: ``(N, D)``, float16, bfloat16, float32 or float64; ``N`` may be 0.
            role: Whether they are gallery (what subspaces are fitted on) or query.

        Raises:
            TypeError: If ``embeddings`` is not a floating-point tensor.
            ValueError: If the shape, width or role is wrong, or a row is not finite under ``nan_strategy="error"``.
        """
        seen = self.group_statistics(role)
        width = max(len(self.group_statistics(side)[0].mean) for side in ROLES) or None
        rows = check_embeddings(embeddings, width=width)
        # Outside inference mode, so that the state can be updated in either mode later.
        with torch.inference_mode(False):
            parts = [rows]
            if self.groups > 1:
                number = group_numbers(rows, self.groups, self.normalize).to(rows.device)
                parts = [rows[number == index] for index in range(self.groups)]
            added = [self._added(*pair) for pair in zip(seen, parts, strict=True)]
            setattr(self, self._state_name(role), torch.stack(added))

    def _added(self, seen: Moments, rows: Tensor) -> Tensor:
        batch = moments(rows, self.normalize, self.nan_strategy)
        if not len(seen.mean):
            seen = empty_moments(rows.shape[1], seen.mean.device)
        return pack(merge_moments(seen, Moments(*(part.to(seen.mean.device) for part in batch))))

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        # A side that saw no rows has no width yet; `forward` and `merge_state` would stack unequal shapes.
        incoming = dict(incoming_state)
        for name in self._defaults:
            shape = common_shape([tuple(getattr(self, name).shape), tuple(incoming[name].shape)])
            setattr(self, name, widen(getattr(self, name), shape))
            incoming[name] = widen(incoming[name], shape)
        super()._reduce_states(incoming)


class SpectrumOptions(StatisticsOptions, total=False):
    """Type the keyword arguments of the metrics of one role's spectrum, beside those of `StatisticsOptions`.

    Attributes:
        role: Which rows the value describes; ``"gallery"`` by default.
        small_sample: Below ten rows per feature ``"warn"``, the default, or ``"ignore"``.
    """

    role: Role
    small_sample: SmallSample


class SpectrumOfOneRole(SpectralMetric):
    """Describe the rows of one role; base of most spectral metrics.

    Args:
        normalize: Divide every row by its length first.
        nan_strategy: Rows with NaN or Inf raise (``"error"``), or are left out with (``"warn"``) or without
            (``"ignore"``) a warning.
        role: Which rows the value describes; rows of the other role are kept for metrics that share the statistics.
        small_sample: Below ten rows per feature ``"warn"`` or ``"ignore"``.
        groups: Parts that the rows are dealt to; `estimate` needs at least 2, better 10. State and memory grow
            by this factor.
        kwargs: Those of `torchmetrics.Metric`.
    """

    biased_by_small_samples = True
    centred = True

    def __init__(
        self,
        normalize: bool = True,
        nan_strategy: NanStrategy = "error",
        role: Role = "gallery",
        small_sample: SmallSample = "warn",
        groups: int = 1,
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        check_role(role)
        check_choice("small_sample", small_sample, get_args(SmallSample))
        super().__init__(normalize, nan_strategy, groups, **kwargs)
        self.role: Role = role
        self.small_sample: SmallSample = small_sample

    @abstractmethod
    def value(self, statistics: Moments) -> Tensor:
        """Return the metric's value of given statistics, 0-d float64."""

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return the value, 0-d float32."""
        return self.result(self.value(self.described()))

    def estimate(self, confidence: float = 0.95) -> Estimate:
        """Return the value with its delete-group jackknife interval, and what it describes; float64, over all ranks.

        Raises:
            ValueError: If the metric was made with ``groups`` below 2, or ``confidence`` is not in (0, 1).
        """
        check_groups(self.groups, confidence)
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            parts, whole = self.group_statistics(self.role), self.described()
            value, low, high = self.interval(parts, confidence)
            rows, width = int(whole.rows), len(whole.mean)
        return Estimate(value, low, high, confidence, rows, width, self.normalize, self.centred, self.role)

    def interval(self, parts: list[Moments], confidence: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return value, low and high from the statistics of the groups."""
        return jackknife_interval(parts, self.value, confidence)

    def described(self) -> Moments:
        """Return the statistics that the value describes, after a warning if they are of a small sample."""
        statistics = self.statistics(self.role)
        if self.biased_by_small_samples:
            warn_of_small_sample(type(self).__name__, statistics, self.small_sample)
        return statistics
