# SPDX-License-Identifier: Apache-2.0
"""Draw a probe of (sequence, position) pairs for models that return token logits, and evaluate it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_monocon.inference.outputs import LayerTap
from lightning_monocon.landscape import credence
from lightning_monocon.training.batches import described
from lightning_monocon.watching.calling import as_in_training
from lightning_monocon.watching.loaders import copied
from lightning_monocon.watching.probe import FEWEST, Places, Probe, check_classes, evenly, fetch
from lightning_monocon.watching.sequences import (
    IGNORED,
    Names,
    Sequences,
    column_of,
    has_sequences,
    name_strata,
    read_sequences,
)

PAIRS = 48
"""Pairs from a sequence, where sequences are long enough."""


class Chosen(NamedTuple):
    """Hold what was chosen from one set: batches of inputs, and places, targets ``(n,)`` and strata of the pairs."""

    batches: list[Any]
    places: list[Places]
    labels: Tensor
    names: list[str]


class TokenOutputs(NamedTuple):
    """Hold the credences ``(P,)`` of a probe and the size of the vocabulary."""

    credence: Tensor
    vocabulary: int


def is_sequential(loader: DataLoader[Any]) -> bool:
    """Return whether a loader's data set gives sequences, by its first batch."""
    return has_sequences(first_batch(loader))


def first_batch(loader: DataLoader[Any]) -> object:
    """Return a batch of one item of a loader's data set, read without a trace in a stream; None if it is empty."""
    return next(_batches(loader, 0, 1), None)


def draw_token_probe(
    train: DataLoader[Any],
    val: DataLoader[Any],
    size: int,
    seed: int,
    strata: str | None = None,
    next_token: bool | None = None,
) -> Probe:
    """Draw ``size`` pairs of sequence and position, half from each set, even over the strata.

    A pair is drawn where the target is not -100. Of a stream the first sequences are taken, from a copy of its data
    set, so that the run reads what it would have read.

    Args:
        train: Loader of batches of sequences that the run trains on.
        val: Loader of held-out batches.
        size: Number of pairs P.
        seed: Seed of the draw.
        strata: ``"repetition"``, ``"frequency"``, ``"position"`` or the entry of a mapping that names strata.
        next_token: As in `read_sequences`.

    Raises:
        ValueError: If a set has fewer than 3 pairs, or a stream cannot be copied.
    """
    half = size // 2
    read = [_read(loader, half, seed, column_of(strata), next_token) for loader in (train, val)]
    names = iter(name_strata([one for sequences in read for one in sequences], strata))
    halves = [
        _choose(sequences, [next(names) for _ in sequences], half, seed, name)
        for name, sequences in zip(("train", "val"), read, strict=True)
    ]
    labels = torch.cat([part.labels for part in halves])
    check_classes(labels)
    return Probe(
        batches=[batch for part in halves for batch in part.batches],
        labels=labels,
        strata=torch.arange(2).repeat_interleave(torch.tensor([len(part.labels) for part in halves])),
        fingerprint=_fingerprint(halves),
        names=tuple(name for part in halves for name in part.names),
        places=[place for part in halves for place in part.places],
    )


def evaluate_tokens(module: LightningModule, probe: Probe, layer: str | None = None) -> TokenOutputs:
    """Return the credences of the pairs of a probe, from logits ``(B, T, V)``; on the CPU.

    The logits are gathered at the pairs before anything is done with them, and the softmax is taken piece by piece, so
    a large vocabulary needs little memory beside the module's own output.

    Raises:
        ValueError: If the output holds no logits of the shape of the labels.
    """
    credences, start, width = [], 0, 0
    assert probe.places is not None
    with as_in_training(module, layer) as call, LayerTap(layer).open(module) as tap:
        for inputs, places in zip(probe.batches, probe.places, strict=True):
            output = call(inputs)
            found = token_logits(tap.output() if layer else output, places.shape)
            labels = probe.labels[start : start + len(places.rows)]
            start += len(labels)
            chosen = found[places.rows.to(found.device), places.positions.to(found.device)]
            width = chosen.shape[1]
            credences.append(credence(chosen, labels.to(found.device)).float().cpu())
    return TokenOutputs(torch.cat(credences), width)


