# SPDX-License-Identifier: Apache-2.0
"""The loss's part of `kernels.py`: ours against eager torch, `torch.compile` and pytorch-metric-learning.

Every peer's gradient is compared with float64 first, on random and on clustered embeddings; one that is off is not
timed. On CUDA two bare GEMMs of the same shapes are the floor, inputs rotate through the cache, and the device's own
time by graph replay stands beside the wall time. A step is forward and backward, from float32 embeddings to their
gradient.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import torch
from harness import (
    NEVER_SLOWER,
    Row,
    Step,
    compile_modes,
    interleaved,
    left_out,
    middle,
    modes_left_out,
    peak_megabytes,
    ratio,
    relative_error,
)
from kernels_replay import Rotation, add_replay, sets_of_inputs
from supcon_cpu import CLASSES, TEMPERATURE, dense
from torch import Tensor

from lightning_monocon.kernels.supcon import supcon
from lightning_monocon.kernels.supcon.options import Options

Loss = Callable[[Tensor, Tensor], Tensor]

CPU_SIZES = [(256, 512), (1024, 128), (1024, 512), (4096, 128), (4096, 512)]
GPU_SIZES = [(2**k, 512) for k in range(8, 17)] + [(8192, dim) for dim in (128, 384, 768, 1024)]
GPU_QUICK = [(256, 512), (1024, 512), (8192, 512)]
QUICK = 2048
CHECKED_ROWS = 1024
LARGEST_DENSE = 32768
# relative error of the gradient, random and clustered: what the arithmetic of each peer can hold
FLOAT32, ELEVEN_BITS, EIGHT_BITS = (1e-5, 1e-4), (2e-3, 1e-2), (2e-2, 1e-1)


@contextmanager
def tf32() -> Iterator[None]:
    """TF32 matrix products inside."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


class Peer(NamedTuple):
    """One way to take the loss."""

    loss: Loss
    allowed: tuple[float, float] = FLOAT32
    around: Callable[[], AbstractContextManager[None]] = nullcontext


def peers(device: str, quick: bool) -> dict[str, Peer]:
    """Return the peers that run on this device."""
    ours = partial(supcon, temperature=TEMPERATURE)
    found = {"eager": Peer(dense), "compiled": Peer(torch.compile(dense, dynamic=False))}
    if find_spec("pytorch_metric_learning"):
        from pytorch_metric_learning.losses import SupConLoss

        found["metric-learning"] = Peer(SupConLoss(temperature=TEMPERATURE))
    if device == "cuda":
        found |= _gpu_peers(quick)
        found["ours, fp16"] = Peer(partial(ours, backend="triton", options=Options(precision="fp16")), ELEVEN_BITS)
        found["ours, bf16x3"] = Peer(partial(ours, backend="triton", options=Options(precision="bf16x3")))
    return found | {"ours, torch": Peer(partial(ours, backend="torch")), "ours": Peer(ours)}


def missing(device: str, quick: bool) -> dict[str, str]:
    """Return the peers that are not here, and why."""
    found = modes_left_out(device, quick)
    if not find_spec("pytorch_metric_learning"):
        found["metric-learning"] = "not installed: pip install pytorch-metric-learning"
    return found


def _gpu_peers(quick: bool) -> dict[str, Peer]:
    found = {
        "eager, tf32": Peer(dense, ELEVEN_BITS, tf32),
        "eager, amp": Peer(partial(_amp, dense), EIGHT_BITS),
    }
    for mode in compile_modes(quick):
        compiled = torch.compile(dense, dynamic=False, mode=mode)
        found[f"compiled {mode}, tf32"] = Peer(compiled, ELEVEN_BITS, tf32)
        found[f"compiled {mode}, amp"] = Peer(partial(_amp, compiled), EIGHT_BITS)
    return found


def _amp(loss: Loss, embeddings: Tensor, labels: Tensor) -> Tensor:
    with torch.autocast("cuda", torch.bfloat16):
        return loss(embeddings, labels)


