# SPDX-License-Identifier: Apache-2.0
"""One rank of a real gloo group: run by test_gather.py as ``python ranks.py RANK WORLD_SIZE FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lightning_monocon.functional.gather import gather_rows
from lightning_monocon.kernels.dispatch import is_interpreting
from lightning_monocon.kernels.supcon import shapes
from lightning_monocon.losses import SupConLoss

# rows per rank; rules; dtype of the model
CASES: dict[str, tuple[tuple[int, int], dict[str, Any], torch.dtype]] = {
    "even": ((8, 8), {}, torch.float64),
    "uneven": ((11, 5), {}, torch.float64),
    "uneven, skip": ((5, 11), {"singletons": "skip"}, torch.float64),
    "uneven, ignore": ((9, 7), {"ignore_index": 1}, torch.float64),
    "one rank empty": ((16, 0), {}, torch.float64),
    "one row": ((1, 15), {"block_size": 4}, torch.float64),
    "small temperature": ((6, 10), {"temperature": 0.01}, torch.float64),
    "float32": ((10, 6), {}, torch.float32),
}
# the same on the kernels, in Triton's interpreter
if is_interpreting():
    CASES |= {
        "kernels": ((9, 7), {"backend": "triton"}, torch.float32),
        "kernels, class sums": ((5, 11), {"backend": "triton", "singletons": "skip"}, torch.float32),
        "kernels, ignore": ((16, 0), {"backend": "triton", "singletons": "skip", "ignore_index": 1}, torch.float32),
    }


class Learner(nn.Module):
    """A model whose loss, and its temperature, are part of it, as under Lightning."""

    def __init__(self, temperature: float = 0.1, **rules: Any) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.layer = nn.Linear(6, 4)
        self.layer.weight.data = torch.randn(4, 6, generator=generator)
        self.layer.bias.data = torch.randn(4, generator=generator)
        self.loss = SupConLoss(nn.Parameter(torch.tensor(temperature)), **rules)

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self.loss(self.layer(inputs), labels)


def data(rows: int = 16, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(rows, 6, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.randint(5, (rows,), generator=generator)


def step(model: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    loss = model(inputs, labels)
    loss.backward()
    return {"loss": loss.detach()} | {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}


def own(counts: tuple[int, int], rank: int) -> slice:
    return slice(sum(counts[:rank]), sum(counts[: rank + 1]))


def gathered(rank: int) -> dict[str, Any]:
    """Gather uneven rows, and pull a different gradient through on each rank."""
    rows = (torch.arange(10.0).view(5, 2) + 1)[own((3, 2), rank)].requires_grad_()
    whole = gather_rows(rows)
    (whole * torch.arange(10.0).view(5, 2) * (rank + 1)).sum().backward()
    labels = gather_rows(torch.arange(rank, 4 * rank))
    return {"rows": whole.detach(), "grad": rows.grad, "labels": labels}


def refused(rank: int) -> str:
    """Label 9 is alone, and only rank 1 holds it."""
    try:
        SupConLoss(singletons="error")(torch.eye(2), torch.tensor([[0, 1], [1, 9]])[rank])
    except ValueError as error:
        return str(error)
    return ""


def main(rank: int, world_size: int, folder: Path) -> None:
    dist.init_process_group("gloo", f"file://{folder / 'meet'}", rank=rank, world_size=world_size)
    results: dict[str, Any] = {"gather": gathered(rank), "refused": refused(rank)}
    for name, (counts, rules, dtype) in CASES.items():
        shapes.COMPARE_UP_TO = 0 if "class sums" in name else 2048
        inputs, labels = (part[own(counts, rank)] for part in data(dtype=dtype))
        results[name] = step(nn.parallel.DistributedDataParallel(Learner(**rules).to(dtype)), inputs, labels)
        results[f"{name} alone"] = SupConLoss(gather=False)(inputs, labels)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
