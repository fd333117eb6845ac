# SPDX-License-Identifier: Apache-2.0
"""Time of the monotonic head, forward and backward, against the paper's formula in eager and compiled torch.

    python benchmarks/kernels_head.py            # this machine; writes results/DATE-kernels_head.{md,json}
    python benchmarks/kernels_head.py --quick    # fewer sizes

All peers of a size run in one process, in turn; a ratio above 1 means that ours is faster, below 1 that torch wins.
Every peer's gradients are compared with float64 before it is timed; `A/A` is ours against itself, what a ratio means
nothing below. On a CPU: one thread, CPU time, float32. On CUDA: wall time on inputs in rotation, then the device's own
time by graph replay; float32, tf32 and bfloat16 autocast, each against ours of the same class, `floor`, the bare matrix
products, and peak memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from harness import (
    NEVER_SLOWER,
    Row,
    compile_modes,
    interleaved,
    left_out,
    middle,
    modes_left_out,
    peak_megabytes,
    ratio,
    relative_error,
    write,
)
from kernels_replay import REPLAYED, Rotation, replay_seconds, sets_of_inputs
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_monocon.heads import MonotonicMLP

# rows, features, hidden layers; the first five are below the size from which oneDNN is asked
CPU_SIZES = [(64, 32, 1), (128, 64, 1), (256, 64, 1), (512, 64, 1), (256, 64, 3)]
CPU_SIZES += [(256, 384, 1), (256, 512, 1), (1024, 512, 1), (2048, 512, 1), (256, 384, 3)]
CUDA_SIZES = [(256, 384, 1), (256, 512, 1), (1024, 512, 1), (4096, 768, 1), (8192, 1024, 1), (8192, 1024, 3)]
CUDA_QUICK = [(256, 384, 1), (1024, 512, 1), (8192, 1024, 1)]
QUICK = 6
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


def rounds_for(rows: int, features: int, device: str) -> int:
    """Return how often each peer is timed: small steps often, because a microsecond counts there."""
    return 10 if device == "cuda" else max(21, min(201, 2**31 // (rows * features**2 * 12)))


def functions_of(head: MonotonicMLP, device: str, quick: bool) -> dict[str, Function]:
    """Return each peer as a function of the input; once a shape, so that each is compiled once."""
    torch.compiler.reset()  # past a handful of compilations of one function torch silently runs it eagerly
    plain = Formula(head)
    functions: dict[str, Function] = {"eager": plain, "ours": head, "compiled": torch.compile(plain, dynamic=False)}
    for mode in compile_modes(quick)[1:] if device == "cuda" else ():
        functions[mode] = torch.compile(plain, dynamic=False, mode=mode)
    return functions


def checked(
    head: MonotonicMLP, peers: dict[str, Callable[[], list[Tensor]]], x: Tensor, upstream: Tensor, kind: str
) -> Row:
    """Return the errors of eager and ours; raise where ours is wrong."""
    layers = len(head.hidden_layers)
    wide = MonotonicMLP(head.in_features, num_layers=layers, backend="torch").double()
    wide.load_state_dict(head.state_dict())
    truth = step(wide, wide, x.detach().cpu().double().requires_grad_(), upstream.cpu().double(), "float32")()
    errors = {name: worst_error(peer(), truth) for name, peer in peers.items()}
    if errors["ours"] > max(LIMITS[kind], 2 * errors["eager"]):
        raise RuntimeError(f"ours is wrong by {errors['ours']:.2g} at {tuple(x.shape)}: nothing is timed.")
    return {"error eager": f"{errors['eager']:.1e}", "error ours": f"{errors['ours']:.1e}"}


def compare(rows: int, features: int, layers: int, kind: str, device: str, quick: bool) -> Row:
    """Return one line of the table: errors, the eager time, and the ratios of the peers to ours."""
    torch.manual_seed(0)
    precision: Any = {"float32": "auto", "tf32": "auto", "bfloat16": "bf16"}[kind]
    head = MonotonicMLP(features, num_layers=layers, precision=precision).to(device)
    sets = sets_of_inputs(rows * features * 8 / 2**20, device)
    draws = [[torch.randn(rows, features, device=device) for _ in range(2)] for _ in range(sets)]
    functions = functions_of(head, device, quick)
    made = [
        {name: step(function, head, x.requires_grad_(), upstream, kind) for name, function in functions.items()}
        for x, upstream in draws
    ]
    line: Row = {"rows": rows, "features": features, "layers": layers, "class": kind}
    line |= checked(head, made[0], draws[0][0], draws[0][1], kind)
    steps = {name: Rotation([each[name] for each in made]) for name in made[0]}
    steps["A/A"] = Rotation(steps["ours"].steps)
    if device == "cuda":
        steps["floor"] = Rotation([floor(head, draws[0][0], torch.bfloat16 if kind == "bfloat16" else torch.float32)])
    rounds = rounds_for(rows, features, device)
    times = interleaved(dict(steps), rounds, device, warm_up=3 if device == "cpu" else 25)
    line["eager ms"] = 1e3 * sorted(times["eager"])[rounds // 2]
    line |= {f"{name} / ours": ratio(times, name, "ours") for name in steps if name != "ours"}
    if device == "cuda":
        replayed, ways = replay_seconds(steps)
        for name in steps:
            way = "" if ways[name] == REPLAYED else f" by {ways[name]}"
            line[f"device, {name} / ours"] = ratio(replayed, name, "ours") + way
        line |= {f"MB {name}": peak_megabytes(steps[name], device) for name in ("eager", "ours")}
    return line


def lost(lines: list[Row]) -> list[Row]:
    """Return the shapes and peers where ours is not the fastest."""
    rivals = [name for name in lines[0] if name.endswith(" / ours") and not name.startswith(("A/A", "floor", "device"))]
    keys = ("rows", "features", "layers", "class")
    return [
        {key: line[key] for key in keys} | {"peer": name.removesuffix(" / ours"), "peer / ours": line[name]}
        for line in lines
        for name in rivals
        if middle(line[name]) < NEVER_SLOWER
    ]


def tables(device: str, quick: bool) -> dict[str, list[Row]]:
    """Return the tables of this benchmark, by title."""
    sizes = (CUDA_QUICK if quick else CUDA_SIZES) if device == "cuda" else CPU_SIZES[: QUICK if quick else None]
    kinds = ("float32", "tf32", "bfloat16") if device == "cuda" else ("float32",)
    found: dict[str, list[Row]] = {}
    for kind in kinds:
        lines = [compare(*size, kind, device, quick) for size in sizes]
        found[f"Head, {kind}, forward and backward"] = lines
        found[f"Head, {kind}: where torch wins"] = lost(lines)
    left = left_out(modes_left_out(device, quick))
    return found | ({"Head: peers left out": left} if left else {})


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
