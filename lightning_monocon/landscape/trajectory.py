# SPDX-License-Identifier: Apache-2.0
"""Record the scalars of a run, one row an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lightning_monocon.landscape.qualifiers import Geometry
from lightning_monocon.landscape.roles import Role, Roles, parse_roles
from lightning_monocon.landscape.strata import Floats

NO_STATE = -1
FEWEST_EVALUATIONS = 10
"""Fewest evaluations of a run from which dwells, delays and shares are read."""


class Trajectory:
    """Record steps, states, and per stratum the mean credence, the fallibility and the clipped share.

    Args:
        strata: Names of the S strata.
        roles: Roles of the strata; None for those that `parse_roles` gives by default.

    Attributes:
        steps: Step of each of the T evaluations.
        states: State occupied at each evaluation, -1 in transit.
        values: Rows of 3 S + 4 floats: credences, fallibilities, clipped shares, geometry (NaN: not measured).
    """

    def __init__(self, strata: tuple[str, ...], roles: Roles | None = None) -> None:
        self.strata = strata
        self.roles = parse_roles(None, strata) if roles is None else roles
        self.steps: list[int] = []
        self.states: list[int] = []
        self.values: list[list[float]] = []

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns of ``values``."""
        measures = [f"{measure}/{s}" for measure in ("credence", "fallibility", "clipped") for s in self.strata]
        return (*measures, *Geometry._fields)

    def append(self, step: int, state: int | None, row: list[float]) -> None:
        """Add one evaluation."""
        self.steps.append(step)
        self.states.append(NO_STATE if state is None else state)
        self.values.append(row)

    def assign(self, since: int, state: int) -> None:
        """Assign the evaluations since step ``since`` to ``state``: a state is confirmed in retrospect."""
        for row in range(len(self.steps) - 1, -1, -1):
            if self.steps[row] < since:
                break
            self.states[row] = state

    def column(self, name: str) -> Floats:
        """Return the ``(T,)`` values of one column; ``step`` and ``state`` are columns, too."""
        if name == "step":
            return np.array(self.steps, dtype=np.float64)
        if name == "state":
            return np.array(self.states, dtype=np.float64)
        place = self.names.index(name)
        return np.array([row[place] for row in self.values], dtype=np.float64)

    def columns(self) -> dict[str, Floats]:
        """Return all columns by name, each ``(T,)``, as ``trajectory.csv`` holds them."""
        return {name: self.column(name) for name in ("step", "state", *self.names)}

    def role(self, role: Role, measure: str = "credence") -> Floats:
        """Return the ``(T,)`` means of a measure over the strata of a role; NaN if no stratum plays it.

        Args:
            role: ``"train"`` or ``"held_out"``.
            measure: ``"credence"``, ``"fallibility"`` or ``"clipped"``.
        """
        columns = np.stack([self.column(f"{measure}/{stratum}") for stratum in self.strata], axis=-1)
        return self.roles.mean(role, self.strata, columns)

    def role_crossing(self, role: Role, level: float) -> float:
        """Return the interpolated step at which a role's credence first reaches ``level``; NaN if it never does."""
        return self._crossing(self.role(role), level)

    def crossing(self, name: str, level: float) -> float:
        """Return the interpolated step at which a column first reaches ``level``; NaN if it never does."""
        return self._crossing(self.column(name), level)

    def _crossing(self, values: Floats, level: float) -> float:
        steps = self.column("step")
        above = np.flatnonzero(values >= level)
        if not len(above):
            return float("nan")
        row = int(above[0])
        if row == 0:
            return float(steps[0])
        share = (level - values[row - 1]) / (values[row] - values[row - 1])
        return float(steps[row - 1] + share * (steps[row] - steps[row - 1]))

    def state_dict(self) -> dict[str, Any]:
        """Return the record as tensors."""
        return {
            "steps": torch.tensor(self.steps, dtype=torch.int64),
            "states": torch.tensor(self.states, dtype=torch.int64),
            "values": torch.tensor(self.values, dtype=torch.float64).reshape(len(self), len(self.names)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; columns that an earlier release did not record are NaN."""
        self.steps, self.states = state["steps"].tolist(), state["states"].tolist()
        added = [float("nan")] * (len(self.names) - state["values"].shape[1])
        self.values = [row + added for row in state["values"].tolist()]
