# SPDX-License-Identifier: Apache-2.0
"""Recall@1 has one name as text and one as an identifier; its values are tested with the other scores of neighbours."""

from __future__ import annotations

from pathlib import Path

import torch

from lightning_monocon.functional import neighbour_scores
from lightning_monocon.metrics import NeighbourScores, RecallAtK, TruncationCurve
from lightning_monocon.scorecard.frontier import Frontier
from lightning_monocon.scorecard.scores import Score

ROWS, LABELS = torch.eye(4), torch.arange(4)


def test_metrics_say_recall_with_an_at_sign() -> None:
    names = set(neighbour_scores(ROWS, LABELS, ROWS, LABELS, 1, (1,)))
    for metric in (RecallAtK((1,)), NeighbourScores(1, (1,)), TruncationCurve((2,), k=1)):
        for role in ("gallery", "query"):
            metric.update(ROWS, LABELS, role)
        names |= set(metric.compute())
    assert {name for name in names if "recall" in name} == {"recall@1", "recall@1/2"}


def test_identifiers_spell_it_out(root: Path) -> None:
    assert isinstance(Score.recall_at_1, property) and isinstance(Frontier.recall_at_1, property)
    sources = [*(root / "lightning_monocon").rglob("*.py"), *(root / "callbacks").glob("*.py")]
    found = {path.name for path in sources if "recall1" in path.read_text() or "recall_1" in path.read_text()}
    assert not found
