# SPDX-License-Identifier: Apache-2.0
"""How many rows free vectors order, against linear programming and the curve that orders any number."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog

from lightning_monocon.functional import critical_dimension, fitted_rows

Points = NDArray[np.float64]


def missed(rows: Points) -> int:
    """Pairs that no query finds before all other rows, by the largest margin of a linear programme."""
    n, k = rows.shape
    count = 0
    for pair in combinations(range(n), 2):
        others = [row for row in range(n) if row not in pair]
        differences = np.array([rows[other] - rows[row] for other in others for row in pair])
        if len(differences) == 0:
            continue
        bounded = np.hstack([differences, np.ones((len(differences), 1))])  # other - asked + margin <= 0
        found = linprog([0.0] * k + [-1.0], bounded, np.zeros(len(bounded)), bounds=[(-1, 1)] * k + [(None, 1)])
        count += -found.fun < 1e-9
    return count


def on_the_sphere(n: int, k: int, seed: int) -> Points:
    points = np.random.default_rng(seed).standard_normal((n, k))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def found_pairs(rows: Points, queries: Points) -> list[tuple[int, ...]]:
    """The two rows that each query finds first."""
    return [tuple(sorted(row.tolist())) for row in np.argsort(-queries @ rows.T, axis=1, kind="stable")[:, :2]]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_up_to_three_numbers_order_one_row_more(k: int) -> None:
    rows, queries = (vectors.numpy() for vectors in critical_dimension(k, steps=300))
    assert len(rows) == k + 1
    assert found_pairs(rows, queries) == [*combinations(range(k + 1), 2)]
    assert missed(rows) == 0
    # no placement of one row more is ordered: of many, a linear programme finds none
    assert all(missed(on_the_sphere(k + 2, k, seed)) > 0 for seed in range(8))


def test_training_reaches_more_rows_of_four_numbers_and_its_vectors_do_find_every_pair() -> None:
    rows, queries = (vectors.numpy() for vectors in critical_dimension(4, temperature=0.03, rate=0.03, steps=600))
    assert len(rows) >= 7
    np.testing.assert_allclose(np.linalg.norm(np.vstack([rows, queries]), axis=1), 1.0, atol=1e-12)
    assert found_pairs(rows, queries) == [*combinations(range(len(rows)), 2)]
    assert missed(rows) == 0


def test_four_numbers_can_order_far_more_rows_than_training_finds() -> None:
    """(1 - cos(t - a)) (1 - cos(t - b)) is 0 at a and b alone, and linear in the curve's four numbers."""
    t = 2 * np.pi * np.arange(40) / 40
    curve = np.stack([np.cos(t), np.sin(t), np.cos(2 * t), np.sin(2 * t)], axis=1)
    pairs = np.array([*combinations(range(40), 2)])
    a, b = t[pairs].T
    queries = np.stack([np.cos(a) + np.cos(b), np.sin(a) + np.sin(b), -np.cos(a + b) / 2, -np.sin(a + b) / 2], axis=1)
    assert found_pairs(curve, queries) == [tuple(pair) for pair in pairs.tolist()]
    assert fitted_rows(4) == 7


def test_the_same_seed_gives_the_same_vectors() -> None:
    one, two, other = (critical_dimension(3, steps=50, seed=seed).rows for seed in (0, 0, 1))
    assert one.equal(two) and one.equal(other)  # both fail to go beyond the simplex
    one, two, other = (
        critical_dimension(5, temperature=0.03, rate=0.03, steps=120, seed=seed).queries for seed in (0, 0, 1)
    )
    assert one.equal(two)
    assert not (one.shape == other.shape and one.equal(other))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"`k` must be an integer from 1 to 32, since .*; got 0\."):
        critical_dimension(0)
    with pytest.raises(ValueError, match=r"`temperature` must be a positive number; got 0\.0\."):
        critical_dimension(2, temperature=0.0)
    with pytest.raises(ValueError, match=r"`tries` must be an integer of at least 1; got 0\."):
        critical_dimension(2, tries=0)
    for name, wrong in (("temperature", np.inf), ("rate", None), ("steps", 1.5), ("tries", True), ("seed", -1)):
        with pytest.raises(ValueError, match=f"`{name}` must be "):
            critical_dimension(2, **{name: wrong})
    with pytest.raises(ValueError, match=r"`k` must be a positive integer, the numbers of a vector; got True\."):
        fitted_rows(True)
