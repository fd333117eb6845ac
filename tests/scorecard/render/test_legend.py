# SPDX-License-Identifier: Apache-2.0
"""The legend of a report: what its words promise."""

from __future__ import annotations

from dataclasses import replace

import torch

from lightning_monocon.scorecard import GradedTruth, NeighbourTruth, Scorecard
from lightning_monocon.scorecard.render.legend import LEGEND, legend
from lightning_monocon.scorecard.truths import Truth
from lightning_monocon.scorecard.truths.truth import MARGINS


def test_the_legend_says_what_is_controlled() -> None:
    assert "So at most one card of equal arms in twenty claims a winner" in LEGEND[-1]
    assert "of 20 comparisons" not in LEGEND[-1]


def test_words_about_labels_are_not_explained_without_labels(card: Scorecard) -> None:
    graded = GradedTruth("pairs", torch.arange(9), torch.arange(9) + 1, torch.arange(9.0))
    neighbours = NeighbourTruth(torch.zeros(5, 10, dtype=torch.int64), 200, "encoder")
    told = {truth.kind: "\n".join(map(str, legend(_judged_by(card, truth)))) for truth in (graded, neighbours)}
    labelled = "\n".join(map(str, legend(card)))
    assert "5-NN" in labelled and "minus 1 point." in labelled
    assert not [kind for kind, text in told.items() if "5-NN" in text or "Balanced" in text or "{}" in text]
    assert f"minus {100 * MARGINS['neighbours']:.0f} points." in told["neighbours"]


def _judged_by(card: Scorecard, truth: Truth) -> Scorecard:
    arms = tuple(replace(arm, scores=tuple(replace(score, truth=truth) for score in arm.scores)) for arm in card.arms)
    return replace(card, arms=arms)
