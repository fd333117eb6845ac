# SPDX-License-Identifier: Apache-2.0
"""Provide the base of callbacks that judge the rows of a validation, each sample of the data once."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_monocon.callbacks._watcher import OnError, Watcher, harmless
from lightning_monocon.inference.outputs import LayerTap, taken
from lightning_monocon.inference.rank_rows import Share, loaders_of, samples_of, shares


class RowsWatcher(Watcher):
    """Watch rows that the steps return, or that a submodule computes in them, on any number of ranks.

    A subclass defines the start (`_reset`), the treatment of each batch (`_take`) and the end
    (`on_validation_epoch_end`).

    Args:
        layer: Submodule whose last output in a step is judged; None takes the output of the step.
        name: Name that distinguishes the figures of two callbacks of one kind.
        on_error: The argument of `Watcher`.
    """

    def __init__(self, layer: str | None, name: str | None, on_error: OnError) -> None:
        super().__init__(on_error)
        self.layer, self.name = layer, name
        self._tap = LayerTap(layer)
        self._shares: list[Share] = []
        self._samples: list[int | None] = []

    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop the rows of the last validation; the shares of the loaders are known."""
        raise NotImplementedError

    def _take(self, pl_module: LightningModule, outputs: object, batch: object, place: tuple[int, int]) -> None:
        """Add one batch; ``place`` is its loader and its index there."""
        raise NotImplementedError

    def _needs_places(self, trainer: Trainer) -> bool:
        """Return whether a row must be known by the place of its sample in the data set."""
        return False

    def _judged(self, outputs: object, key: str) -> Tensor:
        """Return the rows ``(B, D)`` to judge: of the submodule, or of the step under ``key``."""
        return taken(outputs, key) if self.layer is None else self._tap.rows()

    def _start(self, trainer: Trainer, pl_module: LightningModule, loaders: object) -> None:
        """Start if the callback watches on every rank; every rank must call it."""
        if self.agrees(trainer):
            self._prepare(trainer, pl_module, loaders_of(loaders))

    @harmless
    def _prepare(self, trainer: Trainer, pl_module: LightningModule, loaders: list[object]) -> None:
        # the rows of a single loader are split by their numbers
        self._shares = shares(loaders, numbered=len(loaders) == 1, placed=self._needs_places(trainer))
        self._samples = [samples_of(loader) for loader in loaders]
        self._check_name(trainer)
        self._reset(trainer, pl_module)

    def _check_name(self, trainer: Trainer) -> None:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it late
        before = callbacks[: callbacks.index(self)] if self in callbacks else []
        if any(type(other) is type(self) and other.name == self.name for other in before):
            kind = type(self).__name__
            raise ValueError(
                f"`name` must differ between two {kind}, or they log under the same names; both have {self.name!r}. "
                f"Pass {kind}(..., name='backbone'), for example."
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start with no rows."""
        self._start(trainer, pl_module, trainer.val_dataloaders)

    @harmless
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Record the submodule during one batch."""
        self._tap.open(pl_module)

    @harmless
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add one batch."""
        self._take(pl_module, outputs, batch, (dataloader_idx, batch_idx))
        self._tap.close()

    @harmless
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the hook: Lightning calls nothing else after a failure."""
        self._tap.close()

    def on_stop(self) -> None:
        """Remove the hook."""
        self._tap.close()
