# SPDX-License-Identifier: Apache-2.0
"""Wrap the contrastive losses as sentence-transformers' trainer calls them: ``loss(sentence_features, labels)``.

A batch of that library is a list of columns. Its first two columns are one row's anchor and positive, and further
columns are negatives of the row, as for its own MultipleNegativesRankingLoss. A column of integers named ``label`` may
stand beside them: rows with equal labels are positives of one another, and so are their anchors and positives. Without
it every row is a class of its own. One column alone needs labels, as BatchAllTripletLoss does.

A sentence that occurs twice in a batch under different labels is a false negative. Give equal rows an equal label, or
pass ``batch_sampler="no_duplicates"`` to the trainer. For one column with classes ``batch_sampler="group_by_label"``
gives every class two rows at least.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses import CachedLossMixin
from torch import Tensor, nn

from lightning_monocon import losses
from lightning_monocon.distributed import gather_rows, world

_RANK = 1 << 40
"""Room for the own labels of one rank's rows."""

_NEGATIVES = -(1 << 62)
"""Labels of negatives count from here: far from any that people use."""

Columns = Iterable[dict[str, Any]]


class _ColumnLoss(CachedLossMixin, nn.Module):
    """Embed the columns of a batch, whole or in mini-batches, and hand embeddings and labels on."""

    def __init__(
        self, model: SentenceTransformer, temperature: float, gather: bool, mini_batch_size: int | None
    ) -> None:
        super().__init__()
        if mini_batch_size is not None and mini_batch_size < 1:
            raise ValueError(f"`mini_batch_size` must be a positive integer, or None; got {mini_batch_size}.")
        self.model = model
        self.temperature = temperature
        self.gather = gather
        self.mini_batch_size = mini_batch_size  # type: ignore[assignment]  # None: the mixin is not asked
        self.uses_gradient_cache = mini_batch_size is not None

    def forward(self, sentence_features: Columns, labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, 0-d.

        Args:
            sentence_features: One dictionary of features a column, each of B sentences.
            labels: ``(B,)`` integers, or None.

        Raises:
            TypeError: If the labels are not integers.
            ValueError: If there are not as many labels as rows, or too few columns.
        """
        if self.uses_gradient_cache:
            found: Tensor = self.forward_cached(sentence_features, labels)
            return found
        embeddings = [self.model(features)["sentence_embedding"] for features in sentence_features]
        return self.compute_loss_from_embeddings(embeddings, labels)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """Return the loss of columns that were embedded in mini-batches, for the mixin."""
        loss = self.compute_loss_from_embeddings([torch.cat(column) for column in reps], labels)
        if not with_backward:
            return loss
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor | None) -> Tensor:
        """Return the loss of embedded columns, each ``(B, D)``."""
        raise NotImplementedError

    def get_config_dict(self) -> dict[str, Any]:
        """Return the arguments, for the model card."""
        return {"temperature": self.temperature, "gather": self.gather, "mini_batch_size": self.mini_batch_size}


class SupConLoss(_ColumnLoss):
    """Compute `lightning_monocon.SupConLoss` over all columns of a batch as one set.

    Anchors, positives and negatives all stand in one another's denominators, and every row with a positive is an
    anchor; rows without one (negatives, a class with one row in the batch) are left out of the mean. For columns and
    labels see `lightning_monocon.sbert.losses`.

    Args:
        model: The model that is trained.
        temperature: T > 0.
        gather: Contrast against the batches of all ranks.
        mini_batch_size: Sentences that are embedded at a time. Memory is then that of a mini-batch, the gradient that
            of the whole batch, and time one more forward pass (GradCache, arXiv 2101.06983; as in that library's
            cached losses). None embeds each column whole.

    Raises:
        ValueError: If ``mini_batch_size`` is below 1, or the temperature is not positive.

    Example:
        >>> trainer = SentenceTransformerTrainer(  # doctest: +SKIP
        ...     model=model, train_dataset=pairs, loss=SupConLoss(model)
        ... )
    """

    def __init__(
        self,
        model: SentenceTransformer,
        temperature: float = 0.1,
        *,
        gather: bool = True,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, temperature, gather, mini_batch_size)
        self.loss = losses.SupConLoss(temperature, singletons="skip", gather=gather)

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor | None) -> Tensor:
        """Return the loss of embedded columns, each ``(B, D)``."""
        if len(embeddings) == 1 and labels is None:
            raise ValueError(
                "`labels` must be given for one column of sentences; the batch has none: add a column of integers "
                "named 'label' to the data set, or a second column with the positives."
            )
        parts = _labels_of_columns(embeddings, labels)
        found: Tensor = self.loss(torch.cat(embeddings), torch.cat(parts))
        return found


class CrossSupConLoss(_ColumnLoss):
    """Compute `lightning_monocon.CrossSupConLoss` of the first column against all others.

    With two columns and no labels it is InfoNCE in one direction, the MultipleNegativesRankingLoss of that library with
    ``scale = 1 / temperature``. With labels an anchor has as many positives as rows share its label. For columns and
    labels see `lightning_monocon.sbert.losses`.

    Args:
        model: The model that is trained.
        temperature: T > 0.
        gather: Contrast against the other columns of all ranks.
        mini_batch_size: Sentences that are embedded at a time, as in `SupConLoss`.

    Raises:
        ValueError: If ``mini_batch_size`` is below 1, or the temperature is not positive.

    Example:
        >>> trainer = SentenceTransformerTrainer(  # doctest: +SKIP
        ...     model=model, train_dataset=triplets, loss=CrossSupConLoss(model, mini_batch_size=32)
        ... )
    """

    def __init__(
        self,
        model: SentenceTransformer,
        temperature: float = 0.1,
        *,
        gather: bool = True,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, temperature, gather, mini_batch_size)
        self.loss = losses.CrossSupConLoss(temperature)

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor | None) -> Tensor:
        """Return the loss of embedded columns, each ``(B, D)``."""
        if len(embeddings) < 2:
            raise ValueError(
                "`sentence_features` must have two columns at least, anchors and positives; got 1: use SupConLoss for "
                "one column with labels."
            )
        anchors, *others = _labels_of_columns(embeddings, labels)
        contrast, contrast_labels = torch.cat(embeddings[1:]), torch.cat(others)
        if self.gather:
            contrast, contrast_labels = gather_rows(contrast), gather_rows(contrast_labels)
        found: Tensor = self.loss(embeddings[0], contrast, anchors, contrast_labels)
        return found


def _labels_of_columns(embeddings: list[Tensor], labels: Tensor | None) -> list[Tensor]:
    """Return ``(B,)`` labels for each column: the row's for the first two, one of its own for each negative."""
    rows, device = len(embeddings[0]), embeddings[0].device
    first = world()[0] * _RANK  # ranks number their rows apart
    if labels is None:
        labels = torch.arange(first, first + rows, device=device)
    elif labels.is_floating_point() or labels.is_complex():
        raise TypeError(
            f"`labels` must be integers, the classes of the rows; got {labels.dtype}: scores of pairs are for a loss "
            "such as CoSENTLoss, and a column that is not meant must not be named label or score."
        )
    elif labels.shape != (rows,):
        raise ValueError(f"`labels` must hold one integer a row, {rows}; got shape {tuple(labels.shape)}.")
    negatives = max(0, len(embeddings) - 2)
    own = torch.arange(rows * negatives, device=device) + (_NEGATIVES + first)
    return [*[labels.long()] * min(2, len(embeddings)), *own.view(negatives, rows)]
