# SPDX-License-Identifier: Apache-2.0
"""Measure the alignment of positive pairs as a metric; see `lightning_monocon.functional.alignment`."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.alignment import alignment_sum, check_alpha
from lightning_monocon.functional.checks import warn_degenerate
from lightning_monocon.metrics.streaming import MetricOptions, StreamingMetric, named_after


class Alignment(StreamingMetric):
    r"""Compute the mean distance of positive pairs of unit rows, >= 0; lower is better aligned (Wang & Isola 2020).

    .. math::
        \frac1N\sum_i |u_i - v_i|^\alpha

    As input to ``update`` the metric accepts ``embeddings`` and ``positives``, ``(N, D)`` each, row by row a pair.
    As output of ``compute`` it returns a 0-d float32 tensor; NaN, with one warning, if there is no pair.

    Args:
        alpha: The exponent.
        kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``alpha`` is not positive.

    Example:
        >>> metric = Alignment()
        >>> metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        >>> metric.compute()
        tensor(2.)
    """

    higher_is_better = False
    pairs: Tensor

    def __init__(self, alpha: float = 2.0, **kwargs: Unpack[MetricOptions]) -> None:
        check_alpha(alpha)
        super().__init__(**kwargs)
        self.alpha = alpha
        # named after the exponent, so that compute groups never mix two that agree on a batch
        self._total = named_after("total", alpha)
        for name in (self._total, "pairs"):
            self.add_state(name, torch.zeros(1, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, embeddings: Tensor, positives: Tensor) -> None:
        """Add pairs.

        Args:
            embeddings: ``(N, D)``, any floating dtype; ``N`` may be 0.
            positives: ``(N, D)``, row i the positive of row i.

        Raises:
            TypeError: If an input is not a floating-point tensor.
            ValueError: If shapes do not match or a row is not finite.
        """
        with torch.inference_mode(False):
            added = alignment_sum(embeddings, positives, self.alpha).to(self.state_device)
            setattr(self, self._total, getattr(self, self._total) + added)
            self.pairs = self.pairs + len(embeddings)

    def compute(self) -> Tensor:
        """Return the alignment, 0-d float32."""
        if not self.pairs > 0:
            warn_degenerate("Alignment needs at least 1 pair, got 0")
        total: Tensor = getattr(self, self._total)
        return self.result((total / self.pairs)[0])
