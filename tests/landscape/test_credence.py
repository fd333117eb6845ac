# SPDX-License-Identifier: Apache-2.0
"""Credence and fallibility against plain loops, their invariances, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_monocon.landscape import credence, fallibility, match_perplexity, soft_knn_credence


def _embeddings(rows: int = 23, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 4
    noise = torch.randn(rows, 6, generator=generator, dtype=torch.float64)
    return noise + 1.5 * torch.eye(6, dtype=torch.float64)[labels], labels


def _loop(z: np.ndarray, y: np.ndarray, bank: list[int], temperature: float) -> list[float]:
    """Soft k-NN credence, one pair at a time."""
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    values = []
    for i in range(len(z)):
        weights = {j: math.exp(float(unit[i] @ unit[j]) / temperature) for j in bank if j != i}
        values.append(sum(w for j, w in weights.items() if y[j] == y[i]) / sum(weights.values()))
    return values


def test_credence_is_the_probability_of_the_label() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.tensor([0, 2, 1, 1, 0])
    expected = [math.exp(row[y]) / sum(map(math.exp, row)) for row, y in zip(logits.tolist(), labels, strict=True)]
    torch.testing.assert_close(credence(logits, labels), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("bank", [list(range(23)), list(range(0, 12)), [1, 7, 8, 20]], ids=["all", "half", "few"])
def test_soft_knn_equals_the_loop(bank: list[int], temperature: float) -> None:
    z, y = _embeddings()
    expected = torch.tensor(_loop(z.numpy(), y.numpy(), bank, temperature), dtype=torch.float64)
    torch.testing.assert_close(soft_knn_credence(z, y, torch.tensor(bank), temperature=temperature), expected)
    mask = torch.zeros(23, dtype=torch.bool)
    mask[bank] = True
    torch.testing.assert_close(soft_knn_credence(z, y, mask, temperature=temperature), expected)


def test_other_embeddings_as_bank_leave_nobody_out() -> None:
    z, y = _embeddings()
    both = torch.cat([z[:5], z])
    expected = _loop(both.numpy(), torch.cat([y[:5], y]).numpy(), list(range(5, 28)), 0.1)[:5]
    got = soft_knn_credence(z[:5], y[:5], z, y)
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64))


def test_soft_knn_ignores_rotation_and_scale() -> None:
    z, y = _embeddings()
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    torch.testing.assert_close(soft_knn_credence(7.0 * z @ rotation, y), soft_knn_credence(z, y))


def test_credence_depends_on_the_scale_of_logits() -> None:
    logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    assert credence(3 * logits, labels).item() > credence(logits, labels).item() + 0.1


def test_matched_perplexity_is_met() -> None:
    z, _ = _embeddings(64)
    temperature = match_perplexity(z, 15.0)
    unit = torch.nn.functional.normalize(z, dim=1)
    cosine = (unit @ unit.T / temperature).fill_diagonal_(-torch.inf)
    weights = cosine.softmax(dim=1)
    perplexity = (-torch.special.xlogy(weights, weights).sum(dim=1)).exp().median()
    assert perplexity.item() == pytest.approx(15.0, rel=1e-3)


def test_fallibility_splits_by_stratum_and_reports_what_it_clipped() -> None:
    values = [0.5, 0.25, 0.125, 1.0, 0.0, 1e-9, 1.0]
    result = fallibility(values, ["train"] * 3 + ["val"] * 4)
    assert result.strata["train"] == pytest.approx(2 * math.log(2))
    assert result.strata["val"] == pytest.approx(-2 * math.log(1e-6) / 4)
    assert result.clipped == {"train": 0.0, "val": 0.5}
    assert result.total == pytest.approx(sum(result.strata.values()))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda z, y: credence(z, y[:3]), r"`labels` must hold 23 integers, one per embedding; got shape \(3,\)"),
        (lambda z, y: credence(z, y + 5), r"`labels` must lie in 0\.\.5"),
        (lambda z, y: credence(z[0], y), r"`logits` must be \(N, D\)"),
        (lambda z, y: soft_knn_credence(z, y, temperature=0.0), r"`temperature` must be positive, got 0\.0"),
        (lambda z, y: soft_knn_credence(z, y, z), r"`bank_labels` must be given"),
        (lambda z, y: soft_knn_credence(z, y, torch.tensor([1])), r"`bank` must choose at least two of the 23"),
        (lambda z, y: soft_knn_credence(z[0], y), r"`embeddings` must be \(N, D\)"),
        (lambda z, y: match_perplexity(z, 40.0), r"`perplexity` must lie between 1 and 22"),
    ],
)
def test_bad_input_is_named(call: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call(*_embeddings())  # type: ignore[operator]


@pytest.mark.parametrize("labels", [None, torch.zeros(23)], ids=["none", "floats"])
def test_labels_must_be_integers(labels: torch.Tensor) -> None:
    rows, _ = _embeddings()
    for call in (credence, soft_knn_credence):
        with pytest.raises(TypeError, match=r"`labels` must be (an integer tensor, .*|integers); got"):
            call(rows, labels)
