# SPDX-License-Identifier: Apache-2.0
"""The overlap of two rankings, against sets of Python and the definition of Webber et al. (2010)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_monocon.functional import neighbour_overlap, rank_biased_overlap, reference_recall


def lists(rows: int, width: int, seed: int) -> Tensor:
    return torch.rand(40, rows, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)[:, :width]


@pytest.mark.parametrize("k", [1, 2, 7, 12])
def test_overlap_and_recall_against_sets(k: int) -> None:
    found, reference = lists(20, 15, 0), lists(20, 12, 1)
    pairs = list(zip(found.tolist(), reference.tolist(), strict=True))
    overlap = [len(set(mine[:k]) & set(theirs[:k])) / k for mine, theirs in pairs]
    assert neighbour_overlap(found, reference, k).tolist() == overlap
    recall = [sum(row in mine[:14] for row in theirs[:k]) / k for mine, theirs in pairs]
    assert reference_recall(found, reference, k, depth=14).tolist() == recall
    if k == 1:
        assert overlap == [float(mine[0] == theirs[0]) for mine, theirs in pairs]


def biased(mine: list[int], theirs: list[int], p: float) -> float:
    """Evaluate the infinite series with the agreement at the end of the lists kept up, without the closed form."""
    k = len(mine)
    agreement = [len(set(mine[:d]) & set(theirs[:d])) / d for d in range(1, k + 1)]
    return (1 - p) * sum(agreement[min(d, k) - 1] * p ** (d - 1) for d in range(1, 1500))


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("k", [1, 3, 15])
def test_rank_biased_overlap_against_its_series(k: int, p: float) -> None:
    found, reference = lists(20, 15, 2), lists(20, 15, 3)
    expected = [
        biased(mine[:k], theirs[:k], p) for mine, theirs in zip(found.tolist(), reference.tolist(), strict=True)
    ]
    torch.testing.assert_close(
        rank_biased_overlap(found, reference, k, p), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("k", [1, 4, 50])
def test_equal_lists_have_one_and_lists_apart_zero(k: int) -> None:
    one, other = torch.arange(50)[None], torch.arange(50, 100)[None]
    assert rank_biased_overlap(one, one, k) == pytest.approx(1.0, abs=1e-14)
    assert rank_biased_overlap(one, other, k) == neighbour_overlap(one, other, k) == 0.0


def test_an_exchange_counts_more_the_earlier_it_is() -> None:
    reference = torch.arange(10)[None]
    early, late = reference.clone(), reference.clone()
    early[0, :2], late[0, 8:] = torch.tensor([1, 0]), torch.tensor([9, 8])
    assert neighbour_overlap(early, reference) == neighbour_overlap(late, reference) == 1.0
    assert rank_biased_overlap(early, reference) < rank_biased_overlap(late, reference) < 1.0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"reference": lists(20, 12, 1)[:3]}, "must be of the same queries; got 40 and 3 lists"),
        ({"found": lists(20, 9, 1)}, "`found` must hold at least 10 rows for each query; got 9. Search deeper, or"),
        ({"reference": lists(20, 9, 1)}, "`reference` must hold at least 10 rows for each query; got 9"),
        ({"reference": torch.zeros(40, 12).long()}, "`reference` must name each row once in a list; query 0 has row 0"),
        ({"k": True}, "`k` must be a positive integer, how many found rows count; got True"),
    ],
)
def test_bad_lists_are_named(change: dict[str, Any], sentence: str) -> None:
    given = {"found": lists(20, 15, 0), "reference": lists(20, 12, 1), "k": 10, **change}
    for measure in (neighbour_overlap, rank_biased_overlap):
        with pytest.raises(ValueError, match=sentence):
            measure(**given)


def test_bad_options_are_named() -> None:
    found = lists(20, 15, 0)
    with pytest.raises(ValueError, match="`depth` must be a positive integer, how many found rows count; got 0"):
        reference_recall(found, found, depth=0)
    for p in (0.0, 1.0, 1.5):
        with pytest.raises(ValueError, match=f"`p` must lie between 0 and 1, the probability to look at .*; got {p}"):
            rank_biased_overlap(found, found, p=p)
