# SPDX-License-Identifier: Apache-2.0
r"""Compute the monotone stack on a CPU with oneDNN's float32 product, if a probe finds it faster and as accurate.

On AMD, torch's float32 product (MKL) does not use AVX-512; oneDNN's is about twice as fast at full float32 accuracy.
It is called with bias and LeakyReLU inside (`lightning_monocon.functional.onednn`), and the global precision flag is
not changed (on Intel with AMX its lower settings mean bfloat16). Where it is missing or does not support the processor,
torch's own product is used, silently.

One probe per machine and torch version decides (`is_faster`), and its result is kept on disk, because a resumed run
must multiply like the interrupted one.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_monocon.functional.onednn import pointwise
from lightning_monocon.kernels.context import Context
from lightning_monocon.kernels.dispatch import cache_path
from lightning_monocon.kernels.monotone_linear import library, reference
from lightning_monocon.kernels.monotone_linear.reference import NEGATIVE_SLOPE, Activation, Plan
from lightning_monocon.runs.files import write_text

SMALLEST_PRODUCT = 2**23  # M N K of a layer: below, the calls cost more time than is saved
FASTER = 1.2
ERROR = 2.0  # times that of torch's own product


def serves(x: Tensor, weights: list[Tensor]) -> bool:
    """Return whether oneDNN is faster for float32 ``x`` (M, K) and weights on a CPU, in eager mode."""
    rows = x.shape[0]
    if any(rows * weight.numel() < SMALLEST_PRODUCT for weight in weights):
        return False
    plain = all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in (x, *weights))
    return plain and not torch._C._get_tracing_state() and is_faster()


def run(x: Tensor, weights: list[Tensor], biases: list[Tensor], plan: Plan) -> Tensor:
    """Return the output of the stack, (M, N_L) float32, differentiable any number of times."""
    output: Tensor = _Stack.apply(plan, len(weights), x, *weights, *biases)  # type: ignore[no-untyped-call]
    return output


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, plan: Plan, count: int, x: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[:count], parameters[count:]
        mapped = _mapped(weights, plan)
        *hidden, y = library.forward(x, mapped, biases, plan, _linear)
        ctx.plan, ctx.count = plan, count
        ctx.save_for_backward(x, *parameters, *mapped, *hidden, y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        n = ctx.count
        x, *rest = ctx.saved_tensors
        weights, biases, mapped, outputs = (rest[k * n : (k + 1) * n] for k in range(4))
        if torch.is_grad_enabled():  # a second derivative is wanted, which only the reference has
            return None, None, *_differentiable(grad, x, weights, biases, ctx)
        grad = library.through_activation(grad, outputs[-1], ctx.plan.output_activation)
        inputs = [x, *outputs[:-1]]
        dx, dws, dbs = library.backward(grad, inputs, weights, mapped, ctx.plan, _product, ctx.needs_input_grad[2])
        return None, None, dx, *dws, *dbs


def _differentiable(
    grad: Tensor, x: Tensor, weights: list[Tensor], biases: list[Tensor], ctx: Context
) -> tuple[Tensor | None, ...]:
    inputs = [x, *weights, *biases]
    wanted = [t for t, needed in zip(inputs, ctx.needs_input_grad[2:], strict=True) if needed]
    y = reference.monotone_mlp(x, weights, biases, ctx.plan)
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad[2:])


def _mapped(weights: tuple[Tensor, ...], plan: Plan) -> list[Tensor]:
    signs = [plan.signs, *(None for _ in weights[1:])]
    pairs = zip(weights, signs, strict=True)
    return [reference.effective_weight(weight, plan.parametrization, sign) for weight, sign in pairs]


def _linear(x: Tensor, weight: Tensor, bias: Tensor, activation: Activation, dtype: torch.dtype) -> Tensor:
    """Implement `library.Linear`, with LeakyReLU inside the product and other activations in place after it."""
    if activation == "leaky_relu":
        return pointwise(x, weight, bias, "leaky_relu", [NEGATIVE_SLOPE])
    return reference.activate(pointwise(x, weight, bias), activation)


def _product(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """Implement `library.Product`; transposed matrices are read through their strides."""
    return pointwise(a, b.T)


@cache
def is_faster() -> bool:
    """Return whether oneDNN's product is at least 1.2 times as fast as torch's, with at most twice its error.

    This is measured once per machine, processor and torch version, and kept beside the measurements of the kernels.
    """
    kept = cache_path().with_name("cpu_product.json")
    name = f"{platform.node()}/{_processor()}/{torch.__version__}"
    found = _read(kept)
    if name not in found:
        found[name] = _probe()
        _write(kept, found)
    return bool(found[name])


def _probe() -> bool:
    """Compare the time and the error of both on a layer of a typical head."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((128, 512), (1024, 512), (1024,)))
    try:
        exact = F.linear(x.double(), weight.double(), bias.double())
        error_torch = float((F.linear(x, weight, bias) - exact).norm())
        error_onednn = float((pointwise(x, weight, bias) - exact).norm())
        # The runs alternate and the best of each counts, so that other processes slow both alike.
        times = [(_seconds(F.linear, x, weight, bias), _seconds(pointwise, x, weight, bias)) for _ in range(9)]
    except (AttributeError, RuntimeError, NotImplementedError):
        return False  # the private operator is missing or does not support this processor
    torchs, onednns = (min(series) for series in zip(*times, strict=True))
    return torchs > FASTER * onednns and error_onednn <= ERROR * error_torch


def _seconds(product: Callable[..., Tensor], *arguments: object) -> float:
    start = time.perf_counter()
    product(*arguments)
    return time.perf_counter() - start


def _processor() -> str:
    """Return the name of the processor, because a virtual machine can move to another one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _read(path: Path) -> dict[str, bool]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, found: dict[str, bool]) -> None:
    """Save the result; if the disk refuses, only this process remembers it."""
    try:
        write_text(path, json.dumps(found, indent=1))
    except OSError:
        return
