# SPDX-License-Identifier: Apache-2.0
"""Measure neural collapse as a metric; see `lightning_monocon.functional.neural_collapse`."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.neural_collapse import class_sums, collapse_from_statistics
from lightning_monocon.metrics.spectral import SpectralMetric, StatisticsOptions
from lightning_monocon.metrics.streaming import Role, check_role, named_after


class NeuralCollapse(SpectralMetric):
    r"""Measure within-class variability (NC1) and the class means' distance from a simplex (NC2); Papyan et al. 2020.

    .. math::
        \mathrm{NC1} = \frac1C\,\mathrm{tr}\bigl(\Sigma_W\Sigma_B^{+}\bigr),\qquad
        \mathrm{NC2} = \Bigl\|\frac{MM^\top}{\|MM^\top\|_F}
        - \frac{I - \frac1C 11^\top}{\sqrt{C-1}}\Bigr\|_F

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)``, ``labels`` ``(N,)`` and optionally ``role``.
    As output of ``compute`` it returns ``{"nc1", "simplex_distance"}``, 0-d float32 tensors; NaN, with one warning, if
    fewer than two classes have rows. State: ``2 D^2 + C D`` float64; it shares no update with metrics that do not read
    labels.

    Args:
        num_classes: C; labels are 0 ... C - 1, classes without rows are left out.
        normalize: Divide every row by its length first.
        role: Which rows the value describes; those of the other role are not held.
        kwargs: Those of `StatisticsOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``num_classes`` is below 2.

    Example:
        >>> metric = NeuralCollapse(num_classes=3)
        >>> metric.update(torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2))
        >>> metric.compute()["nc1"].round(decimals=4)
        tensor(0.)
    """

    higher_is_better = False

    def __init__(
        self, num_classes: int, normalize: bool = False, role: Role = "gallery", **kwargs: Unpack[StatisticsOptions]
    ) -> None:
        check_role(role)
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
            raise ValueError(f"`num_classes` must be an integer of at least 2; got {num_classes!r}.")
        super().__init__(normalize, **kwargs)
        self.num_classes = num_classes
        self.role: Role = role
        self._rows, self._sums = (named_after(name, role, num_classes) for name in ("class_rows", "class_sums"))
        self.add_state(self._rows, torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")
        # (C, 1, D); D is known after the first rows
        self.add_state(self._sums, torch.zeros(num_classes, 1, 1, dtype=torch.float64), dist_reduce_fx="sum")

    def update(  # type: ignore[override]  # labels come second, as in every metric that reads them
        self, embeddings: Tensor, labels: Tensor | None = None, role: Role = "gallery"
    ) -> None:
        """Add rows of classes 0 ... C - 1; those of the other role are not held.

        Arguments and errors are those of `KNNAccuracy.update`.
        """
        check_role(role)
        if role != self.role:
            return
        with torch.inference_mode(False):
            # First, so that a refused batch leaves no part of itself in the state.
            rows, sums = class_sums(embeddings, labels, self.num_classes, self.normalize)
            super().update(embeddings, role)
            for name, added in ((self._rows, rows), (self._sums, sums[:, None])):
                setattr(self, name, getattr(self, name) + added.to(self.state_device))

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"nc1", "simplex_distance"}``, 0-d float32."""
        rows, sums = getattr(self, self._rows), getattr(self, self._sums)
        found = collapse_from_statistics(self.statistics(self.role), rows, sums[:, 0])
        return {name: self.result(value) for name, value in found._asdict().items()}
