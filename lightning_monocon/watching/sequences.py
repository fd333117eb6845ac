# SPDX-License-Identifier: Apache-2.0
"""Read batches of token sequences: the inputs, the target of each position, and the stratum of each target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_monocon.training.batches import described, inputs_and_rest

IGNORED = -100
"""The label of a position that is not judged, as `torch.nn.functional.cross_entropy` has it by default."""

RULES = ("repetition", "frequency", "position")
Names: TypeAlias = npt.NDArray[np.str_]


class Sequences(NamedTuple):
    """Hold a batch of B sequences of T positions.

    Attributes:
        inputs: What the module gets, without the labels and the column that names strata.
        targets: Right token of each position ``(B, T)``; -100 where there is none.
        tokens: Input tokens ``(B, T)``; None if no input has the shape of the labels.
        column: Values of the column that names strata, ``(B,)`` or ``(B, T)``; None without one.
        is_next: Whether the target of a position is the input of the next one.
    """

    inputs: Any
    targets: Tensor
    tokens: Tensor | None
    column: Names | None
    is_next: bool


def has_sequences(batch: object) -> bool:
    """Return whether the labels of a batch are ``(B, T)`` integers, or it has tokens and no labels at all."""
    inputs, labels = _split(batch)
    if labels is None:
        return _tokens_in(inputs, None) is not None
    return labels.ndim == 2


def read_sequences(batch: object, column: str | None = None, next_token: bool | None = None) -> Sequences:
    """Read a batch of token sequences.

    The batch is ``(tokens, labels)`` or a mapping, as the collators of transformers return it. Without labels, and with
    labels equal to the tokens, as the causal models of transformers take them, each position is to predict the next
    token. Where an ``attention_mask`` is 0, nothing is judged.

    Args:
        batch: The batch.
        column: Name of an entry of a mapping that names strata.
        next_token: Whether a position is judged by the label of the next one; None finds out as above.

    Raises:
        ValueError: If the labels are not ``(B, T)``, or the mapping has no such column.
    """
    inputs, labels = _split(batch)
    found, inputs = split_column(inputs, column)
    tokens = _tokens_in(inputs, labels)
    if labels is None and tokens is None:
        raise ValueError(f"`batch` must hold labels or tokens (B, T); got {described(batch)}. Return labels with it.")
    targets = (labels if labels is not None else tokens).long().clone()  # type: ignore[union-attr]  # one is there
    is_next = next_token if next_token is not None else labels is None or _is_copy(targets, tokens)
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    if isinstance(mask, Tensor) and mask.shape == targets.shape:
        targets[mask == 0] = IGNORED
    if is_next:
        targets = torch.cat([targets[:, 1:], torch.full_like(targets[:, :1], IGNORED)], dim=1)
    return Sequences(inputs, targets.cpu(), None if tokens is None else tokens.cpu(), found, is_next)


def name_strata(sequences: list[Sequences], strata: str | None) -> list[Names]:
    """Return the name of the stratum of each position ``(B, T)`` of each batch; all are empty without a rule.

    Args:
        sequences: Batches.
        strata: ``"repetition"`` (``first`` or ``repeated``: whether the target has followed the same token before),
            ``"frequency"`` (``common``: the most frequent targets, which make up half of all; the others are ``rare``),
            ``"position"`` (``early`` and ``late``, at half the longest sequence), or a column that the batches have.
    """
    if strata is None:
        return [np.full(one.targets.shape, "") for one in sequences]
    if strata == "repetition":
        return [_repetition(one) for one in sequences]
    if strata == "frequency":
        common = _common(sequences)
        return [_chosen(np.isin(one.targets.numpy(), common), "common", "rare") for one in sequences]
    if strata == "position":
        half = max(one.targets.shape[1] for one in sequences) / 2
        early = [np.broadcast_to(np.arange(one.targets.shape[1]) < half, one.targets.shape) for one in sequences]
        return [_chosen(part, "early", "late") for part in early]
    return [_spread(one) for one in sequences]


def split_column(inputs: object, column: str | None) -> tuple[Names | None, Any]:
    """Split the column that names strata from the inputs of a mapping; raise ValueError if it has no such column."""
    if column is None:
        return None, inputs
    if not isinstance(inputs, Mapping) or column not in inputs:
        known = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else described(inputs)
        raise ValueError(
            f"`strata` must be {', '.join(RULES)}, or an entry of the batch, one of {known}; got {column!r}."
        )
    values = inputs[column]
    found = np.array(values.tolist() if isinstance(values, Tensor) else values).astype(str)
    return found, {name: part for name, part in inputs.items() if name != column}


def column_of(strata: str | None) -> str | None:
    """Return the name of the column that names strata; None if a rule does, or nothing."""
    return None if strata in RULES else strata


def _split(batch: object) -> tuple[Any, Tensor | None]:
    """Return the inputs of a batch and its first labels of integers with one or two dimensions, if it has any."""
    inputs, parts = inputs_and_rest(batch)
    labels = [part for part in parts if isinstance(part, Tensor) and _is_integer(part) and part.ndim in (1, 2)]
    return inputs, min(labels, key=lambda part: part.ndim, default=None)


def _tokens_in(inputs: object, labels: Tensor | None) -> Tensor | None:
    """Return the tokens ``(B, T)`` among the inputs, of the shape of the labels if there are any."""
    parts = [inputs]
    if isinstance(inputs, Mapping):
        parts = [inputs["input_ids"]] if "input_ids" in inputs else []
    for part in parts:
        if isinstance(part, Tensor) and _is_integer(part) and part.ndim == 2:
            return part if labels is None or part.shape == labels.shape else None
    return None


def _is_integer(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def _is_copy(labels: Tensor, tokens: Tensor | None) -> bool:
    judged = labels != IGNORED
    return tokens is not None and bool(judged.any()) and bool((labels[judged] == tokens[judged]).all())


def _spread(one: Sequences) -> Names:
    """Return the column of a batch for each position."""
    assert one.column is not None
    column = one.column[:, None] if one.column.ndim == 1 else one.column
    return np.broadcast_to(column, one.targets.shape)


def _chosen(mask: npt.NDArray[np.bool_], yes: str, no: str) -> Names:
    return np.where(mask, yes, no)


def _repetition(one: Sequences) -> Names:
    """Tell whether each target has occurred before: after the same token, or if it is not the next token, anywhere."""
    if one.tokens is None:
        raise ValueError(
            "`strata` must not be 'repetition' where the inputs are not tokens of the shape of the labels; choose "
            "frequency, position or a column."
        )
    tokens, targets = one.tokens.numpy(), one.targets.numpy()
    if not _follow(one):
        found = np.stack([np.isin(wanted, given) for given, wanted in zip(tokens, targets, strict=True)])
        return _chosen(found, "repeated", "first")
    repeated = np.zeros(targets.shape, dtype=bool)
    for row, pairs in enumerate(zip(tokens.tolist(), targets.tolist(), strict=True)):
        seen: set[tuple[int, int]] = set()
        for place, pair in enumerate(zip(*pairs, strict=True)):
            repeated[row, place] = pair in seen
            seen.add(pair)
    return _chosen(repeated, "repeated", "first")


def _follow(one: Sequences) -> bool:
    """Return whether most targets are the inputs of the next position, so that they are shifted already."""
    assert one.tokens is not None
    wanted = one.targets[:, :-1]
    return bool((wanted == one.tokens[:, 1:])[wanted != IGNORED].float().mean() > 0.5)


def _common(sequences: list[Sequences]) -> list[int]:
    """Return the most frequent targets that make up half of all."""
    judged = np.concatenate([one.targets[one.targets != IGNORED].numpy() for one in sequences])
    tokens, counts = np.unique(judged, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    most = int(np.searchsorted(counts[order].cumsum(), len(judged) / 2)) + 1
    return [int(token) for token in tokens[order][:most]]
