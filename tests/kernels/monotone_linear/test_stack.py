# SPDX-License-Identifier: Apache-2.0
"""The routes of the kernels: how many launches a pass takes, and which product serves which batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from oracles import monotone as oracle

from lightning_monocon.kernels.dispatch import is_interpreting
from lightning_monocon.kernels.monotone_linear import monotone_mlp
from lightning_monocon.kernels.monotone_linear.configurations import (
    ROWS_ON_LOAD,
    SIXTEEN_BIT,
    TABLE,
    configuration,
    takes_library,
)

pytestmark = pytest.mark.skipif(not is_interpreting(), reason="runs the kernels on the CPU, in the interpreter")


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the kernels that run, by the function that launches them."""
    from lightning_monocon.kernels.monotone_linear import launch

    counts: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., object]:
        function = getattr(launch, name)

        def run(*args: object, **options: object) -> object:
            counts[name] += 1
            return function(*args, **options)

        return run

    for name in ("map_weight", "layer_forward", "layer_dx", "layer_dw", "layer_both"):
        monkeypatch.setattr(launch, name, counted(name))
    return counts


def run(rows: int, *, frozen: bool = False, **options: object) -> None:
    x, weights, biases = oracle.problem([12, 20, 8], rows)
    leaves = [t.requires_grad_() for t in ([] if frozen else [x]) + weights + biases]
    y = monotone_mlp(x, weights, biases, backend="triton", **options)
    torch.autograd.grad(y.sum(), leaves)


def test_a_small_batch_takes_one_launch_a_layer_and_pass(launches: Counter[str]) -> None:
    run(20, precision="bf16")
    assert launches == {"layer_forward": 2, "layer_both": 2}


def test_a_frozen_input_saves_its_gradient(launches: Counter[str]) -> None:
    run(20, precision="bf16", frozen=True)
    assert launches == {"layer_forward": 2, "layer_both": 1, "layer_dw": 1}


def test_a_costly_map_is_made_once_a_pass(launches: Counter[str]) -> None:
    run(20, precision="bf16", parametrization="exp")
    assert launches == {"map_weight": 4, "layer_forward": 2, "layer_dx": 2, "layer_dw": 2}


def test_a_large_batch_in_a_named_float32_mode_keeps_the_tiles(launches: Counter[str]) -> None:
    run(100, precision="bf16x6")
    assert launches == {"map_weight": 4, "layer_forward": 2, "layer_dx": 2, "layer_dw": 2}


@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16"])
def test_a_large_batch_goes_to_the_library(launches: Counter[str], precision: str) -> None:
    run(100, precision=precision)
    assert launches == {"map_weight": 4}


def test_the_library_never_replaces_a_mode_it_cannot_honour() -> None:
    assert not any(takes_library(mode, 10**6) for mode in ("ieee", "tf32", "bf16x3", "bf16x6"))
    assert not takes_library("bf16", ROWS_ON_LOAD)
    assert takes_library("bf16", ROWS_ON_LOAD + 1)


@pytest.mark.parametrize("architecture", [*TABLE, "cpu", "sm_120"])
@pytest.mark.parametrize("mode", ["ieee", "tf32", "bf16x3", "bf16x6", "bf16", "fp16"])
def test_every_mode_multiplies_at_least_as_exactly_as_it_says(architecture: str, mode: str) -> None:
    digits = {"bf16": 8, "fp16": 11, "tf32": 11, "bf16x3": 16, "bf16x6": 24, "ieee": 24}
    found = configuration(architecture, mode)
    for launch in (found.forward, found.dx, found.dw, found.both):
        assert launch is None or digits[launch.dot] >= digits[mode]
        if launch is not None and architecture != "sm_75":  # which multiplies everything as float32
            assert (launch.dot in SIXTEEN_BIT) == (mode in SIXTEEN_BIT)
