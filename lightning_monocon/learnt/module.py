# SPDX-License-Identifier: Apache-2.0
"""Train a code of few bytes, and a head below it, with the rounding in every step."""

from __future__ import annotations

import os
from typing import Any, Literal, TypedDict, cast, get_args

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from typing_extensions import Self

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import fit_product
from lightning_monocon.codes.space import Scoring
from lightning_monocon.functional.checks import check_choice
from lightning_monocon.functional.coding_rate import coding_rate
from lightning_monocon.functional.unit_rows import directions
from lightning_monocon.heads.arms import Arm, build_head, head_spec
from lightning_monocon.learnt.code import TrainableCode
from lightning_monocon.losses import CrossSupConLoss, SupConLoss
from lightning_monocon.module import MonoCon
from lightning_monocon.runs.checkpoints import read_checkpoint
from lightning_monocon.training.logged_means import log_epoch_mean
from lightning_monocon.training.schedule import Schedule, TwoPhaseModule

Objective = Literal["neighbours", "labels"]


class Judged(TypedDict):
    """Hold what `validation_step`, `test_step` and `predict_step` return for a batch of ``B`` vectors."""

    embeddings: Tensor
    """Gallery rows as their codes place them, query rows not rounded, ``(B, D')`` float32."""
    features: Tensor
    """The vectors as they came, ``(B, D)`` float32."""
    labels: Tensor
    """The batch's labels ``(B,)``."""


