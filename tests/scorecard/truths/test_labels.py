# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from lightning_monocon.scorecard.truths import Found, LabelTruth


def test_votes_and_recalls_by_hand() -> None:
    truth = LabelTruth(torch.tensor([0, 1, 1, 0, 0, 1]), torch.tensor([0, 1]))
    nearest = torch.tensor([[1, 0, 3, 2, 4, 5], [0, 3, 4, 1, 2, 5]])
    found = truth.judge(Found(torch.empty(6, 1), torch.empty(2, 1), nearest=nearest))
    assert {name: values.tolist() for name, values in found.items()} == {
        "knn_accuracy": [1.0, 0.0],
        "recall@1": [0.0, 0.0],
        "recall@2": [1.0, 0.0],
        "recall@5": [1.0, 1.0],
    }
    assert (*found,) == truth.measures
    assert truth.chance == 0.5


def test_scores_are_paired_by_the_labels_of_the_queries() -> None:
    truth = LabelTruth(torch.arange(6) % 2, torch.tensor([0, 1]))
    assert truth.onto(torch.tensor([5, 0])).key == truth.key
    assert truth.onto(torch.tensor([5, 0])).gallery.tolist() == [1, 0]
    assert LabelTruth(torch.arange(6) % 2, torch.tensor([1, 0])).key != truth.key
