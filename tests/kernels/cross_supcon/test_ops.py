# SPDX-License-Identifier: Apache-2.0
"""The loss between two sets as an operator: torch's own checks, compile, export, transforms and refusals."""

from __future__ import annotations

import pytest
import torch
from helpers.contrastive import assert_cross_agrees, cross_formula, gradients, require_batched_views, two_sets
from torch import Tensor
from torch.testing import assert_close

from lightning_monocon.kernels import dispatch
from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.losses import CrossSupConLoss

# the interpreter's numpy warns of pairs beyond the last row, which a mask then drops
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


def test_a_bank_gets_no_gradient_and_changes_none(backend: str) -> None:
    anchors, contrast, *labels = two_sets()
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
    anchors, contrast, *labels = two_sets()
    half = [x.detach().to(dtype).requires_grad_() for x in (anchors, contrast)]
    loss = cross_supcon(*half, *labels, backend=backend)
    wanted = cross_formula(*half, tuple(labels), 0.1)
    assert loss.dtype == torch.float32
    assert_close(loss.double(), wanted, rtol=1e-3, atol=1e-3)
    for mine, exact in zip(gradients(loss, *half), gradients(wanted, *half), strict=True):
        assert mine.dtype == dtype
        assert (mine.double() - exact.double()).norm() < 1e-2 * exact.double().norm()


def test_strided_and_expanded_inputs(backend: str) -> None:
    anchors, contrast, *labels = two_sets(12, 12, 12)
    views = anchors.detach().T[::2], contrast.detach()[:1].expand(12, 12)
    inputs = *(view.requires_grad_() for view in views), labels[0][::2], labels[1]
    # equal rows: attraction and repulsion cancel to nothing, and what is left is the rounding of either
    assert_cross_agrees(inputs, 0.1, Options(precision="ieee"), backend, 5e-5)


@pytest.mark.parametrize(
    "settings",
    [(True, "zero", None, True, "ieee"), (True, "zero", None, True, "fp16"), (False, "skip", 0, False, "bf16x3")],
    ids=str,
)
def test_torch_checks_the_operator(settings: tuple[object, ...], backend: str) -> None:
    normalize, singletons, ignore_index, bounded, precision = settings
    temperature = torch.tensor(0.3, requires_grad=True)
    arguments = (*two_sets(), temperature, normalize, singletons, ignore_index, 8, bounded, precision, backend, bounded)
    assert set(torch.library.opcheck(torch.ops.monocon.cross_supcon.default, arguments).values()) == {"SUCCESS"}


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiles_without_a_break(compiler: str, backend: str) -> None:
    anchors, contrast, *labels = two_sets()
    loss = CrossSupConLoss(backend=backend)
    compiled = torch.compile(loss, fullgraph=True, backend=compiler)
    expected, actual = (f(anchors, contrast, *labels) for f in (loss, compiled))
    assert_close(actual, expected, rtol=1e-6, atol=0)
    wanted, found = (gradients(value, anchors, contrast) for value in (expected, actual))
    assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_exports_with_any_number_of_rows(backend: str) -> None:
    inputs = tuple(x.detach() for x in two_sets())
    m, n = (torch.export.Dim(name, min=2, max=2000) for name in ("anchors", "rows"))
    loss = CrossSupConLoss(backend=backend)
    program = torch.export.export(loss, inputs, dynamic_shapes=({0: m}, {0: n}, {0: m}, {0: n}))
    fewer = inputs[0][:7], inputs[1][:9], inputs[2][:7], inputs[3][:9]
    assert_close(program.module()(*fewer), loss(*fewer), rtol=1e-6, atol=0)


def test_one_graph_serves_few_and_many_pairs() -> None:
    graphs = []

    def count(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(CrossSupConLoss(), fullgraph=True, dynamic=True, backend=count)
    for anchors, rows in ((11, 19), (280, 270)):
        inputs = [x.detach() for x in two_sets(anchors, rows)]
        assert_close(compiled(*inputs), CrossSupConLoss()(*inputs), rtol=1e-5, atol=0)
    assert len(graphs) == 1


def test_second_derivatives_raise(backend: str) -> None:
    anchors, contrast, *labels = two_sets()
    loss = cross_supcon(anchors, contrast, *labels, backend=backend) + anchors.pow(3).sum()
    (first,) = torch.autograd.grad(loss, anchors, create_graph=True)
    with pytest.raises(RuntimeError, match="has no second derivative"):
        first.sum().backward()


def test_transforms_take_the_formula(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    anchors, contrast, *labels = two_sets()
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
    require_batched_views()
    assert_close(torch.func.vmap(loss, in_dims=(None, 0))(anchors, pair), each)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "has_triton", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ValueError, match=r"'triton' needs tensors on a GPU; cross_supcon got one on cpu.*or 'torch'"):
        cross_supcon(*two_sets(), backend="triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    anchors, contrast, *labels = two_sets()
    with pytest.raises(ValueError, match=r"cross_supcon got torch\.float64\. Cast it, or pass backend='auto'"):
        cross_supcon(anchors.double(), contrast, *labels, backend="triton")
    with pytest.raises(ValueError, match=r"4 of 4 anchors have no positive \(label 7 is the first\)"):
        cross_supcon(anchors[:4], contrast, labels[0][:4] * 0 + 7, labels[1], options=Options(singletons="error"))
