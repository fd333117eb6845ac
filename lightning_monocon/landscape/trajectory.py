# SPDX-License-Identifier: Apache-2.0
"""The scalar record of a run: one row an evaluation, and what can be read from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lightning_monocon.landscape.strata import Floats

NO_STATE = -1


class Trajectory:
    """Steps, states, and per stratum the mean credence, the fallibility and the clipped share.

    Args:
        strata: Names of the S strata.

    Attributes:
        steps: Step of each of the T evaluations.
        states: State occupied at each, -1 in transit.
        values: Rows of 3 S + 2 floats: credences, fallibilities, clipped shares, effective rank, participation ratio.
    """

    def __init__(self, strata: tuple[str, ...]) -> None:
        self.strata = strata
        self.steps: list[int] = []
        self.states: list[int] = []
        self.values: list[list[float]] = []

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of ``values``."""
        measures = [f"{measure}/{s}" for measure in ("credence", "fallibility", "clipped") for s in self.strata]
        return (*measures, "effective_rank", "participation_ratio")

    def append(self, step: int, state: int | None, row: list[float]) -> None:
        """Add one evaluation."""
        self.steps.append(step)
        self.states.append(NO_STATE if state is None else state)
        self.values.append(row)

    def assign(self, since: int, state: int) -> None:
        """Put the evaluations since step ``since`` into ``state``: a confirmed state is entered in retrospect."""
        for row in range(len(self.steps) - 1, -1, -1):
            if self.steps[row] < since:
                break
            self.states[row] = state

    def column(self, name: str) -> Floats:
        """The ``(T,)`` values of one column, ``step`` and ``state`` included."""
        if name == "step":
            return np.array(self.steps, dtype=np.float64)
        if name == "state":
            return np.array(self.states, dtype=np.float64)
        place = self.names.index(name)
        return np.array([row[place] for row in self.values], dtype=np.float64)

    def columns(self) -> dict[str, Floats]:
        """All columns by name, each ``(T,)``: what goes into ``trajectory.csv``."""
        return {name: self.column(name) for name in ("step", "state", *self.names)}

    def crossing(self, name: str, level: float) -> float:
        """Step at which a column first reaches ``level``, interpolated between evaluations; NaN where it never does."""
        values, steps = self.column(name), self.column("step")
        above = np.flatnonzero(values >= level)
        if not len(above):
            return float("nan")
        row = int(above[0])
        if row == 0:
            return float(steps[0])
        share = (level - values[row - 1]) / (values[row] - values[row - 1])
        return float(steps[row - 1] + share * (steps[row] - steps[row - 1]))

    def state_dict(self) -> dict[str, Any]:
        """The record as tensors."""
        return {
            "steps": torch.tensor(self.steps, dtype=torch.int64),
            "states": torch.tensor(self.states, dtype=torch.int64),
            "values": torch.tensor(self.values, dtype=torch.float64).reshape(len(self), len(self.names)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.steps, self.states = state["steps"].tolist(), state["states"].tolist()
        self.values = state["values"].tolist()
