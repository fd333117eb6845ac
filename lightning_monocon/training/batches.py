# SPDX-License-Identifier: Apache-2.0
"""Check batches, labels and the outputs of modules where they enter, before torch fails deeper down."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_monocon.distributed import is_distributed

MOST_SINGLES = 0.5
"""Share of anchors without a positive above which a batch is worth a warning."""

LABEL_NAMES = ("labels", "label", "targets", "target", "y")
"""Names under which a mapping may hold the labels of a batch."""


def tensors_in(batch: object) -> Iterator[Tensor]:
    """Yield the tensors of a nested batch."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for part in batch.values():
            yield from tensors_in(part)
    elif isinstance(batch, tuple | list):
        for part in batch:
            yield from tensors_in(part)


def inputs_and_rest(batch: object) -> tuple[Any, list[object]]:
    """Split a batch into its inputs and the parts that may be labels.

    The labels of a mapping are under `LABEL_NAMES`; of a tuple or list all parts behind the first may be labels. Any
    other batch is inputs alone.
    """
    if isinstance(batch, Mapping):
        inputs = {name: part for name, part in batch.items() if name not in LABEL_NAMES}
        return inputs, [batch[name] for name in LABEL_NAMES if name in batch]
    if isinstance(batch, tuple | list) and batch:
        return batch[0], list(batch[1:])
    return batch, []


def inputs_and_labels(batch: object) -> tuple[Any, Tensor]:
    """Split a batch into its inputs, whatever they are, and its class labels ``(B,)``.

    A mapping holds the labels under one of `LABEL_NAMES`, and its other entries are the inputs. The first part of a
    tuple or list is the inputs, and the labels are the first part behind it that is a tensor with one integer per
    input.

    Raises:
        TypeError: If the only tensor that could be labels does not hold integers.
        ValueError: If there is no such tensor, or the only one is not one-dimensional.
    """
    inputs, parts = inputs_and_rest(batch)
    tensors = [part for part in parts if isinstance(part, Tensor)]
    for labels in tensors:
        if labels.ndim == 1 and not _is_no_integer(labels):
            return inputs, labels

    if len(parts) == 1 and _is_pair(inputs, parts[0]):
        raise ValueError(
            f"`batch` must hold labels; got {described(batch)}, which looks like pairs of inputs without any. Label "
            "both sides by the number of their pair: concatenate them along the batch and return "
            "`torch.arange(pairs).repeat(2)` with them; sentence pairs in files do so with `SentencePairs`."
        )
    if len(tensors) == 1:
        return inputs, class_labels(tensors[0])  # raises an error that names the fault
    raise ValueError(
        "`batch` must hold its labels as one tensor (B,) of integers: behind the inputs in a tuple or list, or in a "
        f"mapping under {', '.join(LABEL_NAMES)}; got {described(batch)}. Let the data set return labels (the number "
        "of the pair, for pairs) and the collate function a tensor of them; or, for a callback that watches, let the "
        "step return `labels`."
    )


def _is_pair(first: object, second: object) -> bool:
    """Return whether two parts of a batch are inputs of one kind: tensors of a shape, or mappings of the same keys."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys()
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return False
    return first.ndim > 1 and first.shape == second.shape and first.dtype == second.dtype


def check_one_input(batch: object) -> None:
    """Refuse a tuple or list with two inputs, such as two views: all but the first would be ignored.

    Raises:
        ValueError: If a part behind the first has more than one dimension, or is a mapping.
    """
    parts = batch[1:] if isinstance(batch, tuple | list) and len(batch) > 2 else ()
    if any(isinstance(part, Mapping) or (isinstance(part, Tensor) and part.ndim > 1) for part in parts):
        raise ValueError(
            f"`batch` must hold one input per label; got {described(batch)}. Concatenate two views along the batch and "
            "repeat their labels, or return them as one mapping."
        )


def described(value: object) -> str:
    """Return in words what a batch, or the output of a module, consists of.

    Example:
        >>> described(torch.zeros(2, 3)), described({"a": 1, "b": 2}), described((torch.zeros(2), "c"))
        ('a torch.float32 tensor of shape (2, 3)', 'dict with a, b', 'tuple of Tensor, str')
    """
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"{type(value).__name__} with {', '.join(str(name) for name in value) or 'no entry'}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
    return type(value).__name__


def class_labels(labels: Tensor) -> Tensor:
    """Return ``labels`` if they are integers ``(B,)``; which integers does not matter.

    Raises:
        TypeError: If they are floating-point, complex or boolean.
        ValueError: If they are not one-dimensional; the message differs for one-hot rows and for columns.
    """
    got = f"got shape {tuple(labels.shape)} and dtype {labels.dtype}"
    if labels.ndim == 2:  # before the dtype: one-hot rows are often floating-point
        remedy = "one-hot rows become class numbers by `labels.argmax(1)`"
        if labels.shape[1] == 1:
            remedy = "a column becomes a row of numbers by `labels.squeeze(1)`"
        raise ValueError(f"`labels` must hold one integer per input, shape (B,); {got}: {remedy}.")
    if labels.ndim != 1:
        raise ValueError(f"`labels` must hold one integer per input, shape (B,); {got}.")
    if _is_no_integer(labels):
        raise TypeError(
            f"`labels` must be integers, since they are compared; {got}. Cast class numbers with `.long()`."
        )
    return labels


def _is_no_integer(labels: Tensor) -> bool:
    return labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool


def check_features(features: object, width: int | None) -> Tensor:
    """Return an encoder's output; raise ValueError, with the remedy, unless it is floating-point ``(B, width)``."""
    if not isinstance(features, Tensor) or features.ndim != 2 or not features.is_floating_point():
        raise ValueError(
            "`encoder` must return features (B, D), one row of floating-point numbers per input; got "
            f"{described(features)}. {_wrapping(features)}"
        )
    if width is not None and features.shape[1] != width:
        raise ValueError(
            f"`in_features` must be the width of the encoder's output, which is {features.shape[1]}; got {width}. "
            f"Pass in_features={features.shape[1]}, on the command line --model.in_features {features.shape[1]}."
        )
    return features


