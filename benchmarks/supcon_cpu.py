# SPDX-License-Identifier: Apache-2.0
"""CPU seconds and peak memory of the supervised contrastive loss, forward and backward, against the dense formula.

    python benchmarks/supcon_cpu.py            # minutes; writes results/DATE-supcon_cpu.{md,json}
    python benchmarks/supcon_cpu.py --quick    # N <= 4096

Peers: `dense`, the operations of the paper's published code; `compiled`, the same through `torch.compile`; `ours`.
Float32, one thread, 100 classes, T = 0.1, torch's settings as they come; ours multiplies by oneDNN where its probe
found that faster and as accurate, and the table says which. Times: all peers of a size in one process, in turn.
Memory: a fresh process per peer and size, peak beyond the inputs.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable

import torch
from harness import Row, Step, in_fresh_process, interleaved, peak_megabytes, ratio, relative_error, write
from torch import Tensor

from lightning_monocon.kernels.monotone_linear.onednn import is_faster
from lightning_monocon.losses import SupConLoss

# rows, dimensions, rounds, largest peer that is run: `dense` holds about eight matrices of all pairs
SIZES = [
    (1024, 128, 15, "dense"),
    (1024, 512, 15, "dense"),
    (4096, 128, 7, "dense"),
    (4096, 512, 5, "dense"),
    (8192, 128, 3, "dense"),
    (8192, 512, 3, "dense"),
    (16384, 128, 1, "dense"),
    (32768, 128, 1, "ours"),
]
CLASSES, TEMPERATURE = 100, 0.1


def dense(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Return the loss by the operations of the published code, every matrix whole."""
    rows = torch.nn.functional.normalize(embeddings, dim=1)
    logits = torch.div(rows @ rows.T, TEMPERATURE)
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    positive = torch.eq(labels[:, None], labels[None]).to(rows.dtype)
    itself = torch.arange(len(rows), device=rows.device)[:, None]
    others = torch.scatter(torch.ones_like(positive), 1, itself, 0)
    positive = positive * others
    log_probability = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True) + 1e-9)
    return -((positive * log_probability).sum(1) / (positive.sum(1) + 1e-9)).mean()


def losses(largest: str = "dense") -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    ours = SupConLoss(TEMPERATURE, backend="torch")
    if largest == "ours":
        return {"ours": ours}
    return {"dense": dense, "compiled": torch.compile(dense, dynamic=False), "ours": ours}


def batch(rows: int, dim: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + dim)
    embeddings = torch.randn(rows, dim, generator=generator).requires_grad_()
    return embeddings, torch.randint(CLASSES, (rows,), generator=generator)


def step(loss: Callable[[Tensor, Tensor], Tensor], embeddings: Tensor, labels: Tensor) -> Step:
    def run() -> Tensor:
        return torch.autograd.grad(loss(embeddings, labels), embeddings)[0]

    return run


def check(rows: int, dim: int) -> None:
    """Refuse to time a peer whose gradient is wrong."""
    embeddings, labels = batch(rows, dim)
    exact = embeddings.detach().double().requires_grad_()
    truth = torch.autograd.grad(dense(exact, labels), exact)[0]
    for name, loss in losses().items():
        error = relative_error(torch.autograd.grad(loss(embeddings, labels), embeddings)[0], truth)
        assert error < 1e-5, f"{name} is off by {error:.1e}"


def worker(kind: str, rows: int, dim: int, rounds: int, peer: str) -> Row:
    embeddings, labels = batch(rows, dim)
    if kind == "memory":
        loss = losses()[peer]
        if peer == "compiled":
            step(loss, embeddings, labels)()  # compiling takes memory of its own
        else:
            step(loss, *batch(600, dim))()
        return {"megabytes": peak_megabytes(step(loss, embeddings, labels))}
    steps = {name: step(loss, embeddings, labels) for name, loss in losses(peer).items()}
    return {"times": interleaved(steps, rounds, warm_up=0 if rounds == 1 and peer == "ours" else 1)}


def measure(rows: int, dim: int, rounds: int, largest: str) -> Row:
    times = in_fresh_process(__file__, ("time", rows, dim, rounds, largest))["times"]
    assert isinstance(times, dict)
    row: Row = {"N": rows, "D": dim}
    for name in losses():
        row[f"{name} s"] = round(statistics.median(times[name]), 4) if name in times else "not run"
    for name in ("dense", "compiled"):
        row[f"{name} / ours"] = ratio(times, name, "ours") if name in times else "not run"
    for name in losses():
        run = name in times
        row[f"{name} MB"] = (
            in_fresh_process(__file__, ("memory", rows, dim, 1, name))["megabytes"] if run else "not run"
        )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="sizes up to 4096 rows only")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, rows, dim, rounds, peer = arguments.worker
        print(json.dumps(worker(kind, int(rows), int(dim), int(rounds), peer)))
        return
    torch.set_num_threads(1)
    check(512, 128)
    table = []
    for size in SIZES:
        if not arguments.quick or size[0] <= 4096:
            table.append(measure(*size))
            print(table[-1], flush=True)
    product = "oneDNN" if is_faster() else "torch"
    print(
        write(
            "supcon_cpu",
            "SupCon loss on one CPU thread, forward and backward",
            {f"Ours multiplies by {product}": table},
        )
    )


if __name__ == "__main__":
    main()
