# SPDX-License-Identifier: Apache-2.0
"""Hold rows, all of them or a seeded sample of bounded size, for the metrics that need the rows themselves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.checks import check_embeddings, finite_rows
from lightning_monocon.functional.row_keys import row_keys, smallest
from lightning_monocon.metrics.streaming import MetricOptions, Role, StreamingMetric, check_role, named_after


class HeldRows(NamedTuple):
    """Hold the rows of one role over all ranks.

    Attributes:
        rows: ``(N, D)``; all rows, or the sample.
        labels: ``(N,)`` int64; empty for metrics without labels.
        seen: How many rows there were.
    """

    rows: Tensor
    labels: Tensor
    seen: int


def check_bound(name: str, bound: int | None) -> None:
    """Raise ValueError unless ``bound`` is None or a positive integer."""
    if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 1):
        raise ValueError(f"`{name}` must be a positive number of rows, or None for all; got {bound!r}.")


def join_in_place(parts: list[Tensor]) -> None:
    """Join the parts of a list in place and free each as it is copied, so that memory never doubles."""
    total = sum(len(part) for part in parts)
    joined = torch.empty(total, *parts[0].shape[1:], dtype=_widest(parts), device=parts[0].device)
    while parts:  # from the end, so that the allocator can give the top of its heap back
        part = parts.pop()
        total -= len(part)
        joined[total : total + len(part)] = part
    parts.append(joined)


def _widest(parts: list[Tensor]) -> torch.dtype:
    return reduce(torch.promote_types, (part.dtype for part in parts))


class RowsMetric(StreamingMetric):
    """Hold rows as given, and labels if ``labelled``, on each rank; ``compute`` gathers them.

    With a bound the state is a uniform sample of at most twice that many rows, chosen by the content of the rows and
    ``seed``: the same rows whatever the batches and the number of ranks. Metrics with equal bounds and seed share
    one update in a ``MetricCollection``.

    Args:
        bounds: For each role whose rows are held, how many at most; None for all.
        seed: Chooses the sample.
        kwargs: Those of `torchmetrics.Metric`.
    """

    labelled = False

    def __init__(self, bounds: Mapping[Role, int | None], seed: int = 0, **kwargs: Unpack[MetricOptions]) -> None:
        super().__init__(**kwargs)
        self.bounds = dict(bounds)
        self.seed = seed
        for role in self.bounds:
            for part in ("rows", "labels") if self.labelled else ("rows",):
                self.add_state(self._name(role, part), [], dist_reduce_fx="cat")
            self.add_state(self._name(role, "seen"), torch.zeros(1, dtype=torch.int64), dist_reduce_fx="sum")

    def _name(self, role: Role, part: str) -> str:
        # Named after the sample, so that compute groups never mix two samples that agree on the first batch.
        bound = self.bounds[role]
        return f"{role}_{part}" if bound is None else named_after(f"{role}_{part}", bound, self.seed)

    def _parts(self, role: Role, part: str) -> list[Tensor]:
        parts: list[Tensor] = getattr(self, self._name(role, part))  # until the ranks are gathered
        return parts

    def _seen(self, role: Role) -> Tensor:
        seen: Tensor = getattr(self, self._name(role, "seen"))
        return seen

    def _add(self, role: Role, embeddings: Tensor, labels: Tensor | None = None) -> None:
        check_role(role)
        held = [rows for side in self.bounds for rows in self._parts(side, "rows")]
        rows = check_embeddings(embeddings, width=held[0].shape[1] if held else None)
        finite_rows(rows, "error")
        if role not in self.bounds:
            return
        with torch.inference_mode(False):
            # A copy, so that neither an inference tensor nor a later change in place gets into the state.
            self._parts(role, "rows").append(rows.to(self.state_device, copy=True))
            if labels is not None:
                self._parts(role, "labels").append(labels.to(self.state_device, copy=True))
            setattr(self, self._name(role, "seen"), self._seen(role) + len(rows))
            bound = self.bounds[role]
            if bound is not None and sum(len(part) for part in self._parts(role, "rows")) > 2 * bound:
                self._compact(role)

    def _compact(self, role: Role) -> None:
        held = self.held(role)
        setattr(self, self._name(role, "rows"), [held.rows])
        if self.labelled:
            setattr(self, self._name(role, "labels"), [held.labels])

    def held(self, role: Role) -> HeldRows:
        """Return the rows of ``role``, all of them, or the sample in the order of its keys."""
        rows = self._joined(role, "rows", torch.empty(0, 1))
        labels = self._joined(role, "labels", torch.empty(0, dtype=torch.int64)) if self.labelled else torch.empty(0)
        bound = self.bounds[role]
        if bound is not None:
            chosen = smallest(row_keys(rows, self.seed), bound)
            rows, labels = rows[chosen], labels[chosen] if self.labelled else labels
        return HeldRows(rows, labels, int(self._seen(role)))

    def _with_sizes(self, values: dict[str, Tensor], role: Role, name: str) -> dict[str, Tensor]:
        if self.bounds[role] is not None:
            held = self.held(role)
            sizes = {f"{name}_kept": len(held.rows), f"{name}_seen": held.seen}
            values = values | {key: torch.tensor(float(size)) for key, size in sizes.items()}
        return {key: self.result(value) for key, value in values.items()}

    def _joined(self, role: Role, part: str, nothing: Tensor) -> Tensor:
        state: Tensor | list[Tensor] = getattr(self, self._name(role, part))
        if isinstance(state, Tensor):  # gathered from the ranks
            return state
        if len(state) > 1:
            join_in_place(state)  # for every metric of the group, which shares the list
        return state[0] if state else nothing


class SampleOptions(MetricOptions, total=False):
    """Type the keyword arguments of the metrics of one role's rows, beside those of `torchmetrics.Metric`.

    Attributes:
        seed: Chooses the sample; 0 by default.
        role: Which rows the value describes; ``"gallery"`` by default. Those of the other role are not held.
    """

    seed: int
    role: Role


class RowsOfOneRole(RowsMetric):
    """Hold the rows of one role, for the metrics that compare them with each other in O(N^2) time.

    Args:
        max_rows: Hold a seeded sample of at most so many rows; None for all.
        seed: Chooses the sample.
        role: Which rows the value describes; those of the other role are not held.
        kwargs: Those of `torchmetrics.Metric`.
    """

    def __init__(
        self, max_rows: int | None = None, seed: int = 0, role: Role = "gallery", **kwargs: Unpack[MetricOptions]
    ) -> None:
        check_role(role)
        check_bound("max_rows", max_rows)
        super().__init__({role: max_rows}, seed, **kwargs)
        self.role: Role = role

    def update(self, embeddings: Tensor, role: Role = "gallery") -> None:
        """Add rows; arguments and errors are those of `EffectiveDimension.update`."""
        self._add(role, embeddings)

    def reported(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the values as float32, with the size of the sample if there is one."""
        return self._with_sizes(values, self.role, "rows")
