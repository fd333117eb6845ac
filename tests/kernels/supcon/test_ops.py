# SPDX-License-Identifier: Apache-2.0
"""The loss as an operator: torch's own checks, compile, export, transforms, refusals, and who imports Triton."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_monocon.kernels import dispatch
from lightning_monocon.kernels.supcon import shapes, supcon, tune
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.losses import SupConLoss

# the interpreter's numpy warns of pairs that a mask then drops
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


def batch(rows: int = 20, dim: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    embeddings = torch.randn(rows, dim, generator=generator).requires_grad_()
    return embeddings, torch.randint(4, (rows,), generator=generator)


@pytest.mark.parametrize(
    "settings",
    [
        (True, "zero", None, 512, True, True, "ieee"),
        (True, "zero", None, 512, True, False, "ieee"),
        (True, "skip", 1, 8, False, True, "fp16"),
        (False, "zero", 2, 8, False, True, "bf16x3"),
    ],
    ids=str,
)
def test_torch_checks_the_operator(settings: tuple[object, ...], backend: str) -> None:
    embeddings, labels = batch()
    temperature = torch.tensor(0.1, requires_grad=True)
    arguments = (embeddings, labels, temperature, *settings, backend)
    assert set(torch.library.opcheck(torch.ops.monocon.supcon.default, arguments).values()) == {"SUCCESS"}


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiles_without_a_break(compiler: str, backend: str) -> None:
    embeddings, labels = batch()
    loss = SupConLoss(backend=backend)
    compiled = torch.compile(loss, fullgraph=True, backend=compiler)
    expected, actual = loss(embeddings, labels), compiled(embeddings, labels)
    assert_close(actual, expected, rtol=1e-6, atol=0)
    wanted, found = (torch.autograd.grad(value * 3, embeddings)[0] for value in (expected, actual))
    assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_exports_with_any_number_of_rows(backend: str) -> None:
    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(6, 4)
            self.loss = SupConLoss(backend=backend)

        def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
            return self.loss(self.layer(inputs), labels)

    step = Step()
    inputs, labels = batch()
    rows = torch.export.Dim("rows", min=2, max=2000)
    program = torch.export.export(step, (inputs.detach(), labels), dynamic_shapes=({0: rows}, {0: rows}))
    assert_close(program.module()(inputs[:9], labels[:9]), step(inputs[:9], labels[:9]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
def test_torch_checks_the_operator_of_half_rows(autocast: bool, dtype: torch.dtype, backend: str) -> None:
    embeddings, labels = batch()
    rows = embeddings if autocast else embeddings.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=autocast):
        settings = (True, "zero", None, 512, True, True, shapes.resolved(Options(), rows, 0.1).precision, backend)
        arguments = (rows, labels, torch.tensor(0.1), *settings)
        assert set(torch.library.opcheck(torch.ops.monocon.supcon.default, arguments).values()) == {"SUCCESS"}


@pytest.mark.skipif(not dispatch.is_interpreting(), reason="Triton's interpreter is off")
def test_a_compiled_loss_rounds_as_the_plain_one_under_autocast() -> None:
    embeddings, labels = batch(40, 30)
    loss = SupConLoss(backend="triton")
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    exact = loss(embeddings, labels)
    with torch.autocast("cpu", torch.bfloat16):
        plain = loss(embeddings, labels)
        assert_close(compiled(embeddings, labels), plain, rtol=0, atol=0)
    assert plain != exact


@pytest.fixture
def cpu_for_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the CPU, with the interpreter, for a card that the tables know."""
    if not dispatch.is_interpreting():
        pytest.skip("Triton's interpreter is off")
    monkeypatch.setattr(dispatch, "is_gpu", lambda device: True)
    monkeypatch.setattr(dispatch, "architecture", lambda device: "sm_90")


