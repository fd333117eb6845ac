# SPDX-License-Identifier: Apache-2.0
"""Count how many different rows there are, in constant memory."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_embeddings
from lightning_monocon.functional.row_keys import distinct_rows, row_keys
from lightning_monocon.metrics.streaming import MetricOptions, Role, StreamingMetric, check_role, named_after

_NONE = torch.iinfo(torch.int64).max  # fills a sketch that is not full


def merge_sketches(stacked: Tensor) -> Tensor:
    """Return the smallest distinct keys of several sketches ``(R, K)`` as one ``(K,)``: a ``dist_reduce_fx``."""
    return _sketch(stacked.flatten(), stacked.shape[1])


def _sketch(keys: Tensor, size: int) -> Tensor:
    """Return the ``size`` smallest distinct keys, ascending, filled up to ``size``."""
    smallest = torch.unique(keys)[:size]
    return torch.cat([smallest, smallest.new_full((size - len(smallest),), _NONE)])


class DistinctRows(StreamingMetric):
    """Count rows, and estimate from the smallest of their keys how many of them differ.

    Exact up to ``size`` different rows, beyond that with a standard error of ``1 / sqrt(size)``. Rows are equal when
    all their numbers are; near-duplicates count as different.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns ``{"rows", "distinct_rows"}``, 0-d float32 tensors.

    Args:
        size: Keys held.
        role: Which rows are counted.
        kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``size`` is below 2.

    Example:
        >>> metric = DistinctRows()
        >>> metric.update(torch.eye(3).repeat(4, 1))
        >>> metric.compute()
        {'rows': tensor(12.), 'distinct_rows': tensor(3.)}
    """

    def __init__(self, size: int = 4096, role: Role = "gallery", **kwargs: Unpack[MetricOptions]) -> None:
        check_role(role)
        if isinstance(size, bool) or not isinstance(size, int) or size < 2:
            raise ValueError(f"`size` must be an integer of at least 2; got {size!r}.")
        super().__init__(**kwargs)
        self.role: Role = role
        self._sketch, self._seen = named_after("sketch", role, size), named_after("seen", role)
        self.add_state(self._sketch, torch.full((size,), _NONE, dtype=torch.int64), dist_reduce_fx=merge_sketches)
        self.add_state(self._seen, torch.zeros(1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, embeddings: Tensor, role: Role = "gallery") -> None:
        """Add rows, which may hold any number; those of the other role are not counted."""
        check_role(role)
        rows = check_embeddings(embeddings)
        if role != self.role:
            return
        with torch.inference_mode(False):
            keys = row_keys(rows).to(self.state_device)
            sketch, seen = self._states()
            setattr(self, self._sketch, _sketch(torch.cat([sketch, keys]), len(sketch)))
            setattr(self, self._seen, seen + len(rows))

    def compute(self) -> dict[str, Tensor]:
        """Return ``{"rows", "distinct_rows"}``, 0-d float32."""
        sketch, seen = self._states()
        held = sketch[sketch < _NONE]
        return {"rows": self.result(seen[0]), "distinct_rows": self.result(distinct_rows(held, len(sketch)))}

    def _states(self) -> tuple[Tensor, Tensor]:
        return getattr(self, self._sketch), getattr(self, self._seen)
