# SPDX-License-Identifier: Apache-2.0
"""Split a probe into strata, and measure the distance between two credence profiles.

A probe is P labelled inputs. Its strata (train, val, attributes and so on) are the parts over which fallibility is
averaged separately, so that a change on the validation part is not diluted by the train part:

    d(a, b) = max over strata s of  mean_{i in s} |a_i - b_i|      a, b: (P,) credences, d in [0, 1]

As 1 - c_i is the total variation between P_H(. | x_i) and the true label, d is an L1 distance between
per-input fallibility profiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats: TypeAlias = npt.NDArray[np.float64]
Profile: TypeAlias = npt.NDArray[np.float32]
ArrayLike: TypeAlias = "Tensor | npt.NDArray[np.generic] | Sequence[float] | Sequence[int] | Sequence[str]"

MIN_PROBES = 3
_ROLES = {"0": "train", "1": "val"}


@dataclass(frozen=True)
class Strata:
    """Hold the parts of a probe of ``size`` inputs: their ``names`` and the positions of their ``members``."""

    names: tuple[str, ...]
    members: tuple[npt.NDArray[np.intp], ...]
    size: int

    @cached_property
    def _places(self) -> tuple[slice | npt.NDArray[np.intp], ...]:
        """Return the positions of each stratum, as a slice where they follow each other: it copies nothing."""
        ends = [(int(m[0]), int(m[-1]) + 1) for m in self.members]
        follow = [last - first == len(m) for (first, last), m in zip(ends, self.members, strict=True)]
        pairs = zip(ends, self.members, follow, strict=True)
        return tuple(slice(*each) if is_run else m for each, m, is_run in pairs)

    def means(self, credence: npt.NDArray[np.floating]) -> Floats:
        """Return the mean of ``(..., P)`` credences in each stratum: ``(..., S)``."""
        found = np.empty((*credence.shape[:-1], len(self.members)))
        for number, (places, members) in enumerate(zip(self._places, self.members, strict=True)):
            # what `mean` does, without its wrapper: a hundred of these are taken at each evaluation
            found[..., number] = np.add.reduce(credence[..., places], axis=-1, dtype=np.float64) / len(members)
        return found

    def distance(self, left: npt.NDArray[np.floating], right: npt.NDArray[np.floating]) -> Floats:
        """Return the distance d of the module docstring between ``(..., P)`` profiles: ``(...)``."""
        furthest: Floats = self.means(np.abs(left - right)).max(axis=-1)
        return furthest

    @property
    def resolution(self) -> float:
        """Return the worst-case binomial resolution ``3 sqrt(1 / (4 min_s |s|))`` of a stratum mean."""
        return float(1.5 / np.sqrt(min(len(m) for m in self.members)))


def to_numpy(values: ArrayLike) -> npt.NDArray[np.generic]:
    """Convert a tensor, array or sequence to NumPy, detached and on the CPU."""
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
        return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
    return np.asarray(values)


def group_members(labels: ArrayLike, argument: str) -> dict[str, npt.NDArray[np.intp]]:
    """Return the positions of the probes of each group, in the order of the sorted labels.

    Args:
        labels: Integers or strings ``(P,)``, one per probe.
        argument: Name of ``labels`` at the caller, for error messages.

    Raises:
        ValueError: If ``labels`` is empty or not one-dimensional, or a group has fewer than 3 probes.
    """
    array = to_numpy(labels)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"`{argument}` must hold one label per probe, shape (P,); got shape {array.shape}.")
    members = {str(name): np.flatnonzero(array == name) for name in np.unique(array)}
    for name, positions in members.items():
        if len(positions) < MIN_PROBES:
            raise ValueError(
                f"`{argument}` must give every group at least {MIN_PROBES} probes, "
                f"got {len(positions)} for group '{name}'; draw more probes or merge groups."
            )
    return members


def parse_strata(labels: ArrayLike) -> Strata:
    """Read the stratum of each probe, where the integers 0 and 1 stand for train and val.

    Example:
        >>> parse_strata([0, 0, 0, 1, 1, 1]).names
        ('train', 'val')

    Raises:
        ValueError: If there is only one stratum, or one of fewer than 3 probes.
    """
    members = group_members(labels, "strata")
    if len(members) < 2:
        raise ValueError(
            f"`strata` must name at least two strata (train and val), got only '{next(iter(members))}'; "
            "without a held-out stratum memorising and generalising look alike."
        )
    names = tuple(_ROLES.get(name, name) for name in members)
    return Strata(names, tuple(members.values()), sum(len(m) for m in members.values()))


def check_credence(credence: ArrayLike, size: int) -> Floats:
    """Return ``(P,)`` credences as float64, after checking that they are probabilities.

    Raises:
        ValueError: If the shape is not ``(size,)`` or a value is not a number between 0 and 1.
    """
    values = to_numpy(credence).astype(np.float64)
    if values.shape != (size,):
        raise ValueError(f"`credence` must hold {size} values, one per probe; got shape {values.shape}.")
    wrong = ~((values >= -1e-6) & (values <= 1 + 1e-3))  # low precision may overshoot one; NaN fails both
    if wrong.any():
        raise ValueError(
            f"`credence` must hold probabilities between 0 and 1, got {values[wrong][0]:g} "
            f"({int(wrong.sum())} of {size} are wrong); pass `credence(logits, labels)`, not logits."
        )
    return np.clip(values, 0.0, 1.0)