@pytest.mark.usefixtures("cpu_for_a_card")
@pytest.mark.parametrize("dynamic", [True, False], ids=["free sizes", "fixed sizes"])
def test_one_program_serves_batches_of_any_size(dynamic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(
        "lightning_monocon.kernels.supcon.ops.takes_kernels", lambda _, backend, __: taken.append(backend)
    )
    monkeypatch.setattr(shapes, "COMPARE_UP_TO", 20)
    programs = []

    def count(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        programs.append(graph)
        return graph

    compiled = torch.compile(SupConLoss(), fullgraph=True, dynamic=dynamic, backend=count)
    sizes = (300, 16, 5, 257, 30) if dynamic else (300, 16)
    for rows in sizes:
        compiled(*batch(rows))
    assert len(programs) == (1 if dynamic else 2)
    # a free size is taken for a large one; one that is fixed below the limit of the table goes to torch
    assert taken[-1] == ("triton" if dynamic else "torch")


def test_tiles_are_float16_only_where_the_program_accepts_it() -> None:
    embeddings, labels = batch()

    def dtype_of_tiles(x: Tensor, precision: str = "auto", normalize: bool = True) -> torch.dtype:
        return shapes.tile_dtype(shapes.resolved(Options(normalize=normalize, precision=precision), x, 0.1))

    assert dtype_of_tiles(embeddings) == torch.float32
    assert dtype_of_tiles(embeddings, "fp16") == torch.float16
    assert dtype_of_tiles(embeddings.bfloat16()) == torch.float16
    assert dtype_of_tiles(embeddings.bfloat16(), normalize=False) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert dtype_of_tiles(embeddings) == torch.float16
        assert dtype_of_tiles(embeddings, "bf16x3") == torch.float32
        compiled = torch.compile(SupConLoss(backend="triton"), fullgraph=True, backend="aot_eager")
        assert compiled(embeddings, labels).dtype == torch.float32


def test_second_derivatives_raise(backend: str) -> None:
    embeddings, labels = batch()
    loss = supcon(embeddings, labels, backend=backend) + embeddings.pow(3).sum()  # the sum alone has a second one
    (first,) = torch.autograd.grad(loss, embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="has no second derivative"):
        first.sum().backward()


def test_transforms_take_plain_torch(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = batch()
    wanted = torch.autograd.grad(supcon(embeddings, labels, backend="torch"), embeddings)[0]
    embeddings = embeddings.detach()
    # reaching the operator would give a zero tangent here, silently
    monkeypatch.setattr("lightning_monocon.kernels.supcon.supcon_operator", None)

    def loss(x: Tensor) -> Tensor:
        return supcon(x, labels, backend=backend)

    assert_close(torch.func.grad(loss)(embeddings), wanted)
    assert_close(torch.func.jvp(loss, (embeddings,), (embeddings.flip(0),))[1], (wanted * embeddings.flip(0)).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(embeddings, embeddings.flip(0))
        tangent = torch.autograd.forward_ad.unpack_dual(loss(dual)).tangent
    assert_close(tangent, (wanted * embeddings.flip(0)).sum())


def test_a_cpu_tensor_is_refused_by_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "has_triton", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(
        ValueError, match=r"'triton' needs tensors on a GPU; supcon got one on cpu.*backend='auto' or 'torch'"
    ):
        SupConLoss(backend="triton")(*batch())


def test_double_precision_is_refused_by_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "has_triton", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    embeddings, labels = batch()
    with pytest.raises(ValueError, match=r"supcon got torch\.float64. Cast it, or pass backend='auto' or 'torch'"):
        SupConLoss(backend="triton")(embeddings.double(), labels)


def test_missing_triton_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "triton_version", lambda: "")
    with pytest.raises(RuntimeError, match=r"Install lightning-monocon\[triton\], or pass backend='auto' or 'torch'"):
        SupConLoss(backend="triton")(*batch())


def test_tuning_times_both_and_keeps_the_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tune(64, 8, device="cpu") == "torch"
    steps = {}

    def measure(operation: str, tensor: Tensor, given: dict[str, object]) -> str:
        steps.update(given)
        return f"{operation} {tuple(tensor.shape)}"

    # a card that is not there: its tensors are made on the CPU
    monkeypatch.setattr("lightning_monocon.kernels.supcon.measure", measure)
    monkeypatch.setattr("lightning_monocon.kernels.supcon.has_triton", lambda: True)
    randn, arange = torch.randn, torch.arange
    monkeypatch.setattr(torch, "randn", lambda *size, device, **rest: randn(*size, **rest))
    monkeypatch.setattr(torch, "arange", lambda end, device: arange(end))
    assert tune(64, 8) == "supcon (64, 8)"
    assert sorted(steps) == ["torch", "triton"]
    assert steps["torch"]()[0].shape == (64, 8)


QUIET = """
import sys, torch
from lightning_monocon.losses import SupConLoss
x = torch.randn(300, 4, requires_grad=True)
SupConLoss()(x, torch.arange(300) % 7).backward()
assert "triton" not in sys.modules
"""


def test_a_cpu_never_imports_triton() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", QUIET], check=True, env=os.environ | {"TRITON_INTERPRET": "0"})
