# SPDX-License-Identifier: Apache-2.0
"""Embeddings whose truth is known, because it was planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build

Planted = Callable[..., EmbeddingSet]


def plant(
    *,
    arm: str = "encoder",
    seed: int = 0,
    rank: int = 16,
    dim: int = 16,
    noise: float = 0.5,
    draw: int = 0,
    rows: tuple[int, int] = (600, 300),
    classes: int = 8,
) -> EmbeddingSet:
    """Classes around centres in ``rank`` of ``dim`` dimensions; ``seed`` draws the split, ``draw`` the noise."""
    split = torch.Generator().manual_seed(1000 + seed)
    labels = torch.randint(classes, (sum(rows),), generator=split)
    labels[:classes] = torch.arange(classes)
    source = torch.Generator().manual_seed(7919 * draw + seed)
    centres = torch.nn.functional.normalize(torch.randn(classes, rank, generator=torch.Generator().manual_seed(5)))
    points = centres[labels] + noise * torch.randn(sum(rows), rank, generator=source) / rank**0.5
    basis = torch.linalg.qr(torch.randn(dim, rank, generator=torch.Generator().manual_seed(6)))[0]  # (dim, rank)
    x = points @ basis.T
    n = rows[0]
    return EmbeddingSet(x[:n], labels[:n], x[n:], labels[n:], arm=arm, seed=seed)


@pytest.fixture(scope="session")
def planted() -> Planted:
    """A maker of planted embeddings."""
    return plant


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gallery, its labels, query, its labels: handwritten digits as 64 pixels."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.from_numpy(pixels).float(), torch.from_numpy(labels)
    return x[:1200], y[:1200], x[1200:], y[1200:]


@pytest.fixture(scope="session")
def sets(planted: Planted) -> dict[str, list[EmbeddingSet]]:
    """A baseline, its equal twin, a better narrow arm and a flat one; three seeds."""

    def arm(name: str, **how: object) -> list[EmbeddingSet]:
        return [planted(arm=name, seed=seed, **how) for seed in (2, 0, 1)]

    flat = [replace(data, arm="flat", gallery=torch.ones_like(data.gallery)) for data in arm("flat")]
    return {
        "twin": arm("twin", noise=1.2, draw=1),
        "encoder": arm("encoder", noise=1.2),
        "narrow": arm("narrow", noise=0.2, rank=4, dim=4, draw=2),
        "flat": flat,
    }


@pytest.fixture(scope="session")
def card(sets: dict[str, list[EmbeddingSet]]) -> Scorecard:
    """Their scorecard."""
    return build(sets)


@pytest.fixture(scope="session")
def starts() -> dict[str, list[EmbeddingSet]]:
    """The start makes heads narrow; the constraint does nothing beyond it."""

    def arm(name: str, rank: int, draw: int) -> list[EmbeddingSet]:
        return [plant(arm=name, seed=seed, rank=rank, draw=draw, noise=0.5) for seed in range(3)]

    return {
        "encoder": arm("encoder", 16, 0),
        "mlp": arm("mlp", 14, 1),
        "mlp-squared": arm("mlp-squared", 6, 2),
        "monotonic": arm("monotonic", 6, 3),
    }
