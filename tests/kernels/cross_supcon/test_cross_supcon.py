# SPDX-License-Identifier: Apache-2.0
"""The loss between two sets, by every way: values, the three gradients, torch's own checks, transforms and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from oracles.supcon import cross_supcon as oracle
from oracles.supcon import rounding
from torch import Tensor
from torch.testing import assert_close

from lightning_monocon.kernels import dispatch
from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.supcon import supcon
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.losses import CrossSupConLoss

pytestmark = [
    # the interpreter's numpy warns of pairs beyond the last row, which a mask then drops
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
]

# anchors, rows, dimensions, classes, temperature: primes, one off the tile of 16, equal sizes, one class, few positives
SHAPES = [(1, 1, 3, 1, 0.1), (17, 31, 7, 4, 0.07), (33, 15, 16, 40, 0.5), (16, 16, 33, 3, 0.02), (5, 48, 9, 1, 0.05)]
TOLERANCE = {"ieee": 5e-6, "fp16": 5e-3}


@pytest.fixture(params=["torch", "triton"])
def backend(request: pytest.FixtureRequest) -> str:
    """The implementation inside the operator; on a CPU the kernels need the interpreter."""
    if request.param == "triton" and not dispatch.is_interpreting():
        pytest.skip("Triton's interpreter is off: no Triton here, or TRITON_INTERPRET is not 1")
    return request.param


def batch(anchors: int = 11, rows: int = 19, dim: int = 6, classes: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(anchors * 1000 + rows)
    sides = [torch.randn(count, dim, generator=generator).mul_(3).requires_grad_() for count in (anchors, rows)]
    labels = [torch.randint(-1, classes - 1, (count,), generator=generator) * 2**33 for count in (anchors, rows)]
    return *sides, *labels


def gradients(loss: Tensor, *inputs: Tensor, upstream: float = -1.7) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss * upstream, inputs, allow_unused=True, materialize_grads=True)


def assert_agrees(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor], temperature: float, options: Options, backend: str, tolerance: float
) -> None:
    """Compare the loss and the gradients of both sets and of the temperature with the oracle's.

    Errors are relative to the gradient; where attraction and repulsion cancel, they may leave their own rounding.
    """
    anchors, contrast, *labels = inputs
    scale = torch.tensor(temperature, device=anchors.device, dtype=anchors.dtype, requires_grad=True)
    actual = cross_supcon(anchors, contrast, *labels, scale, options=options, backend=backend)
    twins = [x.detach().cpu().double().requires_grad_() for x in (anchors, contrast, scale)]
    kept = {name: getattr(options, name) for name in ("normalize", "singletons", "ignore_index")}
    expected = oracle(*twins[:2], tuple(side.cpu() for side in labels), twins[2], **kept)
    assert_close(actual.cpu().double(), expected, rtol=tolerance / 5, atol=tolerance / 5)
    lost = rounding(anchors, contrast, (labels[0], labels[1]), temperature, options.normalize)[1:]
    finer = torch.finfo(anchors.dtype).eps / torch.finfo(torch.float32).eps
    found = gradients(actual, anchors, contrast, scale)
    for mine, wanted, most in zip(found, gradients(expected, *twins), lost, strict=True):
        error, allowed = (mine.cpu().double() - wanted).norm(), tolerance * wanted.norm() + 1.7 * finer * most
        assert error <= allowed, f"off by {error:.1e} where rounding explains {allowed:.1e}"  # which NaN is not


RULES = {
    "zero": Options(),
    "skip": Options(singletons="skip"),
    "ignore": Options(ignore_index=0, singletons="skip"),
    "raw": Options(normalize=False),
}


@pytest.mark.parametrize("block_size", [4, 512], ids=lambda b: f"block{b}")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_streamed_equals_oracle(shape: tuple[int, int, int, int, float], rule: str, block_size: int) -> None:
    *sizes, temperature = shape
    anchors, contrast, *labels = batch(*sizes)
    wide = anchors.detach().double().requires_grad_(), contrast.detach().double().requires_grad_()
    options = replace(RULES[rule], block_size=block_size)
    assert_agrees((*wide, *labels), temperature, options, "torch", 1e-10)
    assert_agrees((*wide, *labels), temperature, options, "auto", 1e-10)  # the formula: these are few pairs
    # raw logits of hundreds keep fewer digits behind the point
    assert_agrees(
        (anchors, contrast, *labels), 5.0 if rule == "raw" else max(temperature, 0.05), options, "torch", 5e-5
    )


@pytest.mark.parametrize("keep_up_to", [0, 2**22], ids=["computed again", "kept"])
def test_a_fixed_temperature_takes_one_exponential(keep_up_to: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_monocon.kernels.cross_supcon.streamed.KEEP_UP_TO", keep_up_to)
    monkeypatch.setattr("lightning_monocon.kernels.cross_supcon.SMALL_UP_TO", 0)
    anchors, contrast, *labels = batch(37, 21)
    for rules in ({}, {"ignore_index": 0}):
        mine = cross_supcon(anchors, contrast, *labels, 0.2, options=Options(block_size=8, **rules))
        exact = oracle(anchors, contrast, tuple(labels), 0.2, **rules)
        assert_close(mine.double(), exact, rtol=1e-6, atol=0)
        found, wanted = (gradients(value, anchors, contrast) for value in (mine, exact))
        for a, b in zip(found, wanted, strict=True):
            assert_close(a, b.float(), rtol=1e-4, atol=1e-6)
        bank = gradients(cross_supcon(anchors, contrast.detach(), *labels, 0.2, options=Options(**rules)), anchors)
        assert_close(bank[0], found[0], rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("precision", ["ieee", "fp16"])
@pytest.mark.parametrize("rule", ["zero", "ignore"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_equal_oracle(
    shape: tuple[int, int, int, int, float], rule: str, precision: str, kernel_device: torch.device
) -> None:
    *sizes, temperature = shape
    anchors, contrast, *labels = (x.detach().to(kernel_device) for x in batch(*sizes))
    inputs = anchors.requires_grad_(), contrast.requires_grad_(), *labels
    assert_agrees(inputs, temperature, replace(RULES[rule], precision=precision), "triton", TOLERANCE[precision])


@pytest.mark.usefixtures("poisoned")
def test_kernels_in_chunks_with_one_exponential(kernel_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_monocon.kernels.supcon import launch

    monkeypatch.setattr(launch, "CHUNK_BYTES", 16)
    inputs = tuple(x.detach().to(kernel_device) for x in batch(37, 21))
    sides = [x.requires_grad_() for x in inputs[:2]]
    options = Options(precision="ieee")
    loss = cross_supcon(*inputs, 0.2, options=options, backend="triton")
    wanted = cross_supcon(*(x.double() for x in sides), *inputs[2:], 0.2, backend="torch")
    assert_close(loss.double(), wanted, rtol=1e-6, atol=0)
    found = gradients(loss, *sides)
    for mine, exact in zip(found, gradients(wanted, *sides), strict=True):
        assert_close(mine, exact, rtol=1e-4, atol=1e-6)
    again = gradients(cross_supcon(*inputs, 0.2, options=options, backend="triton"), *sides)
    assert_close(again, found, rtol=0, atol=0)


def test_labels_of_pairs_are_infonce() -> None:
    anchors, contrast, *_ = batch(9, 9)
    labels = torch.arange(9)
    cosine = torch.nn.functional.normalize(anchors, dim=1) @ torch.nn.functional.normalize(contrast, dim=1).T
    wanted = torch.nn.functional.cross_entropy(cosine / 0.1, labels)
    assert_close(cross_supcon(anchors, contrast, labels, labels), wanted)


def test_a_set_against_itself_counts_the_row_itself() -> None:
    anchors, _, labels, _ = batch()
    one = cross_supcon(anchors, anchors, labels, labels, 0.5)
    assert_close(one.double(), oracle(anchors, anchors, (labels, labels), 0.5), rtol=1e-6, atol=0)
    assert abs(one - supcon(anchors, labels, 0.5)) > 1e-3


def test_a_bank_gets_no_gradient_and_changes_none(backend: str) -> None:
    anchors, contrast, *labels = batch()
    both = gradients(cross_supcon(anchors, contrast, *labels, backend=backend), anchors)[0]
    bank = gradients(cross_supcon(anchors, contrast.detach(), *labels, backend=backend), anchors)[0]
    assert_close(bank, both, rtol=0, atol=0)


@pytest.mark.parametrize(("anchors", "rows"), [(0, 5), (5, 0), (0, 0), (4, 3)], ids=str)
def test_nothing_to_pull_gives_zero(anchors: int, rows: int, backend: str) -> None:
    sides = [torch.ones(count, 3, requires_grad=True) for count in (anchors, rows)]
    labels = torch.zeros(anchors, dtype=torch.long), torch.ones(rows, dtype=torch.long)
    for options in (Options(), Options(singletons="skip", ignore_index=1)):
        loss = cross_supcon(*sides, *labels, options=options, backend=backend)
        assert loss.item() == 0.0
        assert not any(g.any() for g in gradients(loss, *sides))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_its_dtype(dtype: torch.dtype, backend: str) -> None:
    anchors, contrast, *labels = batch()
    half = [x.detach().to(dtype).requires_grad_() for x in (anchors, contrast)]
    loss = cross_supcon(*half, *labels, backend=backend)
    wanted = oracle(*half, tuple(labels), 0.1)
    assert loss.dtype == torch.float32
    assert_close(loss.double(), wanted, rtol=1e-3, atol=1e-3)
    for mine, exact in zip(gradients(loss, *half), gradients(wanted, *half), strict=True):
        assert mine.dtype == dtype
        assert (mine.double() - exact.double()).norm() < 1e-2 * exact.double().norm()


def test_strided_and_expanded_inputs(backend: str) -> None:
    anchors, contrast, *labels = batch(12, 12, 12)
    views = anchors.detach().T[::2], contrast.detach()[:1].expand(12, 12)
    inputs = *(view.requires_grad_() for view in views), labels[0][::2], labels[1]
    # equal rows: attraction and repulsion cancel to nothing, and what is left is the rounding of either
    assert_agrees(inputs, 0.1, Options(precision="ieee"), backend, 5e-5)


@pytest.mark.parametrize("settings", [(True, "zero", None, True, "ieee"), (False, "skip", 0, False, "auto")], ids=str)
def test_torch_checks_the_operator(settings: tuple[object, ...], backend: str) -> None:
    normalize, singletons, ignore_index, bounded, precision = settings
    temperature = torch.tensor(0.3, requires_grad=True)
    arguments = (*batch(), temperature, normalize, singletons, ignore_index, 8, bounded, precision, backend, bounded)
    assert set(torch.library.opcheck(torch.ops.monocon.cross_supcon.default, arguments).values()) == {"SUCCESS"}


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiles_without_a_break(compiler: str, backend: str) -> None:
    anchors, contrast, *labels = batch()
    loss = CrossSupConLoss(backend=backend)
    compiled = torch.compile(loss, fullgraph=True, backend=compiler)
    expected, actual = (f(anchors, contrast, *labels) for f in (loss, compiled))
    assert_close(actual, expected, rtol=1e-6, atol=0)
    wanted, found = (gradients(value, anchors, contrast) for value in (expected, actual))
    assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_exports_with_any_number_of_rows(backend: str) -> None:
    inputs = tuple(x.detach() for x in batch())
    m, n = (torch.export.Dim(name, min=2, max=2000) for name in ("anchors", "rows"))
    loss = CrossSupConLoss(backend=backend)
    program = torch.export.export(loss, inputs, dynamic_shapes=({0: m}, {0: n}, {0: m}, {0: n}))
    fewer = inputs[0][:7], inputs[1][:9], inputs[2][:7], inputs[3][:9]
    assert_close(program.module()(*fewer), loss(*fewer), rtol=1e-6, atol=0)


def test_second_derivatives_raise(backend: str) -> None:
    anchors, contrast, *labels = batch()
    loss = cross_supcon(anchors, contrast, *labels, backend=backend) + anchors.pow(3).sum()
    (first,) = torch.autograd.grad(loss, anchors, create_graph=True)
    with pytest.raises(RuntimeError, match="has no second derivative"):
        first.sum().backward()


def test_transforms_take_the_formula(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    anchors, contrast, *labels = batch()
    wanted = gradients(cross_supcon(anchors, contrast, *labels, 0.3, backend="torch"), anchors, contrast, upstream=1.0)
    anchors, contrast = anchors.detach(), contrast.detach()
    pair = torch.stack([contrast, contrast.flip(1)])
    each = torch.stack([cross_supcon(anchors, side, *labels, 0.3, backend=backend) for side in pair])
    # reaching the operator would give a zero tangent here, silently
    monkeypatch.setattr("lightning_monocon.kernels.cross_supcon.cross_operator", None)

    def loss(a: Tensor, c: Tensor) -> Tensor:
        return cross_supcon(a, c, *labels, 0.3, backend=backend)

    assert_close(torch.func.grad(loss, argnums=(0, 1))(anchors, contrast), wanted)
    tangents = anchors.flip(0), contrast.flip(0)
    along = sum((g * t).sum() for g, t in zip(wanted, tangents, strict=True))
    assert_close(torch.func.jvp(loss, (anchors, contrast), tangents)[1], along)
    assert_close(torch.func.vmap(loss, in_dims=(None, 0))(anchors, pair), each)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "has_triton", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ValueError, match=r"'triton' needs tensors on a GPU; cross_supcon got one on cpu.*or 'torch'"):
        cross_supcon(*batch(), backend="triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    anchors, contrast, *labels = batch()
    with pytest.raises(ValueError, match=r"cross_supcon got torch\.float64\. Cast it, or pass backend='auto'"):
        cross_supcon(anchors.double(), contrast, *labels, backend="triton")
    with pytest.raises(ValueError, match=r"4 of 4 anchors have no positive \(label 7 is the first\)"):
        cross_supcon(anchors[:4], contrast, labels[0][:4] * 0 + 7, labels[1], options=Options(singletons="error"))
