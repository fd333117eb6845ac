# SPDX-License-Identifier: Apache-2.0
"""CPU time and memory of the losses of pairs against their formulas, eager and under torch.compile, on one thread.

    python benchmarks/pair_losses.py [--rounds 7]

The formulas are those of open_clip: two cross-entropies of one matrix of scores, and log-sigmoids of all scores. A step
is the loss and the gradients of both sides. Gradients are compared with the formula in float64 first; times are taken
in turn in one process, memory each in a process of its own. Writes results/DATE-pair-losses.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable

import torch
from harness import Row, Step, in_fresh_process, interleaved, peak_megabytes, ratio, relative_error, write
from torch import Tensor
from torch.nn import functional as F

SIZES = [(32, 128), (256, 128), (1024, 128), (4096, 128), (4096, 512)]
TEMPERATURE, BIAS = {"ClipLoss": 0.07, "SigLipLoss": 0.1}, -10.0


def clip(first: Tensor, second: Tensor) -> Tensor:
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / TEMPERATURE["ClipLoss"]
    own = torch.arange(len(first))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def siglip(first: Tensor, second: Tensor) -> Tensor:
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / TEMPERATURE["SigLipLoss"] + BIAS
    signs = 2 * torch.eye(len(first), dtype=logits.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(first)


def steps(loss: str, rows: int, dim: int) -> dict[str, Step]:
    """Return a step of each peer."""
    from lightning_monocon.losses import ClipLoss, SigLipLoss

    generator = torch.Generator().manual_seed(rows + dim)
    first = torch.randn(rows, dim, generator=generator)
    sides = [x.requires_grad_() for x in (first.clone(), first + 2 * torch.randn(rows, dim, generator=generator))]
    plain = clip if loss == "ClipLoss" else siglip
    ours = ClipLoss() if loss == "ClipLoss" else SigLipLoss()

    def step(function: Callable[..., Tensor], inputs: list[Tensor]) -> Step:
        return lambda: torch.cat(torch.autograd.grad(function(*inputs), inputs))

    wide = [x.detach().double().requires_grad_() for x in sides]
    found = {"ours": step(ours, sides), "eager": step(plain, sides), "compiled": step(torch.compile(plain), sides)}
    return found | {"truth": step(plain, wide)}


def worker(loss: str, rows: int, dim: int, peer: str) -> None:
    torch.set_num_threads(1)
    step = steps(loss, rows, dim)[peer]
    steps(loss, 32, dim)[peer]()
    print(json.dumps({"megabytes": peak_megabytes(step)}))


def measured(loss: str, rows: int, dim: int, rounds: int) -> Row:
    """Return the row of one size."""
    peers = steps(loss, rows, dim)
    exact = peers.pop("truth")()
    error = relative_error(peers["ours"](), exact)
    assert error < 1e-5, f"the gradient of {loss} {rows} x {dim} is off by {error:.1e}"
    times = interleaved(peers, rounds)
    row: Row = {"N": rows, "D": dim, "ours, ms": 1000 * statistics.median(times["ours"])}
    row |= {f"{name} / ours": ratio(times, name, "ours") for name in ("eager", "compiled")}
    for peer in ("ours", "eager", "compiled") if rows >= 1024 else ():
        row[f"{peer}, MB"] = in_fresh_process(__file__, [loss, rows, dim, peer])["megabytes"]
    for peer in ("ours", "eager", "compiled"):
        row.setdefault(f"{peer}, MB", "")
    return row | {"error of the gradient": f"{error:.1e}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        loss, rows, dim, peer = options.worker
        worker(loss, int(rows), int(dim), peer)
        return
    torch.set_num_threads(1)
    tables = {f"{loss}, one step": [measured(loss, *size, options.rounds) for size in SIZES] for loss in TEMPERATURE}
    title = f"CPU time of the losses of pairs, one thread, {options.rounds} rounds: median ratio (lowest to highest)"
    print(write("pair-losses", title, tables))


if __name__ == "__main__":
    main()
