# SPDX-License-Identifier: Apache-2.0
"""Split data by class as a function of seed and labels only, and identify a split by a hash.

The order within a class comes from keyed hashes, not from a generator, so a split does not change with the version of a
library.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.data.keyed_random import uniform

Indices = NDArray[np.int64]


def stratified_split(labels: Indices, size: int, seed: int) -> tuple[Indices, Indices]:
    """Return ``(rest, part)``: ascending indices of all labels, ``size`` of them in ``part``.

    Every class gives its share to within one label (largest remainders, ties to the lower class).

    Args:
        labels: Class of each sample, shape ``(N,)``, non-negative.
        size: Samples in ``part``.
        seed: Seed of the choice.

    Raises:
        ValueError: If one of the two would be empty, or a class would be missing from ``rest``.

    Example:
        >>> rest, part = stratified_split(np.array([0, 0, 0, 0, 1, 1]), 3, seed=0)
        >>> np.bincount(np.array([0, 0, 0, 0, 1, 1])[part])
        array([2, 1])
    """
    if not 0 < size < len(labels):
        raise ValueError(f"`size` must leave samples on both sides, got {size} of {len(labels)}.")

    counts = np.bincount(labels)
    quotas = _quotas(counts, size)
    if lost := np.flatnonzero((counts > 0) & (quotas == counts)).tolist():
        raise ValueError(
            f"`labels` must hold more samples of class {lost[0]} than a split takes, got {counts[lost[0]]}. "
            "Take a smaller part, or leave the class out."
        )

    draws = _draws(np.arange(len(labels)), seed)[:, 0]
    chosen = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(labels == label)
        chosen[members[np.argsort(draws[members], kind="stable")[:quota]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def shuffled(indices: Indices, seed: int) -> Indices:
    """Return the indices in an order that depends only on them and the seed."""
    return indices[np.argsort(_draws(indices, seed)[:, 1], kind="stable")]


def noisy_labels(labels: Indices, part: Indices, share: float, seed: int) -> Indices:
    """Return the labels, of which ``share`` of those in ``part`` are replaced by another class, all equally likely.

    Args:
        labels: Class of each sample, ``(N,)``, non-negative.
        part: Numbers of the samples that may get another label.
        share: From 0 to 1; rounded to whole samples.
        seed: Seed of the choice.

    Raises:
        ValueError: If there is no other class.

    Example:
        >>> noisy_labels(np.array([0, 1, 0, 1]), np.array([0, 1]), 1.0, seed=0)
        array([1, 0, 0, 1])
    """
    count = round(share * len(part))
    if not count:
        return labels
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"`label_noise` needs two classes at least; all labels are {classes[0]}. Set it to 0.")
    draws = uniform(seed, np.ones_like(part), part, 2)
    wrong = np.argsort(draws[:, 0], kind="stable")[:count]
    steps = 1 + (draws[wrong, 1] * (len(classes) - 1)).astype(np.int64)
    found, chosen = labels.copy(), part[wrong]
    found[chosen] = classes[(np.searchsorted(classes, labels[chosen]) + steps) % len(classes)]
    return found


def label_kinds(labels: Indices, given: Indices) -> NDArray[np.str_]:
    """Return ``"right"`` or ``"wrong"`` for each sample ``(N,)``: whether the label that it was given is its own.

    Example:
        >>> label_kinds(np.array([0, 1]), np.array([0, 0])).tolist()
        ['right', 'wrong']
    """
    return np.where(labels == given, "right", "wrong")


def split_hash(labels: Indices, *parts: Indices) -> str:
    """Return 16 hexadecimal digits that depend on which sample is in which part, and on its label."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.int64(len(part)).tobytes())
        digest.update(part.astype("<i8").tobytes())
        digest.update(labels[part].astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def _draws(indices: Indices, seed: int) -> NDArray[np.float64]:
    """Return two uniforms per index, one to choose and one to order: the first is not uniform among the unchosen."""
    return uniform(seed, np.zeros_like(indices), indices, 2)


def _quotas(counts: Indices, size: int) -> Indices:
    exact = counts * (size / counts.sum())
    quotas: Indices = np.floor(exact).astype(np.int64)
    missing = size - int(quotas.sum())
    quotas[np.argsort(quotas - exact, kind="stable")[:missing]] += 1
    return quotas
