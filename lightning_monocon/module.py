# SPDX-License-Identifier: Apache-2.0
"""Define MonoCon: an encoder, a head and a supervised contrastive loss in one LightningModule.

Source: arXiv 2509.22931 and the settings of its author's published code. The schedule is in `schedule.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torch.nn.modules.module import _IncompatibleKeys
from typing_extensions import Self

from lightning_monocon.encoders import EncoderSpec, build_encoder, encoder_spec, feature_dim
from lightning_monocon.encoders.wrapped import named_as, unwrapped
from lightning_monocon.heads import CompatibleHead
from lightning_monocon.heads.arms import (
    Arm,
    HeadOptions,
    HeadSpec,
    build_head,
    head_arguments,
    head_spec,
    own_head_spec,
)
from lightning_monocon.inference.old_space import Old, OldSpace
from lightning_monocon.losses import CompatibilityLoss, NestedSupConLoss, SupConLoss
from lightning_monocon.runs.checkpoints import PlainCheckpointIO, read_checkpoint
from lightning_monocon.training.batches import (
    PositivesWatch,
    check_features,
    check_one_input,
    check_rows,
    inputs_and_labels,
    naming_drop_last,
    naming_keywords,
)
from lightning_monocon.training.chunks import embed_in_chunks
from lightning_monocon.training.logged_means import log_epoch_mean
from lightning_monocon.training.schedule import Schedule, TwoPhaseModule
from lightning_monocon.training.strategies import AccumulationWatch, check_chunk_size, check_chunked_training, shard


class Embedded(TypedDict):
    """Hold what `validation_step`, `test_step` and `predict_step` return for a batch of ``B`` inputs."""

    embeddings: Tensor
    """The head's output ``(B, D_out)``, float32, not normalised."""
    features: Tensor
    """The encoder's output ``(B, D)``, float32."""
    labels: Tensor
    """The batch's labels ``(B,)``."""


