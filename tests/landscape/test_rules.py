# SPDX-License-Identifier: Apache-2.0
"""Typing rules on hand-made changes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lightning_monocon.landscape.rules import Change, transition_kind

GROKKING: dict[str, Any] = {
    "train": (1.0, 1.0),
    "val": (0.02, 0.98),
    "train_at_exit": 1.0,
    "abruptness": 40.0,
    "delay": 20.0,
    "is_return": False,
    "has_source": True,
}

ACQUIRED: dict[str, Any] = {
    "train": (0.02, 0.85),
    "val": (0.02, 0.85),
    "train_at_exit": 0.02,
    "delay": math.nan,
    "lag": 1.0,
    "is_everywhere": True,
}

RISES = ("overfitting", "the fallibility rises")


@pytest.mark.parametrize(
    ("difference", "kind"),
    [
        ({}, "grokking"),
        ({"delay": 4.0}, "comprehension"),
        ({"abruptness": 2.9}, "gradual_generalisation"),
        ({"abruptness": math.nan}, "gradual_generalisation"),
        ({"val": (0.02, 0.8)}, "partial"),
        ({"val": (0.02, 0.31)}, "jump"),
        ({"val": (0.02, 0.31), "abruptness": 1.0}, "drift"),
        ({"val": (0.98, 0.02)}, "forgetting"),
        ({"val": (0.98, 0.02), "is_return": True}, "forgetting"),
        ({"is_return": True}, "return"),
        ({"train": (0.02, 1.0), "val": (0.02, 0.1)}, "memorisation"),
        ({"train": (0.02, 1.0), "val": (0.02, 0.1), "has_source": False, "abruptness": math.nan}, "memorisation"),
        ({"train": (0.86, 1.0)}, "grokking"),
        ({"train": (0.02, 1.0), "train_at_exit": 0.02, "delay": 1.2}, "comprehension"),
        ({"train": (0.02, 1.0), "train_at_exit": 0.02}, "jump"),
        (
            {"train": (0.02, 1.0), "train_at_exit": 0.02, "has_source": False, "abruptness": math.nan},
            "gradual_generalisation",
        ),
        ({**ACQUIRED}, "acquisition"),
        ({**ACQUIRED, "delay": 1.1}, "acquisition"),
        ({**ACQUIRED, "train": (math.nan, math.nan), "lag": math.nan}, "acquisition"),  # nothing is trained on alone
        ({**ACQUIRED, "lag": 1.5, "delay": 1.5}, "comprehension"),
        ({**ACQUIRED, "is_everywhere": False}, "jump"),
        ({**ACQUIRED, "abruptness": 2.0}, "gradual_generalisation"),
        ({"val": (0.8, 0.75), "overfitted": RISES}, "overfitting"),
        ({"val": (0.8, 0.4), "overfitted": RISES}, "overfitting"),
        ({"train": (0.4, 1.0), "val": (0.8, 0.75), "overfitted": RISES}, "overfitting"),
        ({"val": (0.8, 0.75), "overfitted": RISES, "is_return": True}, "return"),
        ({"overfitted": RISES}, "grokking"),
        # wrong labels, which have a stratum of their own, are learnt; with all others it is memorisation
        ({"val": (0.8, 0.75), "wrong": (0.05, 0.7)}, "noise_memorisation"),
        ({"val": (0.8, 0.75), "wrong": (0.05, 0.7), "overfitted": RISES}, "noise_memorisation"),
        ({"val": (0.8, 0.4), "wrong": (0.05, 0.7)}, "noise_memorisation"),
        ({"val": (0.8, 0.75), "wrong": (0.05, 0.4), "overfitted": RISES}, "overfitting"),
        ({"val": (0.8, 0.75), "wrong": (0.05, 0.4)}, "jump"),
        ({"val": (0.8, 0.75), "wrong": (0.05, 0.4), "room": 0.5}, "noise_memorisation"),
        ({"train": (0.02, 1.0), "val": (0.02, 0.1), "wrong": (0.02, 1.0)}, "memorisation"),
        ({"wrong": (0.05, 0.7)}, "grokking"),
        ({"val": (0.8, 0.75), "wrong": (0.05, 0.7), "is_return": True}, "return"),
        # of two classes, where chance is 0.5 and nothing can gain more
        ({"train": (0.5, 0.98), "val": (0.5, 0.51)}, "jump"),
        ({"train": (0.5, 0.98), "val": (0.5, 0.51), "room": 0.5}, "memorisation"),
        ({"train": (0.5, 0.98), "val": (0.5, 0.62), "room": 0.5}, "jump"),
        ({"val": (0.5, 0.64), "room": 0.5}, "jump"),
        ({"val": (0.7, 0.98)}, "jump"),
        ({"val": (0.7, 0.98), "room": 0.5}, "grokking"),
        ({"val": (0.98, 0.8), "room": 0.5}, "forgetting"),
    ],
)
def test_kind_of_a_change(difference: dict[str, Any], kind: str) -> None:
    got, reason = transition_kind(Change(**{**GROKKING, **difference}))
    assert got == kind
    assert reason
