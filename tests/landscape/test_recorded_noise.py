# SPDX-License-Identifier: Apache-2.0
"""Recorded runs with wrong labels and without tell memorised noise from overfitting.

`recordings/noise.json` holds credences and fallibilities by stratum, rounded to four digits, of `trajectory.csv` of the
recipes `stsb_noise` and `fashion_mnist_noise`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from lightning_monocon.landscape.noise_watch import Levels, NoiseWatch
from lightning_monocon.landscape.rules import Change, transition_kind

RUNS: dict[str, dict[str, list[float]]] = json.loads((Path(__file__).parent / "recordings" / "noise.json").read_text())


def _told(run: dict[str, list[float]], *, split: bool = True) -> list[tuple[str, int]]:
    """Return the kinds of the rises that a watch sees, each with the step; ``split`` if wrong labels have a stratum."""
    watch, found = NoiseWatch(), []
    unknown = [math.nan] * len(run["step"])
    wrong = run.get("fallibility/train/wrong", unknown) if split else unknown
    columns = (run["fallibility/train/right"], run["fallibility/val"], run["credence/val"], wrong)
    for step, *levels in zip(run["step"], *columns, strict=True):
        watch.update(int(step), Levels(*levels))
        if watch.is_rising and not watch.is_told:
            watch.is_told = True
            found.append((watch.kind, int(step)))
    return found


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("stsb")])
def test_a_small_set_is_overfitted_and_its_wrong_labels_tell_the_cause(name: str) -> None:
    has_noise = "label_noise 0.2" in name
    ((kind, step),) = _told(RUNS[name])
    assert kind == ("noise_memorisation" if has_noise else "overfitting")
    assert _told(RUNS[name], split=False) == [("overfitting", step)], "the curves of the others are alike"


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("fashion")])
def test_wrong_labels_are_learnt_by_themselves_before_anything_is_lost(name: str) -> None:
    run = RUNS[name]
    if "label_noise 0," in name:
        assert "credence/train/wrong" not in run and not _told(run)
        return
    lowest = int(np.argmin(run["fallibility/val"]))
    before, after = ({key: values[row] for key, values in run.items()} for row in (lowest, -1))
    means = {
        role: (before[f"credence/{role}"], after[f"credence/{role}"]) for role in ("train/right", "val", "train/wrong")
    }
    train, val, wrong = means.values()
    how = {"train_at_exit": train[0], "abruptness": 1.0, "delay": 2.0, "is_return": False, "has_source": True}
    kind, reason = transition_kind(Change(train=train, val=val, wrong=wrong, room=0.9, **how))  # type: ignore[arg-type]
    assert kind == "noise_memorisation" and reason.startswith("wrong labels +0.")
    assert transition_kind(Change(train=train, val=val, room=0.9, **how))[0] == "drift"  # type: ignore[arg-type]
