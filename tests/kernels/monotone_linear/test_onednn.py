# SPDX-License-Identifier: Apache-2.0
"""The CPU path through oneDNN: the same function and gradients, chosen by a probe, never at the cost of accuracy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from oracles import monotone as oracle
from torch import Tensor

from lightning_monocon.kernels.monotone_linear import monotone_mlp, onednn
from lightning_monocon.kernels.monotone_linear.reference import Plan

available = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")),
    reason="torch was built without oneDNN's operator",
)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder of this test's own for the probe's answer."""
    monkeypatch.setenv("MONOCON_CACHE", str(tmp_path))
    probe = onednn.is_faster
    probe.cache_clear()
    yield tmp_path / "cpu_product.json"
    probe.cache_clear()


def leaves(
    rows: int, sizes: list[int], parametrization: str = "square"
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    x, weights, biases = oracle.problem(sizes, rows, parametrization=parametrization)
    flat = [t.requires_grad_() for t in (x, *weights, *biases)]
    return x, weights, biases, flat


@available
@pytest.mark.parametrize("activation", ["leaky_relu", "relu", "elu", "tanh", "linear"])
@pytest.mark.parametrize("parametrization", ["square", "exp", "softplus", "abs", "none"])
def test_function_and_gradients_equal_the_oracle(parametrization: str, activation: str) -> None:
    x, weights, biases, flat = leaves(33, [17, 40, 9], parametrization)
    signs = oracle.directions(17)
    y = onednn.run(x, weights, biases, Plan(parametrization, activation, "tanh", signs))
    exact = oracle.stack(x, weights, biases, parametrization, activation, signs, "tanh")
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=2e-6)
    upstream = torch.randn(33, 9, generator=torch.Generator().manual_seed(0))
    for got, want in zip(
        torch.autograd.grad(y, flat, upstream), torch.autograd.grad(exact, flat, upstream.double()), strict=True
    ):
        size = max(1.0, float(want.abs().max()))
        torch.testing.assert_close(got, want, rtol=0, atol=5e-6 * size)


@available
def test_second_derivatives_come_from_the_reference() -> None:
    x, weights, biases, _ = leaves(5, [4, 6, 3])

    def curvature(run: object) -> Tensor:
        (dx,) = torch.autograd.grad(run().square().sum(), x, create_graph=True)
        return torch.autograd.grad(dx.square().sum(), weights[0])[0]

    plan = Plan("softplus", "elu")
    mine = curvature(lambda: onednn.run(x, weights, biases, plan))
    exact = curvature(lambda: oracle.stack(x, weights, biases, "softplus", "elu"))
    torch.testing.assert_close(mine, exact.float(), rtol=1e-4, atol=1e-5)


@available
def test_frozen_input_gets_no_gradient() -> None:
    x, weights, biases, _ = leaves(5, [4, 6, 3])
    onednn.run(x.detach(), weights, biases, Plan()).sum().backward()
    assert x.grad is None
    assert all(w.grad is not None for w in weights)


@available
def test_auto_uses_it_for_large_layers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "is_faster", lambda: True)
    served: list[int] = []
    run = onednn.run
    monkeypatch.setattr(onednn, "run", lambda x, *rest: served.append(len(x)) or run(x, *rest))
    for rows in (8, 512):
        x, weights, biases, _ = leaves(rows, [128, 256, 128])
        y = monotone_mlp(x, weights, biases)
        plain = monotone_mlp(x, weights, biases, backend="torch")
        torch.testing.assert_close(y, plain, rtol=1e-5, atol=1e-5)
    monotone_mlp(x, weights, [None, None])
    monotone_mlp(x.double(), weights, biases)
    assert served == [512]


def test_the_answer_is_probed_once_and_kept(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[bool] = []
    monkeypatch.setattr(onednn, "_probe", lambda: probes.append(True) or True)
    assert onednn.is_faster()
    assert onednn.is_faster()
    onednn.is_faster.cache_clear()  # a new process on the same machine
    monkeypatch.setattr(onednn, "_probe", lambda: False)
    assert onednn.is_faster()
    assert probes == [True]
    assert list(json.loads(own_cache.read_text()).values()) == [True]


def test_a_broken_record_is_probed_again(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cache.write_text("{")
    monkeypatch.setattr(onednn, "_probe", lambda: False)
    assert not onednn.is_faster()


def test_a_missing_operator_falls_back_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> Tensor:
        raise AttributeError("_linear_pointwise")

    monkeypatch.setattr(onednn, "pointwise", missing)
    assert not onednn._probe()


def test_a_less_accurate_product_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def rough(x: Tensor, weight: Tensor, bias: Tensor, *_: object) -> Tensor:
        return (torch.nn.functional.linear(x, weight, bias).bfloat16()).float()

    monkeypatch.setattr(onednn, "FASTER", 0.0)
    monkeypatch.setattr(onednn, "pointwise", rough)
    assert not onednn._probe()