def token_logits(output: object, shape: tuple[int, int]) -> Tensor:
    """Return the logits ``(B, T, V)`` of an output: itself, or its entry ``logits``, as models of transformers have it.

    Raises:
        ValueError: If there are none for labels of ``shape`` ``(B, T)``.
    """
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    if not isinstance(found, Tensor) or not found.is_floating_point() or found.ndim != 3:
        got = described(output if found is None else found)
        rows = "a column of labels becomes one number per input by `labels.squeeze(1)`"
        if shape[1] > 1:
            rows = "one-hot labels become class numbers by `labels.argmax(1)`"
        raise ValueError(
            f"`forward` must return logits (B, T, V) for labels (B, T), as a tensor or under `logits`; got {got}. Name "
            f"the submodule that returns them with `layer`; {rows}."
        )
    if found.shape[:2] != shape:
        raise ValueError(
            f"`forward` must return logits (B, T, V) with a row for each of the labels {shape}; got shape "
            f"{tuple(found.shape)}. Transpose (B, V, T) to (B, T, V), and return the positions of the labels alone."
        )
    return found


def _read(
    loader: DataLoader[Any], half: int, seed: int, column: str | None, next_token: bool | None
) -> list[Sequences]:
    """Read enough sequences for ``half`` pairs, `PAIRS` from each if they are long enough."""
    read: list[Sequences] = []
    sequences = pairs = 0
    for batch in _batches(loader, seed, math.ceil(half / PAIRS)):
        one = read_sequences(batch, column, next_token)
        read.append(one)
        sequences += len(one.targets)
        pairs += int((one.targets != IGNORED).sum())
        if pairs >= half and sequences >= math.ceil(half / PAIRS):
            break
    return read


def _batches(loader: DataLoader[Any], seed: int, most: int) -> Iterator[object]:
    """Yield batches of ``most`` items, or of the loader's size if that is less: shuffled, or the first of a stream."""
    size = min(loader.batch_size or PAIRS, most)
    if isinstance(loader.dataset, IterableDataset):
        items = iter(copied(loader.dataset))
        if loader.batch_size is None:
            yield from map(loader.collate_fn, items)
        while batch := list(islice(items, size)):
            yield loader.collate_fn(batch)
        return
    count = len(loader.dataset)  # type: ignore[arg-type]  # a set that is no stream has a length
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    for start in range(0, count, size):
        yield fetch(loader, order[start : start + size])


def _choose(sequences: list[Sequences], names: list[Names], half: int, seed: int, name: str) -> Chosen:
    """Choose pairs of a set, even over its strata."""
    judged = [(one.targets != IGNORED).nonzero() for one in sequences]
    total = sum(map(len, judged))
    if min(total, half) < FEWEST:
        raise ValueError(
            f"`probe` must take at least {2 * FEWEST} pairs of sequence and position, half of them from each set; got "
            f"{2 * half}, and the {name} set has {total} labels that are not {IGNORED}. Choose a larger probe or set."
        )
    pairs = [(batch, row, position) for batch, found in enumerate(judged) for row, position in found.tolist()]
    strata = [str(names[batch][row, position]) for batch, row, position in pairs]
    chosen = [(*pairs[pair], strata[pair]) for pair in sorted(evenly(strata, half, seed))]
    batches, places, labels = [], [], []
    for batch, one in enumerate(sequences):
        mine = torch.tensor([(row, position) for of, row, position, _ in chosen if of == batch])
        if len(mine):
            rows, positions = mine.unbind(1)
            batches.append(one.inputs)
            places.append(Places(rows, positions, (one.targets.shape[0], one.targets.shape[1])))
            labels.append(one.targets[rows, positions])
    return Chosen(batches, places, torch.cat(labels), [f"{name}/{each[3]}".rstrip("/") for each in chosen])


def _fingerprint(halves: list[Chosen]) -> str:
    digest = hashlib.sha256()
    for part in halves:
        for values in (part.labels, *(each for place in part.places for each in (place.rows, place.positions))):
            digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:16]