class LearntCode(TwoPhaseModule):
    """Learn a product code of cached vectors, and optionally a head below it.

    In the warm-up the head learns alone, without a code. Then a product code is fitted on its outputs, and head, matrix
    and points are trained together on the scores that a search computes: a query that is not rounded against codes.

    - ``"neighbours"`` needs no labels: the softmax over the scores is brought near that over the cosines of the vectors
      as they came (the distillation that `fit_product` does for the points alone).
    - ``"labels"`` is the supervised contrastive loss of the queries against the codes.

    Without a head and at a rate of 0 the code is that of `fit_product`. Use it with `EmbeddingData`.

    Args:
        size: Bytes of a code.
        in_features: Width D of the vectors.
        objective: ``"neighbours"`` or ``"labels"``.
        head: ``"none"`` (the code's own matrix is the map, and is learnt), ``"linear"``, ``"mlp"`` or ``"monotonic"``.
        out_features: Width of the head's output; default D.
        head_options: Further arguments of the head's constructor.
        temperature: Of both softmaxes.
        through: Fraction of the gradient that passes the rounding.
        rate_weight: Weight of the coding rate of the placed rows, in bits per vector, as a penalty.
        rate_eps: Error at which that rate is measured.
        lr: Rate of head and code together.
        lr_warmup: Rate of the head alone.
        warmup_epochs: Epochs of the head alone; 0 is taken without a head.
        weight_decay: AdamW's decay in the warm-up and after it; of the head and the code.

    Raises:
        ValueError: If a name is unknown, or a number is out of range.
    """

    def __init__(
        self,
        size: int,
        in_features: int,
        *,
        objective: Objective = "neighbours",
        head: Arm = "none",
        out_features: int | None = None,
        head_options: dict[str, int | float | str] | None = None,
        temperature: float = 0.05,
        through: float = 1.0,
        rate_weight: float = 0.0,
        rate_eps: float = 0.5,
        lr: float = 1e-3,
        lr_warmup: float = 1e-3,
        warmup_epochs: int = 0,
        weight_decay: float = 0.0,
    ) -> None:
        check_choice("objective", objective, get_args(Objective))
        for name, value in (("size", size), ("temperature", temperature), ("rate_eps", rate_eps)):
            if not value > 0:
                raise ValueError(f"`{name}` must be positive; got {value}.")
        super().__init__(Schedule(lr, lr, lr_warmup, warmup_epochs, weight_decay).checked())
        self.description: dict[str, Any] = {
            **{"size": size, "in_features": in_features, "objective": objective, "head": head},
            **{"out_features": out_features, "head_options": head_options, "temperature": temperature},
            **{"through": through, "rate_weight": rate_weight, "rate_eps": rate_eps, "lr": lr},
            **{"lr_warmup": lr_warmup, "warmup_epochs": warmup_epochs, "weight_decay": weight_decay},
        }
        self.size, self.objective, self.temperature, self.through = size, objective, temperature, through
        self.rate_weight, self.rate_eps = rate_weight, rate_eps
        self.encoder = nn.Identity()
        spec = head_spec(head, in_features, out_features, head_options)
        self.head = nn.Sequential(build_head(spec))  # callbacks take a bare `Identity` for no head, but there is a code
        self.code: TrainableCode | None = None
        self.start_phase()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Fit the code where the warm-up ends, so that the fresh optimizer has its tables."""
        if self.phase == "joint" and self.code is None:
            self._fit_code()
        return super().configure_optimizers()

    def forward(self, rows: Tensor) -> Tensor:
        """Return vectors ``(B, D)`` as the rows that the codec takes, ``(B, D_out)``."""
        return cast(Tensor, self.head(rows.float()))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch: its first half asks, its second half is searched."""
        rows, labels = batch
        half = len(rows) // 2
        (asked, _), (searched, apart) = self._placed(rows[:half], coded=False), self._placed(rows[half:], coded=True)
        loss = self._objective(asked, searched, rows, labels, half) + apart
        if self.rate_weight:
            loss = loss + self.rate_weight * coding_rate(searched, self.rate_eps).to(loss.dtype)
        log_epoch_mean(self, "train/loss", loss, len(rows))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> Judged:
        """Return the gallery (the first loader) as its codes place it, and the query as it asks."""
        rows, labels = batch
        placed = self._placed(rows, coded=dataloader_idx == 0)[0]
        return {"embeddings": placed.float(), "features": rows.float(), "labels": labels}

    test_step = predict_step = validation_step

    def codec(self) -> Codec:
        """Return the code as an ordinary codec of the head's outputs; without a head, of the vectors themselves.

        Raises:
            RuntimeError: If the training has not come to the code yet.
        """
        if self.code is None:
            raise RuntimeError("`codec` needs a code, which is fitted when the warm-up ends. Train for longer.")
        return self.code.codec()

    def head_alone(self) -> MonoCon:
        """Return the trained head as a model of its own, for `lightning_monocon.export`; it shares no weights."""
        spec = self.description
        head = {name: spec[name] for name in ("head", "in_features", "out_features", "head_options")}
        model = MonoCon(nn.Identity(), **head)
        model.head.load_state_dict({name.removeprefix("0."): own for name, own in self.head.state_dict().items()})
        return model.eval()

    def on_fit_start(self) -> None:
        """Log the arguments as hyper-parameters."""
        for logger in self.loggers:
            logger.log_hyperparams(self.description)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the arguments, and what of the code is not a tensor."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["monocon"]["learnt"] = self.description
        checkpoint["monocon"]["code"] = None if self.code is None else self.code.description()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the phase, and make room for the code's tables, whose shapes were found by the fit.

        Raises:
            ValueError: If the checkpoint is of another model or of other arguments.
        """
        stored = checkpoint.get("monocon", {})
        if stored.get("learnt") != self.description:
            raise ValueError(
                f"`ckpt_path` must be a checkpoint of this learnt code, {self.description}; got one of "
                f"{stored.get('learnt')}. Choose the arguments it was trained with, or another checkpoint."
            )
        super().on_load_checkpoint(checkpoint)
        self.code = None
        if stored["code"] is not None:
            tables = {k.removeprefix("code."): v for k, v in checkpoint["state_dict"].items() if k.startswith("code.")}
            self.code = TrainableCode.of_state(tables, **stored["code"])

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # fewer arguments than Lightning's: nothing else is safe
        cls, checkpoint_path: str | os.PathLike[str], map_location: torch.device | str | None = "cpu"
    ) -> Self:
        """Return the trained model, in eval mode.

        Raises:
            ValueError: If the file is not a checkpoint of a learnt code.
        """
        checkpoint = read_checkpoint(checkpoint_path, map_location)
        arguments = checkpoint["monocon"].get("learnt")
        if arguments is None:
            raise ValueError(f"`checkpoint_path` must be a checkpoint of a learnt code; {checkpoint_path} is none.")
        model = cls(**arguments)
        model.on_load_checkpoint(checkpoint)
        model.load_state_dict(checkpoint["state_dict"])
        return model.eval()

    def _placed(self, rows: Tensor, coded: bool) -> tuple[Tensor, Tensor]:
        """Return vectors in the space of scores ``(B, D')``, and the distance of the centroids, 0-d."""
        outputs = self(rows)
        if self.code is None:
            return directions(outputs), outputs.new_zeros(())
        return self.code(outputs) if coded else (self.code.queries(outputs), outputs.new_zeros(()))

    def _objective(self, asked: Tensor, searched: Tensor, rows: Tensor, labels: Tensor, half: int) -> Tensor:
        if self.objective == "labels" and self.code is None:
            return cast(Tensor, SupConLoss(self.temperature)(torch.cat([asked, searched]), labels))
        if self.objective == "labels":
            loss = CrossSupConLoss(self.temperature, normalize=True)
            return cast(Tensor, loss(asked, searched, labels[:half], labels[half:]))
        unit = directions(rows)
        return distillation(asked @ searched.T, unit[:half] @ unit[half:].T, self.temperature)

    def _fit_code(self) -> None:
        """Fit a product code on the head's outputs of all train vectors."""
        train = getattr(getattr(self.trainer, "datamodule", None), "train", None)
        rows = getattr(train, "rows", None)
        if not isinstance(rows, Tensor):
            raise ValueError("`data` must be EmbeddingData, whose vectors a code is fitted on before it is trained.")
        was_training = self.head.training
        with torch.inference_mode():
            outputs = torch.cat([self.head.eval()(block.to(self.device)).cpu() for block in torch.split(rows, 8192)])
        self.head.train(was_training)
        scoring: Scoring = "centred" if self.objective == "labels" else "whole"
        codec = fit_product(FittingRows.of(outputs.clone()), self.size, scoring)
        self.code = TrainableCode(codec, self.through).to(self.device)


def distillation(scores: Tensor, targets: Tensor, temperature: float) -> Tensor:
    r"""Return the mean divergence of softmaxes over scores ``(Q, N)`` from those over targets ``(Q, N)``, 0-d.

    .. math:: \tfrac1Q \sum_i \sum_j p_{ij} \log\frac{p_{ij}}{q_{ij}}

    with p the softmax of the targets over the temperature, q that of the scores (Hinton, Vinyals and Dean 2015).
    """
    logs = [(part / temperature).log_softmax(1) for part in (scores, targets)]
    return nn.functional.kl_div(logs[0], logs[1], reduction="batchmean", log_target=True)