def _wrapping(output: object) -> str:
    """Return the advice that turns an encoder's output into rows."""
    if hasattr(output, "last_hidden_state"):
        return (
            "Build a model of transformers by name or folder with TextEncoder or TransformersImageEncoder of "
            "lightning_monocon.encoders, or wrap it in a module whose `forward` pools `last_hidden_state`."
        )
    if not isinstance(output, Tensor):
        return "Wrap it in a module whose `forward` returns the one tensor that holds the features."
    if output.ndim == 2:
        return "Wrap it in a module whose `forward` returns the features and not indices or codes."
    if output.ndim < 2:
        return "Wrap it in a module whose `forward` keeps the dimension of the batch; look for a `squeeze()`."
    if output.ndim == 3:
        return "Wrap it in a module whose `forward` pools the tokens, such as `self.encoder(inputs).mean(dim=1)`."
    return "Wrap it: torch.nn.Sequential(encoder, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())."


@contextmanager
def naming_keywords(encoder: nn.Module, inputs: object) -> Iterator[None]:
    """Explain what to wrap an encoder in that takes its inputs by keyword, as the models of transformers do.

    Raises:
        TypeError: If the encoder fails on a mapping whose keys are arguments of its `forward`.
    """
    try:
        yield
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        names = inspect.signature(encoder.forward).parameters
        taken = [str(name) for name in inputs if name in names] if isinstance(inputs, Mapping) else []
        if not taken or len(names) == 1:  # a single argument may have the name of an entry, and take them all
            raise
        raise TypeError(
            f"`encoder` must take the inputs of a batch as one argument; {type(encoder).__name__} takes "
            f"{', '.join(taken)} by keyword. Build a model of transformers by name or folder with TextEncoder or "
            "TransformersImageEncoder of lightning_monocon.encoders, or wrap it in a module whose `forward(inputs)` "
            "calls it with `**inputs` and returns features (B, D)."
        ) from error


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
            f"`labels` must hold {len(embeddings)} integers, one per embedding; got {len(labels)}. Check the collate "
            "function: inputs and labels must come from the same samples."
        )


@contextmanager
def naming_drop_last(labels: Tensor) -> Iterator[None]:
    """Add the remedy to the ValueError that batch norm raises at a batch of one."""
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
    """Return the share of anchors whose label no other input of the batch has; 0 for no labels.

    Example:
        >>> share_without_positive(torch.tensor([3, 3, 5, 7]))
        0.5
    """
    counts = torch.unique(labels, return_counts=True)[1]
    return float((counts == 1).sum()) / max(len(labels), 1)


class PositivesWatch:
    """Warn once if most anchors of a batch have no positive: they do not contribute to the loss."""

    def __init__(self) -> None:
        self.warned = False
        self._largest = 2  # the smaller last batch of an epoch says little about the others

    def __call__(self, labels: Tensor) -> None:
        """Check the labels ``(B,)`` of one batch; not on several ranks, which contrast with each other's batches."""
        if self.warned or len(labels) < self._largest or is_distributed():
            return
        self._largest = len(labels)
        share = share_without_positive(labels)
        if share > MOST_SINGLES:
            self.warned = True
            warnings.warn(
                f"{share:.0%} of the {len(labels)} inputs of a batch are alone with their label, so they have no "
                "positive and count as 0 in the loss. Use larger batches, a sampler that draws several inputs per "
                "class, or pairs. (This warning is given once.)",
                stacklevel=2,
            )
