# SPDX-License-Identifier: Apache-2.0
"""Train the heads that are compared as bytes, on cached vectors: with labels, or to keep the encoder's neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from bytes_tasks import Domain
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_monocon.heads import LinearHead, MLPHead, MonotonicMLP
from lightning_monocon.heads.init import Init
from lightning_monocon.learnt.module import distillation
from lightning_monocon.losses import SupConLoss

Objective = Literal["none", "labels", "neighbours"]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of outputs ``(B, D_out)``, vectors ``(B, D)`` and labels ``(B,)``."""

BATCH, EPOCHS = 512, 20
TEMPERATURE = {"labels": 0.1, "neighbours": 0.05}
WIDTHS = {"labels": (256, 64), "neighbours": (384, 384)}
"""Hidden and output width; the second is that of the sentences' vectors."""


@dataclass(frozen=True)
class HeadSpec:
    """Describe one head; one that is `nested` is trained on prefixes of its output too."""

    build: Callable[[int, int, int], nn.Module]
    rate: float = 1e-3
    nested: bool = False


def _monotonic(init: Init) -> HeadSpec:
    return HeadSpec(lambda d, hidden, out: MonotonicMLP(d, hidden, out, init=init), rate=5e-3)


HEADS = {
    "none": HeadSpec(lambda d, hidden, out: nn.Identity()),
    "mlp": HeadSpec(MLPHead),
    "linear": HeadSpec(lambda d, hidden, out: LinearHead(d, out)),
    "matryoshka": HeadSpec(lambda d, hidden, out: LinearHead(d, out), nested=True),
    "monotonic-identity": _monotonic("identity"),
    "monotonic-reference": _monotonic("reference"),
    "monotonic-lognormal": _monotonic("lognormal"),
}


def trained(domain: Domain, name: str, objective: Objective, seed: int) -> nn.Module:
    """Return a head in eval mode: AdamW of decay 1e-2, a cosine to zero, gradients clipped at 1."""
    torch.manual_seed(seed)
    dim = domain.fit.shape[1]
    if objective == "none":
        return nn.Identity()
    hidden, out = WIDTHS[objective]
    head = HEADS[name].build(dim, hidden, out)
    loss = _loss(objective, out, HEADS[name].nested)
    labels = domain.labels[0] if domain.labels is not None else torch.zeros(len(domain.fit), dtype=torch.int64)
    optimizer = torch.optim.AdamW(head.parameters(), HEADS[name].rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(domain.fit)).split(BATCH)[:-1]:
            optimizer.zero_grad()
            loss(head(domain.fit[part]), domain.fit[part], labels[part]).backward()
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
        schedule.step()
    return head.eval()


def _loss(objective: Objective, width: int, nested: bool) -> Loss:
    supcon, temperature = SupConLoss(TEMPERATURE[objective]), TEMPERATURE[objective]

    def whole(outputs: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
        if objective == "labels":
            return supcon(outputs, labels)
        asked, searched = normalize(outputs).chunk(2)
        a, b = normalize(rows).chunk(2)
        return distillation(asked @ searched.T, a @ b.T, temperature)

    def prefixes(outputs: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
        cuts = [2**power for power in range(3, 12) if 2**power < width] + [width]
        return torch.stack([whole(outputs[:, :cut], rows, labels) for cut in cuts]).mean()

    return prefixes if nested else whole
