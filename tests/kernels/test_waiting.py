# SPDX-License-Identifier: Apache-2.0
"""A training step on a GPU copies nothing from the host and never waits for the device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.fake_card import fake_kernels, fake_tensors

from lightning_monocon import MonoCon
from lightning_monocon.kernels import dispatch
from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.dispatch import has_triton
from lightning_monocon.kernels.supcon import supcon
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.shapes import compares_labels

RULES = {
    "plain": Options(),
    "skip": Options(singletons="skip", bounded=True),
    "ignore": Options(ignore_index=0),
    "raw": Options(normalize=False),
}
needs_triton = pytest.mark.skipif(not has_triton(), reason="Triton is not installed")


@pytest.mark.parametrize("rule", RULES)
def test_the_losses_in_torch_do_not_wait(rule: str) -> None:
    with fake_tensors() as seen:
        rows, labels = torch.empty(300, 8, device="cuda"), torch.empty(300, dtype=torch.long, device="cuda")
        supcon(rows, labels, 0.1, options=RULES[rule], backend="torch")
        cross_supcon(rows, rows, labels, labels, 0.1, options=RULES[rule], backend="torch")
    assert seen.waits == []


@needs_triton
@pytest.mark.parametrize("rows", [300, 3000], ids=["labels", "class sums"])
@pytest.mark.parametrize("rule", RULES)
def test_the_losses_on_kernels_do_not_wait(rule: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_monocon.kernels.cross_supcon import fused as between
    from lightning_monocon.kernels.cross_supcon.terms import cross_terms
    from lightning_monocon.kernels.supcon import fused

    launches, options = fake_kernels(monkeypatch), RULES[rule]
    options = replace(options, compare=compares_labels(rows, options))
    with fake_tensors() as seen:
        x, labels = torch.empty(rows, 8, device="cuda"), torch.empty(rows, dtype=torch.long, device="cuda")
        scale = torch.empty((), device="cuda")
        loss, residuals = fused.forward(x, labels, scale, options)
        fused.backward(loss, scale, residuals, options)
        terms = cross_terms(labels, labels, options, torch.float32)
        loss, unit, r, kept = between.forward((x, x), (labels, labels), terms, scale, options)
        between.backward(loss, unit, r, kept, terms, (labels, labels), scale, options, True)
    assert seen.waits == []
    assert {"denominators_kernel", "finish_kernel", "weights_kernel", "unit_rows_backward_kernel"} <= set(launches)


@needs_triton
@pytest.mark.parametrize("rows", [300, 3000], ids=["on load", "library"])
def test_the_head_on_kernels_does_not_wait(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_monocon.kernels.monotone_linear import stack
    from lightning_monocon.kernels.monotone_linear.reference import Plan

    launches = fake_kernels(monkeypatch)
    with fake_tensors() as seen:
        signs = torch.empty(8, dtype=torch.int8, device="cuda")
        x = torch.empty(rows, 8, device="cuda")
        weights = [torch.empty(12, 8, device="cuda"), torch.empty(4, 12, device="cuda")]
        biases = [torch.empty(12, device="cuda"), torch.empty(4, device="cuda")]
        hidden, y = stack.forward(x, weights, biases, Plan(signs=signs), "auto", "sm_90")
        stack.backward(y, [x, hidden], weights, Plan(signs=signs), "auto", "sm_90", True)
    assert seen.waits == []
    assert launches


def test_a_training_step_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MonoCon(torch.nn.Linear(6, 8), in_features=8)
    monkeypatch.setattr(model, "log", lambda *_, **__: None)
    monkeypatch.setattr(dispatch, "triton_version", lambda: "")  # the way in torch, from the head to the loss
    with fake_tensors() as seen:
        for module in model.modules():
            for name, weight in list(module._parameters.items()):
                module._parameters[name] = torch.nn.Parameter(torch.empty(weight.shape, device="cuda"))
        batch = torch.empty(40, 6, device="cuda"), torch.empty(40, dtype=torch.long, device="cuda")
        assert model.training_step(batch, 1).device.type == "cuda"
    assert seen.waits == []
