# SPDX-License-Identifier: Apache-2.0
"""The custom operators and the switch: compilation, export, transforms, and calls that the kernels must refuse."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from oracles import monotone as oracle
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_monocon.heads import MonotonicMLP
from lightning_monocon.kernels import dispatch
from lightning_monocon.kernels.dispatch import is_interpreting
from lightning_monocon.kernels.monotone_linear import monotone_mlp, ops, switch
from lightning_monocon.kernels.monotone_linear.configurations import MAX_WIDTH, TABLE, configuration, resolve

interpreted = pytest.mark.skipif(not is_interpreting(), reason="runs the kernels on the CPU, in the interpreter")


def arguments(rows: int = 5, requires_grad: bool = True) -> tuple[object, ...]:
    x, weights, biases = oracle.problem([6, 9, 4], rows)
    leaves = [t.requires_grad_(requires_grad) for t in (x, *weights, *biases)]
    signs = oracle.directions(6)
    return leaves[0], leaves[1:3], leaves[3:5], signs, "square", "leaky_relu", "linear", "ieee"


@interpreted
@pytest.mark.parametrize("rows", [5, 0])
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_opcheck(precision: str, rows: int) -> None:
    x, weights, biases, signs, *_ = arguments(rows)
    names = ("square", "leaky_relu", "linear", precision)
    torch.library.opcheck(ops.monotone_mlp, (x, weights, biases, signs, *names))


@interpreted
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
def test_opcheck_of_half_inputs(autocast: bool, dtype: torch.dtype) -> None:
    x, weights, biases, signs, *_ = arguments()
    x = x if autocast else x.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=autocast):
        precision = switch._accepted_precision("cpu")
        torch.library.opcheck(
            ops.monotone_mlp, (x, weights, biases, signs, "square", "leaky_relu", "linear", precision)
        )


@interpreted
def test_a_compiled_head_rounds_as_the_plain_one_under_autocast() -> None:
    x, weights, biases = oracle.problem([33, 30, 4], 40)
    compiled = torch.compile(monotone_mlp, fullgraph=True, backend="aot_eager")
    exact = monotone_mlp(x, weights, biases, backend="triton")
    with torch.autocast("cpu", torch.bfloat16):
        plain = monotone_mlp(x, weights, biases, backend="triton")
        assert_close(compiled(x, weights, biases, backend="triton"), plain, rtol=0, atol=0)
    assert not torch.equal(plain, exact)


@interpreted
def test_one_program_serves_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "is_gpu", lambda device: True)
    monkeypatch.setattr(dispatch, "architecture", lambda device: "sm_90")
    monkeypatch.setattr(switch, "is_gpu", lambda device: True)
    programs = []

    def count(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        programs.append(graph)
        return graph

    compiled = torch.compile(monotone_mlp, fullgraph=True, dynamic=True, backend=count)
    for rows in (300, 16, 5, 257, 30):
        x, weights, biases = oracle.problem([6, 9, 4], rows)
        compiled(x, weights, biases)
    assert len(programs) == 1
    assert any("monotone_mlp" in str(node.target) for node in programs[0].graph.nodes)


@interpreted
def test_opcheck_of_the_backward_operator() -> None:
    x, weights, biases, signs, *_ = arguments(requires_grad=False)
    outputs = ops.monotone_mlp(x, weights, biases, signs, "square", "tanh", "tanh", "ieee")
    names = ("square", "tanh", "tanh", "ieee")
    for needs_input in (True, False):
        torch.library.opcheck(
            ops.monotone_mlp_backward, (outputs[-1], x, outputs, weights, biases, signs, *names, needs_input)
        )


def step(head: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: head(x).square().sum()


@interpreted
# torch's own: inductor imports modules that use the deprecated `torch.jit`
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compiles_into_one_graph(backend: str) -> None:
    head = MonotonicMLP(6, backend="triton", precision="ieee", monotone=oracle.directions(6))
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    torch._dynamo.reset()
    compiled = torch.compile(step(head), fullgraph=True, backend=backend)
    parameters = list(head.parameters())
    expected = torch.autograd.grad(step(head)(x), parameters)
    for got, want in zip(torch.autograd.grad(compiled(x), parameters), expected, strict=True):
        torch.testing.assert_close(got, want)


@interpreted
def test_compiles_under_autocast() -> None:
    head = MonotonicMLP(6, backend="triton")
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    torch._dynamo.reset()
    with torch.autocast("cpu", torch.bfloat16):
        compiled = torch.compile(head, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(compiled, head(x), rtol=0, atol=0)


def test_plain_path_compiles_into_one_graph() -> None:
    head = MonotonicMLP(6)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    torch._dynamo.reset()
    compiled = torch.compile(step(head), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), step(head)(x))


@interpreted
def test_exports_with_a_free_batch_and_comes_back_from_disk() -> None:
    head = MonotonicMLP(6, backend="triton", precision="ieee")
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(head, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert any("monotone_mlp" in str(node.target) for node in program.graph.nodes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    more = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(torch.export.load(buffer).module()(more), head(more))


@interpreted
def test_second_derivative_says_what_to_do() -> None:
    x, weights, biases, *_ = arguments()
    y = monotone_mlp(x, weights, biases, backend="triton")
    (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; pass backend='torch'"):
        dx.sum().backward()


@interpreted
def test_transforms_and_forward_mode_take_the_plain_path() -> None:
    x, weights, biases, *_ = arguments(requires_grad=False)

    def run(x: Tensor, weight: Tensor = weights[0], backend: str = "triton") -> Tensor:
        return monotone_mlp(x, [weight, weights[1]], biases, backend=backend)

    exact = torch.autograd.functional.jacobian(lambda x: run(x, backend="torch"), x)
    torch.testing.assert_close(torch.func.jacrev(run)(x), exact)
    torch.testing.assert_close(torch.func.jacfwd(run)(x), exact)
    torch.testing.assert_close(torch.func.vmap(run)(x[:, None])[:, 0], run(x, backend="torch"))
    _, tangent = torch.func.jvp(lambda w: run(x, w), (weights[0],), (torch.ones_like(weights[0]),))
    assert float(tangent.abs().max()) > 0


def test_auto_on_a_cpu_is_plain_torch() -> None:
    x, weights, biases, *_ = arguments(requires_grad=False)
    assert torch.equal(monotone_mlp(x, weights, biases), monotone_mlp(x, weights, biases, backend="torch"))


def test_empty_layers_take_the_plain_path() -> None:
    assert (
        monotone_mlp(torch.zeros(3, 0), [torch.zeros(2, 0)], [torch.ones(2)], backend="triton").tolist() == [[1, 1]] * 3
    )
    assert monotone_mlp(torch.zeros(3, 2), [torch.zeros(0, 2)], [None], backend="triton").shape == (3, 0)


def test_a_cpu_tensor_is_refused_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="without it another sentence is right")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    x, weights, biases, *_ = arguments()
    with pytest.raises(
        ValueError, match=r"needs tensors on a GPU; monotone_mlp got one on cpu\. Move it there, or pass"
    ):
        monotone_mlp(x, weights, biases, backend="triton")


@interpreted
@pytest.mark.parametrize("double", ["x", "weights"])
def test_float64_is_refused(double: str) -> None:
    x, weights, biases, *_ = arguments()
    x, weights = (x.double(), weights) if double == "x" else (x, [w.double() for w in weights])
    with pytest.raises(ValueError, match=r"computes in float32, float16 or bfloat16; monotone_mlp got torch\.float64"):
        monotone_mlp(x, weights, biases, backend="triton")


@interpreted
def test_wider_layers_than_the_table_knows_are_refused() -> None:
    weight = torch.zeros(MAX_WIDTH + 1, 2)
    with pytest.raises(ValueError, match=r"serves layers up to 16384 wide; got 16385\. Pass backend='torch'"):
        monotone_mlp(torch.zeros(1, 2), [weight], [None], backend="triton")
    assert monotone_mlp(torch.zeros(1, 2), [weight], [None]).shape == (1, MAX_WIDTH + 1)


@interpreted
@pytest.mark.parametrize("width", [5, 7])
def test_a_weight_of_another_width_never_reaches_a_kernel(width: int) -> None:
    x, weights, biases, *_ = arguments()
    with pytest.raises(ValueError, match=rf"must be \(outputs, 6\) since `x` has 6 features; got shape \(9, {width}\)"):
        monotone_mlp(x, [torch.zeros(9, width), weights[1]], biases, backend="triton")


def test_other_devices_are_named() -> None:
    x, weights, biases, *_ = arguments()
    with pytest.raises(ValueError, match=r"`weights\[1\]` must be on the device of `x`, cpu; got meta\. Move one"):
        monotone_mlp(x, [weights[0], weights[1].to("meta")], biases)


def test_unknown_precision_is_named() -> None:
    x, weights, biases, *_ = arguments()
    with pytest.raises(ValueError, match=r"`precision` must be one of 'auto', 'ieee', .*; got 'fp8'"):
        monotone_mlp(x, weights, biases, precision="fp8")


def test_unlisted_architectures_borrow_a_row() -> None:
    assert configuration("sm_120", "bf16") == TABLE["sm_80"]["bf16"]
    assert configuration("gfx950", "tf32") == TABLE["gfx90a"]["ieee"]


def test_auto_precision_follows_torch() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        assert resolve("auto") == "bf16x6"
        torch.set_float32_matmul_precision("high")
        assert resolve("auto") == "tf32"
        assert resolve("bf16") == "bf16"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bias": torch.zeros(1)}, r"`biases\[0\]` must have shape \(9,\); got \(1,\)"),
        ({"bias": torch.zeros(9, device="meta")}, r"`biases\[0\]` must be on the device of `x`, cpu; got meta"),
        ({"backend": "cuda"}, "`backend` must be one of 'auto', 'triton', 'torch'; got 'cuda'"),
        ({"activation": "gelu"}, "`activation` must be one of .*; got 'gelu'"),
        ({"parametrization": "cube"}, "`parametrization` must be one of .*; got 'cube'"),
    ],
    ids=str,
)
def test_small_stacks_are_refused_like_large_ones(change: dict[str, object], sentence: str) -> None:
    x, weights, biases, *_ = arguments(requires_grad=False)
    options = {name: value for name, value in change.items() if name != "bias"}
    with pytest.raises(ValueError, match=sentence):
        monotone_mlp(x, weights, [change.get("bias", biases[0]), biases[1]], **options)
