# SPDX-License-Identifier: Apache-2.0
"""Draw a fixed labelled probe from the train and the validation set, and evaluate it without leaving a trace."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from lightning_monocon.inference.outputs import LayerTap, as_rows
from lightning_monocon.training.batches import LABEL_NAMES, class_labels, described, inputs_and_labels
from lightning_monocon.watching.calling import as_in_training
from lightning_monocon.watching.loaders import NamedLabels, listed
from lightning_monocon.watching.sequences import IGNORED, split_column

CHUNK = 512
FEWEST = 3
"""The fewest inputs in each half of a probe."""


class Places(NamedTuple):
    """Hold the row and the position ``(n,)`` of each chosen label of a batch, and the shape of all its labels."""

    rows: Tensor
    positions: Tensor
    shape: tuple[int, int]


class Probe(NamedTuple):
    """Hold the P labelled inputs of a probe.

    Attributes:
        batches: Inputs, in batches.
        labels: Labels ``(P,)``.
        strata: Set of each label ``(P,)``: 0 train, 1 validation.
        fingerprint: Digest of what was drawn.
        names: Name of the stratum of each label.
        places: For sequences the places of the labels in each batch; None if a label has an input of its own.
    """

    batches: list[Any]
    labels: Tensor
    strata: Tensor
    fingerprint: str
    names: tuple[str, ...] = ()
    places: list[Places] | None = None


def draw_probe(train: DataLoader[Any], val: DataLoader[Any], size: int, seed: int, strata: str | None = None) -> Probe:
    """Draw ``size`` inputs, half from each set, with the classes as even as the sets allow.

    The same seed draws the same probe. A probe that is larger than the sets allow is made smaller, with a warning. An
    input with the label -100, which cross entropy ignores by default, is not drawn.
    Items are read by index and collated by their loader, as the loader itself does. Of a stream the first ``size`` are
    read, from a copy of its data set, so that the run reads what it would have read.

    Args:
        train: Loader of ``(inputs, labels)`` batches that the run trains on.
        val: Loader of held-out batches.
        size: Number of inputs P.
        seed: Seed of the draw.
        strata: What splits the sets into strata: an attribute of a data set with a value for each item, such as
            ``"label_kinds"``, or an entry of a mapping, such as ``"domain"``, which is no input then.

    Raises:
        ValueError: If a set holds fewer than 3 inputs, the labels are of one class, the batches have no integer labels
            or no such entry, or a stream cannot be read.
    """
    loaders = {name: listed(loader, size) for name, loader in (("train", train), ("validation", val))}
    drawn, noted = _drawn(loaders, size // 2, seed), noted_strata(strata, loaders)
    labels, batches, names, digest = [], [], [], hashlib.sha256()
    for name, loader in loaders.items():
        chosen = drawn[name]
        digest.update(np.asarray(chosen, dtype=np.int64).tobytes())
        for start in range(0, len(chosen), CHUNK):
            part = chosen[start : start + CHUNK]
            inputs, found = _split(fetch(loader, part))
            if noted:
                column = None if noted[name] is None else noted[name][part]
            else:
                column, inputs = split_column(inputs, strata)
            batches.append(inputs)
            labels.append(found.cpu().long())
            short = "train" if name == "train" else "val"
            names += [short] * len(found) if column is None else [f"{short}/{value}" for value in column.tolist()]
    every = torch.cat(labels)
    check_classes(every)
    digest.update(every.numpy().tobytes())
    sets = torch.arange(2).repeat_interleave(len(every) // 2)
    return Probe(batches, every, sets, digest.hexdigest()[:16], tuple(names))


def _drawn(loaders: Mapping[str, DataLoader[Any]], half: int, seed: int) -> dict[str, list[int]]:
    """Return the items that are drawn from each set: ``half`` or fewer, of those with a label."""
    known = {name: labels_of(loader) for name, loader in loaders.items()}
    judged = {name: [n for n, label in enumerate(found) if label != IGNORED] for name, found in known.items()}
    count = _fitting(half, {name: len(found) for name, found in judged.items()})
    return {
        name: [places[n] for n in evenly([known[name][place] for place in places], count, seed)]
        for name, places in judged.items()
    }


def evaluate(module: LightningModule, probe: Probe, layer: str | None = None) -> Tensor:
    """Return the outputs ``(P, D)`` of `forward` or of the submodule ``layer``: float32, on the CPU.

    The module runs as in `as_in_training`.

    Raises:
        ValueError: If the output is not one row of numbers per input.
    """
    outputs: list[Tensor] = []
    with as_in_training(module, layer) as call, LayerTap(layer).open(module) as tap:
        for inputs in probe.batches:
            result = call(inputs)
            rows = tap.rows() if layer else as_rows(result, "`forward`")
            outputs.append(rows.float().cpu())
    found, inputs = torch.cat(outputs), len(probe.strata)
    if len(found) != inputs:
        source = f"layer={layer!r}" if layer else "`forward`"
        raise ValueError(
            f"{source} must return one row per input; got {len(found)} rows for {inputs} inputs in eval mode. Return a "
            "row for each, or name a `layer` that does."
        )
    return found


def check_numbers(credences: Tensor, step: int) -> None:
    """Raise ValueError if a credence ``(P,)`` is NaN, as after a step that diverged."""
    lost = int(credences.isnan().sum())
    if lost:
        raise ValueError(
            f"`forward` must return numbers; at step {step} the credence of {lost} of {len(credences)} probes is NaN. "
            "Lower the learning rate or clip gradients; `NaNGuard` names the step that diverged."
        )


def noted_strata(strata: str | None, loaders: Mapping[str, DataLoader[Any]]) -> dict[str, Any]:
    """Return the strata of the items of each set, ``(N,)`` or None, if a set has them as an attribute; else nothing.

    Raises:
        ValueError: If an attribute does not have one value for each item.
    """
    if strata is None or not strata.isidentifier():
        return {}
    found = {name: _of_items(loader.dataset, strata) for name, loader in loaders.items()}
    return {} if all(values is None for values in found.values()) else found


def _of_items(dataset: Dataset[Any], name: str) -> npt.NDArray[Any] | None:
    if isinstance(dataset, Subset):
        whole = _of_items(dataset.dataset, name)
        return None if whole is None else whole[list(dataset.indices)]
    values = getattr(dataset, name, None)
    if values is None or callable(values) or isinstance(dataset, IterableDataset):
        return None
    found = np.asarray(values)
    if found.ndim != 1 or len(found) != len(dataset):  # type: ignore[arg-type]  # this is no stream
        raise ValueError(
            f"`strata` must name an attribute with a value for each of the {len(dataset)} items of "  # type: ignore[arg-type]
            f"{type(dataset).__name__}; {name!r} has the shape {found.shape}. Give it one value an item."
        )
    return found


def labels_of(loader: DataLoader[Any]) -> list[int]:
    """Return the label of each item of a loader's data set, from the set's own list if it has one.

    Raises:
        TypeError: If the labels are no integers.
        ValueError: If there is not one label for each input.
    """
    known = None if isinstance(loader.collate_fn, NamedLabels) else _known_labels(loader.dataset)
    if known is not None:
        return known
    size = len(loader.dataset)  # type: ignore[arg-type]  # a set that is no stream has a length
    labels: list[int] = []
    for start in range(0, size, CHUNK):
        batch = fetch(loader, list(range(start, min(start + CHUNK, size))))
        labels += _split(batch)[1].tolist()
    return labels


def _split(batch: object) -> tuple[Any, Tensor]:
    """Split a batch as `inputs_and_labels` does; raise ValueError with the option that helps a mapping without any."""
    if isinstance(batch, Mapping) and not any(name in batch for name in LABEL_NAMES):
        raise ValueError(
            f"`labels` must name the entry of the batch that holds one label an input; got None, and the batch is "
            f"{described(batch)}. Pass its name, or call the entry {', '.join(LABEL_NAMES[:-1])} or {LABEL_NAMES[-1]}."
        )
    return inputs_and_labels(batch)


def _known_labels(dataset: Dataset[Any]) -> list[int] | None:
    if isinstance(dataset, Subset):
        whole = _known_labels(dataset.dataset)
        return None if whole is None else [whole[i] for i in dataset.indices]
    named = getattr(dataset, "labels", getattr(dataset, "targets", None))
    if isinstance(dataset, TensorDataset):
        named = dataset.tensors[1] if len(dataset.tensors) > 1 else None
    if isinstance(named, Tensor):
        return list(map(int, class_labels(named).tolist()))
    return None if named is None else [int(label) for label in named]


def fetch(loader: DataLoader[Any], indices: list[int]) -> object:
    """Read and collate items as the loader's own fetcher does."""
    many = getattr(loader.dataset, "__getitems__", None)
    items = many(indices) if many is not None else [loader.dataset[i] for i in indices]
    return loader.collate_fn(items)


