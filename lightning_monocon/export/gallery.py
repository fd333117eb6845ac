# SPDX-License-Identifier: Apache-2.0
"""Embed a gallery in one pass: its sums, and a sample of its rows to calibrate and to judge on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_monocon.functional.moments import Moments, merge_moments, moments
from lightning_monocon.inference.embed import untouched
from lightning_monocon.inference.rank_rows import Share, shares

Inputs = Tensor | dict[str, Tensor]
"""What an encoder takes: one tensor, or tensors by name (tokenised text)."""

_EXAMPLES = 8
_GIVEN = ("features", "embeddings", "labels")
_NAMES = (*_GIVEN, "places")


@dataclass(frozen=True, eq=False)
class Embedded:
    """Hold what a module makes of a data set.

    Attributes:
        moments: Of the L2-normalised embeddings of all rows.
        features: ``(n, F)`` the encoder's output on a sample of the rows, float32.
        embeddings: ``(n, D)`` the head's output on the same rows, float32, not normalised.
        labels: ``(n,)``.
        places: ``(n,)`` places of these rows in the data set, ascending as they came.
        example: Inputs of a few rows of the first batch.
    """

    moments: Moments = field(repr=False)
    features: Tensor = field(repr=False)
    embeddings: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    places: Tensor = field(repr=False)
    example: Inputs = field(repr=False)

    @property
    def rows(self) -> int:
        """Number of rows of the data set; the sample may have fewer."""
        return int(self.moments.rows)

    def sampled_at(self, places: Tensor) -> Tensor:
        """Return where rows of the data set ``(P,)`` are in the sample; -1 for those that are not."""
        at = torch.full((1 + int(torch.cat([self.places, places]).max()),), -1)
        at[self.places] = torch.arange(len(self.places))
        return at[places]


def embed_rows(
    model: LightningModule, batches: Iterable[object], most: int, seed: int = 0, first: Tensor | None = None
) -> Embedded:
    """Embed a data set; leave the model as it was.

    Args:
        model: Its ``validation_step`` returns ``features``, ``embeddings`` and ``labels`` of a batch.
        batches: ``(inputs, labels)``.
        most: Rows to keep, drawn uniformly from all; memory grows with these alone.
        seed: Of the draw.
        first: Places of rows that are kept before any other, since something is known of them.

    Raises:
        ValueError: If there is no batch, a row is not finite, or ``first`` is given and the loader shuffles.
    """
    sample, total, example = _Sample(most, seed, first), None, None
    share = Share() if first is None else shares([batches], placed=True)[0]
    with untouched(model), torch.inference_mode():
        for i, batch in enumerate(batches):
            moved = model.transfer_batch_to_device(batch, model.device, 0)
            found = cast("Mapping[str, Tensor]", model.validation_step(moved, i))
            part = moments(found["embeddings"].detach().cpu())
            total = part if total is None else merge_moments(total, part)
            example = _few(moved) if example is None else example
            rows = {name: found[name].detach().cpu() for name in _GIVEN}
            sample.add(rows | {"places": share.numbers(i, len(rows["labels"]))})
    if total is None or example is None:
        raise ValueError("`gallery` and `query` must hold at least one batch each; got a loader without any.")
    return Embedded(total, **sample.rows(), example=example)


class _Sample:
    """Sample rows uniformly as they arrive in batches: each row draws a number, those with the smallest stay.

    Rows of which something is known draw numbers below all others'.
    """

    def __init__(self, most: int, seed: int, first: Tensor | None = None) -> None:
        self._most, self._first = most, first
        self._generator = torch.Generator().manual_seed(seed)
        self._draws = torch.empty(0, dtype=torch.float64)
        self._parts: dict[str, Tensor] = {}
        self._waiting: list[dict[str, Tensor]] = []
        self._held = 0

    def add(self, rows: dict[str, Tensor]) -> None:
        self._waiting.append(rows)
        self._held += len(rows["labels"])
        if self._held >= 2 * self._most:  # now and then, so that a batch costs no copy of the whole sample
            self._thin()

    def rows(self) -> dict[str, Tensor]:
        self._thin()
        return self._parts

    def _thin(self) -> None:
        if not self._waiting:
            return
        arrived = sum(len(rows["labels"]) for rows in self._waiting)
        draws = torch.rand(arrived, generator=self._generator, dtype=torch.float64)
        if self._first is not None:
            draws -= torch.isin(torch.cat([rows["places"] for rows in self._waiting]), self._first).double()
        self._draws = torch.cat([self._draws, draws])
        kept = self._draws.argsort()[: self._most].sort().values
        parts = [self._parts] * bool(self._parts) + self._waiting
        self._parts = {name: torch.cat([part[name] for part in parts])[kept].clone() for name in _NAMES}
        self._draws, self._waiting, self._held = self._draws[kept], [], len(kept)


def _few(batch: object) -> Inputs:
    inputs = batch[0] if isinstance(batch, tuple | list) else batch
    if isinstance(inputs, Tensor):
        return inputs[:_EXAMPLES].detach().cpu().clone()
    if isinstance(inputs, Mapping) and all(isinstance(value, Tensor) for value in inputs.values()):
        return {str(name): value[:_EXAMPLES].detach().cpu().clone() for name, value in inputs.items()}
    raise ValueError(
        "`gallery` must give a tensor, or a mapping of tensors, as inputs, because ONNX and torch.export know nothing "
        f"else; got {type(inputs).__name__}."
    )
