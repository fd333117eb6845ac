# SPDX-License-Identifier: Apache-2.0
"""Arms x dimensions: which embedding is best at which size, beside its rivals and null models.

``score`` judges one embedding, ``build`` compares several, ``report`` does the same from the folders that trainings
left and writes tables and figures. Everything works on tensors of embeddings; nothing here knows how they were made.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from lightning_monocon.scorecard.byte_ranking import ByteWinner, byte_winner
from lightning_monocon.scorecard.card import Arm, Scorecard, build
from lightning_monocon.scorecard.causes import Effect, effects
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.frontier import Frontier, measure_frontier
from lightning_monocon.scorecard.graph_index import GraphSearch
from lightning_monocon.scorecard.ranking import Comparison, Winner, compare, winner
from lightning_monocon.scorecard.render.figures import draw
from lightning_monocon.scorecard.render.layouts import read_scorecard
from lightning_monocon.scorecard.render.schema import as_json
from lightning_monocon.scorecard.render.text import as_text
from lightning_monocon.scorecard.render.upgrade import upgrade_text, write_upgrade
from lightning_monocon.scorecard.runs import report
from lightning_monocon.scorecard.scores import Score, measure, measure_all
from lightning_monocon.scorecard.scoring import JudgedScore, score, score_files, with_graphs
from lightning_monocon.scorecard.truths import GradedTruth, LabelTruth, NeighbourTruth, QrelsTruth, Truth
from lightning_monocon.scorecard.upgrade import Upgrade, upgrade
from lightning_monocon.scorecard.verdict import Verdict

if TYPE_CHECKING:
    from lightning_monocon.scorecard.truth_files.beir import BeirFolder, read_beir

__all__ = [
    "Arm",
    "BeirFolder",
    "ByteWinner",
    "Comparison",
    "Effect",
    "EmbeddingSet",
    "Frontier",
    "GradedTruth",
    "GraphSearch",
    "JudgedScore",
    "LabelTruth",
    "NeighbourTruth",
    "QrelsTruth",
    "Score",
    "Scorecard",
    "Truth",
    "Upgrade",
    "Verdict",
    "Winner",
    "as_json",
    "as_text",
    "build",
    "byte_winner",
    "compare",
    "draw",
    "effects",
    "measure",
    "measure_all",
    "measure_frontier",
    "read_beir",
    "read_scorecard",
    "report",
    "score",
    "score_files",
    "upgrade",
    "upgrade_text",
    "winner",
    "with_graphs",
    "write_upgrade",
]


def __getattr__(name: str) -> object:
    """Import the reader of BEIR folders at its first use: it needs Lightning, and scores do not."""
    if name in ("BeirFolder", "read_beir"):
        return getattr(import_module("lightning_monocon.scorecard.truth_files.beir"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