def _fitting(half: int, sizes: dict[str, int]) -> int:
    """Return how many inputs each set can provide, at most ``half``."""
    name, smallest = min(sizes.items(), key=lambda item: item[1])
    if min(half, smallest) < FEWEST:
        raise ValueError(
            f"`probe` must take at least {2 * FEWEST} inputs, half of them from each set; got {2 * half}, and the "
            f"{name} set holds {smallest} with a label. Choose a larger {'probe' if half < FEWEST else 'set'}."
        )
    if half > smallest:
        warnings.warn(
            f"`probe` is lowered to {2 * smallest} inputs: half of it, {half}, does not fit the {smallest} inputs of "
            f"the {name} set.",
            stacklevel=2,
        )
    return min(half, smallest)


def check_classes(labels: Tensor) -> None:
    """Raise ValueError if the labels of a probe are all of one class: then every answer is right."""
    if bool((labels == labels[0]).all()):
        raise ValueError(
            f"`probe` must hold at least two classes; all of its {len(labels)} labels are {int(labels[0])}. Draw a "
            "larger probe, or shuffle the data."
        )


def evenly(labels: Sequence[Hashable], count: int, seed: int) -> list[int]:
    """Choose ``count`` positions, dealt one class after the other in a shuffled order."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).tolist()
    turn: dict[Hashable, int] = {}
    ranked = []
    for position in order:
        turn[labels[position]] = turn.get(labels[position], 0) + 1
        ranked.append((turn[labels[position]], position))
    return [position for _, position in sorted(ranked, key=lambda pair: pair[0])[:count]]