def batch(rows: int, dim: int, device: str, separation: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return fresh embeddings, with class centres `separation` apart, and labels."""
    labels = torch.randint(CLASSES, (rows,), device=device)
    centres = torch.randn(CLASSES, dim, device=device) * separation
    return (torch.randn(rows, dim, device=device) + centres[labels]).requires_grad_(), labels


def step(peer: Peer, embeddings: Tensor, labels: Tensor) -> Step:
    def run() -> Tensor:
        with peer.around():
            return torch.autograd.grad(peer.loss(embeddings, labels), embeddings)[0]

    return run


def checked(device: str, quick: bool, rows: int = CHECKED_ROWS, dim: int = 384) -> tuple[dict[str, Peer], list[Row]]:
    """Return the peers that are right, and every peer's errors."""
    right: dict[str, Peer] = {}
    table: list[Row] = []
    batches = [batch(rows, dim, device, separation) for separation in (0.0, 3.0)]
    truths = []
    for embeddings, labels in batches:
        exact = embeddings.detach().double().requires_grad_()
        truths.append(torch.autograd.grad(dense(exact, labels), exact)[0])
    for name, peer in peers(device, quick).items():
        runs = [step(peer, *inputs) for inputs in batches]
        errors = [relative_error(run(), truth) for run, truth in zip(runs, truths, strict=True)]
        passed = all(error <= limit for error, limit in zip(errors, peer.allowed, strict=True))
        table.append({"peer": name, "random": f"{errors[0]:.1e}", "clustered": f"{errors[1]:.1e}", "timed": passed})
        if passed:
            right[name] = peer
    return right, table


def floor(embeddings: Tensor) -> Step:
    """Return the two GEMMs that a loss without symmetry cannot do without."""
    z = embeddings.detach().half()

    def run() -> Tensor:
        return (z @ z.T) @ z

    return run


def measure(found: dict[str, Peer], rows: int, dim: int, device: str) -> list[Row]:
    """Return one row per peer: seconds, its ratio to ours, peak memory."""
    torch.compiler.reset()  # past a handful of compilations of one function torch silently runs it eagerly
    sets = sets_of_inputs(rows * dim * 4 / 2**20, device)
    inputs = [batch(rows, dim, device) for _ in range(sets)]
    fitting = {name: peer for name, peer in found.items() if rows <= LARGEST_DENSE or name.startswith("ours")}
    steps = {name: Rotation([step(peer, *each) for each in inputs]) for name, peer in fitting.items()}
    steps["ours again (A/A)"] = Rotation(steps["ours"].steps)
    if device == "cuda":
        steps["two fp16 GEMMs"] = Rotation([floor(embeddings) for embeddings, _ in inputs])
    timed: dict[str, Step] = dict(steps)
    times = interleaved(timed, rounds_for(rows, device), device, warm_up=1 if device == "cpu" else 25)
    table: list[Row] = []
    for name, run in steps.items():
        row: Row = {"N": rows, "D": dim, "peer": name, "ms": statistics.median(times[name]) * 1e3}
        row["peer / ours"] = ratio(times, name, "ours")
        if device == "cuda":  # on a CPU memory takes a process of its own: supcon_cpu.py has it
            row["MB"] = peak_megabytes(run, device)
        table.append(row)
    if device == "cuda":
        add_replay(table, steps)
    return table


def rounds_for(rows: int, device: str) -> int:
    """Return how often each peer is timed."""
    return max(3, min(50, 2**24 // rows**2)) if device == "cpu" else 10


def lost(table: list[Row]) -> list[Row]:
    """Return the rows in which a peer beat ours."""
    rivals = [row for row in table if "GEMM" not in str(row["peer"]) and "A/A" not in str(row["peer"])]
    return [row for row in rivals if middle(row["peer / ours"]) < NEVER_SLOWER]


def sizes_for(device: str, quick: bool) -> list[tuple[int, int]]:
    """Return the rows and dimensions to time."""
    if device == "cuda":
        return GPU_QUICK if quick else GPU_SIZES
    return [size for size in CPU_SIZES if not quick or size[0] <= QUICK]


def tables(device: str, quick: bool) -> dict[str, list[Row]]:
    """Return errors, times, and the shapes where a peer wins."""
    found, errors = checked(device, quick)
    sizes = sizes_for(device, quick)
    times = [row for rows, dim in sizes for row in measure(found, rows, dim, device)]
    return {
        "Loss: relative error of the gradient, against float64": errors,
        "Loss: forward and backward": times,
        "Loss: where torch or another peer wins": lost(times),
        "Loss: peers left out": left_out(missing(device, quick)),
    }
