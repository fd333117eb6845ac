# SPDX-License-Identifier: Apache-2.0
"""The measurement that a user asks for: every operation, at the size that a call will have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_monocon.kernels import dispatch
from lightning_monocon.kernels.tuning import OPERATIONS, tune

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


def test_a_cpu_is_left_to_torch() -> None:
    assert tune(64, 8, device="cpu") == dict.fromkeys(OPERATIONS, "torch")


@pytest.mark.skipif(not dispatch.is_interpreting(), reason="Triton's interpreter is off")
def test_it_times_both_and_auto_follows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The CPU, with the interpreter, stands for a card that the tables do not know."""
    monkeypatch.setenv("MONOCON_CACHE", str(tmp_path))
    dispatch._measured.cache_clear()
    monkeypatch.setattr(dispatch, "is_gpu", lambda device: True)
    monkeypatch.setattr(dispatch, "architecture", lambda device: "sm_89")
    seen: dict[str, tuple[int, ...]] = {}

    def fastest(steps: Mapping[str, Callable[[], object]], rounds: int) -> str:
        gradients = [step() for step in steps.values()]
        assert gradients[0][0].shape == gradients[1][0].shape
        seen[len(seen)] = gradients[0][0].shape
        return "triton"

    monkeypatch.setattr(dispatch, "_fastest", fastest)
    assert tune(24, 8, features=12, device="cpu") == dict.fromkeys(OPERATIONS, "triton")
    assert list(seen.values()) == [(24, 8), (24, 8), (24, 12)]
    dispatch._measured.cache_clear()
    for name, width in zip(OPERATIONS, (8, 8, 12), strict=True):
        rows: Tensor = torch.empty(30, width)
        assert dispatch.use_triton(name, "auto", {}, rows)
        assert not dispatch.use_triton(name, "auto", {}, rows[:3])
    dispatch._measured.cache_clear()
