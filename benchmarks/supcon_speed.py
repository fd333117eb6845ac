# SPDX-License-Identifier: Apache-2.0
"""CPU time of the contrastive losses against that of another commit, in alternating rounds, with a check of gradients.

    python benchmarks/supcon_speed.py [--old COMMIT] [--rounds 5]

Checks the old commit out into a temporary worktree and starts one worker on each, with one thread. In every round both
run each size in turn, a sample of `SAMPLE_SECONDS`; a row is the median of the rounds' ratios, with the lowest and the
highest. Before that the gradients of both are compared with the formula in float64. The second table has
`CrossSupConLoss` of this build against plain InfoNCE, `cross_entropy` of the normalised product, in one process. The
third has `SupConLoss` of this build against its matrix products alone: those that a step takes at this size, tile by
tile, with exponentials that are computed again where they are over the budget.
Writes results/DATE-supcon-speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from harness import Row, relative_error, write
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
SIZES = [(rows, dim) for rows in (256, 512, 1024, 2048, 4096) for dim in (64, 128)]
SIZES += [(64, 128), (1024, 512), (6144, 128)]  # the last keeps nothing: it is over the budget
PAIR_SIZES = [(rows, dim) for rows in (32, 128, 256, 512, 1000) for dim in (64, 128)]
LARGE_SIZES = [(4096, 64), (4096, 128), (4096, 512), (6144, 128), (8192, 128)]
SAMPLE_SECONDS = 0.02
LARGEST_TRUTH = 4096
CLASSES, TEMPERATURE = 100, 0.1

Step = Callable[[], Tensor]


def dense(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Return the loss by its formula."""
    rows = F.normalize(embeddings, dim=1)
    logits = (rows @ rows.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    same = (labels[:, None] == labels).fill_diagonal_(False)
    pulled = logits.masked_fill(~same, 0).sum(1) / same.sum(1).clamp_min(1)
    return torch.where(same.any(1), logits.logsumexp(1) - pulled, 0).mean()


def steps(rows: int, dim: int) -> tuple[Step, Step, Step, Step]:
    """Return steps of this build's loss, the formula, this build's loss of two sets, and plain InfoNCE."""
    from lightning_monocon.losses import CrossSupConLoss, SupConLoss

    generator = torch.Generator().manual_seed(rows + dim)
    x, w = (torch.randn(rows, dim, generator=generator).requires_grad_() for _ in range(2))
    labels, own = torch.randint(CLASSES, (rows,), generator=generator), torch.arange(rows)
    one, two = SupConLoss(TEMPERATURE), CrossSupConLoss(TEMPERATURE)
    wide = x.detach().double().requires_grad_()

    def plain() -> Tensor:
        logits = F.normalize(x, dim=1) @ F.normalize(w, dim=1).T / TEMPERATURE
        return torch.cat(torch.autograd.grad(F.cross_entropy(logits, own), (x, w)))

    return (
        lambda: torch.autograd.grad(one(x, labels), x)[0],
        lambda: torch.autograd.grad(dense(wide, labels), wide)[0],
        lambda: torch.cat(torch.autograd.grad(two(x, w, own, own), (x, w))),
        plain,
    )


def products(rows: int, dim: int) -> Callable[[], None]:
    """Return the products of a step of `SupConLoss`, without anything else."""
    from lightning_monocon.kernels.supcon.kept import _pieces
    from lightning_monocon.kernels.supcon.options import Options
    from lightning_monocon.kernels.supcon.products import dense_product

    options = Options()
    z = torch.randn(rows, dim, generator=torch.Generator().manual_seed(0))
    across = z.T.contiguous()

    def step() -> None:
        room = options.keep_bytes
        for own, others in _pieces(rows, options):
            tile = dense_product(z[own], z[others].T)
            room -= tile.nbytes
            if room < 0:
                dense_product(z[own], z[others].T)
            dense_product(tile, z[others])
            if own is not others:
                dense_product(across[:, own].contiguous(), tile)

    return step


def sample(step: Callable[[], object]) -> float:
    """Return the CPU seconds of a step, the mean over a sample."""
    start, count = time.process_time(), 0
    while True:
        step()
        count += 1
        spent = time.process_time() - start
        if spent > SAMPLE_SECONDS:
            return spent / count


def worker() -> None:
    """Answer ``[rows, dim]`` with a step's time and its error, and what begins with a word with two times."""
    torch.set_num_threads(1)
    errors: dict[tuple[int, int], float] = {}
    for line in sys.stdin:
        *kind, rows, dim = json.loads(line)
        ours, truth, two, plain = steps(rows, dim)
        if kind == ["products"]:
            bare = products(rows, dim)
            ours(), bare()
            answer = [sample(ours), sample(bare)]
        elif kind:
            two(), plain()
            answer = [sample(two), sample(plain), relative_error(two(), plain())]
        else:
            if (rows, dim) not in errors:
                errors[rows, dim] = relative_error(ours(), truth()) if rows <= LARGEST_TRUTH else 0.0
            ours()
            answer = [sample(ours), errors[rows, dim]]
        print(json.dumps(answer), flush=True)


class Worker:
    """Hold a process that imports the package from a folder."""

    def __init__(self, package: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--worker"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)

    def ask(self, *question: object) -> list[float]:
        """Return the worker's answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer: list[float] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        """Let the worker end."""
        self.process.communicate()


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Yield a temporary worktree of a commit."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "old"
        subprocess.run([*git, "add", "--detach", str(tree), commit], check=True, capture_output=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True, capture_output=True)


def spread(ratios: list[float]) -> dict[str, float]:
    return {
        "ratio": round(statistics.median(ratios), 2),
        "lowest": round(min(ratios), 2),
        "highest": round(max(ratios), 2),
    }


def against(old: Worker, new: Worker, rounds: int) -> Iterator[Row]:
    """Yield the row of each size, old against new."""
    times: dict[tuple[int, int], list[tuple[float, float]]] = {size: [] for size in SIZES}
    errors: dict[tuple[int, int], tuple[float, float]] = {}
    for _ in range(rounds):
        for size in SIZES:
            (before, error_before), (after, error_after) = old.ask(*size), new.ask(*size)
            times[size].append((before, after))
            errors[size] = error_before, error_after
    for (rows, dim), pairs in times.items():
        before, after = (1000 * statistics.median(side) for side in zip(*pairs, strict=True))
        row: Row = {"N": rows, "D": dim, "before, ms": round(before, 3), "now, ms": round(after, 3)}
        row |= spread([a / b for a, b in pairs])
        error = errors[rows, dim][1]
        assert error < 1e-5, f"the gradient of {rows} x {dim} is off by {error:.1e}"
        yield row | {"error of the gradient": f"{error:.1e}" if rows <= LARGEST_TRUTH else "not compared"}


def against_plain(new: Worker, rounds: int) -> Iterator[Row]:
    """Yield the row of each size, plain InfoNCE against the loss of two sets."""
    for rows, dim in PAIR_SIZES:
        answers = [new.ask("pair", rows, dim) for _ in range(rounds)]
        row: Row = {"M = N": rows, "D": dim}
        for index, name in enumerate(("ours, ms", "plain, ms")):
            row[name] = round(1000 * statistics.median(answer[index] for answer in answers), 3)
        yield row | spread([plain / ours for ours, plain, _ in answers])


def against_products(new: Worker, rounds: int) -> Iterator[Row]:
    """Yield the row of each size, the loss of one set against its products alone."""
    for rows, dim in LARGE_SIZES:
        answers = [new.ask("products", rows, dim) for _ in range(rounds)]
        ours, bare = (1000 * statistics.median(side) for side in zip(*answers, strict=True))
        row: Row = {"N": rows, "D": dim, "ours, ms": round(ours, 3), "products, ms": round(bare, 3)}
        yield row | spread([a / b for a, b in answers])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", default="ffe4fb4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker()
        return
    with checked_out(options.old) as tree:
        old, new = Worker(tree), Worker(ROOT)
        tables = {
            f"SupConLoss, one step, {options.old} / now": list(against(old, new, options.rounds)),
            "CrossSupConLoss, one step, plain InfoNCE / ours": list(against_plain(new, options.rounds)),
            "SupConLoss, one step, ours / products alone": list(against_products(new, options.rounds)),
        }
        old.close(), new.close()
    title = f"CPU time of the contrastive losses, one thread, against commit {options.old}, {options.rounds} rounds"
    print(write("supcon-speed", title, tables))


if __name__ == "__main__":
    main()