class MonoCon(TwoPhaseModule):
    """Train an encoder and a head with a supervised contrastive loss.

    Batches are ``(inputs, labels)`` with ``B`` integer labels, or a mapping that holds the labels under a name such as
    ``"labels"``; `forward` maps inputs to embeddings ``(B, D_out)``, not normalised. Give the trainer
    ``max_epochs = warmup_epochs + joint epochs``.

    Args:
        encoder: Maps a batch of inputs to features ``(B, D)``.
        head: ``"monotonic"`` (the paper's), ``"mlp"`` (its unconstrained twin), ``"linear"`` (a bottleneck of
            ``out_features`` dimensions), ``"none"`` (the encoder alone), or a module of your own.
        in_features: ``D``; default ``encoder.out_features``.
        out_features: ``D_out``; default ``D`` (``"linear"`` has no default unless ``nested``).
        head_options: Further arguments of the head's constructor, such as ``{"init": "identity"}``.
        loss: Maps ``(embeddings, labels)`` to a scalar; default ``SupConLoss(temperature)``.
        temperature: Temperature of the default loss.
        nested: Take ``NestedSupConLoss(temperature)`` instead, so that prefixes of the embedding are embeddings too.
        lr_encoder: Joint learning rate of the encoder.
        lr_head: Joint learning rate of the head.
        lr_warmup: Warm-up learning rate of the head.
        warmup_epochs: Epochs with a frozen encoder; 0 is taken if the head has no parameters.
        weight_decay: Decay of the weights; on the squared weights of the monotonic head it acts like an L1 shrink.
        decay_head: Whether the head's weights decay too.
        bn_while_frozen: ``"update"`` keeps the frozen encoder in train mode, so batch-norm statistics move and dropout
            is live (as the reference does); ``"freeze"`` puts it in eval mode.
        optimizer: ``"adamw"`` (the reference's), or ``"sgd"`` without momentum, which takes far higher rates and adds
            the decay to the gradient.
        chunk_size: Samples that are embedded at a time in training, for batches larger than memory; loss and gradient
            are those of the whole batch (`lightning_monocon.training.chunks`). ``None`` embeds the batch at once.
        compatible_with: The model whose vectors are stored already: a folder that `monocon export` wrote, or a module
            with ``out_features`` k. The first k numbers of an embedding are then trained to live in that space, so
            that new queries search the old gallery (`CompatibleHead`, `CompatibilityLoss`; docs/upgrade.md). The old
            model embeds every batch of training, frozen and in eval mode, and takes the same inputs.
        compatible_weights: Weights of the two terms of `CompatibilityLoss`, added to ``loss``.

    Raises:
        ValueError: If a name is unknown, a rate is negative, the width of the encoder's output is not known,
            ``compatible_with`` cannot be loaded, or its space is wider than the embedding.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: Arm | nn.Module = "monotonic",
        *,
        in_features: int | None = None,
        out_features: int | None = None,
        head_options: dict[str, int | float | str] | None = None,
        loss: nn.Module | None = None,
        temperature: float = 0.1,
        nested: bool = False,
        lr_encoder: float = 2e-4,
        lr_head: float = 2e-4,
        lr_warmup: float = 1e-4,
        warmup_epochs: int = 10,
        weight_decay: float = 1e-4,
        decay_head: bool = True,
        bn_while_frozen: Literal["update", "freeze"] = "update",
        optimizer: Literal["adamw", "sgd"] = "adamw",
        chunk_size: int | None = None,
        compatible_with: Old | None = None,
        compatible_weights: tuple[float, float] = (5.0, 1.0),
    ) -> None:
        rates = (lr_encoder, lr_head, lr_warmup)
        schedule = Schedule(*rates, warmup_epochs, weight_decay, decay_head, bn_while_frozen, optimizer).checked()
        super().__init__(schedule)

        self.encoder = encoder
        self.head, self.head_spec = _head_or_built(head, encoder, in_features, out_features, head_options, nested)
        self.loss = _loss_or_default(loss, temperature, nested)
        self.start_phase()
        self.empty_batches = 0
        self._watch_positives = PositivesWatch()
        self._contrasts = not isinstance(self.loss, _Loss)  # torch's own take each input by itself
        self._watch_accumulation = AccumulationWatch()
        check_chunk_size(chunk_size)
        self.chunk_size = chunk_size

        # Not `save_hyperparameters`: Lightning's command line would merge the checkpoint's hyper-parameters into its
        # configuration, import paths included. These plain values go into the checkpoint under our own key.
        self.description: dict[str, Any] = {
            "encoder": encoder_spec(encoder),
            "head": self.head_spec,
            "loss": {"temperature": temperature, "nested": nested} if loss is None else None,
            "schedule": schedule._asdict(),
            **({} if chunk_size is None else {"chunk_size": chunk_size}),
        }
        self.old: OldSpace | None = None
        if compatible_with is not None:
            self._live_beside(OldSpace.of(compatible_with), out_features, compatible_weights)

    def _live_beside(self, old: OldSpace, out_features: int | None, weights: Sequence[float]) -> None:
        """Make the first numbers of the embedding compatible with an old space."""
        width = self.head_spec.get("out_features") or getattr(unwrapped(self.head), "out_features", out_features)
        if not isinstance(width, int) or width < old.dimension:
            raise ValueError(
                f"`out_features` must be at least {old.dimension}, the width of the vectors that `compatible_with` "
                f"stores; got {width}. Take some more: the numbers beyond hold what the old space has no room for."
            )
        self.old = old
        self.head = CompatibleHead(self.head, width)
        self.compatibility = CompatibilityLoss(*weights)
        self.description["compatible_with"] = {**old.describe(), "width": width, "weights": list(weights)}

    def setup(self, stage: str) -> None:
        """Read checkpoints as plain values from local files only; check trainer, schedule and `chunk_size`.

        Lightning's default reader downloads a URL and runs the code in it. A reader of your own is kept.

        Raises:
            ValueError: If the trainer's ``max_epochs`` leaves no joint epoch.
            RuntimeError: If the strategy is not one that the warm-up, or `chunk_size`, was tested with.
        """
        strategy = self.trainer.strategy
        if type(strategy.checkpoint_io) is TorchCheckpointIO:
            strategy.checkpoint_io = PlainCheckpointIO()
        super().setup(stage)
        if stage == "fit" and self.old is not None and isinstance(strategy, ModelParallelStrategy):
            raise RuntimeError(
                "`compatible_with` was not tested with ModelParallelStrategy, which cannot shard a rotation. Use "
                "strategy='ddp'."
            )
        if stage == "fit" and self.chunk_size is not None:
            check_chunked_training(self.trainer, [self.encoder, self.head])

    def on_fit_start(self) -> None:
        """Log the description as hyper-parameters, with that of the data module if it has one; move the old model.

        Raises:
            ValueError: If the data module has found no labels.
        """
        if not getattr(getattr(self.trainer, "datamodule", None), "has_positives", True):
            raise ValueError(
                "`data.train` must hold labels, from which `MonoCon` learns which rows belong together; it holds "
                "vectors alone. Add the array or column `labels`, or train without them by the recipe `learnt_code`."
            )
        if self.old is not None:
            self.old.to(self.device)
        data = getattr(getattr(self.trainer, "datamodule", None), "description", None)
        for logger in self.loggers:
            logger.log_hyperparams(self.description | ({"data": data} if data else {}))

    def configure_model(self) -> None:
        """Shard encoder and head if the strategy is `ModelParallelStrategy`."""
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            shard(self, [self.encoder, self.head])

    def on_train_epoch_start(self) -> None:
        """Enter the phase of the current epoch; warn once about accumulated gradients."""
        super().on_train_epoch_start()
        self._watch_accumulation(self.trainer.accumulate_grad_batches)

    def forward(self, inputs: object) -> Tensor:
        """Return the embeddings ``(B, D_out)`` of a batch of inputs."""
        return cast(Tensor, self.head(self._encode(inputs)))

    def _encode(self, inputs: object) -> Tensor:
        return check_features(self.encoder(inputs), cast("int | None", self.head_spec.get("in_features")))

    def training_step(self, batch: tuple[Any, Tensor], batch_idx: int) -> Tensor | None:
        """Return the contrastive loss of one batch.

        Returns:
            0-d; ``None`` for an empty batch, which is skipped and counted, and where no parameter can be trained.

        Raises:
            TypeError: If the labels are not integers.
            ValueError: If the batch has no labels or two inputs, its parts do not fit, or batch norm gets one input.
        """
        check_one_input(batch)
        inputs, labels = inputs_and_labels(batch)
        if not len(labels):
            self._skip_empty(batch_idx)
            return None
        if self._contrasts and (labels.device.type == "cpu" or batch_idx == 0):  # elsewhere the host would wait
            self._watch_positives(labels)
        with naming_drop_last(labels), naming_keywords(self.encoder, inputs):
            embeddings = self._embed_for_loss(inputs, len(labels))
        check_rows(embeddings, labels)
        loss: Tensor = self.loss(embeddings, labels)
        if self.old is not None:
            distance = self.compatibility(embeddings, self.old(inputs), labels)
            log_epoch_mean(self, "train/compatibility", distance, len(labels))
            loss = loss + distance
        log_epoch_mean(self, "train/loss", loss, len(labels))
        nothing_to_train = not loss.requires_grad and not any(p.requires_grad for p in self.parameters())
        return None if nothing_to_train else loss

    def _embed_for_loss(self, inputs: object, rows: int) -> Tensor:
        if self.chunk_size is None:
            return cast(Tensor, self(inputs))
        return embed_in_chunks(self, [self.encoder, self.head], inputs, rows, self.chunk_size)

    def _skip_empty(self, batch_idx: int) -> None:
        if self.trainer.world_size > 1:  # the other ranks would wait forever for the gradients of this one
            raise ValueError(
                f"`batch` must not be empty on one of several ranks; batch {batch_idx} is, on rank "
                f"{self.global_rank}. Let the sampler give every rank as many inputs."
            )
        self.empty_batches += 1
        self.log("train/empty_batches", 1.0, on_step=False, on_epoch=True, batch_size=1, reduce_fx="sum")

    def validation_step(self, batch: tuple[Any, Tensor], batch_idx: int, dataloader_idx: int = 0) -> Embedded:
        """Return embeddings, features and labels of one batch, for callbacks that judge or write them."""
        check_one_input(batch)
        inputs, labels = inputs_and_labels(batch)
        with naming_keywords(self.encoder, inputs):
            features = self._encode(inputs)
        embeddings = self.head(features)
        check_rows(embeddings, labels)
        return {"embeddings": embeddings.float(), "features": features.float(), "labels": labels}

    test_step = predict_step = validation_step

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the phase and the description."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["monocon"].update(self.description)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the phase, and refuse the checkpoint of another head or old space.

        Raises:
            ValueError: If the checkpoint's head, or what it is compatible with, is not this model's.
        """
        found, ours = (each.get("compatible_with") for each in (checkpoint.get("monocon", {}), self.description))
        if found != ours:
            raise ValueError(
                f"`ckpt_path` must be a checkpoint of the same `compatible_with`, {ours}; got one of {found}. Give the "
                "export and the weights that it was trained with, or another checkpoint."
            )
        stored = checkpoint.get("monocon", {}).get("head")
        # an earlier version wrote the name of the wrapper for a compiled head of the user's own
        wrapped = own_head_spec(self.head) if self.head_spec.keys() == {"arm"} else self.head_spec
        if stored not in (self.head_spec, wrapped):
            raise ValueError(
                f"`ckpt_path` must be a checkpoint of this head, {self.head_spec}; got one of {stored}. "
                "Choose the head it was trained with, or another checkpoint."
            )
        super().on_load_checkpoint(checkpoint)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Load weights, of a compiled encoder or head also into the plain one, and the other way round.

        Args:
            state_dict: Weights by name.
            strict: Whether all names must agree.
            assign: Whether to take the tensors themselves instead of copying them.
        """
        keys: _IncompatibleKeys = super().load_state_dict(named_as(state_dict, self.state_dict()), strict, assign)
        return keys

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # fewer arguments than Lightning's: nothing else is safe
        cls,
        checkpoint_path: str | os.PathLike[str],
        map_location: torch.device | str | None = "cpu",
        *,
        encoder: nn.Module | None = None,
        head: nn.Module | None = None,
        loss: nn.Module | None = None,
        compatible_with: Old | None = None,
    ) -> Self:
        """Return the trained model, in eval mode; nothing is downloaded and nothing in the file is imported.

        Args:
            checkpoint_path: A local file.
            map_location: Where the weights go.
            encoder: The encoder, if it is not one of `lightning_monocon.encoders.REGISTRY`.
            head: The head, if it was a module of your own.
            loss: The loss, if it was a module of your own; it is not needed to embed.
            compatible_with: The old model, if there was one; it is not needed to embed.

        Raises:
            ValueError: If the file is not a checkpoint of this package, or a module that it cannot name is missing.
        """
        checkpoint = read_checkpoint(checkpoint_path, map_location)
        stored = checkpoint["monocon"]
        spec = cast("EncoderSpec | None", stored["encoder"])
        if encoder is None and spec is None:
            raise ValueError(
                "`encoder` must be given: the checkpoint was trained with an encoder of your own, which only you can "
                "build. Pass `encoder=<the same architecture>`."
            )

        model = cls(
            encoder if encoder is not None else build_encoder(cast("EncoderSpec", spec)),
            **head_arguments(stored["head"], head),
            **stored["schedule"],
            loss=loss,
            **(stored["loss"] or {}),
        )
        if (beside := stored.get("compatible_with")) is not None:
            described = OldSpace(beside["dimension"], beside["model"])
            old = described if compatible_with is None else OldSpace.of(compatible_with)
            model._live_beside(old, beside["width"], beside["weights"])

        model.on_load_checkpoint(checkpoint)
        model.load_state_dict(checkpoint["state_dict"])
        return model.eval()


def _head_or_built(
    head: Arm | nn.Module,
    encoder: nn.Module,
    in_features: int | None,
    out_features: int | None,
    options: HeadOptions | None,
    nested: bool,
) -> tuple[nn.Module, HeadSpec]:
    """Return the head that was given, or build the one of that name, with its description."""
    if isinstance(head, nn.Module):
        return head, own_head_spec(unwrapped(head))
    width = feature_dim(encoder, in_features)
    if nested and out_features is None:
        out_features = width  # nested prefixes are what narrows such an embedding
    spec = head_spec(head, width, out_features, options)
    return build_head(spec), spec


def _loss_or_default(loss: nn.Module | None, temperature: float, nested: bool) -> nn.Module:
    """Return the given loss, or the supervised contrastive one; raise ValueError for a loss beside ``nested``."""
    if loss is None:
        return NestedSupConLoss(temperature) if nested else SupConLoss(temperature)
    if nested:
        raise ValueError(
            "`nested` must be False where `loss` is given: it changes the default loss only. Pass "
            f"loss=NestedSupConLoss(...) instead of {type(loss).__name__}."
        )
    return loss
