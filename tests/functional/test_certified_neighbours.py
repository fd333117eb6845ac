# SPDX-License-Identifier: Apache-2.0
"""What is proved of neighbours in a box is never wrong, and for the nearest one nothing provable is missed."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from lightning_monocon.functional import certified_neighbours
from lightning_monocon.functional.knn_accuracy import majority_vote


def normal(rows: int, dim: int, seed: int) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ranked(gallery: Tensor, points: Tensor, k: int) -> Tensor:
    unit = torch.nn.functional.normalize(gallery)
    return (points @ unit.T).argsort(dim=-1, descending=True, stable=True)[..., :k]


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.2])
def test_the_nearest_row_is_proved_exactly_where_a_linear_program_finds_no_other(eps: float) -> None:
    gallery, query = normal(12, 3, 0), normal(25, 3, 1)
    found = certified_neighbours(gallery, None, query, query - eps, query + eps, k=1).nearest
    unit = torch.nn.functional.normalize(gallery)
    for point, proved in zip(query, found, strict=True):
        top = int(ranked(gallery, point, 1))
        limits = [(float(x) - eps, float(x) + eps) for x in point]
        leads = [linprog((unit[top] - row).numpy(), bounds=limits).fun for row in unit]
        assert proved == (min(lead for place, lead in enumerate(leads) if place != top) > 0)
    assert 0 < found.double().mean() < 1


@pytest.mark.parametrize("k", [1, 3, 5])
def test_no_point_of_a_box_contradicts_what_is_proved(k: int) -> None:
    gallery, labels, query = normal(40, 4, 2), torch.arange(40) % 3, normal(60, 4, 3)
    gallery = gallery + 2 * normal(3, 4, 4)[labels]
    eps = torch.rand(60, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 0.3
    found = certified_neighbours(gallery, labels, query, query - eps, query + eps, k=k)
    corners = torch.tensor(list(product([-1.0, 1.0], repeat=4)), dtype=torch.float64)
    inside = torch.rand(1600, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64) * 2 - 1
    points = query[:, None] + torch.cat([corners, inside]) * eps[:, None]  # 97 000 points in all
    order, own = ranked(gallery, points, k), ranked(gallery, query, k)
    same_row = (order[..., 0] == own[:, None, 0]).all(1)
    votes = majority_vote(labels[order].flatten(0, 1)).view(order.shape[:2])
    same_label = (votes == majority_vote(labels[own])[:, None]).all(1)
    assert not (found.nearest & ~same_row).any() and not (found.label & ~same_label).any()
    # and little that holds is missed: a vote takes the worst for every place that is not certain
    assert found.nearest.sum() >= 0.9 * same_row.sum() and found.label.sum() >= 0.7 * same_label.sum()


def test_a_point_proves_all_and_a_box_about_nothing_proves_none() -> None:
    gallery, labels, query = normal(30, 3, 7), torch.arange(30) % 2, normal(9, 3, 8)
    at_once = certified_neighbours(gallery, labels, query, query, query)
    assert at_once.nearest.all() and at_once.label.all()
    about = certified_neighbours(gallery, labels, query, query - 9, query + 9)
    assert not about.nearest.any() and not about.label.any()
    twice = torch.cat([gallery, gallery])
    assert not certified_neighbours(twice, torch.arange(60) % 2, query, query, query).nearest.any()


def test_what_is_refused() -> None:
    gallery, query = normal(9, 3, 0), normal(2, 3, 1)
    with pytest.raises(ValueError, match="`lower` and `upper` must enclose every query; got shapes"):
        certified_neighbours(gallery, None, query, query + 0.1, query + 0.2)
    with pytest.raises(ValueError, match="`k` must be an integer from 1 to 9"):
        certified_neighbours(gallery, None, query, query, query, k=10)
    with pytest.raises(ValueError, match="`gallery_labels` must hold at least two classes"):
        certified_neighbours(gallery, torch.zeros(9, dtype=torch.int64), query, query, query)
