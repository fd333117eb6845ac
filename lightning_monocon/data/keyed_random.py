# SPDX-License-Identifier: Apache-2.0
"""Draw random numbers that are a function of their key, not of a hidden state.

A generator that is advanced sample by sample gives different augmentations after a resume, with another number of
workers, or when other code draws one number. Here every number is a hash of (seed, epoch, sample, draw), so a
sample's augmentation in epoch 7 is the same wherever and whenever it is computed. The mixer is SplitMix64 (Steele,
Lea & Flood, OOPSLA 2014), vectorised over samples.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def key(*parts: int | str) -> int:
    """Return a non-negative 63-bit integer that depends on every part and on their order."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def run_seed(seed: int | None) -> int:
    """Return ``seed``; for ``None``, the seed of `lightning.seed_everything`, or 0 without one."""
    return seed if seed is not None else int(os.environ.get("PL_GLOBAL_SEED", 0))


def uniform(seed: int, epochs: NDArray[np.int64], indices: NDArray[np.int64], draws: int) -> NDArray[np.float64]:
    """Return uniforms in [0, 1), ``(B, draws)``, keyed by the seed, epochs ``(B,)`` and positions ``(B,)``."""
    sample = _mix(_mix(np.uint64(key(seed)) + epochs.astype(np.uint64) * _GOLDEN) + indices.astype(np.uint64) * _GOLDEN)
    state = sample[:, None] + np.arange(1, draws + 1, dtype=np.uint64) * _GOLDEN
    return (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply SplitMix64's finaliser; unsigned arithmetic wraps on purpose."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))
