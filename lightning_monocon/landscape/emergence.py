# SPDX-License-Identifier: Apache-2.0
"""Detect the emergence of a group: its held-out credence reaches one half and stays there.

A group (a class or a concept) has emerged if its mean credence is at least 0.5 at 3 evaluations in a row and the number
of its probes with credence >= 0.5 exceeds chance, by one-sided binomial tests over all groups with the false discovery
rate controlled at 5 % (Benjamini and Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_monocon.landscape.strata import ArrayLike, Floats, Strata, group_members, to_numpy

PERSISTENCE = 3
LEVEL = 0.05


class EmergenceDetector:
    """Watch the groups of a probe's held-out strata.

    Args:
        members: Positions of the probes of each group, at least 3.
        chance: Probability that a probe is right by chance.
    """

    def __init__(self, members: dict[str, npt.NDArray[np.intp]], chance: float) -> None:
        if not 0 < chance < 1:
            raise ValueError(f"`chance` must lie between 0 and 1, got {chance}.")
        self.members, self.chance = members, chance
        self.streaks: dict[str, tuple[int, int]] = {}  # group: evaluations in a row at 0.5, first of them
        self.emerged: dict[str, int] = {}

    def update(self, step: int, credence: Floats) -> list[tuple[str, int]]:
        """Return the groups that emerge by one evaluation of ``(P,)`` credences, with the first step of each streak."""
        for group, positions in self.members.items():
            length, first = self.streaks.get(group, (0, step))
            is_high = credence[positions].mean() >= 0.5
            self.streaks[group] = (length + 1, first if length else step) if is_high else (0, step)
        due = [g for g, (length, _) in self.streaks.items() if length >= PERSISTENCE and g not in self.emerged]
        if not due:
            return []
        beats_chance = self._significant(credence)
        found = [(group, self.streaks[group][1]) for group in due if beats_chance[group]]
        self.emerged.update(found)
        return found

    def spread(self) -> float:
        """Return the coefficient of variation of the steps of emergence: near 0 if all are equal, NaN below two."""
        steps = np.array(list(self.emerged.values()), dtype=np.float64)
        return float(steps.std(ddof=1) / steps.mean()) if len(steps) > 1 and steps.mean() > 0 else float("nan")

    def _significant(self, credence: Floats) -> dict[str, bool]:
        counts = {g: (int((credence[m] >= 0.5).sum()), len(m)) for g, m in self.members.items()}
        p_values = [stats.binom.sf(k - 1, n, self.chance) for k, n in counts.values()]
        adjusted = stats.false_discovery_control(p_values)
        return {g: bool(p <= LEVEL) for g, p in zip(counts, adjusted, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Return streaks and steps of emergence as plain values."""
        return {"streaks": {g: list(s) for g, s in self.streaks.items()}, "emerged": dict(self.emerged)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.streaks = {g: (s[0], s[1]) for g, s in state["streaks"].items()}
        self.emerged = dict(state["emerged"])


def watch_groups(groups: ArrayLike, strata: Strata, held_out: Sequence[str], chance: float | None) -> EmergenceDetector:
    """Return a detector for the ``(P,)`` groups of a probe, on its held-out strata if it has any.

    Args:
        groups: Group of each probe.
        strata: Strata of the probe.
        held_out: Names of the held-out strata.
        chance: Probability of a right answer by chance; None for one over the number of groups.

    Raises:
        ValueError: If there is not one group per probe, or a group has fewer than 3 held-out probes.
    """
    labels = to_numpy(groups)
    if labels.shape != (strata.size,):
        raise ValueError(f"`groups` must hold {strata.size} labels, one per probe; got shape {labels.shape}.")
    held = [strata.members[strata.names.index(name)] for name in held_out]
    positions = np.concatenate(held) if held else np.arange(strata.size)
    members = {name: positions[m] for name, m in group_members(labels[positions], "groups").items()}
    return EmergenceDetector(members, 1.0 / max(len(members), 2) if chance is None else chance)
