# SPDX-License-Identifier: Apache-2.0
"""One rank of a real gloo group: run by test_gather.py as ``python ranks.py RANK WORLD_SIZE FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lightning_monocon.distributed import gather_rows
from lightning_monocon.kernels.dispatch import is_interpreting
from lightning_monocon.kernels.supcon import shapes
from lightning_monocon.losses import ClipLoss, CrossSupConLoss, SigLipLoss, SupConLoss

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
# anchors per rank; rows of the contrast set per rank; rules
BETWEEN: dict[str, tuple[tuple[int, int], tuple[int, int], dict[str, Any]]] = {
    "the formula": ((8, 8), (10, 6), {}),
    "streamed": ((8, 8), (3, 13), {"backend": "torch", "block_size": 4}),
    "uneven anchors": ((11, 5), (7, 9), {"backend": "torch", "ignore_index": 9}),
    "no anchors on one rank": ((16, 0), (8, 8), {"backend": "torch"}),
    "no rows on one rank": ((6, 10), (0, 16), {}),
}
# pairs per rank; temperature; rules of both losses of pairs
PAIRS: dict[str, tuple[tuple[int, int], float, dict[str, Any]]] = {
    "even": ((8, 8), 0.2, {}),
    "uneven, small tiles": ((11, 5), 0.2, {"block_size": 4}),
    "not bounded": ((5, 11), 0.01, {"block_size": 6}),
    "one rank empty": ((16, 0), 0.01, {}),
    "one pair on one rank": ((1, 15), 0.1, {"normalize": False}),
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


def step_between(
    counts: tuple[int, int], rows: tuple[int, int], rules: dict[str, Any], rank: int | None = None
) -> dict[str, Tensor]:
    """Return the loss of two sets and its gradients; a rank's own, averaged over ranks, where one is named."""
    (anchors, anchor_labels), (contrast, contrast_labels) = data(), data()
    contrast = contrast.flip(0) + 0.3  # another set, with every label of the anchors
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    if rank is None:
        anchors.requires_grad_()
        contrast.requires_grad_()
        loss = CrossSupConLoss(temperature, **rules)(anchors, contrast, anchor_labels, contrast_labels)
        found = torch.autograd.grad(loss, (anchors, contrast, temperature))
        return {"loss": loss.detach()} | dict(zip(("anchors", "contrast", "temperature"), found, strict=True))
    mine, theirs = own(counts, rank), own(rows, rank)
    anchors = anchors[mine].requires_grad_()
    contrast = contrast[theirs].requires_grad_()
    everyone = gather_rows(contrast), gather_rows(contrast_labels[theirs])
    loss = CrossSupConLoss(temperature, **rules)(anchors, everyone[0], anchor_labels[mine], everyone[1])
    loss = loss * (len(anchors) * len(counts) / sum(counts))  # 1 where every rank has as many
    found = torch.autograd.grad(loss, (anchors, contrast, temperature))
    average = torch.stack([loss.detach(), found[2]])
    dist.all_reduce(average)
    of_rows = {"anchors": found[0] / len(counts), "contrast": found[1] / len(counts)}
    return of_rows | {"loss": average[0] / len(counts), "temperature": average[1] / len(counts)}


def step_of_pairs(
    counts: tuple[int, int], temperature: float, rules: dict[str, Any], rank: int | None = None
) -> dict[str, Tensor]:
    """Return both losses of pairs and their gradients; a rank's own, averaged over ranks, where one is named."""
    first = data()[0]
    second = first.flip(1) + 0.3
    ours = slice(None) if rank is None else own(counts, rank)
    sides = [side[ours].clone().requires_grad_() for side in (first, second)]
    found: dict[str, Tensor] = {}
    for name in ("clip", "siglip"):
        scale, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (temperature, -2.0))
        loss = ClipLoss(scale, **rules) if name == "clip" else SigLipLoss(scale, bias, **rules)
        value = loss(*sides)
        wanted = *sides, scale, bias
        of_rows = torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True)
        numbers = torch.stack(of_rows[2:])
        if rank is not None:
            dist.all_reduce(numbers)
            numbers = numbers / len(counts)
            of_rows = tuple(gradient / len(counts) for gradient in of_rows)
        found |= {f"{name} loss": value.detach(), f"{name} numbers": numbers}
        found |= {f"{name} first": of_rows[0], f"{name} second": of_rows[1]}
    return found


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
    for name, (counts, rows, rules) in BETWEEN.items():
        results[f"between, {name}"] = step_between(counts, rows, rules, rank)
    for name, (counts, temperature, rules) in PAIRS.items():
        results[f"pairs, {name}"] = step_of_pairs(counts, temperature, rules, rank)
    results["pairs alone"] = ClipLoss(gather=False)(*(data()[0][own((9, 7), rank)] for _ in range(2)))
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
