# SPDX-License-Identifier: Apache-2.0
"""Warn once, with figures, when an embedding narrows to a cone or collapses."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import MetricCollection

from lightning_monocon.callbacks._rows import RowsWatcher
from lightning_monocon.callbacks._watcher import OnError, harmless
from lightning_monocon.functional.red_flags import red_flags
from lightning_monocon.inference.rank_rows import check_apart
from lightning_monocon.metrics import EffectiveDimension, MeanCosine, ReconstructionError, TotalVariance

_FIGURES = ("effective_dimension", "mean_cosine", "total_variance", "fvu")
_ALARMS = ("undefined", "one_direction", "narrow_cone")


class CollapseWarning(UserWarning):
    """Warn that an embedding has narrowed to a cone or collapsed."""


class CollapseGuard(RowsWatcher):
    """Log mean cosine, total variance, effective dimension and FVU at validation, and warn when they show a collapse.

    It warns once in a run: if one direction holds the wanted share of the variance, if all rows point in one direction
    (mean cosine above 0.95), or if there is no variance at all. A head with the reference initialisation starts in that
    state, so its first validation is flagged unless ``after_epoch`` gives it time.

    It works with any LightningModule: the rows ``(B, D)`` are an entry of the output of its `validation_step`, or the
    output of the submodule ``layer`` within it. The first loader is the gallery, whose rows are judged; a second one,
    the query, adds the FVU. On several ranks each sample counts once.

    Args:
        key: Name of the entry of the step's outputs that holds the embeddings.
        variance: Share of the variance of the effective dimension.
        after_epoch: First epoch that is judged, counted from 0.
        on_error: ``"warn"`` continues without the guard after an error, ``"raise"`` lets it end the run.
        layer: Submodule whose output to take instead, such as ``"backbone"``.
        name: Log under ``collapse_guard/<name>/`` instead of ``collapse_guard/``; for a second guard.

    Raises:
        ValueError: If ``after_epoch`` is negative; at validation, with ``on_error="raise"``, if the outputs lack
            ``key``, or no submodule is called ``layer``.
    """

    def __init__(
        self,
        key: str = "embeddings",
        variance: float = 0.99,
        after_epoch: int = 0,
        on_error: OnError = "warn",
        *,
        layer: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(layer, name, on_error)
        if after_epoch < 0:
            raise ValueError(f"`after_epoch` must be an epoch counted from 0; got {after_epoch!r}.")
        self.key, self.variance, self.after_epoch = key, variance, after_epoch
        self.warned = False
        self._metrics = MetricCollection(
            {
                "effective_dimension": EffectiveDimension(variance, small_sample="ignore"),
                "mean_cosine": MeanCosine(),
                "total_variance": TotalVariance(),
            }
        )
        self._error = ReconstructionError(variance, small_sample="ignore")

    @property
    def state_key(self) -> str:
        """Return a key by which two guards of different outputs keep their own state."""
        return self._generate_state_key(key=self._watched)

    @property
    def _watched(self) -> str:
        return self.key if self.layer is None else self.layer

    def state_dict(self) -> dict[str, Any]:
        """Return whether the warning has been given."""
        return {"warned": self.warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore whether the warning has been given."""
        self.warned = bool(state_dict["warned"])

    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the metrics."""
        for metric in (self._metrics, self._error):
            metric.to(pl_module.device)
            metric.reset()

    def _take(self, pl_module: LightningModule, outputs: object, batch: object, place: tuple[int, int]) -> None:
        """Add the rows of one batch."""
        embeddings = self._judged(outputs, self.key)
        loader, index = place
        share = self._shares[loader]
        share.look_at(batch, index)
        fresh = share.fresh(index, len(embeddings))
        if fresh is not None:
            embeddings = embeddings[fresh.to(embeddings.device)]

        if loader == 0:
            self._metrics.update(embeddings)
        if self._has_query and loader <= 1:
            self._error.update(embeddings, role="query" if loader else "gallery")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log and judge, except in the sanity check, whose few batches are no measurement."""
        if trainer.sanity_checking:
            return
        if self.agrees(trainer):
            self._log(trainer, pl_module)
        if self.error is not None:
            self._publish(pl_module, dict.fromkeys(_FIGURES, torch.tensor(math.nan)))

    def _publish(self, pl_module: LightningModule, figures: dict[str, Tensor]) -> None:
        prefix = "collapse_guard/" if self.name is None else f"collapse_guard/{self.name}/"
        self.log_figures(pl_module, {f"{prefix}{name}": value for name, value in figures.items()})

    @harmless
    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_apart(self._shares)
        figures: dict[str, Tensor] = self._metrics.compute()
        if self._has_query:
            figures["fvu"] = self._error.compute()["fvu"]
        self._publish(pl_module, figures)
        if not self.warned and trainer.current_epoch >= self.after_epoch:
            self._judge({name: float(value) for name, value in figures.items()}, trainer.current_epoch)

    def _judge(self, figures: dict[str, float], epoch: int) -> None:
        member = self._metrics["mean_cosine"]
        assert isinstance(member, MeanCosine)
        alarms = [flag for flag in red_flags(figures, member.features()) if flag.name in _ALARMS]
        if alarms:
            self.warned = True
            listed = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            reasons = " ".join(flag.message for flag in alarms)
            rank_zero_warn(f"`{self._watched}` at epoch {epoch}: {reasons} ({listed})", category=CollapseWarning)

    @property
    def _has_query(self) -> bool:
        return len(self._shares) > 1
