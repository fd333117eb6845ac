# SPDX-License-Identifier: Apache-2.0
"""InfoNCE between two sets (row i of one belongs to row i of the other), forward and backward: Inf-CL's own task.

Ours is `cross_supcon` with labels ``0 .. N-1`` on both sides. Peers: the formula in eager and compiled torch, and on a
GPU Inf-CL (``pip install inf_cl``), which keeps float32 rows and multiplies them as TF32. Inf-CL takes unit rows and
no class labels; normalisation is therefore outside, in every peer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

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
from kernels_loss import ELEVEN_BITS, FLOAT32, rounds_for, tf32
from kernels_replay import Rotation, add_replay, sets_of_inputs
from torch import Tensor
from torch.nn import functional as F

from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.supcon.options import Options

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

CPU_SIZES = [(1024, 128), (2048, 512), (4096, 128)]
GPU_SIZES = [(2**k, 512) for k in (10, 12, 13, 14, 15)] + [(8192, 384), (8192, 1024)]
GPU_QUICK = [(1024, 512), (8192, 384)]
QUICK, CHECKED_ROWS, LARGEST_DENSE = 1024, 512, 32768
TEMPERATURE = 0.07


def formula(z: Tensor, c: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(z @ c.T / TEMPERATURE, labels)


def in_tf32(loss: Loss, z: Tensor, c: Tensor, labels: Tensor) -> Tensor:
    with tf32():
        return loss(z, c, labels)


def ours(z: Tensor, c: Tensor, labels: Tensor, options: Options, backend: str = "auto") -> Tensor:
    return cross_supcon(z, c, labels, labels, TEMPERATURE, options=options, backend=backend)


def inf_cl(z: Tensor, c: Tensor, labels: Tensor) -> Tensor:
    from inf_cl import cal_flash_loss

    width = next(width for width in (256, 128, 64, 32, 16) if z.shape[1] % width == 0)
    return cal_flash_loss(z, c, labels, 1 / TEMPERATURE, width).mean()


def peers(device: str, quick: bool) -> tuple[dict[str, tuple[Loss, tuple[float, float]]], dict[str, str]]:
    """Return the peers with the error that their arithmetic may show, and why others are missing."""
    # unit rows: normalising them again changes nothing and bounds the logits, which Inf-CL takes for granted too
    exact = Options(block_size=512 if device == "cpu" else 4096)
    found = {"eager": (formula, FLOAT32), "compiled": (torch.compile(formula, dynamic=False), FLOAT32)}
    missing = modes_left_out(device, quick)
    if device == "cuda":
        for mode in compile_modes(quick):
            compiled = torch.compile(formula, dynamic=False, mode=mode)
            found[f"compiled {mode}, tf32"] = (partial(in_tf32, compiled), ELEVEN_BITS)
        half = Options(block_size=4096, precision="fp16")
        found["ours, fp16"] = (partial(ours, options=half, backend="triton"), ELEVEN_BITS)
    if device != "cuda":
        missing["Inf-CL"] = "its kernels need a GPU"
    elif not find_spec("inf_cl"):
        missing["Inf-CL"] = "not installed: pip install inf_cl"
    else:
        found["Inf-CL"] = (inf_cl, ELEVEN_BITS)
    return found | {"ours": (partial(ours, options=exact), FLOAT32)}, missing


def batch(rows: int, dim: int, device: str, nearness: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return two sets of unit rows, the second `nearness` times the first and noise, and the labels."""
    first, noise = (torch.randn(rows, dim, device=device) for _ in range(2))
    sides = [F.normalize(side, dim=1).requires_grad_() for side in (first, nearness * first + noise)]
    return sides[0], sides[1], torch.arange(rows, device=device)


def step(loss: Loss, z: Tensor, c: Tensor, labels: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: torch.autograd.grad(loss(z, c, labels), (z, c))


def along(found: tuple[Tensor, ...], sides: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Return gradients without their part along the rows, which peers that normalise again do not have."""
    pairs = [(g.detach().double(), x.detach().double()) for g, x in zip(found, sides, strict=True)]
    return [g - (g * x).sum(1, keepdim=True) * x for g, x in pairs]


def checked(device: str, quick: bool) -> tuple[dict[str, Loss], list[Row], dict[str, str]]:
    """Return the peers that are right on random and on near pairs, every peer's errors, and the peers left out."""
    batches = [batch(CHECKED_ROWS, 384, device, nearness) for nearness in (0.0, 1.0)]
    truths = []
    for z, c, labels in batches:
        exact = [side.detach().double().requires_grad_() for side in (z, c)]
        truths.append(along(torch.autograd.grad(formula(*exact, labels), exact), (z, c)))
    found, missing = peers(device, quick)
    right: dict[str, Loss] = {}
    table: list[Row] = []
    for name, (loss, allowed) in found.items():
        errors = []
        for inputs, truth in zip(batches, truths, strict=True):
            gradients = along(step(loss, *inputs)(), inputs[:2])
            errors.append(max(relative_error(a, b) for a, b in zip(gradients, truth, strict=True)))
        passed = all(error <= limit for error, limit in zip(errors, allowed, strict=True))
        table.append({"peer": name, "random": f"{errors[0]:.1e}", "near": f"{errors[1]:.1e}", "timed": passed})
        if passed:
            right[name] = loss
    return right, table, missing


def measure(found: dict[str, Loss], rows: int, dim: int, device: str) -> list[Row]:
    """Return one row per peer."""
    torch.compiler.reset()  # past a handful of compilations of one function torch silently runs it eagerly
    sets = sets_of_inputs(rows * dim * 8 / 2**20, device)
    inputs = [batch(rows, dim, device) for _ in range(sets)]
    fitting = {name: loss for name, loss in found.items() if rows <= LARGEST_DENSE or name.startswith("ours")}
    steps = {name: Rotation([step(loss, *each) for each in inputs]) for name, loss in fitting.items()}
    steps["ours again (A/A)"] = Rotation(steps["ours"].steps)
    timed: dict[str, Step] = dict(steps)
    times = interleaved(timed, rounds_for(rows, device), device, warm_up=1 if device == "cpu" else 25)
    table: list[Row] = []
    for name, run in steps.items():
        row: Row = {"N": rows, "D": dim, "peer": name, "ms": sorted(times[name])[len(times[name]) // 2] * 1e3}
        row["peer / ours"] = ratio(times, name, "ours")
        if device == "cuda":
            row["MB"] = peak_megabytes(run, device)
        table.append(row)
    if device == "cuda":
        add_replay(table, steps)
    return table


def tables(device: str, quick: bool) -> dict[str, list[Row]]:
    """Return errors, times, the shapes where a peer wins, and the peers left out."""
    found, errors, missing = checked(device, quick)
    on_gpu = GPU_QUICK if quick else GPU_SIZES
    sizes = on_gpu if device == "cuda" else [size for size in CPU_SIZES if not quick or size[0] <= QUICK]
    times = [row for rows, dim in sizes for row in measure(found, rows, dim, device)]
    lost = [r for r in times if not str(r["peer"]).startswith("ours") and middle(r["peer / ours"]) < NEVER_SLOWER]
    return {
        "Two sets: relative error of the gradients, against float64": errors,
        "Two sets: forward and backward": times,
        "Two sets: where torch or another peer wins": lost,
        "Two sets: peers left out": left_out(missing),
    }
