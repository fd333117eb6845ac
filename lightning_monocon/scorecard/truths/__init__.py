# SPDX-License-Identifier: Apache-2.0
"""The kinds of known answers that embeddings are judged by, behind one interface."""

from lightning_monocon.scorecard.truths.graded import GradedTruth
from lightning_monocon.scorecard.truths.labels import LabelTruth
from lightning_monocon.scorecard.truths.neighbours import NeighbourTruth
from lightning_monocon.scorecard.truths.qrels import QrelsTruth
from lightning_monocon.scorecard.truths.truth import Found, Truth

__all__ = ["Found", "GradedTruth", "LabelTruth", "NeighbourTruth", "QrelsTruth", "Truth"]
