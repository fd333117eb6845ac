# SPDX-License-Identifier: Apache-2.0
"""What a training batch must be, said at the batch and not ten frames below it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lightning_monocon.functional.gather import is_distributed

MOST_SINGLES = 0.5
"""Share of anchors without a positive above which a batch is worth a warning."""


def inputs_and_labels(batch: object) -> tuple[Any, Tensor]:
    """Split a batch into its inputs, whatever they are, and its labels.

    Raises:
        ValueError: If it is not a pair, or its labels are no tensor.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2 or not isinstance(batch[1], Tensor):
        found = [type(part).__name__ for part in batch] if isinstance(batch, tuple | list) else type(batch).__name__
        raise ValueError(
            f"`batch` must be (inputs, labels) with one integer label per input, got {found}. Let the data set return "
            "labels too, and the collate function a tensor of them; pairs take the pair's number as label."
        )
    return batch[0], batch[1]


def class_labels(labels: Tensor) -> Tensor:
    """Return ``labels`` if they are integers ``(B,)``; which integers does not matter.

    Raises:
        TypeError: If they are floating, complex or boolean.
        ValueError: If they are not one-dimensional; one-hot rows and columns are told apart.
    """
    got = f"got shape {tuple(labels.shape)} and dtype {labels.dtype}"
    if labels.ndim == 2:  # before the dtype: one-hot rows are often floating
        mend = "one-hot rows become class numbers by `labels.argmax(1)`"
        if labels.shape[1] == 1:
            mend = "a column becomes a row of numbers by `labels.squeeze(1)`"
        raise ValueError(f"`labels` must hold one integer per input, shape (B,); {got}: {mend}.")
    if labels.ndim != 1:
        raise ValueError(f"`labels` must hold one integer per input, shape (B,); {got}.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"`labels` must be integers, for they are compared; {got}. Cast class numbers with `.long()`.")
    return labels


def check_rows(embeddings: Tensor, labels: Tensor) -> None:
    """Check that embeddings ``(B, D)`` and labels ``(B,)`` belong together.

    Raises:
        ValueError: If the embeddings are not two-dimensional, or there are more or fewer labels than embeddings.
    """
    shape = tuple(embeddings.shape)
    if embeddings.ndim != 2:
        raise ValueError(
            f"`encoder` and `head` must turn a batch into rows (B, D); got shape {shape}. Pool or flatten the rest."
        )
    if len(labels) != len(embeddings):
        raise ValueError(
            f"`labels` must hold {len(embeddings)} integers, one per embedding; got {len(labels)}. Look at the collate "
            "function: inputs and labels must come from the same samples."
        )


@contextmanager
def naming_drop_last(labels: Tensor) -> Iterator[None]:
    """Say of batch norm's error at a batch of one what mends it.

    Raises:
        ValueError: Where batch norm raises it.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            f"`batch` must hold at least 2 inputs, since the model has batch norm; got {len(labels)}. Set "
            "drop_last=True on the train loader, or a batch size that leaves no single input over."
        ) from error


def share_without_positive(labels: Tensor) -> float:
    """Return the share of anchors whose label nobody else in the batch has; 0 for no labels.

    Example:
        >>> share_without_positive(torch.tensor([3, 3, 5, 7]))
        0.5
    """
    counts = torch.unique(labels, return_counts=True)[1]
    return float((counts == 1).sum()) / max(len(labels), 1)


class PositivesWatch:
    """Warn once where most anchors of a batch have no positive: they teach nothing."""

    def __init__(self) -> None:
        self.warned = False
        self._largest = 2  # what an epoch leaves over says little of its batches

    def __call__(self, labels: Tensor) -> None:
        """Look at the labels ``(B,)`` of one batch of one rank; several ranks contrast with each other's batches."""
        if self.warned or len(labels) < self._largest or is_distributed():
            return
        self._largest = len(labels)
        share = share_without_positive(labels)
        if share > MOST_SINGLES:
            self.warned = True
            warnings.warn(
                f"{share:.0%} of the {len(labels)} inputs of a batch are alone with their label, so they have no "
                "positive and count as 0 in the loss. Use larger batches, a sampler that draws several inputs per "
                "class, or pairs. (Said once.)",
                stacklevel=2,
            )
