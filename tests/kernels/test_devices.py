# SPDX-License-Identifier: Apache-2.0
"""What devices cannot do, and no loss or head may ask of them: products that widen, and float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from helpers.fake_card import fake_kernels, fake_tensors

from lightning_monocon.kernels.cross_supcon import streamed
from lightning_monocon.kernels.cross_supcon.terms import cross_terms
from lightning_monocon.kernels.dispatch import has_triton
from lightning_monocon.kernels.monotone_linear import monotone_mlp
from lightning_monocon.kernels.supcon import supcon
from lightning_monocon.kernels.supcon.options import Options

needs_triton = pytest.mark.skipif(not has_triton(), reason="Triton is not installed")


@pytest.fixture
def sums_in_float16() -> Iterator[Callable[[bool], None]]:
    """Set torch's flag, and set it back; it is no plain attribute that pytest could restore."""
    before = torch.backends.cuda.matmul.allow_fp16_accumulation

    def put(value: bool) -> None:
        torch.backends.cuda.matmul.allow_fp16_accumulation = value

    yield put
    put(before)


@needs_triton
@pytest.mark.parametrize("narrow_sums", [False, True], ids=["float32 sums", "float16 sums"])
def test_sums_stay_float32_where_cublas_may_add_in_float16(
    narrow_sums: bool, sums_in_float16: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With this flag torch refuses a float16 product with a float32 result."""
    from lightning_monocon.kernels.monotone_linear import stack
    from lightning_monocon.kernels.monotone_linear.reference import Plan
    from lightning_monocon.kernels.supcon import fused

    fake_kernels(monkeypatch)
    sums_in_float16(narrow_sums)
    options = replace(Options(precision="fp16"), compare=False)
    with fake_tensors() as seen:
        x, labels = torch.empty(3000, 8, device="cuda"), torch.empty(3000, dtype=torch.long, device="cuda")
        loss, residuals = fused.forward(x, labels, torch.empty((), device="cuda"), options)
        gradient, _ = fused.backward(loss, loss, residuals, options)
        weight, bias = torch.empty(4, 8, device="cuda"), torch.empty(4, device="cuda")
        (y,) = stack.forward(x, [weight], [bias], Plan(), "fp16", "sm_90")
        dx, *_ = stack.backward(y, [x], [weight], Plan(), "fp16", "sm_90", True)
    assert {t.dtype for t in (gradient, y, dx)} == {torch.float32}
    assert bool(seen.widened) != narrow_sums


@needs_triton
@pytest.mark.parametrize("rules", [{}, {"ignore_index": 0}], ids=str)
@pytest.mark.parametrize("backward", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["forward", "step"])
def test_a_step_over_131072_rows_takes_less_than_a_gibibyte(
    backward: bool, rules: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the smallest tiles, of which there are most; calls are slow here, so chunks are twice as large."""
    from lightning_monocon.kernels.supcon import fused, launch

    fake_kernels(monkeypatch, "gfx90a")
    monkeypatch.setattr(launch, "_chunk", lambda pairs: 256)
    rows, dim = 131072, 128
    options = Options(precision="bf16x3", compare="ignore_index" in rules, **rules)
    with fake_tensors() as seen:
        x, labels = torch.empty(rows, dim, device="cuda"), torch.empty(rows, dtype=torch.long, device="cuda")
        loss, residuals = fused.forward(x, labels, torch.empty((), device="cuda"), options)
        if backward:
            fused.backward(loss, loss, residuals, options)
    assert seen.most_bytes - (x.nbytes + labels.nbytes) < 2**30


def test_nothing_asks_an_apple_gpu_for_float64() -> None:
    with fake_tensors() as seen:
        x, labels = torch.empty(300, 8, device="mps"), torch.empty(300, dtype=torch.long, device="mps")
        for options in (Options(), Options(singletons="skip", ignore_index=0), Options(normalize=False)):
            supcon(x, labels, 0.1, options=options)
            terms, scale = cross_terms(labels, labels, options, x.dtype), torch.full((), 0.1, device="mps")
            pairs = streamed.pair_tiles(x, x, scale, (labels, labels), options)
            loss, kept, _ = streamed.forward(pairs, terms, False)
            streamed.backward(loss, pairs, terms, kept, x.new_empty(0), True)
        monotone_mlp(x, [torch.empty(4, 8, device="mps")], [torch.empty(4, device="mps")])
    assert torch.float32 in seen.dtypes
    assert torch.float64 not in seen.dtypes
