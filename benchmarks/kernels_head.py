# SPDX-License-Identifier: Apache-2.0
"""Time of the monotonic head, forward and backward, against the paper's formula in eager and compiled torch.

    python benchmarks/kernels_head.py            # this machine; writes results/DATE-kernels_head.{md,json}
    python benchmarks/kernels_head.py --quick    # three sizes, few rounds

All peers of a size run in one process, in turn; a ratio above 1 means that ours is faster, below 1 that torch wins.
Every peer's gradients are compared with float64 before it is timed. On a CPU: one thread, CPU time, float32. On CUDA:
drained wall time; float32, tf32 and bfloat16 autocast, each against ours of the same class, and `floor`, the bare
matrix products. Time by CUDA graphs, where a peer can be captured, is the business of ``kernels.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from harness import Row, interleaved, ratio, relative_error, write
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_monocon.heads import MonotonicMLP

# rows, features, hidden layers; 256 x 64 is below the size from which oneDNN is asked
CPU_SIZES = [(256, 64, 1), (256, 384, 1), (256, 512, 1), (1024, 512, 1), (2048, 512, 1), (256, 384, 3)]
CUDA_SIZES = [(256, 384, 1), (256, 512, 1), (1024, 512, 1), (4096, 768, 1), (8192, 1024, 1), (8192, 1024, 3)]
QUICK = 3
# worst relative error of a gradient that a class may show: operands of 24, 11 and 8 bits
LIMITS = {"float32": 1e-5, "tf32": 5e-3, "bfloat16": 5e-2}

Function = Callable[[Tensor], Tensor]


class Formula(nn.Module):
    """The operations of the paper's published head, on the parameters of ours."""

    def __init__(self, head: MonotonicMLP) -> None:
        super().__init__()
        self.hidden_layers, self.output_layer = head.hidden_layers, head.output_layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding of ``x``."""
        for layer in self.hidden_layers:
            x = F.leaky_relu(F.linear(x, layer.weight**2, layer.bias), 0.01)
        return F.linear(x, self.output_layer.weight**2, self.output_layer.bias)


@contextmanager
def multiplying(kind: str, device: str) -> Iterator[None]:
    """Set torch's precision as the class ``kind`` has it, and put it back."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
    try:
        with torch.autocast(device, torch.bfloat16, enabled=kind == "bfloat16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def step(function: Function, head: MonotonicMLP, x: Tensor, upstream: Tensor, kind: str) -> Callable[[], list[Tensor]]:
    """Return a forward and backward pass that returns the gradients of x and of the parameters."""
    leaves = [x, *head.parameters()]

    def run() -> list[Tensor]:
        with multiplying(kind, x.device.type):
            y = function(x)
        return list(torch.autograd.grad(y, leaves, upstream.to(y.dtype)))

    return run


def floor(head: MonotonicMLP, x: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """Return the matrix products alone: three per layer, operands ready."""
    operands: list[tuple[Tensor, Tensor]] = []
    for layer in head.layers:
        n, k = layer.weight.shape
        a, w, g = (torch.randn(*s, device=x.device, dtype=dtype) for s in ((len(x), k), (k, n), (len(x), n)))
        operands += [(a, w), (g, w.T), (g.T, a)]

    def run() -> None:
        for a, b in operands:
            torch.mm(a, b)

    return run


def worst_error(found: list[Tensor], truth: list[Tensor]) -> float:
    return max(relative_error(a, b) for a, b in zip(found, truth, strict=True))


def compare(rows: int, features: int, layers: int, kind: str, device: str, rounds: int) -> Row:
    """Return one line of the table: errors, the eager time, and the ratios of the peers to ours."""
    torch.manual_seed(0)
    precision: Any = {"float32": "auto", "tf32": "auto", "bfloat16": "bf16"}[kind]
    head = MonotonicMLP(features, num_layers=layers, precision=precision).to(device)
    x = torch.randn(rows, features, device=device, requires_grad=True)
    upstream = torch.randn(rows, features, device=device)
    wide = MonotonicMLP(features, num_layers=layers, backend="torch").double()
    wide.load_state_dict(head.state_dict())
    truth = step(wide, wide, x.detach().cpu().double().requires_grad_(), upstream.cpu().double(), "float32")()
    plain = Formula(head)
    peers = {
        "eager": step(plain, head, x, upstream, kind),
        "ours": step(head, head, x, upstream, kind),
        "compiled": step(torch.compile(plain, dynamic=False), head, x, upstream, kind),
    }
    if device == "cuda":
        for mode in ("reduce-overhead", "max-autotune"):
            peers[mode] = step(torch.compile(plain, dynamic=False, mode=mode), head, x, upstream, kind)
    errors = {name: worst_error(peer(), truth) for name, peer in peers.items()}
    if errors["ours"] > max(LIMITS[kind], 2 * errors["eager"]):
        raise RuntimeError(f"ours is wrong by {errors['ours']:.2g} at {rows} x {features}: nothing is timed.")
    steps: dict[str, Callable[[], object]] = dict(peers)
    if device == "cuda":
        steps["floor"] = floor(head, x, torch.bfloat16 if kind == "bfloat16" else torch.float32)
    times = interleaved(steps, rounds, device, warm_up=3)
    line: Row = {"rows": rows, "features": features, "layers": layers, "class": kind}
    line |= {"error eager": f"{errors['eager']:.1e}", "error ours": f"{errors['ours']:.1e}"}
    line["eager ms"] = 1e3 * sorted(times["eager"])[rounds // 2]
    return line | {f"{name} / ours": ratio(times, name, "ours") for name in steps if name != "ours"}


def tables(device: str, quick: bool) -> dict[str, list[Row]]:
    """Return the tables of this benchmark, by title."""
    sizes = CUDA_SIZES if device == "cuda" else CPU_SIZES
    kinds = ("float32", "tf32", "bfloat16") if device == "cuda" else ("float32",)
    rounds = 7 if quick else 21
    return {
        f"Head, {kind}, forward and backward": [
            compare(*size, kind, device, rounds) for size in (sizes[:QUICK] if quick else sizes)
        ]
        for kind in kinds
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    found = tables(device, parser.parse_args().quick)
    print(write("kernels_head", "Monotonic head, forward and backward", found).read_text())


if __name__ == "__main__":
    main()
