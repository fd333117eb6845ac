# SPDX-License-Identifier: Apache-2.0
"""Planted truths: jump processes between fixed credence profiles, noise, drifts, and a run that memorises and groks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PROBES = 512
STRATA = np.repeat([0, 1], PROBES // 2)


class Planted(NamedTuple):
    """Credences ``(T, P)``, the true state at each step, and the true jumps (step, source, target)."""

    credence: Floats
    states: npt.NDArray[np.int64]
    jumps: list[tuple[int, int, int]]


def planted(seed: int, states: int = 4, steps: int = 1500, dwell: float = 60.0, noise: float = 0.1) -> Planted:
    """A jump process with exponential dwells between random profiles; a jump takes three steps."""
    rng = np.random.default_rng(seed)
    profiles = rng.beta(0.3, 0.3, (states, PROBES))
    path: list[int] = []
    jumps, state = [], 0
    while len(path) < steps:
        path += [state] * max(1, round(rng.exponential(dwell)))
        target = int(rng.choice([s for s in range(states) if s != state]))
        jumps.append((len(path), state, target))
        state = target
    truth = np.array(path[:steps])
    credence = profiles[truth]
    for lag in (1, 2):
        before = truth[np.maximum(np.arange(steps) - lag, 0)]
        moving = before != truth
        credence[moving] = 0.5 * credence[moving] + 0.5 * profiles[before[moving]]
    noisy = np.clip(credence + noise * rng.standard_normal(credence.shape), 0, 1)
    return Planted(noisy, truth, [jump for jump in jumps if jump[0] < steps])


def null(kind: str, seed: int, steps: int = 1500) -> Floats:
    """Credences ``(T, P)`` with no jump in them."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((steps, PROBES))
    time = np.arange(steps)[:, None]
    level = {
        "iid": 0.5 + 0.1 * noise,
        "linear": time / steps + 0.05 * noise,
        "log_time": np.log1p(time) / np.log(steps) + 0.05 * noise,
        "random_walk": 0.5 + 0.02 * np.cumsum(noise, axis=0),
    }
    return np.clip(level[kind], 0, 1)


def sigmoid(x: npt.ArrayLike) -> Floats:
    """Logistic function."""
    return 1 / (1 + np.exp(-np.asarray(x, dtype=np.float64)))


def grokking(steps: Floats, memorised: float = 40.0, generalised: float = 1500.0, width: float = 90.0) -> Floats:
    """Credences ``(T, P)`` of a run that memorises, then generalises; probes differ a little in their times."""
    spread = np.linspace(-1, 1, PROBES // 2)
    train = sigmoid((np.log(steps[:, None] + 1) - np.log(memorised)) * 6 + 0.3 * spread)
    val = 0.02 + 0.97 * sigmoid((steps[:, None] - generalised) / width + 0.5 * spread)
    return np.hstack([0.02 + 0.97 * train, val])
