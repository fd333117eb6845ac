# SPDX-License-Identifier: Apache-2.0
"""The tolerance of an export follows from what float32 does, and is checked before any form is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightning_monocon import MonoCon
from lightning_monocon.export import export_model
from lightning_monocon.export.prepare import Prepared, prepare
from lightning_monocon.export.rounding import Rounding, checked_tolerance, rounding

Batches = list[tuple[Tensor, Tensor]]


class Cone(nn.Module):
    """Four classes around one direction, ``spread`` wide: what a short run leaves."""

    out_features = 16

    def __init__(self, spread: float, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.axis = nn.Parameter(torch.linspace(1, 2, 16))
        self.spread, self.dtype = spread, dtype

    def forward(self, inputs: Tensor) -> Tensor:
        rows = self.axis + self.spread * inputs
        return rows if self.dtype is None else rows.to(self.dtype)


def batches(rows: int = 400) -> Batches:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % 4
    inputs = 0.3 * torch.randn(rows, 16, generator=generator) + 2 * nn.functional.one_hot(labels, 16)
    return [(inputs, labels)]


def cut(spread: float, dtype: torch.dtype | None = None) -> Prepared:
    return prepare(MonoCon(Cone(spread, dtype), "none").eval(), batches(), batches(100), dim=4)


def in_numpy(prepared: Prepared) -> float:
    """Largest difference between float32 and float64 in a vector of the example, by another route."""
    example, spread = prepared.gallery.example, prepared.encoder.spread
    assert isinstance(example, Tensor)
    axis = np.linspace(1, 2, 16, dtype=np.float32)
    found = []
    for kind in (np.float32, np.float64):
        rows = (axis.astype(kind) + kind(spread) * example.numpy().astype(kind)).astype(np.float64)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) - prepared.projection.mean.numpy()
        rows = rows @ prepared.projection.basis.numpy().T
        found.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return float(np.abs(found[0] - found[1]).max())


@pytest.mark.parametrize("spread", [1.0, 0.1, 0.01, 0.001])
def test_what_float32_does_is_measured(spread: float) -> None:
    prepared = cut(spread)
    found = rounding(prepared)
    assert found.measured == pytest.approx(in_numpy(prepared), rel=0.5)  # a fused product rounds once less
    assert found.measured < found.explained


def test_the_narrower_the_cone_the_more_is_explained() -> None:
    explained = [rounding(cut(spread)).explained for spread in (1.0, 0.1, 0.01)]
    assert 5 < explained[1] / explained[0] < 20
    assert 5 < explained[2] / explained[1] < 20


def test_an_encoder_that_insists_on_float32_is_held_to_an_estimate() -> None:
    found, exact = rounding(cut(0.1, torch.float32)), rounding(cut(0.1))
    assert 10 * exact.measured < found.measured < found.explained
    assert found.explained / exact.explained == pytest.approx(8, rel=0.01)  # 64 roundings in place of the least, 8


def test_a_short_run_is_exported_by_default(tmp_path: Path) -> None:
    model = MonoCon(Cone(0.01), "none").eval()
    written = export_model(model, batches(), batches(100), tmp_path / "out", dim=4, forms=["pt2"])
    worst = max(written.description.facts["largest_difference"].values())
    assert 1e-5 < worst  # what the fixed tolerance of before refused
    assert worst <= rounding(cut(0.01)).explained


def test_a_collapse_is_refused_before_a_form_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []
    monkeypatch.setattr("lightning_monocon.export.writing._write_forms", lambda *them: written.append(them))
    model = MonoCon(Cone(1e-4), "none").eval()
    with pytest.raises(
        RuntimeError, match=r"float32 alone .* very narrow cone.* pass `--tolerance` \(`tolerance=`\) \d"
    ):
        export_model(model, batches(), batches(100), tmp_path / "out", dim=4, forms=[])
    with pytest.raises(
        RuntimeError, match=r"`--tolerance` \(`tolerance=`\) is 1e-09, but the rounding of float32 alone"
    ):
        export_model(model, batches(), batches(100), tmp_path / "out", dim=4, forms=[], tolerance=1e-9)
    assert written == []
    assert list(tmp_path.iterdir()) == []


def test_the_caller_may_allow_more() -> None:
    assert checked_tolerance(Rounding(0.1, 0.9), 0.5) == 0.5
    assert checked_tolerance(Rounding(1e-6, 1e-5), None) == 1e-5
